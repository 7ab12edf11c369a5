"""Histories as a sparse matrix of weights: events weighed by type, quantity and age, once, in front of all models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from ..schema import DAY, Float32, Histories, Int64

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
    plain = histories.kind_weight[histories.kind]
    quantity = np.maximum(histories.qty, np.float32(1))
    key = histories.row_of_event.astype(np.int64) * n_items + histories.item
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.concatenate([np.ones(1, np.bool_), key[1:] != key[:-1]]))
    net = np.add.reduceat((plain * quantity)[order], first)
    wanted, key = net > 1e-6, key[first]
    found = []
    for tau_days, qty_power, repeat_power, order_power, order_tau in ways:
        weight = plain * quantity ** np.float32(qty_power) if qty_power else plain
        if tau_days:
            weight = weight * _ageing(histories, tau_days)
        if order_power or order_tau:
            later = _later(histories)
            weight = weight * (1 + later) ** np.float32(-order_power)
            if order_tau:
                weight = weight * np.exp(-np.minimum(later / np.float32(order_tau), 60))
        data = np.maximum.reduceat(weight[order], first).astype(np.float32)
        if repeat_power:
            data *= np.add.reduceat((plain[order] > 0).astype(np.float32), first) ** np.float32(repeat_power)
        keep = wanted & (data > 0)
        found.append(_sorted_rows(data[keep], key[keep], rows, n_items))
    return found


def _sorted_rows(data: Float32, key: Int64, rows: int, n_items: int) -> sp.csr_matrix:
    """A CSR matrix from the places, ascending, of its entries. Built empty and filled: for one short history, what the
    constructor checks takes longer than all the rest."""
    count = np.bincount(key // n_items, minlength=rows)
    narrow = np.int32 if len(key) <= np.iinfo(np.int32).max else np.int64
    matrix = sp.csr_matrix((rows, n_items), dtype=np.float32)
    matrix.data, matrix.indices = data, (key % n_items).astype(narrow)
    matrix.indptr = np.zeros(rows + 1, narrow)
    np.cumsum(count, out=matrix.indptr[1:])
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    return matrix


def _ageing(histories: Histories, tau_days: float) -> Float32:
    """exp(-age / tau) of every event, by the newest event of its own history."""
    length = np.diff(histories.indptr)
    filled = length > 0
    newest = np.repeat(histories.ts[histories.indptr[1:][filled] - 1], length[filled])
    age = (newest - histories.ts) / (tau_days * DAY)
    # Clipped, because what has aged to an exact zero would read as never bought.
    return np.exp(-np.clip(age, 0, 60)).astype(np.float32)


def _later(histories: Histories) -> Float32:
    """How many moments of its own history are later than each event; what was bought together is one moment."""
    moment, row = moments(histories)
    last = np.searchsorted(row, histories.row_of_event, side="right") - 1
    return np.asarray(last - moment, dtype=np.float32)


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
