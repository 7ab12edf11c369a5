"""A low-pass filter on the graph of items: what varies smoothly over it is taste, the rest is noise."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..progress import SILENT, Progress
from ..schema import Dataset, Float32
from .base import Capabilities, ModelConfig, Range, Size, State, ageing, hyper
from .support.fitting import training_matrix
from .support.item_matrix import power, scaled, sums
from .support.newness import NEWNESS, boost
from .support.svd import right_vectors
from .support.vectors import VectorModel

_LARGE = 3_000_000


@dataclass(frozen=True)
class SpectralConfig(ModelConfig):
    """Hyperparameters of `Spectral`."""

    tau_days: float = ageing(120.0)
    factors: int = hyper(0, "Singular vectors kept; 0 chooses by size.", Range(32, 1024, True), high=2_000)
    user_power: float = hyper(
        0.3, "Customers count by the length of their history to minus this.", Range(0, 0.7), high=2
    )
    item_power: float = hyper(0.5, "Items count by their popularity to minus this.", Range(0.1, 0.7), high=2)
    newness: float = NEWNESS


class Spectral(VectorModel):
    """An ideal low-pass graph filter (Shen et al. 2021, GF-CF; Choi et al. 2023, BSPM): h D^-b V V' D^b.

    Parameters
    ----------
    item_factors
        V scaled by popularity^b, shape (n_items, k).
    inward
        float32, shape (n_items,): popularity^-2b, which turns an item's outward vector into its inward one.
    """

    name: ClassVar[str] = "spectral"
    Config: ClassVar[type[ModelConfig]] = SpectralConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, explains=False)
    item_axes: ClassVar[dict[str, Any]] = {"item_factors": (0,), "trained": (0,), "inward": (0,)}

    def __init__(
        self,
        config: ModelConfig,
        item_factors: Float32,
        trained: NDArray[np.bool_] | None = None,
        inward: Float32 | None = None,
    ) -> None:
        super().__init__(config, item_factors, trained)
        self.inward: Float32 = np.zeros(len(item_factors), np.float32) if inward is None else inward

    @classmethod
    def cpu_seconds(cls, size: Size) -> float:
        """Six products with the histories, and the decompositions in between."""
        k = float(np.clip(min(size.users, size.items) // 20, 4, 1024 if size.events < _LARGE else 256))
        return 12e-9 * size.events * k + 12 * size.items * k**2 / 2.5e10

    @classmethod
    def fit(
        cls,
        data: Dataset,
        config: SpectralConfig,
        *,
        seed: int = 42,
        threads: int = 0,
        progress: Progress = SILENT,
    ) -> Self:
        with progress.stage("Fitting spectral", 3) as advance:
            seen = training_matrix(data, config)
            users, items = sums(seen)
            filtered = scaled(seen, power(users, -config.user_power), power(items, -config.item_power))
            config = replace(config, factors=config.factors or default_factors(seen))
            cores = threads or os.cpu_count() or 1
            vectors, _ = right_vectors(filtered, config.factors, seed=seed, threads=cores, advance=advance)
            factor = boost(data.interactions, config.newness)
            inward = power(items, -2 * config.item_power).astype(np.float32) / factor
            vectors *= (power(items, config.item_power).astype(np.float32) * factor)[:, None]
            return cls(config, vectors, items > 0, inward)

    def state(self) -> State:
        return State({**super().state().arrays, "inward": self.inward})

    @classmethod
    def from_state(cls, config: Any, n_items: int, state: State) -> Self:
        arrays = state.arrays
        return cls(config, arrays["item_factors"], arrays["trained"], arrays["inward"])

    @classmethod
    def layout(cls, config: Any, n_items: int, width: int) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        return {**super().layout(config, n_items, width), "inward": (np.float32, (n_items,))}

    def grow(self, data: Dataset, now: int) -> Self:
        """As `VectorModel.grow`; a new item in a history speaks about as loudly as the middling old ones."""
        grown = super().grow(data, now)
        inward = np.zeros(grown.n_items, dtype=np.float32)
        inward[: self.n_items] = self.inward
        if self.trained.any():
            inward[grown.item_factors.any(axis=1) & (inward == 0)] = np.median(self.inward[self.trained])
        return type(self)(self.config, grown.item_factors, grown.trained, inward)

    def _fold_in(self, weights: sp.csr_matrix) -> Float32:
        return np.asarray(scaled(weights, None, self.inward) @ self.item_factors, dtype=np.float32)


def default_factors(seen: sp.csr_matrix) -> int:
    """A twentieth of the smaller side, within what memory and a minute allow."""
    smaller = min(int((np.diff(seen.indptr) > 0).sum()), int((np.bincount(seen.indices) > 0).sum()))
    most = 1024 if seen.nnz < _LARGE else 256
    return int(np.clip(smaller // 20, 4, most))
