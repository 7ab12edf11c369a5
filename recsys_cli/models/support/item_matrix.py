"""Models that are a matrix from items to items: what is in a history votes for what is not."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse import _sparsetools  # in every scipy so far; the loops alone, without what is checked around them

from ...schema import Dataset, Float32, Histories, Int32
from ..base import Model, ModelConfig, State
from . import openmp
from .cold_start import alike
from .top_n import PARTITION_CELLS, top_k

_DENSE_ITEMS = 5_000  # beyond, a block of dense scores costs more than sorting the few that are not zero
_SPARSE_ROWS, _SPARSE_CELLS = 2048, 1 << 25  # histories at a time, and places of theirs that are marked: 32 MB
_ROWS = 256


class ItemModel(Model):
    """A model that is its matrix: the scores of a weighted history h are h S.

    Parameters
    ----------
    matrix
        float32, shape (n_items, n_items), dense or CSR: row i holds what item i in a history says of all others.
    """

    item_axes: ClassVar[dict[str, Any]] = {"matrix": (0, 1), "indptr": "indptr"}

    def __init__(self, config: ModelConfig, matrix: Float32 | sp.csr_matrix) -> None:
        super().__init__(config, matrix.shape[0])
        self.matrix = matrix

    def state(self) -> State:
        m: Any = self.matrix
        if sp.issparse(m):
            return State({"data": m.data, "indices": m.indices.astype(np.int32), "indptr": m.indptr.astype(np.int64)})
        return State({"matrix": np.asarray(m)})

    @classmethod
    def from_state(cls, config: Any, n_items: int, state: State) -> Self:
        arrays = state.arrays
        if "matrix" in arrays:
            return cls(config, arrays["matrix"])
        # Built empty and filled: the constructor would copy or check what is mapped from disk.
        matrix = sp.csr_matrix((n_items, n_items), dtype=np.float32)
        matrix.data, matrix.indices = arrays["data"], arrays["indices"]
        # Row pointers as wide as the indices: otherwise every product widens all indices first, millions of them.
        wide = len(matrix.data) > np.iinfo(np.int32).max
        matrix.indptr = arrays["indptr"] if wide else arrays["indptr"].astype(np.int32)
        return cls(config, matrix)

    def grow(self, data: Dataset, now: int) -> Self:
        """As `Model.grow`; a new item is taken for the mean of the known ones it is most like, both ways."""
        n_known = self.n_items
        if data.interactions.n_items == n_known:
            return self
        mean: Any = alike(data, n_known)
        inner: Any = self.matrix
        if sp.issparse(inner):
            # What comes from disk has row pointers of another width than its indices, which scipy cannot stack.
            inner = sp.csr_matrix((inner.data, inner.indices, inner.indptr), shape=inner.shape)
        outward = inner @ mean
        if sp.issparse(inner):
            grown = sp.bmat([[inner, outward], [mean.T @ inner, mean.T @ outward]], format="csr", dtype=np.float32)
            grown.sort_indices()
            return type(self)(self.config, grown)
        both = np.concatenate([np.asarray(inner), outward], axis=1)
        return type(self)(self.config, np.concatenate([both, mean.T @ both]).astype(np.float32))

    def _score(self, weights: sp.csr_matrix, histories: Histories, now: int) -> Float32:
        if weights.shape[0] == 1 and sp.issparse(self.matrix):
            return row_product(weights, self.matrix)
        product: Any = weights @ self.matrix
        return np.asarray(product.toarray() if sp.issparse(product) else product, dtype=np.float32)

    def similar(self, items: Int32, k: int) -> tuple[Int32, Float32]:
        """The k items that each of `items` says most for."""
        rows: Any = self.matrix[items]
        dense = np.array(rows.toarray() if sp.issparse(rows) else rows, dtype=np.float32)
        dense[dense <= 0] = -np.inf
        dense[np.arange(len(items)), items] = -np.inf
        return top_k(dense, k)

    def explain(self, history: Histories, item: int, now: int) -> list[tuple[int, float]]:
        """The score is a sum over the history; these are its parts."""
        weights = self.weights(history, now)
        column: Any = self.matrix[weights.indices, item]
        column = np.asarray(column.todense()).ravel() if sp.issparse(column) else np.asarray(column).ravel()
        parts = weights.data * column
        order = np.argsort(-parts, kind="stable")
        return [(int(weights.indices[j]), float(parts[j])) for j in order if parts[j]]

    def recommend(
        self,
        histories: Histories,
        k: int,
        now: int,
        *,
        exclude: sp.csr_matrix | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Int32, Float32]:
        """As `Model.recommend`; of large catalogues only the items that something in the history speaks for."""
        if self.n_items <= _DENSE_ITEMS or not sp.issparse(self.matrix):
            return super().recommend(histories, k, now, exclude=exclude, allowed=allowed)
        rows = len(histories)
        items = np.full((rows, k), -1, dtype=np.int32)
        scores = np.full((rows, k), -np.inf, dtype=np.float32)
        step = int(np.clip(_SPARSE_CELLS // self.n_items, 16, _SPARSE_ROWS))
        marks = np.zeros(min(step, rows) * self.n_items if exclude is not None else 0, dtype=np.bool_)
        for start in range(0, rows, step):
            block = np.arange(start, min(start + step, rows))
            product = (self.weights(histories.rows(block), now) @ self.matrix).tocsr()
            if exclude is not None:
                _clear(product, exclude[block], marks)
            if allowed is not None:
                product.data[~allowed[product.indices]] = 0
            items[block], scores[block] = sparse_top_k(product, k)
        return items, scores


def row_product(row: sp.csr_matrix, matrix: Any) -> Float32:
    """The product of one row and a CSR matrix of its type, dense of shape (1, columns); to the bit as scipy's own.

    scipy's multiplies sparsely: it counts the entries of the result first, and takes four times as long.
    """
    ends = matrix.indptr[row.indices + 1]
    begins = np.zeros(len(ends) + 1, matrix.indptr.dtype)
    np.cumsum(ends - matrix.indptr[row.indices], out=begins[1:])
    if matrix.data.dtype != row.data.dtype or matrix.indices.dtype != begins.dtype:
        return np.asarray((row @ matrix).toarray(), dtype=np.float32)
    of = np.empty(begins[-1], matrix.indices.dtype)
    values = np.empty(begins[-1], matrix.data.dtype)
    out = np.zeros(matrix.shape[1], np.float32)
    asked = row.indices.astype(begins.dtype, copy=False)
    _sparsetools.csr_row_index(len(asked), asked, matrix.indptr, matrix.indices, matrix.data, of, values)
    _sparsetools.csc_matvec(len(out), len(asked), begins, of, values, row.data, out)
    return out[None, :]


def _clear(product: sp.csr_matrix, taken: sp.csr_matrix, marks: NDArray[np.bool_]) -> None:
    """Set `product` to zero where `taken` has an entry; `marks` has a place for each cell, and is left as it was."""
    width = np.int64(product.shape[1])
    held = np.repeat(np.arange(taken.shape[0], dtype=np.int64), np.diff(taken.indptr)) * width + taken.indices
    marks[held] = True
    key = np.repeat(np.arange(product.shape[0], dtype=np.int64), np.diff(product.indptr)) * width + product.indices
    product.data[marks[key]] = 0
    marks[held] = False


def sparse_top_k(matrix: sp.csr_matrix, k: int) -> tuple[Int32, Float32]:
    """The k largest positive entries of each row, largest first, ties by lower code; padded with -1 and -inf."""
    matrix = largest_of_rows(matrix, k, ties=True)  # sorting all that is not zero takes ten times as long
    n = matrix.shape[0]
    items = np.full((n, k), -1, dtype=np.int32)
    scores = np.full((n, k), -np.inf, dtype=np.float32)
    row = np.repeat(np.arange(n), np.diff(matrix.indptr))
    keep = np.flatnonzero(matrix.data > 0)
    order = keep[np.lexsort((matrix.indices[keep], -matrix.data[keep], row[keep]))]
    sorted_row = row[order]
    first = np.searchsorted(sorted_row, np.arange(n))
    rank = np.arange(len(order)) - first[sorted_row]
    best = rank < k
    items[sorted_row[best], rank[best]] = matrix.indices[order[best]]
    scores[sorted_row[best], rank[best]] = matrix.data[order[best]]
    return items, scores


def largest_of_rows(matrix: sp.csr_matrix, k: int, *, ties: bool = False) -> sp.csr_matrix:
    """`matrix` with only the k largest entries of each row; with `ties`, all that equal the last of them, too."""
    count = np.diff(matrix.indptr)
    keep = np.ones(matrix.nnz, dtype=np.bool_)
    rows = np.flatnonzero(count > k)
    rows = rows[np.argsort(count[rows], kind="stable")]  # rows of like length side by side, for little padding
    start = 0
    while k > 0 and start < len(rows):
        widest = int(count[rows[min(start + _ROWS, len(rows)) - 1]])
        some = rows[start : start + min(_ROWS, max(1, PARTITION_CELLS // widest))]
        start += len(some)
        width = count[some]
        place = np.arange(int(width.sum())) - np.repeat(np.cumsum(width) - width, width)
        at = np.repeat(matrix.indptr[some].astype(np.int64), width) + place
        falling = np.full((len(some), int(width.max())), np.inf, dtype=matrix.dtype)
        falling[np.repeat(np.arange(len(some)), width), place] = -matrix.data[at]
        if ties:
            keep[at] = -matrix.data[at] <= np.repeat(np.partition(falling, k - 1, axis=1)[:, k - 1], width)
        else:
            best = np.argpartition(falling, k - 1, axis=1)[:, :k]
            keep[at] = False
            keep[(matrix.indptr[some].astype(np.int64)[:, None] + best).ravel()] = True
    row = np.repeat(np.arange(matrix.shape[0]), count)[keep]
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(row, minlength=matrix.shape[0]))])
    return sp.csr_matrix((matrix.data[keep], matrix.indices[keep], indptr), shape=matrix.shape)


def neighbours(columns: sp.csr_matrix, k: int, threads: int) -> sp.csr_matrix:
    """The k largest inner products between each column and all others, itself left out.

    Parameters
    ----------
    columns
        float32, shape (n_users, n_items), not negative.

    Returns
    -------
    float32 CSR of shape (n_items, n_items). Streamed row by row (by implicit, in C++): the whole product of a large
    catalogue does not fit memory.
    """
    openmp.provide()
    from implicit.nearest_neighbours import all_pairs_knn

    users = columns.astype(np.float64)
    n = users.shape[1]
    found = all_pairs_knn(users, min(k + 1, n), show_progress=False, num_threads=threads)
    # Short rows are padded with item 0 at score 0, and every item is its own best neighbour.
    real = (found.row != found.col) & (found.data > 0)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.count_nonzero(real.reshape(n, -1), axis=1))])
    kept = found.data[real].astype(np.float32), found.col[real]
    del found, real  # 16 bytes for each entry, before the rest is made
    matrix = sp.csr_matrix((*kept, indptr), shape=(n, n))
    matrix.sort_indices()
    return matrix


def scaled(matrix: sp.csr_matrix, rows: NDArray[Any] | None, columns: NDArray[Any] | None) -> sp.csr_matrix:
    """`matrix` with its rows and columns multiplied, float32 CSR."""
    data = matrix.data.astype(np.float32, copy=True)
    if rows is not None:
        data *= np.repeat(rows.astype(np.float32), np.diff(matrix.indptr))
    if columns is not None:
        data *= columns.astype(np.float32)[matrix.indices]
    return sp.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def power(values: NDArray[Any], exponent: float) -> NDArray[np.float64]:
    """values^exponent, 0 where a value is 0 (what nobody has must stay at nothing)."""
    values = np.asarray(values, dtype=np.float64).ravel()
    return np.where(values > 0, np.maximum(values, 1e-12) ** exponent, 0.0)


def sums(matrix: sp.csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column sums."""
    rows = np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
    columns = np.bincount(matrix.indices, matrix.data, minlength=matrix.shape[1])
    return rows, np.asarray(columns, dtype=np.float64)
