"""Histories as a sparse matrix of weights: events weighed by type, quantity and age, once, in front of all models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..schema import DAY, Float32, Histories, Int32, Int64

Way = tuple[float, float, float, float, float]  # how events are weighed, see `weigh_ways`


def weigh(
    histories: Histories,
    n_items: int,
    tau_days: float = 0.0,
    qty_power: float = 0.0,
    repeat_power: float = 0.0,
    order_power: float = 0.0,
    order_tau: float = 0.0,
) -> sp.csr_matrix:
    """Histories as a matrix of weights: the strongest event of each item, aged, times its number of events^power.

    One event weighs its type's weight, times quantity^`qty_power`, times exp(-age / tau), times (1 + later
    moments)^-`order_power` and exp(-later moments / `order_tau`). Ages are counted from the newest event of the same
    history: on one list that is the same as counting from now, but a customer who was away for years keeps a history
    instead of seeing it shrink to nothing. Where minutes decide, as among what is viewed in one visit, days say nothing
    and the order does.

    Returns
    -------
    float32 CSR of shape (rows, n_items), sorted indices, only positive entries: what was returned or disliked as
    often as bought is as if it had never been.
    """
    return weigh_ways(histories, n_items, [(tau_days, qty_power, repeat_power, order_power, order_tau)])[0]


def weigh_ways(histories: Histories, n_items: int, ways: Sequence[Way]) -> list[sp.csr_matrix]:
    """As `weigh`, for several ways at once: what they share is worked out once. A way is its last five parameters."""
    rows = len(histories)
    if not histories.n_events:
        return [sp.csr_matrix((rows, n_items), dtype=np.float32) for _ in ways]
    events = by_item(histories)
    found = []
    for tau_days, qty_power, repeat_power, order_power, order_tau in ways:
        weight = events.plain * events.quantity ** np.float32(qty_power) if qty_power else events.plain
        if tau_days:
            weight = weight * _ageing(events.age, tau_days)
        if order_power or order_tau:
            weight = weight * (1 + events.later) ** np.float32(-order_power)
            if order_tau:
                weight = weight * np.exp(-np.minimum(events.later / np.float32(order_tau), 60))
        data = np.maximum.reduceat(weight[events.order], events.first).astype(np.float32)
        if repeat_power:
            data *= events.count ** np.float32(repeat_power)
        keep = events.wanted & (data > 0)
        if keep.all():
            found.append(sorted_rows(data, events.row, events.item, (rows, n_items)))
        else:
            found.append(sorted_rows(data[keep], events.row[keep], events.item[keep], (rows, n_items)))
    return found


class ByItem:
    """The events of histories, those of the same item together: what all ways of weighing them begin with.

    Attributes
    ----------
    order, first
        Events by history and item, oldest first; and where in that order each (history, item) begins.
    row, item
        int64 and int32, of each (history, item).
    """

    def __init__(self, histories: Histories) -> None:
        # A copy of the frame, not of the events: histories keep this, and would keep themselves alive by it.
        histories = self._histories = replace(histories)
        key = histories.item.astype(np.int64)
        if len(histories) > 1:
            key |= histories.row_of_event.astype(np.int64) << 32
        self.order = np.argsort(key, kind="stable")
        key = key[self.order]
        begins = np.ones(len(key), np.bool_)
        np.not_equal(key[1:], key[:-1], out=begins[1:])
        self.first = np.flatnonzero(begins)
        key = key[self.first]
        self.row, self.item = key >> 32, key.astype(np.int32)  # of wider numbers the lower half stays

    @cached_property
    def plain(self) -> Float32:
        """What each event's type weighs."""
        return self._histories.kind_weight[self._histories.kind]

    @cached_property
    def quantity(self) -> Float32:
        """Of each event, 1 at least."""
        return np.maximum(self._histories.qty, np.float32(1))

    @cached_property
    def wanted(self) -> NDArray[np.bool_]:
        """Of each (history, item): whether more of it was bought than given back or disliked."""
        return np.asarray(np.add.reduceat((self.plain * self.quantity)[self.order], self.first) > 1e-6)

    @cached_property
    def count(self) -> Float32:
        """Of each (history, item): events that speak for it."""
        return np.add.reduceat((self.plain[self.order] > 0).astype(np.float32), self.first)

    @cached_property
    def age(self) -> Int64:
        """Seconds of each event before the newest one of its history."""
        h = self._histories
        if len(h) == 1:
            return np.asarray(h.ts[-1] - h.ts)
        length = np.diff(h.indptr)
        filled = length > 0
        return np.asarray(np.repeat(h.ts[h.indptr[1:][filled] - 1], length[filled]) - h.ts)

    @cached_property
    def later(self) -> Float32:
        """How many moments of its history are later than each event; what was bought together is one moment."""
        moment, row = moments(self._histories)
        if len(row) and len(self._histories) == 1:
            return np.asarray(moment[-1] - moment, dtype=np.float32)
        last = np.searchsorted(row, self._histories.row_of_event, side="right") - 1
        return np.asarray(last - moment, dtype=np.float32)


def by_item(histories: Histories) -> ByItem:
    """See `ByItem`; of a single history it is remembered, for one member of a blend after the other asks."""
    if len(histories) > 1:
        return ByItem(histories)
    if "by_item" not in histories.notes:
        histories.notes["by_item"] = ByItem(histories)
    found: ByItem = histories.notes["by_item"]
    return found


@lru_cache(maxsize=8)
def _empty_row(n_items: int) -> sp.csr_matrix:
    return sp.csr_matrix((1, n_items), dtype=np.float32)


def sorted_rows(data: Float32, row: Int64, item: Int32, shape: tuple[int, int]) -> sp.csr_matrix:
    """A CSR matrix from its entries in order. A copy of an empty one, filled: for one short history, what the
    constructor checks takes longer than all the rest."""
    if shape[0] == 1:
        matrix = sp.csr_matrix.__new__(sp.csr_matrix)
        vars(matrix).update(vars(_empty_row(shape[1])))
        matrix.data, matrix.indices, matrix.indptr = data, item, np.array([0, len(item)], np.int32)
    else:
        narrow = np.int32 if len(item) <= np.iinfo(np.int32).max else np.int64
        matrix = sp.csr_matrix(shape, dtype=np.float32)
        matrix.data, matrix.indices = data, item.astype(narrow, copy=False)
        matrix.indptr = np.zeros(shape[0] + 1, narrow)
        np.cumsum(np.bincount(row, minlength=shape[0]), out=matrix.indptr[1:])
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    return matrix


def _ageing(age: Int64, tau_days: float) -> Float32:
    """exp(-age / tau) of every event."""
    # Limited, because what has aged to an exact zero would read as never bought.
    return np.exp(-np.minimum(np.maximum(age / (tau_days * DAY), 0), 60)).astype(np.float32)


def moments(histories: Histories) -> tuple[Int64, Int64]:
    """Which moment each event belongs to, and which row each moment: what one row has at the same time is one moment.

    Returns
    -------
    int64 numbers of moments, ascending, shape (n_events,); int64 rows, shape (moments,).
    """
    row = histories.row_of_event
    begins = np.ones(len(row), dtype=np.bool_)
    begins[1:] = (np.diff(histories.ts) != 0) | (np.diff(row) != 0)
    return np.cumsum(begins, dtype=np.int64) - 1, row[begins].astype(np.int64)
