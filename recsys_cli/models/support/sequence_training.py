"""Training of sequence models: sampled softmax at every place, until later events are foreseen no better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...errors import NotEnoughData
from ...progress import Progress
from ...schema import Float32, Histories, Int32, Int64
from ...splitting.usable_time import usable_time
from .gradients import Adam, Tracked, add_rows, rows

if TYPE_CHECKING:
    from .sequence_model import SequenceConfig, SequenceModel

_SHORTEST = 8  # places of the shortest bucket
_LEAST_STEPS = 30  # between two looks at how it does: an epoch of a small shop is a few steps
_PATIENCE, _GAIN = 4, 1.001  # looks without a gain, and what is one
_ASKED = 2_000  # later events that it is judged by
_LATER = 0.1  # share of the events that are later ones
_AGAIN = 0.25  # of the steps that were best, taken once more with the later events among what is learned
_TRILLION = 1e12
OF_FIT = "fit."  # begins the names of parameters that are not needed afterwards
_ITEMS = f"{OF_FIT}items"  # the items' own vectors
_STEPS = 40  # an epoch, about
_BLIND = 20  # epochs, where nothing later is there to be foreseen

M = TypeVar("M", bound="SequenceModel")


class Batch(NamedTuple):
    """Pieces of histories, padded to one length with their first step.

    Parameters
    ----------
    before, after
        int32, shape (rows, length): items, and what came next.
    counts
        bool, shape (rows, length): what is learned; not the padding.
    """

    before: Int32
    after: Int32
    counts: NDArray[np.bool_]


@dataclass(frozen=True)
class Pieces:
    """Histories cut into pieces of at most `longest` steps, and which steps are later ones.

    Parameters
    ----------
    item, later
        Of every event, history after history; `later` is bool.
    start, steps
        int64: the first event of each piece, and how many steps from one event to the next it has.
    """

    item: Int32
    later: NDArray[np.bool_]
    start: Int64
    steps: Int64

    @staticmethod
    def of(histories: Histories, longest: int, rng: np.random.Generator) -> Pieces:
        """All steps; of one item twice in a row the first."""
        row, item = histories.row_of_event, histories.item
        new = np.ones(len(item), dtype=np.bool_)
        new[1:] = (np.diff(row) != 0) | (np.diff(item) != 0)
        histories = histories.where(new)
        steps = np.maximum(np.diff(histories.indptr) - 1, 0)
        pieces = -(-steps // longest)
        first = np.concatenate([np.zeros(1, np.int64), np.cumsum(pieces)])
        number = np.arange(first[-1]) - np.repeat(first[:-1], pieces)
        # The last piece of a history is whole: the rest is at its beginning.
        left = np.repeat(steps, pieces) - (np.repeat(pieces, pieces) - number) * longest
        begin = np.repeat(histories.indptr[:-1], pieces) + np.maximum(left, 0)
        found = Pieces(histories.item, _later(histories, rng), begin, np.where(left < 0, left + longest, longest))
        # Where most is later, as after a shop's first sale, there is nothing to tell it from.
        few = np.count_nonzero(found.later[found.targets()]) <= found.n_steps / 2
        return found if few else replace(found, later=np.zeros_like(found.later))

    @property
    def n_steps(self) -> int:
        return int(self.steps.sum())

    def targets(self) -> Int64:
        """The event that each step leads to, piece after piece."""
        return np.arange(1, self.n_steps + 1) + np.repeat(self.start - np.cumsum(self.steps) + self.steps, self.steps)

    def batches(self, size: int, rng: np.random.Generator, *, all_steps: bool) -> Iterator[Batch]:
        """Everything once, in random order, in batches of about `size` places, each with pieces of like length."""
        bucket = np.ceil(np.log2(np.maximum(self.steps, _SHORTEST))).astype(np.int64)
        parts: list[Int64] = []
        for number in np.unique(bucket):
            inside = rng.permutation(np.flatnonzero(bucket == number))
            rows = max(size >> number, 1)
            parts += [inside[at : at + rows] for at in range(0, len(inside), rows)]
        for at in rng.permutation(len(parts)):
            yield self._batch(parts[at], all_steps)

    def _batch(self, chosen: Int64, all_steps: bool) -> Batch:
        steps = self.steps[chosen][:, None]
        step = np.arange(int(steps.max()))
        place = self.start[chosen][:, None] + np.where(step < steps, step, 0)
        counts = (step < steps) & (all_steps | ~self.later[place + 1])
        return Batch(self.item[place], self.item[place + 1], counts)

    def questions(self, rng: np.random.Generator) -> tuple[Int32, Int64, Int32]:
        """Later items with what was before each: padded items, their lengths, and what came next."""
        target, begin = self.targets(), np.repeat(self.start, self.steps)
        asked = np.flatnonzero(self.later[target])
        if len(asked) > _ASKED:
            asked = np.sort(rng.choice(asked, _ASKED, replace=False))
        length = target[asked] - begin[asked]
        place = begin[asked][:, None] + np.arange(int(length.max(initial=1)))
        held = self.item[np.minimum(place, len(self.item) - 1)]
        return np.where(np.arange(held.shape[1]) < length[:, None], held, 0), length, self.item[target[asked]]


def _later(histories: Histories, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The last tenth of time; where times are not reliable, the last event of some histories."""
    if usable_time(histories):
        ts = histories.ts
        return np.asarray(ts > np.quantile(ts, 1 - _LATER, method="lower"))
    last = np.zeros(histories.n_events, dtype=np.bool_)
    filled = np.flatnonzero(np.diff(histories.indptr) > 1)
    last[histories.indptr[1:][rng.permutation(filled)[: len(filled) // 2]] - 1] = True
    return last


def train(
    cls: type[M], histories: Histories, features: sp.csr_matrix, config: SequenceConfig, seed: int, progress: Progress
) -> M:
    """A fitted model of this class.

    Parameters
    ----------
    histories
        What was wanted, see `next_item.wanted_events`.
    features
        Of the items of the whole catalogue, see `SequenceModel.features`.

    Raises
    ------
    NotEnoughData
        No history has two different items.
    """
    rng = np.random.default_rng(seed)
    pieces = Pieces.of(histories, config.longest, rng)
    if not len(pieces.steps):
        raise NotEnoughData(
            f"The model {cls.name} learns what comes next, and no history has two different items.",
            "Ingest a longer stretch of time, or train another model.",
        )
    with progress.stage(f"Fitting {cls.name}") as advance:
        return _Training(cls, config, pieces, features, rng).run(advance)


class _Training(Generic[M]):
    """One fit: its parameters, and how far it got."""

    def __init__(
        self,
        cls: type[M],
        config: SequenceConfig,
        pieces: Pieces,
        features: sp.csr_matrix,
        rng: np.random.Generator,
    ) -> None:
        self.cls, self.config, self.rng, self.features = cls, config, rng, features
        self.sold, code = np.unique(pieces.item, return_inverse=True)  # only what was sold has vectors of its own
        self.said = features[self.sold]
        self.pieces = replace(pieces, item=code.astype(np.int32))
        items = (0.05 * rng.standard_normal((len(self.sold), config.factors))).astype(np.float32)
        self.adam = Adam({_ITEMS: items, **cls.begin(config, rng, features.shape[1])}, config.learning_rate)
        self.negatives = Negatives.of(self.pieces.item, len(self.sold), config.negatives, in_batch=cls.in_batch)
        # As many places at a time as leave some steps in an epoch.
        self.size = 1 << int(np.clip(round(math.log2(pieces.n_steps / _STEPS)), 6, 11))

    def run(self, advance: Callable[[int], None]) -> M:
        """Train until the later events are foreseen no better, then a little with them."""
        questions = self.pieces.questions(self.rng)
        blind = not len(questions[0])
        look = max(self.pieces.n_steps // self.size, _LEAST_STEPS)
        limit = max(int(self.config.work * _TRILLION / self._work_of_step() / (1 + _AGAIN)), 1)
        limit = min(limit, _BLIND * look) if blind else limit
        best, value, looks = self.adam.copy(), 0.0, 0
        while self.adam.steps < limit and looks < _PATIENCE:
            self._learn(min(look, limit - self.adam.steps), all_steps=blind)
            found = float(self.adam.steps) if blind else self._foreseen(*questions)
            looks = 0 if found > value * _GAIN else looks + 1
            if found > value:
                best, value = self.adam.copy(), found
            advance(1)
        self.adam = best
        if not blind:
            self._learn(math.ceil(best.steps * _AGAIN), all_steps=True)
        return self._whole()

    def _work_of_step(self) -> float:
        """Multiplications, forwards and twice backwards."""
        place = self.cls.multiplications(self.config, float(self.pieces.steps.mean()))
        return 3 * self.size * (place + self.negatives.number * self.config.factors)

    def _learn(self, steps: int, *, all_steps: bool) -> None:
        while steps:
            for batch in self.pieces.batches(self.size, self.rng, all_steps=all_steps):
                self._step(batch)
                steps -= 1
                if not steps:
                    return

    def _step(self, batch: Batch) -> None:
        after = batch.after[batch.counts]
        if not len(after):
            return
        drawn, log_expected = self.negatives.draw(self.rng, after)
        named = np.concatenate([batch.before.reshape(-1), after, drawn])
        codes, named = np.unique(named, return_inverse=True)
        before, to, against = np.split(named, [batch.before.size, batch.before.size + len(after)])
        network = {name: Tracked(array) for name, array in self.adam.parameters.items() if name != _ITEMS}
        own = Tracked(self.adam.parameters[_ITEMS][codes])
        items = self.cls.items(network, own, self.said[codes])
        hidden = self.cls.encode(network, rows(items, before.reshape(batch.before.shape)), self.config, self._drop)
        chosen = rows(hidden.reshape(-1, hidden.shape[-1]), np.flatnonzero(batch.counts))
        loss = sampled_softmax(chosen, items, to, against, log_expected)
        self.adam.step(loss.gradients({**network, _ITEMS: own}), {_ITEMS: codes})

    def _drop(self, layer: Any) -> Any:
        share = np.float32(self.config.dropout)
        kept = self.rng.random(layer.shape, dtype=np.float32) >= share
        return layer * (kept / (1 - share))

    def _model(self) -> M:
        """Of what was sold."""
        known = self.adam.parameters
        return self.cls(self.config, self.cls.items(known, known[_ITEMS], self.said), self._network())

    def _network(self) -> dict[str, Float32]:
        return {name: a for name, a in self.adam.parameters.items() if not name.startswith(OF_FIT)}

    def _whole(self) -> M:
        """Of the whole catalogue; what was not sold has what is said of it."""
        own = np.zeros((self.features.shape[0], self.config.factors), dtype=np.float32)
        own[self.sold] = self.adam.parameters[_ITEMS]
        trained = np.zeros(len(own), dtype=np.bool_)
        trained[self.sold] = True
        return self.cls(self.config, self.cls.items(self.adam.parameters, own, self.features), self._network(), trained)

    def _foreseen(self, items: Int32, length: Int64, wanted: Int32) -> float:
        """Mean of 1 / log2(1 + rank) of what came next."""
        model = self._model()
        scores = model.read(items, length) @ model.item_factors.T
        rank = 1 + (scores > scores[np.arange(len(wanted)), wanted][:, None]).sum(axis=1)
        return float((1 / np.log2(1 + rank)).mean())


@dataclass(frozen=True)
class Negatives:
    """What next items are set against: some by popularity^.75, or all, or those of the batch.

    Parameters
    ----------
    upto
        Summed chances of the items, float64; None for all of them, and for those of the batch.
    log_expected
        Logarithm of how often each is drawn on average; of those of the batch, for each that is drawn.
    """

    n_items: int
    number: int
    upto: NDArray[np.float64] | None
    log_expected: Float32
    in_batch: bool = False

    @staticmethod
    def of(item: Int32, n_items: int, number: int, *, in_batch: bool = False) -> Negatives:
        if in_batch:
            share = np.log(np.maximum(np.bincount(item, minlength=n_items) / max(len(item), 1), 1e-9))
            return Negatives(n_items, number, None, share.astype(np.float32), in_batch=True)
        if number >= n_items:
            return Negatives(n_items, n_items, None, np.zeros(n_items, np.float32))
        chance = np.bincount(item, minlength=n_items) ** 0.75
        chance /= chance.sum()
        return Negatives(n_items, number, np.cumsum(chance), np.log(number * chance).astype(np.float32))

    def draw(self, rng: np.random.Generator, after: Int32) -> tuple[Int32, Float32]:
        """Item codes, and the logarithm of how often each is drawn on average: what makes up for the choice.

        `after` are the next items of the batch.
        """
        if self.in_batch:
            drawn = rng.permutation(after)[: self.number]
            return drawn, self.log_expected[drawn] + np.float32(math.log(len(drawn)))
        if self.upto is None:
            return np.arange(self.n_items, dtype=np.int32), self.log_expected
        drawn = np.searchsorted(self.upto, rng.random(self.number) * self.upto[-1], side="right").astype(np.int32)
        return drawn, self.log_expected[drawn]


def sampled_softmax(
    hidden: Tracked, items: Tracked, after: NDArray[np.integer], drawn: NDArray[np.integer], log_expected: Float32
) -> Tracked:
    """Mean cross-entropy of what came next among the drawn items, which stand for all (Jean et al. 2015).

    Parameters
    ----------
    hidden
        Shape (n, d).
    items
        Vectors, of which `after` (n,) and `drawn` (k,) are rows.
    log_expected
        Logarithm of how often each of `drawn` is drawn on average, shape (k,).
    """
    h, right, wrong = hidden.value, items.value[after], items.value[drawn]
    score = h @ wrong.T - log_expected
    score[drawn == after[:, None]] = -np.inf
    own = (h * right).sum(axis=1)
    top = np.maximum(own, score.max(axis=1))
    score = np.exp(score - top[:, None])
    own_share = np.exp(own - top)
    total = score.sum(axis=1) + own_share
    loss = np.log(total) + top - own
    share = score / (total * len(h))[:, None]
    missed = ((own_share / total - 1) / np.float32(len(h)))[:, None]

    def to_hidden(g: Float32) -> Float32:
        return np.asarray(g * (share @ wrong + missed * right), dtype=np.float32)

    def to_items(g: Float32) -> Float32:
        whole = np.zeros_like(items.value)
        add_rows(whole, np.concatenate([after, drawn]), np.concatenate([missed * h, share.T @ h]))
        return g * whole

    return Tracked(np.asarray(loss.mean()), (hidden, to_hidden), (items, to_items))
