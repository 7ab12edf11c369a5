"""The contract of a model: a history in, scored items out.

A model is fitted once and is then an immutable object. It knows items, never customers: whoever asks hands over the
history, so a known customer, a guest, a basket and a stranger with two clicks go one way, and forgetting a person
needs nothing from the model. Weighting of events by type, quantity and age is done here, once, in front of all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..errors import UsageError
from ..progress import SILENT, Progress
from ..schema import DAY, Dataset, Float32, Histories, Int32

BLOCK = 1024  # histories scored densely at a time: 1024 x 100,000 items x 4 bytes = 400 MB


@dataclass(frozen=True)
class Range:
    """Where tuning may look for a hyperparameter: numbers between two bounds, or one of some choices."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()


def hyper(default: Any, help: str, space: Range | None = None) -> Any:
    """A field of a `ModelConfig`: its default, one line of help and, when tuning may change it, its range."""
    return field(default=default, metadata={"help": help, "space": space})


@dataclass(frozen=True)
class ModelConfig:
    """Hyperparameters that every model has; each model adds its own."""

    tau_days: float = hyper(
        0.0, "Days after which an event of a history counts 1/e when scoring; 0 for no ageing.", Range(10, 1000, True)
    )
    qty_power: float = hyper(0.0, "Weight grows with quantity to this power; 0 ignores quantity.", Range(0, 1))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """A config from names and values (strings allowed), refusing names and values it does not know.

        Raises
        ------
        UsageError
        """
        known = {f.name: f for f in fields(cls)}
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise UsageError(f"This model has no setting '{name}'.", f"It has: {', '.join(known)}.")
            given[name] = _typed(name, value, known[name].default)
        return cls(**given)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def space(cls) -> dict[str, Range]:
        """The hyperparameters that tuning may change."""
        return {f.name: f.metadata["space"] for f in fields(cls) if f.metadata.get("space") is not None}


@dataclass(frozen=True)
class Capabilities:
    """What may be asked of a model, known without trying.

    Attributes
    ----------
    vectors
        Scores are inner products of `user_vectors` and `item_vectors`, so an index can search them.
    sequential
        The order of a history matters, not only its weights.
    cold_items
        Items that nobody bought yet get scores of their own.
    explains
        `explain` names what in a history speaks for an item.
    personal
        Scores depend on the history at all.
    """

    vectors: bool = False
    sequential: bool = False
    cold_items: bool = False
    explains: bool = False
    personal: bool = True


@dataclass(frozen=True)
class State:
    """All of a fitted model: arrays (never of dtype object) and JSON values."""

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any] = field(default_factory=dict)


