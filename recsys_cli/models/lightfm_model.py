"""LightFM: factors of items that are sums over what is said of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp

from ..errors import MissingDependency
from ..progress import SILENT, Progress
from ..schema import Dataset
from .base import Capabilities, ModelConfig, Range, hyper
from .content import described
from .support.fitting import training_matrix
from .support.least_squares import BiasedConfig, BiasedModel


@dataclass(frozen=True)
class LightFMConfig(BiasedConfig):
    """Hyperparameters of `LightFMModel`."""

    factors: int = hyper(64, "Length of the vectors.", Range(16, 128, True), low=1, high=2_000)
    learning_rate: float = hyper(0.05, "Step of the gradient.", Range(0.005, 0.2, True), low=1e-6, high=1)
    epochs: int = hyper(20, "Passes over the data.", Range(5, 60, True), low=1, high=1_000)
    item_alpha: float = hyper(0.0, "Penalty on long item vectors.", high=1)
    features: bool = hyper(True, "Build items from title, tags, category, brand and price as well as from themselves.")
    fold_ridge: float = hyper(
        30.0, "Penalty on long vectors in folding a history in.", Range(1, 1000, True), low=1e-3, high=100_000
    )


class LightFMModel(BiasedModel):
    """WARP ranking with item features (Kula 2015), by the library lightfm-next, which is optional.

    An item that nobody bought is the sum of its features alone.
    """

    name: ClassVar[str] = "lightfm"
    Config: ClassVar[type[ModelConfig]] = LightFMConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, cold_items=True, explains=True)
    needs: ClassVar[str] = "lightfm"
    config: LightFMConfig

    @classmethod
    def affordable(cls, data: Dataset) -> bool:
        """Every pair is learned by gradient, many times over."""
        return data.interactions.histories.n_events <= 2_000_000

    @classmethod
    def fit(
        cls,
        data: Dataset,
        config: LightFMConfig,
        *,
        seed: int = 42,
        threads: int = 0,
        progress: Progress = SILENT,
    ) -> Self:
        LightFM = _library()
        seen = training_matrix(data, config)
        sold = np.bincount(seen.indices, minlength=seen.shape[1]) > 0
        parts = _features(data, config, sold)
        model = LightFM(
            no_components=config.factors,
            loss="warp",
            learning_rate=config.learning_rate,
            item_alpha=config.item_alpha,
            random_state=seed,
        )
        with progress.stage("Fitting lightfm", config.epochs) as advance:
            for _ in range(config.epochs):
                model.fit_partial(seen, item_features=parts, num_threads=threads or os.cpu_count() or 1)
                advance(1)
        bias, taste = model.get_item_representations(parts)
        factors = np.column_stack([taste, bias]).astype(np.float32)
        known = np.diff(parts.indptr) > 0
        factors[~known] = 0
        _, own = model.get_user_representations()
        return cls(config, factors, known).calibrated(seen, np.asarray(own, dtype=np.float32))


def _features(data: Dataset, config: LightFMConfig, sold: Any) -> sp.csr_matrix:
    """Each item's parts: itself where it was sold, and what is said of it."""
    n = len(sold)
    # An unsold item's own part would stay at its random start.
    own = sp.csr_matrix((sold.astype(np.float32), (np.arange(n), np.arange(n))), shape=(n, n))
    parts = sp.hstack([own, described(data.catalogue)], format="csr") if config.features else own.tocsr()
    parts.eliminate_zeros()
    return parts.astype(np.float32)


def _library() -> Any:
    try:
        from lightfm import LightFM
    except ImportError:
        # Also when it is there and does not load, as the wheels of 1.18 for Python 3.11 do not.
        raise MissingDependency("lightfm-next (for Python 3.12 and later)", "lightfm", "The model lightfm") from None
    return LightFM
