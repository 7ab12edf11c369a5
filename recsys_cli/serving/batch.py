"""Lists for many customers at once, from a version alone."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..artifacts.bundle import Bundle
from ..identity import UserKeys
from ..models.base import Model
from ..schema import PURCHASE, Histories, Int32, Int64
from .request import Batch


def find_rows(keys: UserKeys, wanted: UserKeys) -> Int64:
    """Row of each of `wanted` in the sorted `keys`, -1 where there is none."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    high = np.ascontiguousarray(keys[:, 0])
    row = np.searchsorted(high, np.ascontiguousarray(wanted[:, 0]))
    row = np.minimum(row, len(keys) - 1)
    # Two customers with the same 64 high bits do not meet in this universe; the low half tells a stranger anyway.
    same = (keys[row] == wanted).all(axis=1)
    return np.where(same, row, -1).astype(np.int64)


def recommend(
    bundle: Bundle,
    model: Model,
    shown: NDArray[np.bool_],
    filler: Int32,
    keys: UserKeys,
    k: int,
    *,
    repeat: bool = False,
) -> Batch:
    """The k best items of many customers.

    Parameters
    ----------
    shown
        Items that may be shown, shape (n_items,).
    filler
        Codes of all items in the order in which they fill lists that are short.
    keys
        Keyed hashes of the customers, shape (n, 2), in any order.
    repeat
        Keep what was already bought.
    """
    row = find_rows(bundle.keys, keys)
    known = row >= 0
    histories = _rows_or_empty(bundle.histories, row)
    n_items = len(bundle.catalogue)
    bought = _bought(histories, n_items)
    codes = np.full((len(keys), k), -1, dtype=np.int32)
    scores = np.full((len(keys), k), -np.inf, dtype=np.float32)
    if model.capabilities.personal:
        exclude = None if repeat else bought
        codes, scores = model.recommend(histories, k, bundle.now, exclude=exclude, allowed=shown)
    source = np.zeros(codes.shape, dtype=np.uint8)
    _fill(codes, scores, source, filler[shown[filler]], bundle.shelves["popular"], None if repeat else bought)
    return Batch(codes, scores, source, (model.name, "popular", "catalogue"), known)


def _rows_or_empty(histories: Histories, row: Int64) -> Histories:
    """The rows, empty ones for -1."""
    length = np.where(row >= 0, np.diff(histories.indptr)[np.maximum(row, 0)], 0) if len(histories) else row * 0
    found = histories.rows(row[row >= 0])
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(length)]).astype(np.int64)
    return Histories(indptr, found.item, found.ts, found.kind, found.qty, found.kinds, found.kind_weight)


def _bought(histories: Histories, n_items: int) -> sp.csr_matrix:
    only = histories.where(histories.is_kind(PURCHASE))
    ones = np.ones(only.n_events, dtype=np.float32)
    matrix = sp.csr_matrix((ones, only.item, only.indptr), shape=(len(only), n_items))
    matrix.sum_duplicates()
    return matrix


def _fill(
    codes: Int32,
    scores: NDArray[np.float32],
    source: NDArray[np.uint8],
    filler: Int32,
    popular: NDArray[np.float32],
    bought: sp.csr_matrix | None,
) -> None:
    """Put the first of `filler` that are neither in the list nor bought into the empty places at its end, in place."""
    k = codes.shape[1]
    short = np.flatnonzero((codes < 0).any(axis=1))
    n_items = len(popular)
    for start in range(0, len(short), 1024):
        rows = short[start : start + 1024]
        taken = np.zeros((len(rows), n_items), dtype=np.bool_)
        place, column = np.nonzero(codes[rows] >= 0)
        taken[place, codes[rows][place, column]] = True
        if bought is not None:
            block = bought[rows]
            taken[np.repeat(np.arange(len(rows)), np.diff(block.indptr)), block.indices] = True
        depth = min(len(filler), k + int(taken.sum(axis=1).max(initial=0)))
        free = ~taken[:, filler[:depth]]
        order = np.cumsum(free, axis=1) - 1 + (codes[rows] >= 0).sum(axis=1)[:, None]
        place, column = np.nonzero(free & (order < k))
        to, item = order[place, column], filler[:depth][column]
        codes[rows[place], to] = item
        scores[rows[place], to] = popular[item]
        source[rows[place], to] = np.where(popular[item] > 0, 1, 2)
