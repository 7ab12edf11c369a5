"""The contract of a model: a history in, scored items out.

A model is fitted once and is then an immutable object. It knows items, never customers: the caller hands over the
history, so a known customer, a guest, a basket and a stranger with two clicks go one way, and forgetting a person
needs nothing from the model. Weighting of events by type, quantity and age is done here, once, in front of all.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, get_type_hints

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..errors import UsageError
from ..progress import SILENT, Progress
from ..schema import Dataset, Float32, Histories, Int32
from ..splitting.interactions import weigh
from ..typed_values import Bounds, typed
from .support.top_n import mask_nonzeros, top_k

BLOCK = 1024  # histories scored densely at a time, at most
_BLOCK_SCORES = 30_000_000  # and scores in a block: 120 MB, three times over while the best are sorted out


@dataclass(frozen=True)
class Range:
    """Where tuning may look for a hyperparameter: numbers between two bounds, or one of some choices."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()


def hyper(default: Any, help: str, space: Range | None = None, *, low: float = 0.0, high: float = math.inf) -> Any:
    """A field of a `ModelConfig`.

    Parameters
    ----------
    default, help
        Its value where none is given, and one line on what it does.
    space
        Where tuning looks; None where it leaves the default.
    low, high
        What a number may be at all. Beyond lie arrays that fit into no memory, and fits that end in nan.
    """
    metadata = {"help": help, "space": space, "low": low, "high": high}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def ageing(days: float, *, least: float = 5) -> Any:
    """Declare `tau_days` with its default, and the fastest ageing that tuning may try."""
    help = "Days after which an event of a history counts 1/e when scoring; 0 for no ageing."
    return hyper(days, help, Range(least, 1000, True), high=36_500)


