"""Who is asked for what: one row of a task is a history, and what came after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..schema import PURCHASE, Histories, Int64
from .holdout import Split, had, without

_LONGEST = 200  # events of a history before the one that is asked for


@dataclass(frozen=True)
class Task:
    """Which users are judged, by what.

    Parameters
    ----------
    users
        int64 user codes, shape (users,); where every event or basket is asked for, one for each.
    histories
        Their pasts.
    wanted, seen
        Binary CSR, shape (users, n_items): what they went on to get; what must not be shown (None with repeats).
    now
        Epoch seconds of the newest event the models know.
    """

    users: Int64
    histories: Histories
    wanted: sp.csr_matrix
    seen: sp.csr_matrix | None
    now: int

    @staticmethod
    def of(split: Split, *, max_users: int = 20_000, seed: int = 42, repeat: bool = False) -> Task:
        """The task of a split, over at most `max_users` (a seeded sample)."""
        if split.by == "next":
            return _Joined.of(split).every_next(max_users, seed)
        if split.by == "basket":
            return _Joined.of(split).every_basket(max_users, seed, repeat)
        wanted = split.wanted(repeat=repeat)
        users = split.judged(wanted, max_users, seed)
        seen = None if repeat else split.seen()[users]
        return Task(users, split.train.interactions.histories.rows(users), wanted[users], seen, split.now)

    @property
    def relevant(self) -> Int64:
        """Wanted items of each user, int64."""
        return np.asarray(np.diff(self.wanted.indptr), dtype=np.int64)

    def rows(self, rows: NDArray[np.integer]) -> Task:
        """The task of some of the users."""
        seen = None if self.seen is None else self.seen[rows]
        return Task(self.users[rows], self.histories.rows(rows), self.wanted[rows], seen, self.now)


@dataclass(frozen=True)
class _Joined:
    """Past and future of each row in one, and which events are of the future.

    Parameters
    ----------
    begin
        int64, shape (rows,): the first event of each row.
    """

    split: Split
    whole: Histories
    later: NDArray[np.bool_]
    begin: Int64

    @staticmethod
    def of(split: Split) -> _Joined:
        past, future = split.train.interactions.histories, split.future
        row = np.concatenate([past.row_of_event, future.row_of_event])
        order = np.argsort(row, kind="stable")  # the past of a row stays before its future
        indptr = np.searchsorted(row[order], np.arange(len(past) + 1))
        item, ts, kind, qty = (
            np.concatenate([getattr(past, name), getattr(future, name)])[order]
            for name in ("item", "ts", "kind", "qty")
        )
        whole = Histories(indptr.astype(np.int64), item, ts, kind, qty, future.kinds, future.kind_weight)
        return _Joined(split, whole, order >= past.n_events, whole.indptr[:-1])

    def every_next(self, most: int, seed: int) -> Task:
        """Each event of the future after what was before it in the same history; what was had already counts, too.

        As sessions are judged in the literature (Ludewig and Jannach 2018): one row for each prefix.
        """
        h, row = self.whole, self.whole.row_of_event
        asked = self.later & (np.arange(len(row)) > self.begin[row]) & (h.kind_weight[h.kind] > 0)
        target = _some(np.flatnonzero(asked), most, seed)
        shape = (len(target), self.split.train.interactions.n_items)
        ones = np.ones(len(target), np.float32)
        wanted = sp.csr_matrix((ones, h.item[target], np.arange(len(target) + 1)), shape=shape)
        pasts = self._before(target, _LONGEST)
        return Task(row[target].astype(np.int64), pasts, wanted, None, self.split.now)

    def every_basket(self, most: int, seed: int, repeat: bool) -> Task:
        """What was bought at each moment of the future, after all that was before it in the same history.

        As baskets are judged in the literature (Li et al. 2023). Where nothing is bought, whatever has a weight counts.
        """
        h, row, n_items = self.whole, self.whole.row_of_event, self.split.train.interactions.n_items
        counts = h.is_kind(PURCHASE) & self.later
        counts = counts if counts.any() else self.later & (h.kind_weight[h.kind] > 0)
        first = np.ones(len(row), dtype=np.bool_)
        first[1:] = (np.diff(h.ts) != 0) | (np.diff(row) != 0)
        basket = np.cumsum(first) - 1
        start = np.flatnonzero(first)
        bought = np.bincount(basket, counts, minlength=len(start)) > 0
        asked: NDArray[np.integer] = np.flatnonzero(bought & (start > self.begin[row[start]]))
        # Of a copy: duplicates are summed in place, which would sort the items of the histories themselves.
        held = counts.astype(np.float32), h.item.copy(), np.append(start, len(row))
        cells = sp.csr_matrix(held, shape=(len(start), n_items))
        cells.sum_duplicates()
        cells.eliminate_zeros()
        cells.data[:] = 1
        wanted = cells[asked]
        if not repeat:
            # First whom something is wanted of, because what they had takes their whole histories.
            asked = _some(asked, 2 * most, seed)
            wanted = without(cells[asked], had(self._before(start[asked]), n_items))
            asked, wanted = asked[np.diff(wanted.indptr) > 0], wanted[np.diff(wanted.indptr) > 0]
        chosen = _some(np.arange(len(asked)), most, seed)
        target = start[asked[chosen]]
        pasts = self._before(target)
        seen = None if repeat else had(pasts, n_items)
        return Task(row[target].astype(np.int64), pasts, wanted[chosen], seen, self.split.now)

    def _before(self, target: NDArray[np.integer], longest: int = 0) -> Histories:
        """What was in the same row before each of these events, no more than its last `longest`."""
        h = self.whole
        start = self.begin[h.row_of_event[target]]
        if longest:
            start = np.maximum(start, target - longest)
        length = target - start
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(length)])
        take = np.arange(indptr[-1]) + np.repeat(start - indptr[:-1], length)
        return Histories(indptr, h.item[take], h.ts[take], h.kind[take], h.qty[take], h.kinds, h.kind_weight)


def _some(chosen: NDArray[np.integer], most: int, seed: int) -> NDArray[np.integer]:
    if len(chosen) <= most:
        return chosen
    return np.sort(np.random.default_rng(seed).choice(chosen, most, replace=False))
