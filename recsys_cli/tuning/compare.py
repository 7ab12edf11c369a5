"""All models side by side on the same hidden future: what `recsys evaluate` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import NotEnoughData
from ..evaluation import Report, holdout
from ..evaluation.leaderboard import leaderboard
from ..models import registry
from ..models.base import Model, ModelConfig
from ..progress import SILENT, Progress
from ..schema import Dataset
from ..settings import Settings
from ..splitting.holdout import By
from .choice import load_choice
from .shortlist import quicker

SERVED, TUNED = "served", "tuned"


def compare(
    data: Dataset,
    settings: Settings,
    names: Sequence[str] = (),
    *,
    served: Mapping[str, Any] | None = None,
    by: By | None = None,
    repeat: bool = False,
    progress: Progress = SILENT,
) -> Report:
    """Fit models on the past and judge them by the rest.

    Parameters
    ----------
    names
        Registered models; empty takes all that data of this size allows, but for those that take minutes.
    served
        {"name", "config"} of the version being served: fitted again on the past and put beside the others.
    by
        How the future is hidden; None chooses.

    Raises
    ------
    NotEnoughData
        Nobody can be judged.
    UsageError
        No such model.
    """
    split = holdout(data, settings.evaluation.window_days, by=by, seed=settings.train.seed)
    if split is None:
        raise NotEnoughData(
            "Too few customers came back in the part held out to evaluate a model.",
            "Ingest a longer period, or choose another --by.",
        )
    return leaderboard(
        replace(split, asked=by is not None),
        recipes(data, settings.artifacts, names, served),
        seed=settings.train.seed,
        threads=settings.train.threads,
        max_users=settings.evaluation.max_users,
        repeat=repeat,
        progress=progress,
    )


def recipes(
    data: Dataset, root: Path, names: Sequence[str], served: Mapping[str, Any] | None
) -> dict[str, tuple[type[Model], ModelConfig]]:
    """Names on the board to what to fit: defaults, then the choice of tuning and the version being served."""
    chosen = {name: (registry.get(name), registry.get(name).Config()) for name in names or quicker(data)}
    tuned = load_choice(root)
    for label, recipe in ((TUNED, tuned.as_dict() if tuned else None), (SERVED, served)):
        if recipe is not None and (not names or recipe["name"] in names):
            cls = registry.get(recipe["name"])
            chosen[label] = (cls, cls.Config.from_values(recipe["config"]))
    return chosen
