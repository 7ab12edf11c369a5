"""Hiding a part of what happened, to see whether a model would have foreseen it.

Evaluation judges by it, and a blend learns its weights by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..schema import DAY, PURCHASE, Dataset, Histories, Int64
from .interactions import weigh
from .usable_time import usable_time

By = Literal["time", "last", "random", "fifth", "next", "basket"]
FEW_USERS = 30  # below, a window is too small to judge by
_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """The past to learn from, and what came after it.

    Parameters
    ----------
    train
        What was known at `cut`; users and items keep their codes.
    cut
        Epoch seconds: ages are counted from here. Nothing in `train` is of this moment or later (by time).
    future
        Histories of all users over what was hidden, parallel to those of `train`.
    by
        How it was split; "fifth", the later fifth of each history, where times are not reliable; "next", the later
        part of time, of which every event is asked for after all that was before it in the same history; "basket", the
        same for all that was bought at one moment.
    asked
        Whether somebody wanted it split like that.
    """

    train: Dataset
    cut: int
    future: Histories
    by: By
    asked: bool = False

    @property
    def now(self) -> int:
        """Epoch seconds of the newest event known to the models."""
        return self.train.interactions.end

    def wanted(self, *, repeat: bool = False) -> sp.csr_matrix:
        """What each user went on to get: binary float32 CSR of shape (n_users, n_items).

        Purchases count where the future has any, else all events with a positive weight. Without `repeat`, what
        the user already had is not asked for.
        """
        future = self.future
        bought = future.is_kind(PURCHASE)
        if bought.any():
            future = future.where(bought)
        n_items = self.train.interactions.n_items
        wanted = weigh(future, n_items)
        wanted.data[:] = 1
        return wanted if repeat else without(wanted, self.seen())

    def several(self) -> int:
        """How many histories have something in the future, and something before that."""
        past = np.diff(self.train.interactions.histories.indptr)
        return int(np.count_nonzero((np.diff(self.future.indptr) > 0) & (past + np.diff(self.future.indptr) > 1)))

    def seen(self) -> sp.csr_matrix:
        """What each user already had at the cut (purchases where there are any): binary, as `wanted`.

        Worked out once, for all who ask: not to be written to.
        """
        return self._seen

    @cached_property
    def _seen(self) -> sp.csr_matrix:
        return had(self.train.interactions.histories, self.train.interactions.n_items)

    def judged(self, wanted: sp.csr_matrix, max_users: int, seed: int) -> Int64:
        """Users with a past and something wanted: int64 codes, at most `max_users` (a seeded sample)."""
        known = np.diff(self.train.interactions.histories.indptr) > 0
        users = np.flatnonzero(known & (np.diff(wanted.indptr) > 0)).astype(np.int64)
        if len(users) <= max_users:
            return users
        return np.sort(np.random.default_rng(seed).choice(users, max_users, replace=False))


def had(histories: Histories, n_items: int) -> sp.csr_matrix:
    """What each history already bought; where no history has a purchase, what it otherwise touched. Binary CSR."""
    bought = histories.is_kind(PURCHASE)
    matrix = weigh(histories.where(bought) if bought.any() else histories, n_items)
    matrix.data[:] = 1
    return matrix


def without(matrix: sp.csr_matrix, taken: sp.csr_matrix) -> sp.csr_matrix:
    """`matrix` less its entries where `taken` has one."""
    left = (matrix - matrix.multiply(taken > 0)).tocsr()
    left.eliminate_zeros()
    return left


def holdout(data: Dataset, window_days: float = 0.0, *, by: By | None = None, seed: int = 42) -> Split | None:
    """Split off the last part of time; where times are not reliable, a large part of each user's history.

    Parameters
    ----------
    window_days
        Days held out; 0 chooses from the data.
    by
        None chooses: "time" where it can be believed and some came back, else "fifth". That is large on purpose: one
        event of each customer, or a tenth, ranks families of models wrongly. "next" where
        nothing is bought and hardly anybody comes back, as where visits are all there is.

    Returns
    -------
    None when there is nobody to judge by: too few days, or too few who came back.
    """
    if by in ("next", "basket"):
        return _visits(data, window_days, by)
    told = by is not None or bool(window_days)
    if by is None:
        by = "time" if usable_time(data.interactions.histories) else "fifth"
    split = _split(data, by, window_days, seed)
    judged = _judgeable(split)
    if by == "time" and not told and judged < FEW_USERS:
        sells = data.interactions.histories.is_kind(PURCHASE).any()
        visits = None if sells else _visits(data, window_days)
        if visits is not None and visits.several() >= FEW_USERS:
            return visits
        other = _split(data, "fifth", 0.0, seed)
        if _judgeable(other) == FEW_USERS:
            return other
    return split if judged >= 2 else None


def later_than(data: Dataset, until: int, window_days: float = 0.0) -> Split | None:
    """As `holdout`, with nothing hidden that was known at `until`; a shorter window where need be.

    Returns
    -------
    None where times are not reliable, or too few customers came back since.
    """
    if not usable_time(data.interactions.histories):
        return None
    split = holdout(data, window_days)
    if split is None or split.by not in ("time", "next", "basket"):
        return None
    if until < split.cut:
        return split
    left = (data.interactions.end - until) / DAY
    later = holdout(data, left, by=split.by) if left > 0 else None
    return later if later is not None and _judgeable(later) >= FEW_USERS else None


def _visits(data: Dataset, window_days: float, by: By = "next") -> Split | None:
    """The later part of time, to be asked for step by step; None where it holds no event after another."""
    if data.interactions.histories.n_events < 2:
        return None
    timed = usable_time(data.interactions.histories)
    split = time_split(data, window_days) if timed else share_split(data, latest=True)
    return replace(split, by=by) if split.several() else None


def _split(data: Dataset, by: By, window_days: float, seed: int) -> Split:
    if by == "time":
        return time_split(data, window_days)
    return last_split(data) if by == "last" else share_split(data, seed, latest=by == "fifth")


def _judgeable(split: Split) -> int:
    """How many customers can be judged; counted no further than what is enough."""
    if split.by in ("next", "basket"):
        return min(split.several(), FEW_USERS)
    return len(split.judged(split.wanted(), FEW_USERS, 0))


def time_split(data: Dataset, window_days: float = 0.0, *, steps_back: int = 0) -> Split:
    """Everything before a moment, and the window after it.

    Parameters
    ----------
    steps_back
        How many windows before the last one: 0 holds out the end of the data.
    """
    window = int((window_days or default_window(data)) * DAY)
    ts = data.interactions.histories.ts
    stop = data.interactions.end + 1 - steps_back * window
    cut = stop - window
    # The few events that a wrong clock dated later than the end belong to the last window, not to none.
    future = data.interactions.histories.where((ts >= cut) & ((ts < stop) | (steps_back == 0)))
    return Split(data.before(cut), cut, future, "time")


def default_window(data: Dataset) -> float:
    """Days to hold out: a month where there are eight of them, else an eighth of the time; longer where few came."""
    span = max(data.interactions.end - int(data.interactions.histories.ts.min()), 1) / DAY
    window = min(30.0, span / 8)
    while window < span / 4 and _returning(data, window) < FEW_USERS:
        window *= 1.5
    return window


def _returning(data: Dataset, window: float) -> int:
    """Users with events both before and in the last `window` days."""
    h = data.interactions.histories
    late = h.ts >= data.interactions.end + 1 - int(window * DAY)
    both = np.zeros((2, len(h)), dtype=np.bool_)
    both[late.astype(np.int64), h.row_of_event] = True
    return int(both.all(axis=0).sum())


def last_split(data: Dataset) -> Split:
    """Hide each user's last event, where there are at least two."""
    h = data.interactions.histories
    length = np.diff(h.indptr)
    hide = np.zeros(h.n_events, dtype=np.bool_)
    hide[h.indptr[1:][length > 1] - 1] = True
    return _hidden(data, hide, "last")


