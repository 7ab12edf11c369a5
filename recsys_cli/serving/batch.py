"""Lists for many customers at once, from a version alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..artifacts.bundle import Bundle
from ..identity import UserKeys
from ..models.base import Model, top_k
from ..models.support.vectors import VectorModel
from ..schema import PURCHASE, Float32, Histories, Int32, Int64
from .item_index import ItemIndex, LongFirst
from .request import Batch
from .rules import Picker

_ROWS = 1024  # customers at a time


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
    index: ItemIndex | None = None,
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
    index
        Over the model's vectors: spares scoring all items for everybody.
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
        if index is not None and isinstance(index.index, LongFirst) and isinstance(model, VectorModel):
            codes, scores = _by_index(model, index, histories, k, bundle.now, exclude, shown)
        else:
            once, answer = _alike(histories)
            taken = None if exclude is None else exclude[once]
            found = model.recommend(histories.rows(once), k, bundle.now, exclude=taken, allowed=shown)
            codes, scores = found[0][answer], found[1][answer]
    source = np.zeros(codes.shape, dtype=np.uint8)
    _fill(codes, scores, source, filler[shown[filler]], bundle.shelves["popular"], None if repeat else bought)
    return Batch(codes, scores, source, (model.name, "popular", "catalogue"), known)


def of_lists(lists: Iterable[tuple[Picker, bool]], rows: int, k: int) -> Batch:
    """Lists made one by one, each with whether there was a history to go by."""
    codes = np.full((rows, k), -1, dtype=np.int32)
    scores = np.full((rows, k), -np.inf, dtype=np.float32)
    source = np.zeros((rows, k), dtype=np.uint8)
    known = np.zeros(rows, dtype=np.bool_)
    number: dict[str, int] = {}
    for row, (picker, known[row]) in enumerate(lists):
        n = min(len(picker.codes), k)
        codes[row, :n], scores[row, :n] = picker.codes[:n], picker.scores[:n]
        source[row, :n] = [number.setdefault(name, len(number)) for name in picker.sources[:n]]
    return Batch(codes, scores, source, tuple(number) or ("",), known)


def _by_index(
    model: VectorModel,
    index: ItemIndex,
    histories: Histories,
    k: int,
    now: int,
    exclude: sp.csr_matrix | None,
    shown: NDArray[np.bool_],
) -> tuple[Int32, Float32]:
    """As `Model.recommend`, from the index: the few whose lists come out short are scored in full."""
    rows = len(histories)
    codes = np.full((rows, k), -1, dtype=np.int32)
    scores = np.full((rows, k), -np.inf, dtype=np.float32)
    vectors = model.user_vectors(histories, now)
    taken = np.zeros(rows, np.int64) if exclude is None else np.diff(exclude.indptr).astype(np.int64)
    asked = np.flatnonzero(vectors.any(axis=1))
    asked = asked[np.argsort(taken[asked], kind="stable")]  # long exclusions together
    share = max(float(shown.mean()), 0.05)
    short: list[NDArray[np.int64]] = []
    for start in range(0, len(asked), _ROWS):
        block = asked[start : start + _ROWS]
        want = min(int((k + taken[block].max()) / share * 1.1) + 8, len(shown))
        found, worth = index.search(vectors[block], want)
        worth[(found < 0) | ~shown[found] | (worth == 0)] = -np.inf
        if exclude is not None:
            worth[_member(found, exclude[block])] = -np.inf
        place, best = top_k(worth, k)
        codes[block] = np.where(place < 0, -1, np.take_along_axis(found, np.maximum(place, 0), axis=1))
        scores[block] = best
        short.append(block[(codes[block] < 0).any(axis=1)])
    again = np.concatenate(short) if short else np.zeros(0, np.int64)
    if len(again):
        rest = None if exclude is None else exclude[again]
        codes[again], scores[again] = model.recommend(histories.rows(again), k, now, exclude=rest, allowed=shown)
    return codes, scores


def _member(items: Int32, rows: sp.csr_matrix) -> NDArray[np.bool_]:
    """Which of `items`, shape (rows, n), are among the non-zeros of their row."""
    width = np.int64(rows.shape[1] + 1)
    held = np.repeat(np.arange(rows.shape[0], dtype=np.int64), np.diff(rows.indptr)) * width + rows.indices
    asked = np.arange(len(items), dtype=np.int64)[:, None] * width + items
    return np.isin(asked, held)


def _alike(histories: Histories) -> tuple[Int64, Int64]:
    """Rows with different histories, and which of them each row is like.

    Of the visitors of a large shop most did one thing, many of them the same. Its time counts for nothing: the age of
    an event is counted from the newest of its history.
    """
    length = np.diff(histories.indptr)
    single = np.flatnonzero(length == 1)
    event = histories.indptr[single]
    what = histories.item[event].astype(np.int64) * len(histories.kinds) + histories.kind[event]
    plain = histories.qty[event] == 1
    key = -2 - np.arange(len(length), dtype=np.int64)
    key[length == 0] = -1
    key[single[plain]] = what[plain]
    _, once, answer = np.unique(key, return_index=True, return_inverse=True)
    return once.astype(np.int64), answer.astype(np.int64)


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
