"""What comes next, by the visits of others that had the same in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..errors import NotEnoughData
from ..progress import SILENT, Progress
from ..schema import DAY, PURCHASE, Dataset, Float32, Histories, Int32, Int64
from ..splitting.interactions import moments, weigh
from .base import BLOCK, Capabilities, Model, ModelConfig, Range, Size, State, hyper
from .next_item import wanted_events
from .support.item_matrix import largest_of_rows, power
from .support.top_n import mask_nonzeros, top_k

_SESSIONS = 1_000_000  # only the newest are searched
_LONGEST = 100  # events of a session, its last ones
_PAIRS = 2_000_000  # pairs of a row and a session that are held at a time: some 100 MB
_RETURNS = 0.05  # of the events after a first one, from which on going back to an item is what visitors do
_SET = -1.0


@dataclass(frozen=True)
class SessionKNNConfig(ModelConfig):
    """Hyperparameters of `SessionKNN`."""

    neighbours: int = hyper(200, "Most alike sessions that vote.", Range(50, 1000, True), low=1, high=10_000)
    sample: int = hyper(1000, "Newest sessions of each item that are looked at.", low=1, high=100_000)
    recall: float = hyper(
        1.0, "Moments after which an event of a history counts 1/e.", Range(0.5, 20, True), low=0.1, high=1_000
    )
    age_days: float = hyper(0.0, "Days after which a session counts 1/e; 0 for no ageing.", high=36_500)
    spread: float = hyper(
        2.0,
        "Moments from what a session has in common with a history after which it says 1/e.",
        Range(0.5, 30, True),
        low=0.1,
        high=1_000,
    )
    backward: float = hyper(0.4, "What a session says of what was before, beside what came after.", Range(0, 1), high=1)
    length: float = hyper(0.5, "Long sessions count by their length to minus this.", Range(0, 1), high=2)
    popular: float = hyper(0.1, "Power of its popularity that a next item is divided by.", Range(0, 0.6), high=2)
    own: float = hyper(_SET, "1 where visitors go back to what they have seen; -1 finds out.", low=_SET, high=1)


class SessionKNN(Model):
    """Items of the sessions most like a history, nearer ones first (VS-KNN, STAN).

    After Ludewig and Jannach 2018 and Garg et al. 2019. A session n is as like a history as the sum of the weights of
    their common items, over its length^`length`, aged; each of the most alike says of its items exp(-(distance in
    moments to the newest common item) / `spread`).

    The model is one number for each item. It holds no session: they are the histories of the version it is in, which
    name nobody, age, and lose people who are erased or object, with all their visits; see `bound`.

    Parameters
    ----------
    said
        float32, shape (n_items,): what a vote for each item counts.
    sessions
        Where the neighbours are; None until `bound`, and then nobody has any.
    """

    name: ClassVar[str] = "session-knn"
    Config: ClassVar[type[ModelConfig]] = SessionKNNConfig
    capabilities: ClassVar[Capabilities] = Capabilities(explains=True, sequential=True)
    settled: ClassVar[tuple[str, ...]] = (*Model.settled, "own")
    item_axes: ClassVar[dict[str, tuple[int, ...]]] = {"said": (0,)}
    config: SessionKNNConfig

    def __init__(self, config: SessionKNNConfig, said: Float32, sessions: Sessions | None = None) -> None:
        super().__init__(config, len(said))
        self.said = said
        self.sessions = sessions

    @classmethod
    def cpu_seconds(cls, size: Size) -> float:
        return 2.0 + 4e-7 * size.events  # most of it for the lists that it is judged by

    @classmethod
    def fit(
        cls, data: Dataset, config: SessionKNNConfig, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        n_items = data.interactions.n_items
        with progress.stage("Fitting session-knn"):
            histories = wanted_events(data.interactions.histories, n_items)
            if config.own == _SET:
                config = replace(config, own=float(_goes_back(histories, n_items)))
            said = power(np.bincount(histories.item, minlength=n_items), -config.popular).astype(np.float32)
            return cls(config, said, Sessions.of(histories, n_items, config))

    def state(self) -> State:
        return State({"said": self.said})

    @classmethod
    def from_state(cls, config: SessionKNNConfig, n_items: int, state: State) -> Self:
        return cls(config, state.arrays["said"])

    def bound(self, histories: Histories) -> Self:
        """As `Model.bound`."""
        try:
            wanted = wanted_events(histories, self.n_items)
        except NotEnoughData:
            return type(self)(self.config, self.said)
        return type(self)(self.config, self.said, Sessions.of(wanted, self.n_items, self.config))

    def grow(self, data: Dataset, now: int) -> Self:
        """As `Model.grow`; what is new counts at once, items and sessions."""
        n_items = data.interactions.n_items
        histories = data.interactions.histories
        sold = np.bincount(histories.item[histories.kind_weight[histories.kind] > 0], minlength=n_items)
        said = power(sold, -self.config.popular).astype(np.float32)
        said[: self.n_items] = np.where(self.said > 0, self.said, said[: self.n_items])
        return type(self)(self.config, said).bound(histories)

    def weights(self, histories: Histories, now: int) -> sp.csr_matrix:
        """As `Model.weights`, and older moments of a history count less."""
        c = self.config
        return weigh(histories, self.n_items, c.tau_days, c.qty_power, c.repeat_power, c.order_power, c.recall)

    def _score(self, weights: sp.csr_matrix, histories: Histories, now: int) -> Float32:
        dense = self._votes(weights, now)
        if not self.config.own:
            dense[np.repeat(np.arange(len(dense)), np.diff(weights.indptr)), weights.indices] = 0
        return dense

    def _votes(self, weights: sp.csr_matrix, now: int) -> Float32:
        """What the neighbours of each row say of each item, shape (rows, n_items)."""
        dense = np.zeros(weights.shape, dtype=np.float32)
        if self.sessions is None or not weights.nnz:
            return dense
        blocks = self.sessions.blocks(weights)
        for some in blocks:
            part = weights if len(blocks) == 1 else weights[some]
            row, item, vote = self.sessions.votes(part, self.said, now)
            np.add.at(dense[some].reshape(-1), row * self.n_items + item, vote)
        return dense

    def similar(self, items: Int32, k: int) -> tuple[Int32, Float32]:
        """What the sessions that had each of `items` had near it."""
        ones = np.ones(len(items), dtype=np.float32)
        rows = sp.csr_matrix((ones, items, np.arange(len(items) + 1)), shape=(len(items), self.n_items))
        codes, scores = np.full((len(items), k), -1, np.int32), np.full((len(items), k), -np.inf, np.float32)
        now = self.sessions.newest if self.sessions else 0
        for start in range(0, len(items), BLOCK):
            block = slice(start, start + BLOCK)
            dense = self._votes(rows[block], now)
            mask_nonzeros(dense, rows[block])
            dense[dense <= 0] = -np.inf
            codes[block], scores[block] = top_k(dense, k)
        return codes, scores

    def explain(self, history: Histories, item: int, now: int) -> list[tuple[int, float]]:
        """By what each item of the history would say of it alone."""
        weights = self.weights(history, now)
        alone = sp.csr_matrix(
            (weights.data, weights.indices, np.arange(weights.nnz + 1)), shape=(weights.nnz, self.n_items)
        )
        said = self._votes(alone, now)[:, item]
        order = np.argsort(-said, kind="stable")
        return [(int(weights.indices[j]), float(said[j])) for j in order if said[j] > 0]


def clicks(data: Dataset) -> bool:
    """Whether there is more to go by than purchases: what was looked at in a visit, on the way to what is wanted."""
    h = data.interactions.histories
    return bool((~h.is_kind(PURCHASE) & (h.kind_weight[h.kind] > 0)).any())


@dataclass(frozen=True)
class Sessions:
    """Sessions, and which of them hold an item: an inverted index.

    Parameters
    ----------
    indptr, item, place, weight
        Session s is the slice indptr[s]:indptr[s+1] of item codes, of their places (moments, from 0 on) and of what
        their events weigh.
    ts
        int64, shape (sessions,): when each ended, in epoch seconds.
    begin, session, at
        Item i is in the sessions `session[begin[i]:begin[i+1]]`, newest first and no more than the model looks at; `at`
        is its last place in each.
    """

    config: SessionKNNConfig
    indptr: Int64
    item: Int32
    place: Int32
    weight: Float32
    ts: Int64
    begin: Int64
    session: Int32
    at: Int32

    @staticmethod
    def of(histories: Histories, n_items: int, config: SessionKNNConfig) -> Sessions:
        """The newest sessions among some histories, of events that were wanted (see `wanted_events`)."""
        histories = _newest(histories)
        moment, row = moments(histories)
        first = np.searchsorted(row, np.arange(len(histories)))
        place = (moment - first[histories.row_of_event]).astype(np.int32)
        # By item, newer sessions first, and of one session the last place first.
        session = histories.row_of_event
        order = np.lexsort((-place, -session, histories.item))
        item, session, place_of = histories.item[order], session[order], place[order]
        new = np.ones(len(item), dtype=np.bool_)
        new[1:] = (item[1:] != item[:-1]) | (session[1:] != session[:-1])
        item, session, place_of = item[new], session[new], place_of[new]
        start = np.searchsorted(item, np.arange(n_items))
        some = np.arange(len(item)) - start[item] < config.sample
        begin = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(item[some], minlength=n_items))])
        return Sessions(
            config,
            histories.indptr,
            histories.item,
            place,
            histories.kind_weight[histories.kind],
            histories.ts[histories.indptr[1:] - 1],
            begin,
            session[some],
            place_of[some],
        )

    @property
    def newest(self) -> int:
        """Epoch seconds of the end of the last session."""
        return int(self.ts[-1]) if len(self.ts) else 0

    def blocks(self, weights: sp.csr_matrix) -> list[slice]:
        """Rows from and to whose sessions fit memory; at least one row."""
        if weights.shape[0] == 1:
            return [slice(0, 1)]
        held = self.begin[weights.indices + 1] - self.begin[weights.indices]
        cost = np.concatenate([np.zeros(1, np.int64), np.cumsum(held)])[weights.indptr]
        blocks, start = [], 0
        while start < weights.shape[0]:
            stop = max(int(np.searchsorted(cost, cost[start] + _PAIRS, side="right")) - 1, start + 1)
            blocks.append(slice(start, stop))
            start = stop
        return blocks

    def votes(
        self, weights: sp.csr_matrix, said: Float32, now: int
    ) -> tuple[NDArray[np.integer], Int32, NDArray[np.floating]]:
        """What the neighbours of each row say: rows, items and votes, to be added up."""
        row, session, alike, at, common = self._neighbours(weights, now)
        take, length = _slices(self.indptr[session], self.indptr[session + 1])
        item = self.item[take]
        apart = self.place[take] - np.repeat(at, length)
        near = np.exp((1 - np.abs(apart)) / np.float32(self.config.spread)).astype(np.float32)
        near *= np.where(apart >= 0, np.float32(1), np.float32(self.config.backward))
        near[(apart == 0) & (item == np.repeat(common, length))] = 0  # it is what was looked for
        vote = np.repeat(alike, length) * near * self.weight[take] * said[item]
        return np.repeat(row, length), item, vote

    def _neighbours(
        self, weights: sp.csr_matrix, now: int
    ) -> tuple[NDArray[np.integer], NDArray[np.integer], Float32, Int32, Int32]:
        """The most alike sessions of each row: rows, sessions, how alike; place and code of the newest common item."""
        # Weaker items first, so that the last of several common ones is what the history ends with.
        order = np.lexsort((weights.data, np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))))
        item = weights.indices[order]
        take, length = _slices(self.begin[item], self.begin[item + 1])
        row = np.repeat(np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr)), length)
        session = self.session[take]
        key = row * len(self.ts) + session
        order_of_key = np.argsort(key, kind="stable")
        key = key[order_of_key]
        begins = np.flatnonzero(np.concatenate([np.ones(min(len(key), 1), np.bool_), key[1:] != key[:-1]]))
        ends = np.append(begins[1:], len(key))[: len(begins)] - 1
        common = np.repeat(weights.data[order], length)[order_of_key]
        alike = np.add.reduceat(common, begins) if len(begins) else common
        row, session = key[begins] // len(self.ts), key[begins] % len(self.ts)
        alike = alike * (self.indptr[session + 1] - self.indptr[session]).astype(np.float32) ** np.float32(
            -self.config.length
        )
        if self.config.age_days:
            age = np.maximum(now - self.ts[session], 0) / (self.config.age_days * DAY)
            alike = alike * np.exp(-np.minimum(age, 60)).astype(np.float32)
        newest = order_of_key[ends]
        at, code = self.at[take[newest]], np.repeat(item, length)[newest]
        if weights.shape[0] == 1:  # as one visitor asks
            least = len(alike) - self.config.neighbours
            best = np.arange(len(alike)) if least <= 0 else np.argpartition(-alike, self.config.neighbours - 1)
            best = np.sort(best[: self.config.neighbours])
        else:
            # Which pair it is stands in the place of the column, so that what is left over still knows.
            pointers = np.searchsorted(row, np.arange(weights.shape[0] + 1))
            shape = (weights.shape[0], max(len(alike), 1))
            pairs = sp.csr_matrix((alike, np.arange(len(alike)), pointers), shape=shape)
            best = largest_of_rows(pairs, self.config.neighbours).indices
        return row[best], session[best], alike[best].astype(np.float32), at[best], code[best]


def _newest(histories: Histories) -> Histories:
    """The newest sessions of two events and more, each with its last events; oldest first."""
    length = np.diff(histories.indptr)
    if (length > _LONGEST).any():
        ends = np.repeat(histories.indptr[1:], length)
        histories = histories.where(ends - np.arange(histories.n_events) <= _LONGEST)
        length = np.diff(histories.indptr)
    several = np.flatnonzero(length > 1)
    ended = histories.ts[histories.indptr[several + 1] - 1]
    return histories.rows(several[np.argsort(ended, kind="stable")][-_SESSIONS:])


def _slices(start: NDArray[np.integer], stop: NDArray[np.integer]) -> tuple[Int64, NDArray[np.integer]]:
    """All positions from each start to its stop, one slice after the other, and the length of each."""
    length = stop - start
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(length)])
    return np.arange(total[-1]) + np.repeat(start - total[:-1], length), length


def _goes_back(histories: Histories, n_items: int) -> bool:
    """Whether events after the first of a history often are of an item that it has already."""
    key = histories.row_of_event.astype(np.int64) * n_items + histories.item
    later = histories.n_events - np.count_nonzero(np.diff(histories.indptr))
    return bool(histories.n_events - len(np.unique(key)) > _RETURNS * max(int(later), 1))
