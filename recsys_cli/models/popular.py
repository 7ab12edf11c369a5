"""What everybody buys: the floor that every other model is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..errors import NotEnoughData
from ..progress import SILENT, Progress
from ..schema import Dataset, Float32, Histories, Int32
from .base import Capabilities, Model, ModelConfig, Range, Size, State, hyper
from .support.demand import popularity
from .support.top_n import contains, top_k

_ROWS = 1024


@dataclass(frozen=True)
class PopularConfig(ModelConfig):
    """Hyperparameters of `Popular`."""

    tau_days: float = hyper(
        14.0, "Days after which a customer counts 1/e; 0 for no ageing.", Range(0.5, 400, True), high=36_500
    )
    order_power: float = hyper(0.0, "Not used: sales are not a history.", high=5)


class Popular(Model):
    """Items by how many customers want them, newer ones counting more; see `support.demand`.

    Parameters
    ----------
    popularity
        float32, shape (n_items,), at least 0, summing to 1.
    """

    name: ClassVar[str] = "popular"
    Config: ClassVar[type[ModelConfig]] = PopularConfig
    capabilities: ClassVar[Capabilities] = Capabilities(personal=False, strangers=True)
    item_axes: ClassVar[dict[str, tuple[int, ...]]] = {"popularity": (0,)}
    config: PopularConfig

    def __init__(self, config: ModelConfig, popularity: Float32) -> None:
        super().__init__(config, len(popularity))
        self.popularity = popularity

    @classmethod
    def cpu_seconds(cls, size: Size) -> float:
        return 2e-7 * size.events

    @classmethod
    def fit(
        cls,
        data: Dataset,
        config: PopularConfig,
        *,
        seed: int = 42,
        threads: int = 0,
        progress: Progress = SILENT,
    ) -> Self:
        counts = popularity(data.interactions, config.tau_days, config.qty_power)
        if not counts.any():
            raise NotEnoughData("There is no purchase to learn from.", "Run recsys ingest FILE with purchases.")
        return cls(config, counts.astype(np.float32))

    def state(self) -> State:
        return State({"popularity": self.popularity})

    @classmethod
    def from_state(cls, config: Any, n_items: int, state: State) -> Self:
        return cls(config, state.arrays["popularity"])

    def grow(self, data: Dataset, now: int) -> Self:
        """Counted again: what sold since is what popularity is about."""
        return type(self).fit(data, self.config)

    def _score(self, weights: sp.csr_matrix, histories: Histories, now: int) -> Float32:
        return np.repeat(self.popularity[None, :], len(histories), axis=0)

    def recommend(
        self,
        histories: Histories,
        k: int,
        now: int,
        *,
        exclude: sp.csr_matrix | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Int32, Float32]:
        """As `Model.recommend`, walking down one list that is the same for all."""
        chosen = self.popularity > 0 if allowed is None else (self.popularity > 0) & allowed
        order = np.flatnonzero(chosen).astype(np.int32)
        order = order[np.argsort(-self.popularity[order], kind="stable")]
        rows = len(histories)
        items = np.full((rows, k), -1, dtype=np.int32)
        scores = np.full((rows, k), -np.inf, dtype=np.float32)
        taken = np.zeros(rows, np.int64) if exclude is None else np.diff(exclude.indptr).astype(np.int64)
        by_length = np.argsort(taken, kind="stable")
        for start in range(0, rows, _ROWS):
            block = by_length[start : start + _ROWS]
            head = np.repeat(order[None, : k + int(taken[block].max())], len(block), axis=0)
            values = self.popularity[head]
            if exclude is not None:
                values[contains(exclude[block], head)] = -np.inf
            place, best = top_k(values, k)
            if head.shape[1]:
                items[block] = np.where(place < 0, -1, np.take_along_axis(head, np.maximum(place, 0), axis=1))
            scores[block] = best
        return items, scores

    def similar(self, items: Int32, k: int) -> tuple[Int32, Float32]:
        """None: popularity does not know what is alike."""
        return np.full((len(items), k), -1, np.int32), np.full((len(items), k), -np.inf, np.float32)
