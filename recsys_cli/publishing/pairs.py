"""What is bought in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray

from ..schema import DAY, Dataset, Float32, Int32, Interactions

TOGETHER = 30  # pairs kept for each item
LARGE_BASKET = 200  # a basket larger than this is a wholesaler's or a robot's, and says little about pairs
PAIR_SHRINKAGE = 5.0  # orders by which a pair's lift is drawn towards 1
SUBSTITUTE = 0.25  # share of orders with both among customers with both, below which like items replace each other


def together(data: Dataset, least: int = 1) -> dict[str, NDArray[Any]]:
    """What is bought in the same order, by lift with shrinkage: (pairs + s) / (expected pairs + s).

    A pair counts when orders of at least `least` different customers have it: else it would show one's basket.

    Two items of one category that the same customers buy, but hardly ever in one order, stand in for each other and
    are left out.

    Returns
    -------
    dict
        together_item int32, together_count int32, together_lift float32, each of shape (n_items, TOGETHER).
    """
    n = data.interactions.n_items
    item = np.full((n, TOGETHER), -1, dtype=np.int32)
    count = np.zeros((n, TOGETHER), dtype=np.int32)
    lift = np.zeros((n, TOGETHER), dtype=np.float32)
    baskets, owner = _baskets(data.interactions)
    sold = np.bincount(baskets.indices, minlength=n).astype(np.float64)
    total = max(baskets.shape[0], 1)
    size = np.diff(baskets.indptr)
    # Orders of one thing count for how often it is sold, and say nothing else.
    some = (size > 1) & (size <= LARGE_BASKET)
    baskets, owner = baskets[some], owner[some]
    columns, again = baskets.tocsc(), _bought_again(baskets, owner)
    for start in range(0, n, 4096):
        stop = min(start + 4096, n)
        pairs = (columns[:, start:stop].T @ baskets).tocoo()
        keep = pairs.row + start != pairs.col
        row, col, both = pairs.row[keep] + start, pairs.col[keep], pairs.data[keep]
        expected = sold[row] * sold[col] / total
        score = (both + PAIR_SHRINKAGE) / (expected + PAIR_SHRINKAGE)
        keep = (score > 1) & (both >= max(least, 2))
        if least > 1:
            keep[keep] = both[keep] - _repeats(again, owner, start, stop, row[keep], col[keep]) >= least
        _fill_rows(row[keep], col[keep], both[keep], score[keep], item, count, lift)
    _drop_substitutes(data, item, count, lift)
    return {"together_item": item, "together_count": count, "together_lift": lift}


def _drop_substitutes(data: Dataset, item: Int32, count: Int32, lift: Float32) -> None:
    """Take substitutes out of the lists, in place, and close the gaps."""
    category = categories(data.catalogue)
    row, place = np.nonzero((item >= 0) & (category[:, None] >= 0) & (category[item] == category[:, None]))
    if not len(row):
        return
    buyers = _buyers(data.interactions).tocsc()
    shared = np.zeros(len(row))
    for start in range(0, len(row), 20_000):
        part = slice(start, start + 20_000)
        both = buyers[:, row[part]].multiply(buyers[:, item[row[part], place[part]]])
        shared[part] = np.asarray(both.sum(axis=0)).ravel()
    replaces = count[row, place] < SUBSTITUTE * shared
    item[row[replaces], place[replaces]] = -1
    order = np.argsort(item < 0, axis=1, kind="stable")
    for array in (item, count, lift):
        array[:] = np.take_along_axis(array, order, axis=1)
    count[item < 0] = 0
    lift[item < 0] = 0


def categories(catalogue: pa.Table) -> Int32:
    """Categories of items as numbers, -1 for none."""
    if "category" not in catalogue.column_names:
        return np.full(catalogue.num_rows, -1, dtype=np.int32)
    encoded = catalogue["category"].cast(pa.string()).combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int32)


def _buyers(data: Interactions) -> sp.csr_matrix:
    """Customers as rows, items as columns, 1 where ever bought."""
    h = data.histories
    bought = h.where(h.is_kind("purchase"))
    matrix = sp.csr_matrix(
        (np.ones(bought.n_events, dtype=np.float32), bought.item, bought.indptr), shape=(len(h), data.n_items)
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _fill_rows(
    row: NDArray[Any],
    col: NDArray[Any],
    both: NDArray[Any],
    score: NDArray[Any],
    item: Int32,
    count: Int32,
    lift: Float32,
) -> None:
    """Write the best pairs of each row."""
    # One sort of numbers instead of a lexsort, which takes ten times as long on millions of pairs.
    order = np.argsort((row - row.min(initial=0)) * 1e7 - np.minimum(score, 9e6))
    row, col, both, score = row[order], col[order], both[order], score[order]
    first = np.searchsorted(row, row, side="left")
    rank = np.arange(len(row)) - first
    keep = rank < TOGETHER
    item[row[keep], rank[keep]] = col[keep]
    count[row[keep], rank[keep]] = both[keep]
    lift[row[keep], rank[keep]] = score[keep]


def _bought_again(baskets: sp.csr_matrix, owner: Int32) -> sp.csr_matrix:
    """The same orders, with only the items that their customer has in more than one order."""
    entries = baskets.tocoo()
    key = owner[entries.row].astype(np.int64) * baskets.shape[1] + entries.col
    _, place, count = np.unique(key, return_inverse=True, return_counts=True)
    keep = count[place] > 1
    return sp.csr_matrix((entries.data[keep], (entries.row[keep], entries.col[keep])), shape=baskets.shape)


def _repeats(
    again: sp.csr_matrix, owner: Int32, start: int, stop: int, row: NDArray[Any], col: NDArray[Any]
) -> NDArray[np.int64]:
    """Of each pair (row, col) with `start <= row < stop`: its orders beyond the first of each customer."""
    n, entries = again.shape[1], again[:, start:stop].tocoo()
    size = np.diff(again.indptr)[entries.row]
    first = np.repeat(again.indptr[entries.row] - np.cumsum(size) + size, size)
    other = again.indices[first + np.arange(int(size.sum()))].astype(np.int64)
    pair = np.repeat(entries.col.astype(np.int64), size) * n + other
    block = (stop - start) * n
    seen, count = np.unique(np.repeat(owner[entries.row].astype(np.int64), size) * block + pair, return_counts=True)
    pairs, place = np.unique(seen % block, return_inverse=True)
    extra = np.bincount(place, weights=count - 1, minlength=len(pairs)).astype(np.int64)
    wanted = (row - start).astype(np.int64) * n + col
    at = np.minimum(np.searchsorted(pairs, wanted), max(len(pairs) - 1, 0))
    return np.where(pairs[at] == wanted, extra[at], 0) if len(pairs) else np.zeros(len(row), np.int64)


def _baskets(data: Interactions) -> tuple[sp.csr_matrix, Int32]:
    """Orders as rows, items as columns, 1 where bought; without order numbers, a customer's day is an order. And whose
    each order is."""
    h = data.histories
    bought = h.is_kind("purchase")
    if not bought.any():
        bought = np.ones(len(h.item), dtype=np.bool_)
    day = (h.ts[bought] - (h.ts.min() if h.n_events else 0)) // DAY
    row = _numbers_of_orders(data.basket[bought], h.row_of_event[bought], day)
    item = h.item[bought]
    shape = (int(row.max()) + 1 if len(row) else 0, data.n_items)
    matrix = sp.csr_matrix((np.ones(len(row), dtype=np.float32), (row, item)), shape=shape)
    matrix.data[:] = 1  # two of a thing in one order are one line of it
    owner = np.zeros(shape[0], dtype=np.int32)
    owner[row] = h.row_of_event[bought]
    return matrix, owner


def _numbers_of_orders(order: Int32, user: Int32, day: NDArray[np.int64]) -> Int32:
    """The order of each event, from 0: by its number, or else by its customer and day, which follow each other here (to
    sort them took six gigabytes of 100 million events)."""
    loose = order < 0
    day, whose = day[loose], user[loose]
    begins = np.ones(len(day), dtype=np.bool_)
    begins[1:] = (day[1:] != day[:-1]) | (whose[1:] != whose[:-1])
    label = order.copy()
    label[loose] = int(order.max(initial=-1)) + np.cumsum(begins, dtype=np.int32)
    number = np.cumsum(np.bincount(label) > 0, dtype=np.int32) - 1
    return np.asarray(number[label], dtype=np.int32)
