"""The best of many scores: the k largest of each row, what is left out of them, and what is among them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...schema import Float32, Int32

PARTITION_CELLS = 1 << 22  # scores ordered at a time: their positions take eight bytes each
_PART = 64  # entries of a row whose largest is looked at first in finding the k largest
_WIDE, _FEW = 2 * _PART, 8  # times k: length of rows for which that pays, and candidates for which it does


def mask_nonzeros(dense: Float32, mask: sp.csr_matrix) -> None:
    """Set `dense` to -inf wherever `mask` has an entry, in place."""
    rows = np.repeat(np.arange(mask.shape[0]), np.diff(mask.indptr))
    dense[rows, mask.indices] = -np.inf


def contains(matrix: sp.csr_matrix, items: Int32) -> NDArray[np.bool_]:
    """Which of `items`, shape (rows, n), are among the non-zeros of their row of `matrix`; -1 never is."""
    width = np.int64(matrix.shape[1] + 1)
    held = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr)) * width + matrix.indices
    asked = np.arange(len(items), dtype=np.int64)[:, None] * width + items
    return np.isin(asked, held) & (items >= 0)


def top_k(dense: Float32, k: int) -> tuple[Int32, Float32]:
    """The k largest of every row, largest first, ties by lower code; -1 where a row has fewer finite entries."""
    rows, n = dense.shape
    items = np.full((rows, k), -1, dtype=np.int32)
    scores = np.full((rows, k), -np.inf, dtype=np.float32)
    short = min(k, n)
    if short == 0:
        return items, scores
    step = max(1, PARTITION_CELLS // n)
    for start in range(0, rows, step):
        block = slice(start, start + step)
        part = largest(dense[block], short)
        values = np.take_along_axis(dense[block], part, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        best = np.take_along_axis(values, order, axis=1)
        scores[block, :short] = best
        items[block, :short] = np.where(np.isneginf(best), -1, np.take_along_axis(part, order, axis=1))
    return items, scores


def largest(dense: Float32, k: int) -> NDArray[np.intp]:
    """Columns of the k largest of every row, ascending; of equal ones at the border the first, as a sort has it."""
    rows, n = dense.shape
    if k == n:
        return np.tile(np.arange(n), (rows, 1))
    if n < _WIDE * k:
        return _partitioned(dense, k)
    # The k-th largest of the maxima of some parts is reached by k entries at least, and by few more: to find it and
    # them is six times as fast as to partition all.
    parts = n // _PART
    highest = dense[:, : parts * _PART].reshape(rows, _PART, parts).max(axis=1)
    bound = np.partition(highest, parts - k, axis=1)[:, parts - k]
    high = dense >= bound[:, None]
    count = np.count_nonzero(high, axis=1)
    # Neighbourhood models score most items 0; and a NaN passes for a part's maximum, which leaves too few.
    crowded = (count > _FEW * k) | (count < k)
    high[crowded] = False
    count[crowded] = 0
    flat = np.flatnonzero(high)  # np.nonzero of two axes takes ten times as long
    row, column = flat // n, flat % n
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    some = np.full((rows, max(int(count.max(initial=0)), k)), -np.inf, dtype=np.float32)
    columns = np.zeros(some.shape, dtype=np.intp)
    some[row, place], columns[row, place] = dense.ravel()[flat], column
    found = np.take_along_axis(columns, _partitioned(some, k), axis=1)
    if crowded.any():
        found[crowded] = _crowded(dense[crowded], bound[crowded, None], k)
    return found


def _crowded(dense: Float32, bound: Float32, k: int) -> NDArray[np.intp]:
    """As `largest`, of rows with many entries of at least `bound`, which k entries or more reach.

    Where fewer than k lie above it, the k-th is `bound` itself, as in rows that are zero but for a few entries.
    """
    above, equal = dense > bound, dense == bound
    more, alike = (np.count_nonzero(some, axis=1, keepdims=True) for some in (above, equal))
    level = ((more < k) & (more + alike >= k))[:, 0]
    found = np.empty((len(dense), k), dtype=np.intp)
    if not level.all():
        found[~level] = _partitioned(dense[~level], k)
    if level.any():
        above, more = above[level], more[level]
        reach = k + int((dense.shape[1] - alike[level]).max())  # that far the first of equal ones are at most
        near = equal[level, :reach]
        near &= np.cumsum(near, axis=1, dtype=np.int32) <= k - more
        above[:, :reach] |= near
        found[level] = (np.flatnonzero(above) % dense.shape[1]).reshape(-1, k)
    return found


def _partitioned(dense: Float32, k: int) -> NDArray[np.intp]:
    """As `largest`, of rows that are short or full of equal entries."""
    if k == dense.shape[1]:
        return np.tile(np.arange(k), (len(dense), 1))
    # The smallest of the negated: among thousands of equal scores, partitioning at the far end takes 25 times longer.
    falling = -dense
    part = np.argpartition(falling, k - 1, axis=1)[:, :k]
    border = np.take_along_axis(falling, part[:, k - 1 :], axis=1)
    # Neighbourhood models score most items 0, so that the border is such a tie, of which partition takes any.
    tied = np.flatnonzero((np.count_nonzero(falling <= border, axis=1) > k) & ~np.isposinf(border[:, 0]))
    if len(tied):
        above, equal = falling[tied] < border[tied], falling[tied] == border[tied]
        room = k - np.count_nonzero(above, axis=1, keepdims=True)
        first = np.cumsum(equal, axis=1, dtype=np.int32) <= room
        part[tied] = np.nonzero(above | (equal & first))[1].reshape(-1, k)
    return np.sort(part, axis=1)


def highest(scores: Float32, n: int, code: NDArray[np.integer]) -> NDArray[np.intp]:
    """Where the n largest of some scores are, in no order; of equal ones at the border those of the lowest codes."""
    if len(scores) <= n:
        return np.arange(len(scores))
    falling = -scores
    border = np.partition(falling, n - 1)[n - 1]
    reached: NDArray[np.intp] = (falling <= border).nonzero()[0]
    if len(reached) == n:  # as mostly: none beyond the border is equal
        return reached
    above, equal = np.flatnonzero(falling < border), np.flatnonzero(falling == border)
    room = n - len(above)
    if len(equal) > room:
        equal = equal[np.argsort(code[equal], kind="stable")[:room]]
    return np.concatenate([above, equal])


def best_first(scores: Float32, n: int) -> NDArray[np.intp]:
    """Where the n largest of some scores are, the largest first; of equal ones in their order."""
    top = np.sort(highest(scores, n, np.arange(len(scores))))
    return top[np.argsort(-scores[top], kind="stable")]