@dataclass(frozen=True)
class ModelConfig:
    """Hyperparameters that every model has; each model adds its own."""

    tau_days: float = ageing(0.0, least=10)
    qty_power: float = hyper(0.0, "Weight grows with quantity to this power; 0 ignores quantity.", high=2)
    repeat_power: float = hyper(0.0, "Weight grows with the number of events of the same item to this power.", high=2)
    order_power: float = hyper(
        0.0,
        "Weight falls with the number of later moments of the same history, to minus this, when scoring.",
        Range(0, 1.5),
        high=5,
    )

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """A config from names and values (strings allowed), refusing names it does not know and values out of bounds.

        Raises
        ------
        UsageError
        """
        known = {f.name: f for f in fields(cls)}
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                model = cls.__name__.removesuffix("Config")
                raise UsageError(f"{model} has no setting '{name}'.", f"It has: {', '.join(known)}.")
            given[name] = _checked(known[name], get_type_hints(cls)[name], value)
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
    strangers
        Who has no history gets scores, too.
    """

    vectors: bool = False
    sequential: bool = False
    cold_items: bool = False
    explains: bool = False
    personal: bool = True
    strangers: bool = False


@dataclass(frozen=True)
class Size:
    """How much there is to fit: what the cost of a fit is told from.

    Attributes
    ----------
    events, users, items
        How many; users with a history, items that occur in one.
    pairs
        Pairs of events of the same history, both ways.
    """

    events: int
    users: int
    items: int
    pairs: float

    @staticmethod
    def of(data: Dataset) -> Size:
        """The size of what a model would be fitted on."""
        histories = data.interactions.histories
        length = np.diff(histories.indptr).astype(np.float64)
        sold = int(np.count_nonzero(np.bincount(histories.item, minlength=1)))
        return Size(histories.n_events, int(np.count_nonzero(length)), sold, float(length @ length))


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
    settled: ClassVar[tuple[str, ...]] = ("tau_days", "order_power")  # hyperparameters found out once, not at each fit
    needs: ClassVar[str] = ""  # optional library to import, beyond what is always installed
    slow: ClassVar[bool] = (
        False  # takes minutes, so that it is compared where it is named, and tuned where time is left
    )
    # Which axes of each array of `state` run over items; "indptr" for the row pointer of a sparse matrix over items.
    item_axes: ClassVar[Mapping[str, tuple[int, ...] | Literal["indptr"]]] = {}

    members: Mapping[str, Model]  # the models that this one is made of, by label; none for most

    def __init__(self, config: ModelConfig, n_items: int) -> None:
        self.members = {}
        self.config = config
        self.n_items = n_items

    @classmethod
    def affordable(cls, data: Dataset) -> bool:
        """Whether data of this size can be fitted in some minutes on two cores and within four gigabytes."""
        return True

    @classmethod
    def cpu_seconds(cls, size: Size) -> float:
        """About what a fit at the defaults takes, in seconds of one core."""
        return 4e-6 * size.events + 3e-8 * size.pairs

    @classmethod
    @abstractmethod
    def fit(cls, data: Dataset, config: Any, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT) -> Self:
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

    @classmethod
    def refit(
        cls, data: Dataset, config: Any, past: Model, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        """As `fit`, by way of a model that was fitted on a part of `data`, where that is quicker.

        Parameters
        ----------
        past
            Of the same recipe, whose items are the first of those in `data`.
        """
        return cls.fit(data, config, seed=seed, threads=threads, progress=progress)

    @abstractmethod
    def state(self) -> State:
        """Everything needed to be made again by `from_state`."""

    @classmethod
    @abstractmethod
    def from_state(cls, config: Any, n_items: int, state: State) -> Self:
        """The model that `state` came from; arrays may be memory-mapped and read-only."""

    def bound(self, histories: Histories) -> Self:
        """This model with the histories that it looks things up in, where it does: itself, where it holds all it knows.

        A model holds nothing of any one person. One that needs what single visitors did is given the histories of the
        version that it is in, from which people who are erased, object or are too old are gone.
        """
        return self

    def grow(self, data: Dataset, now: int) -> Self:
        """This model for a catalogue that has gained items at its end, without fitting it again.

        Parameters
        ----------
        data
            Everything known now. Codes below `n_items` mean what they meant at fitting; `data` has as many items
            or more.
        now
            Epoch seconds that ages are counted from.

        Returns
        -------
        The grown model. Items it can say nothing of score zero until the next fit.
        """
        n_items = data.interactions.n_items
        state = self.state()
        arrays = {
            name: lengthen(array, self.item_axes.get(name, ()), self.n_items, n_items)
            for name, array in state.arrays.items()
        }
        return type(self).from_state(self.config, n_items, State(arrays, state.meta))

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
        Exactly 0 says that the model has no opinion of the item; a row with an empty history is all zeros for a
        personal model.
        """
        return self._score(self.weights(histories, now), histories, now)

    def weights(self, histories: Histories, now: int) -> sp.csr_matrix:
        """Histories as weights under this model's config; see `weigh`."""
        config = self.config
        powers = config.qty_power, config.repeat_power, config.order_power
        return weigh(histories, self.n_items, config.tau_days, *powers)

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
        Items with a score of exactly 0 are not recommended: a model without an opinion leaves the place to others.
        """
        rows = len(histories)
        items = np.full((rows, k), -1, dtype=np.int32)
        scores = np.full((rows, k), -np.inf, dtype=np.float32)
        step = min(BLOCK, max(_BLOCK_SCORES // max(self.n_items, 1), 16))
        for start in range(0, rows, step):
            block = np.arange(start, min(start + step, rows))
            dense = self.score(histories.rows(block), now)
            dense[dense == 0] = -np.inf
            if exclude is not None:
                mask_nonzeros(dense, exclude[block])
            if allowed is not None:
                dense[:, ~allowed] = -np.inf
            items[block], scores[block] = top_k(dense, k)
        return items, scores


def lengthen(array: NDArray[Any], axes: tuple[int, ...] | Literal["indptr"], old: int, new: int) -> NDArray[Any]:
    """`array` with `new` instead of `old` items along `axes`; the added entries are zero (rows, for a row pointer)."""
    if not axes or new == old:
        return array
    if axes == "indptr":
        return np.concatenate([array, np.full(new - old, array[-1], dtype=array.dtype)])
    width = [(0, new - old) if axis in axes else (0, 0) for axis in range(array.ndim)]
    return np.pad(array, width)


def _checked(hyperparameter: Field[Any], kind: Any, value: Any) -> Any:
    """The value as its type, inside its bounds; nan and infinity are outside of all."""
    space = hyperparameter.metadata["space"]
    bounds = Bounds(hyperparameter.metadata["low"], hyperparameter.metadata["high"], space.choices if space else ())
    try:
        return typed(kind, value, bounds)
    except ValueError as e:
        default = hyperparameter.default if hyperparameter.default is not MISSING else {}
        raise UsageError(f"{hyperparameter.name} {e}.", f"Its default is {default}.") from None