def share_split(data: Dataset, seed: int = 42, *, latest: bool) -> Split:
    """Hide a fifth of each user's events, at least one where there are two: the latest, or any at random.

    Events of the same moment come in any order: by their order in the file or by item, some items would be hidden
    wherever they occur.
    """
    h = data.interactions.histories
    length = np.diff(h.indptr)
    chance = np.random.default_rng(seed).random(h.n_events)
    order = np.lexsort((chance, -h.ts, h.row_of_event) if latest else (chance, h.row_of_event))
    rank = np.empty(h.n_events, dtype=np.int64)
    rank[order] = np.arange(h.n_events) - np.repeat(h.indptr[:-1], length)
    share = np.where(length > 1, np.maximum(1, np.round(length * _SHARE)), 0)
    return _hidden(data, rank < np.repeat(share, length), "fifth" if latest else "random")


def _hidden(data: Dataset, hide: NDArray[np.bool_], by: By) -> Split:
    train = replace(data, interactions=data.interactions.where(~hide))
    return Split(train, data.interactions.end + 1, data.interactions.histories.where(hide), by)


def rolling(data: Dataset, n: int, window_days: float = 0.0) -> list[Split]:
    """Up to n splits, each of what was known before the one in front of it: the latest window first.

    Windows in which fewer than `FEW_USERS` customers can be judged are left out, but never the latest.
    """
    first = holdout(data, window_days)
    if first is None:
        return []
    splits = [first]
    for _ in range(n - 1):
        newest = splits[-1]
        days = window_days or (default_window(data) if newest.by == "time" else 0.0)
        past = newest.train.interactions.histories
        if past.n_events < 2:
            break
        older = holdout(newest.train, days, by=newest.by)
        if older is None or _judgeable(older) < FEW_USERS:
            break
        splits.append(older)
    return splits
