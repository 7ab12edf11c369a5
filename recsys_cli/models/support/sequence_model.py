"""Models that read a history in its order, by a small network, and match what it makes of it with item vectors.

A subclass is the network, written once: over tracked arrays it is trained, over plain ones it serves (see `gradients`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ...progress import SILENT, Progress
from ...schema import Dataset, Float32, Histories, Int32, Int64
from ...splitting.interactions import weigh
from ..base import Capabilities, ModelConfig, Range, Size, State, hyper
from ..next_item import wanted_events
from .sequence_training import OF_FIT, train
from .vectors import VectorModel

_LARGE, _MANY_ITEMS = 3_000_000, 100_000
_CELLS = 1 << 21  # numbers of a hidden layer that are computed at a time: 8 MB
_TRILLION = 1e12
LATER = np.float32(-1e9)  # added to the score of what attention must not see
_SPEED = 2e10  # multiplications a second of one core, in training

Parameters = Mapping[str, Any]  # name -> array, tracked or not
Drop = Callable[[Any], Any]  # what is left of a layer in training


@dataclass(frozen=True)
class SequenceConfig(ModelConfig):
    """Hyperparameters of every `SequenceModel`."""

    tau_days: float = hyper(0.0, "Not used: the network has learned what time does.", high=36_500)
    order_power: float = hyper(1.0, "Not used, as `tau_days`.", high=5)
    factors: int = hyper(64, "Length of the vectors.", Range(32, 128, True), low=2, high=1_024)
    longest: int = hyper(50, "Items of a history that are read, the last ones.", low=1, high=1_000)
    negatives: int = hyper(
        512, "Items that each next item is set against, by popularity; all of them where there are fewer.",
        Range(256, 2048, True), low=1, high=1_000_000,
    )  # fmt: skip
    learning_rate: float = hyper(0.002, "Step of the gradient.", Range(0.0005, 0.005, True), low=1e-6, high=1)
    dropout: float = hyper(0.4, "Share of each layer that is left out in training.", Range(0.1, 0.7), high=0.95)
    work: float = hyper(
        4.0,
        "Trillions of multiplications that a fit may take, some 50 s of one core each; it ends sooner when it foresees "
        "later events no better.",
        high=100_000,
    )


class SequenceModel(VectorModel):
    """A vector model whose customers' vectors are what a network makes of their items in order.

    Items come in by the same vectors that they are found by. Of one item in a history the last event counts.

    Parameters
    ----------
    item_factors, trained
        As `VectorModel`.
    network
        Name -> float32 weights of the network.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, sequential=True, explains=True)
    slow: ClassVar[bool] = True
    in_batch: ClassVar[bool] = False  # set against the other items of a batch
    config: SequenceConfig

    def __init__(
        self,
        config: ModelConfig,
        item_factors: Float32,
        network: Mapping[str, Float32],
        trained: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__(config, item_factors, trained)
        self.network = dict(network)

    @classmethod
    @abstractmethod
    def encode(cls, network: Parameters, vectors: Any, config: Any, drop: Drop) -> Any:
        """What the network makes of each history up to each of its places.

        Parameters
        ----------
        vectors
            Shape (rows, length, d): vectors of the items, the first one first. Rows may end in padding: no place may
            depend on a later one.

        Returns
        -------
        Shape (rows, length, d): at each place, what is matched with the item that comes next.
        """

    @classmethod
    @abstractmethod
    def begin(cls, config: Any, rng: np.random.Generator, features: int) -> dict[str, Float32]:
        """The network's weights before training, for so many features; what begins with "fit." ends with the fit."""

    @classmethod
    @abstractmethod
    def multiplications(cls, config: Any, length: float) -> float:
        """How many `encode` takes for one place of a history of this length."""

    @classmethod
    def features(cls, data: Dataset, config: Any) -> sp.csr_matrix:
        """What is said of items, shape (n_items, features): nothing for most models."""
        return sp.csr_matrix((data.interactions.n_items, 0), dtype=np.float32)

    @classmethod
    def items(cls, network: Parameters, own: Any, features: sp.csr_matrix) -> Any:
        """Vectors of items, from vectors of their own and what is said of them; shape (n, d)."""
        return own

    @classmethod
    def affordable(cls, data: Dataset) -> bool:
        """Every event is learned by gradient, many times over."""
        return data.interactions.histories.n_events <= _LARGE and data.interactions.n_items <= _MANY_ITEMS

    @classmethod
    def cpu_seconds(cls, size: Size) -> float:
        config = cls.Config()
        assert isinstance(config, SequenceConfig)
        place = 3 * (cls.multiplications(config, config.longest / 2) + config.negatives * config.factors)
        return min(30 * size.events * place, config.work * _TRILLION) / _SPEED

    @classmethod
    def fit(cls, data: Dataset, config: Any, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT) -> Self:
        histories = wanted_events(data.interactions.histories, data.interactions.n_items)
        # The products are small: two threads of BLAS that wait for each other took up to eighty times as long as one.
        with threadpool_limits(1, "blas"):
            return train(cls, histories, cls.features(data, config), config, seed, progress)

    def state(self) -> State:
        arrays = {f"network.{name}": array for name, array in self.network.items()}
        return State({**super().state().arrays, **arrays})

    @classmethod
    def from_state(cls, config: Any, n_items: int, state: State) -> Self:
        arrays = state.arrays
        network = {name.partition(".")[2]: a for name, a in arrays.items() if name.startswith("network.")}
        return cls(config, arrays["item_factors"], network, arrays["trained"])

    @classmethod
    def layout(cls, config: Any, n_items: int, width: int) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        begun = cls.begin(config, np.random.default_rng(0), 0)
        network = {f"network.{name}": (np.float32, a.shape) for name, a in begun.items() if not name.startswith(OF_FIT)}
        return {**super().layout(config, n_items, config.factors), **network}

    def weights(self, histories: Histories, now: int) -> sp.csr_matrix:
        """Places instead of weights: 1 / (1 + later moments), whatever was done; none for what was not kept."""
        alike = replace(histories, kind_weight=np.sign(histories.kind_weight))
        return weigh(alike, self.n_items, order_power=1.0)

    def _fold_in(self, weights: sp.csr_matrix) -> Float32:
        items, length = self._in_order(weights)
        return self.read(items, length)

    def user_vectors(self, histories: Histories, now: int) -> Float32:
        if len(histories) != 1 or not histories.n_events:
            return super().user_vectors(histories, now)
        items = self._read_of(histories)
        return self.read(items[None], np.array([len(items)]))

    def _read_of(self, history: Histories) -> Int32:
        """What `weights` and `_in_order` make of one history; for one they take as long as the network."""
        plain = np.sign(history.kind_weight)[history.kind]
        codes, event = np.unique(history.item, return_inverse=True)
        net = np.bincount(event, plain * np.maximum(history.qty, 1))
        moment = np.zeros(len(plain), np.int64)
        np.cumsum(history.ts[1:] != history.ts[:-1], out=moment[1:])
        wanted = plain > 0
        last = np.full(len(codes), -1)
        last[event[wanted]] = moment[wanted]  # later events come later, and stay
        kept = np.flatnonzero((net > 1e-6) & (last >= 0))
        kept = kept[self.item_factors[codes[kept]].any(axis=1)]
        return np.asarray(codes[kept[np.argsort(last[kept], kind="stable")][-self.config.longest :]], dtype=np.int32)

    def _in_order(self, weights: sp.csr_matrix) -> tuple[Int32, Int64]:
        """Items of each row that the model knows, oldest first, padded with 0, and how many they are."""
        row = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
        known = self.item_factors[weights.indices].any(axis=1)
        row, item, place = row[known], weights.indices[known], weights.data[known]
        order = np.lexsort((item, place, row))
        row, item = row[order], item[order]
        length = np.bincount(row, minlength=weights.shape[0])
        from_end = np.cumsum(length)[row] - 1 - np.arange(len(row))
        kept = from_end < self.config.longest
        row, item, from_end = row[kept], item[kept], from_end[kept]
        length = np.minimum(length, self.config.longest)
        padded = np.zeros((weights.shape[0], int(length.max(initial=0))), dtype=np.int32)
        padded[row, length[row] - 1 - from_end] = item
        return padded, length

    def read(self, items: Int32, length: Int64) -> Float32:
        """Vectors of histories given as padded rows of item codes; zeros for empty ones. Shape (rows, d)."""
        out = np.zeros((len(items), self.item_factors.shape[1]), dtype=np.float32)
        order = np.argsort(length, kind="stable")
        start = int(np.count_nonzero(length == 0))
        while start < len(order):
            # Histories of like length together, no more than fit into memory.
            ahead = length[order[start:]] * np.arange(1, len(order) - start + 1)
            stop = start + max(1, int(np.searchsorted(ahead, _CELLS // (4 * out.shape[1]))))
            rows = order[start:stop]
            width = int(length[rows[-1]])
            hidden = self.encode(self.network, self.item_factors[items[rows, :width]], self.config, whole)
            out[rows] = hidden[np.arange(len(rows)), length[rows] - 1]
            start = stop
        return out

    def explain(self, history: Histories, item: int, now: int) -> list[tuple[int, float]]:
        """By how much the score would be lower without each item of the history."""
        items, length = self._in_order(self.weights(history, now))
        n = int(length[0])
        if not n:
            return []
        without = np.array([np.delete(items[0, :n], place) for place in range(n)], dtype=np.int32).reshape(n, n - 1)
        vectors = np.concatenate([self.read(items, length), self.read(without, np.full(n, n - 1))])
        scores = vectors @ self.item_factors[item]
        lost = scores[0] - scores[1:]
        return [(int(items[0, j]), float(lost[j])) for j in np.argsort(-lost, kind="stable") if lost[j] > 0]


def whole(layer: Any) -> Any:
    """Nothing is dropped in serving."""
    return layer


@lru_cache(maxsize=64)
def apart(length: int) -> tuple[NDArray[np.int64], Float32]:
    """How many places each place is after each other, 0 for later ones; and what hides those from attention.

    Returns
    -------
    int64 and float32, both of shape (length, length).
    """
    steps = np.arange(length)[:, None] - np.arange(length)
    made = np.maximum(steps, 0), np.where(steps < 0, LATER, np.float32(0))
    for one in made:
        one.flags.writeable = False
    return made