class Model(ABC):
    """A fitted model. Make one with `fit` or `from_state`; it never changes afterwards."""

    name: ClassVar[str]
    Config: ClassVar[type[ModelConfig]]
    capabilities: ClassVar[Capabilities]

    def __init__(self, config: ModelConfig, n_items: int) -> None:
        self.config = config
        self.n_items = n_items

    @classmethod
    @abstractmethod
    def fit(
        cls, data: Dataset, config: Any, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        """Learn from everything in `data`.

        Parameters
        ----------
        config
            An instance of the class's `Config`.
        seed
            The same seed, data and `threads=1` give the same model, bit for bit.
        threads
            0 means all cores.

        Raises
        ------
        NotEnoughData
            When there is nothing to learn from.
        """

    @abstractmethod
    def state(self) -> State:
        """Everything needed to be made again by `from_state`."""

    @classmethod
    @abstractmethod
    def from_state(cls, config: Any, n_items: int, state: State) -> Self:
        """The model that `state` came from; arrays may be memory-mapped and read-only."""

    @abstractmethod
    def _score(self, weights: sp.csr_matrix, histories: Histories, now: int) -> Float32:
        """Scores of all items, float32, shape (rows, n_items); `weights` are the weighted histories."""

    def score(self, histories: Histories, now: int) -> Float32:
        """Scores of all items for every history.

        Parameters
        ----------
        histories
            Item codes must be below `n_items`.
        now
            Epoch seconds that ages are counted from: the newest event known to the caller.

        Returns
        -------
        float32, shape (len(histories), n_items), finite. Higher is better; not comparable between models or rows.
        A row with an empty history is all zeros for a personal model.
        """
        return self._score(self.weights(histories, now), histories, now)

    def weights(self, histories: Histories, now: int) -> sp.csr_matrix:
        """Histories as weights under this model's config; see `weigh`."""
        return weigh(histories, self.n_items, now, self.config.tau_days, self.config.qty_power)

    def item_vectors(self) -> Float32 | None:
        """Shape (n_items, d) when `capabilities.vectors`."""
        return None

    def user_vectors(self, histories: Histories, now: int) -> Float32:
        """Shape (rows, d): `user_vectors @ item_vectors.T` are the scores. Only when `capabilities.vectors`."""
        raise UsageError(f"The model {self.name} has no vectors.")

    @abstractmethod
    def similar(self, items: Int32, k: int) -> tuple[Int32, Float32]:
        """The k items most like each of `items`, best first, never itself.

        Returns
        -------
        int32 codes and float32 scores, both of shape (len(items), k), padded with -1 and -inf.
        """

    def explain(self, history: Histories, item: int, now: int) -> list[tuple[int, float]]:
        """What in a single history speaks for `item`: (item code, contribution), strongest first."""
        raise UsageError(f"The model {self.name} does not explain.")

    def recommend(
        self,
        histories: Histories,
        k: int,
        now: int,
        *,
        exclude: sp.csr_matrix | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Int32, Float32]:
        """The k best items of each history by exact scoring, in blocks of rows.

        Parameters
        ----------
        exclude
            Shape (rows, n_items): non-zeros are left out (already bought, say).
        allowed
            Shape (n_items,): items that may be shown at all.

        Returns
        -------
        int32 codes and float32 scores, both of shape (rows, k), padded with -1 and -inf when there are fewer.
        """
        rows = len(histories)
        items = np.full((rows, k), -1, dtype=np.int32)
        scores = np.full((rows, k), -np.inf, dtype=np.float32)
        for start in range(0, rows, BLOCK):
            block = np.arange(start, min(start + BLOCK, rows))
            dense = self.score(histories.rows(block), now)
            if exclude is not None:
                mask_nonzeros(dense, exclude[block])
            if allowed is not None:
                dense[:, ~allowed] = -np.inf
            items[block], scores[block] = top_k(dense, k)
        return items, scores


def weigh(
    histories: Histories, n_items: int, now: int, tau_days: float = 0.0, qty_power: float = 0.0
) -> sp.csr_matrix:
    """Histories as a matrix of weights: type times quantity^power times exp(-age / tau), summed per item.

    Returns
    -------
    float32 CSR of shape (rows, n_items), sorted indices, only positive entries: what was returned or disliked as
    often as bought is as if it had never been.
    """
    weight = histories.kind_weight[histories.kind] if len(histories.kind) else np.zeros(0, np.float32)
    if qty_power:
        weight = weight * np.maximum(histories.qty, np.float32(1)) ** np.float32(qty_power)
    if tau_days:
        age = np.maximum(now - histories.ts, 0) / (tau_days * DAY)
        weight = weight * np.exp(-age).astype(np.float32)
    matrix = sp.csr_matrix(
        (weight.astype(np.float32), histories.item, histories.indptr), shape=(len(histories), n_items)
    )
    matrix.sum_duplicates()
    matrix.data[matrix.data < 1e-12] = 0.0
    matrix.eliminate_zeros()
    return matrix


def mask_nonzeros(dense: Float32, mask: sp.csr_matrix) -> None:
    """Set `dense` to -inf wherever `mask` has an entry, in place."""
    rows = np.repeat(np.arange(mask.shape[0]), np.diff(mask.indptr))
    dense[rows, mask.indices] = -np.inf


def top_k(dense: Float32, k: int) -> tuple[Int32, Float32]:
    """The k largest of every row, largest first, ties by lower code; -1 where a row has fewer finite entries."""
    rows, n = dense.shape
    items = np.full((rows, k), -1, dtype=np.int32)
    scores = np.full((rows, k), -np.inf, dtype=np.float32)
    short = min(k, n)
    if short == 0 or rows == 0:
        return items, scores
    part = np.argpartition(dense, n - short, axis=1)[:, n - short :] if short < n else np.tile(np.arange(n), (rows, 1))
    part = np.sort(part, axis=1)
    values = np.take_along_axis(dense, part, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best = np.take_along_axis(values, order, axis=1)
    scores[:, :short] = best
    items[:, :short] = np.where(np.isneginf(best), -1, np.take_along_axis(part, order, axis=1))
    return items, scores


def _typed(name: str, value: Any, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()]
        if isinstance(default, tuple):
            return tuple(value.split(",")) if isinstance(value, str) else tuple(value)
        if isinstance(default, int):
            number = float(value)
            if not number.is_integer():
                raise ValueError
            return int(number)
        return type(default)(value)
    except (ValueError, TypeError, KeyError):
        kind = type(default).__name__
        raise UsageError(f"{value!r} is no {kind}, which '{name}' needs.", f"Its default is {default}.") from None
