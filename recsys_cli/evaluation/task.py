"""Who is asked, and what a model would have shown them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..models.base import Model, contains
from ..schema import Histories, Int32, Int64
from ..splitting.holdout import Split

_LONGEST = 200  # events of a history before the one that is asked for


@dataclass(frozen=True)
class Task:
    """Which users are judged, by what.

    Parameters
    ----------
    users
        int64 user codes, shape (users,); where every event is asked for, one for each.
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
            return _every_next(split, max_users, seed)
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


def _every_next(split: Split, most: int, seed: int) -> Task:
    """Each event of the future after what was before it in the same history; what was had already counts, too.

    As sessions are judged in the literature (Ludewig and Jannach 2018): one row for each prefix.
    """
    past, future = split.train.interactions.histories, split.future
    row = np.concatenate([past.row_of_event, future.row_of_event])
    order = np.argsort(row, kind="stable")  # the past of a row stays before its future
    row = row[order]
    begin = np.searchsorted(row, np.arange(len(past)))
    item, ts, kind, qty = (
        np.concatenate([getattr(past, name), getattr(future, name)])[order] for name in ("item", "ts", "kind", "qty")
    )
    asked = (order >= past.n_events) & (np.arange(len(row)) > begin[row]) & (future.kind_weight[kind] > 0)
    target = np.flatnonzero(asked)
    if len(target) > most:
        target = np.sort(np.random.default_rng(seed).choice(target, most, replace=False))
    start = np.maximum(begin[row[target]], target - _LONGEST)
    length = target - start
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(length)])
    take = np.arange(indptr[-1]) + np.repeat(start - indptr[:-1], length)
    histories = Histories(indptr, item[take], ts[take], kind[take], qty[take], future.kinds, future.kind_weight)
    shape = (len(target), split.train.interactions.n_items)
    ones = np.ones(len(target), np.float32)
    wanted = sp.csr_matrix((ones, item[target], np.arange(len(target) + 1)), shape=shape)
    return Task(row[target].astype(np.int64), histories, wanted, None, split.now)


@dataclass(frozen=True)
class Lists:
    """What one model recommended: int32 codes of shape (users, n), and how many places a fallback filled."""

    items: Int32
    filled: float
    seconds: float


def recommend(model: Model, floor: Model, task: Task, n: int) -> Lists:
    """Top-n lists as a customer would see them: what the model leaves empty is filled by popularity."""
    started = time.perf_counter()
    items, _ = model.recommend(task.histories, n, task.now, exclude=task.seen)
    empty = items < 0
    short = np.flatnonzero(empty.any(axis=1))
    if len(short):
        items = items.copy()
        items[short] = _fill(items[short], floor, task.rows(short), n)
    return Lists(items, float(empty.mean()) if items.size else 0.0, time.perf_counter() - started)


def _fill(items: Int32, floor: Model, task: Task, n: int) -> Int32:
    """Own items first, then popular ones that are not yet in the list."""
    extra, _ = floor.recommend(task.histories, 2 * n, task.now, exclude=task.seen)
    held = items >= 0
    rows = np.repeat(np.arange(len(items)), held.sum(axis=1))
    own = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, items[held])), shape=(len(items), task.wanted.shape[1]))
    extra = np.where(contains(own, extra), -1, extra)
    both = np.concatenate([items, extra], axis=1)
    order = np.argsort(both < 0, axis=1, kind="stable")[:, :n]
    return np.take_along_axis(both, order, axis=1)
