"""Every model by name. A new one needs its file and one line here; the contract tests enrol it by themselves."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from ..errors import CorruptArtifact, UsageError
from .als import ALS
from .base import Model, State
from .blend import Blend
from .bpr import BPR
from .content import Content
from .ease import EASE
from .gru4rec import GRU4Rec
from .item2vec import Item2Vec
from .item_knn import ItemKNN
from .lightfm_model import LightFMModel
from .lmf import LMF
from .next_item import NextItem
from .next_ridge import NextRidge
from .popular import Popular
from .rp3beta import RP3beta
from .sasrec import SASRec
from .session_knn import SessionKNN
from .spectral import Spectral
from .two_tower import TwoTower

if TYPE_CHECKING:
    from ..artifacts.bundle import Bundle

MODELS: dict[str, type[Model]] = {
    cls.name: cls
    for cls in (
        Popular,
        ItemKNN,
        NextItem,
        NextRidge,
        SessionKNN,
        RP3beta,
        ALS,
        BPR,
        LMF,
        EASE,
        Spectral,
        Item2Vec,
        Content,
        SASRec,
        GRU4Rec,
        TwoTower,
        LightFMModel,
        Blend,
    )
}


def get(name: str) -> type[Model]:
    """The model class of this name.

    Raises
    ------
    UsageError
        There is no such model; the message lists the models.
    """
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name, MODELS, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    raise UsageError(f"There is no model '{name}'.", f"{hint}There are: {', '.join(MODELS)}.")


def load(bundle: Bundle) -> Model:
    """The fitted model of a version.

    Raises
    ------
    CorruptArtifact
        The version names a model or hyperparameter that this release does not have, or lacks an array.
    """
    try:
        cls = get(bundle.model_name)
        config = cls.Config.from_values(bundle.model_config)
        model = cls.from_state(config, len(bundle.catalogue), State(bundle.model_arrays, bundle.model_meta))
        return model.bound(bundle.histories)
    except (UsageError, KeyError) as e:
        what = f"The model {bundle.model_name} of this version cannot be read: {e}."
        raise CorruptArtifact(what, "Run recsys train.") from None
