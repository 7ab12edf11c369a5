"""Least squares of every item on its own few neighbours, in batches of small systems."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ...schema import Float32

_CELLS = 3_000_000  # of all systems of a batch


def regress(
    gram: sp.csr_matrix, right: sp.csr_matrix, diagonal: NDArray[np.float64], chosen: sp.csr_matrix, threads: int
) -> sp.csr_matrix:
    """Solve (G_NN + L_NN) w = R_jN for every target j on its sources N.

    Parameters
    ----------
    gram
        Products of sources, symmetric, shape (n, n); what is not in it counts as nothing in common.
    right
        Products of targets (rows) and sources, shape (n, n).
    diagonal
        Of G + L, shape (n,).
    chosen
        Shape (n, n): the sources of each target are the entries of its row.

    Returns
    -------
    float32 CSR, shape (n, n): column j holds the weights that predict item j.
    """
    n = gram.shape[0]
    count = np.diff(chosen.indptr)
    width = int(count.max(initial=1))
    sources = np.full((n, width), -1, dtype=np.int64)
    rank = np.arange(chosen.nnz) - np.repeat(chosen.indptr[:-1].astype(np.int64), count)
    sources[np.repeat(np.arange(n), count), rank] = chosen.indices
    weights = np.zeros(sources.shape, dtype=np.float32)
    batch = max(1, _CELLS // width**2)

    def solve(start: int) -> None:
        some = np.arange(start, min(start + batch, n))
        weights[some] = _solved(gram, right, diagonal, some, sources[some])

    # Small systems: BLAS's own threads would spend their time waiting for one another.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        list(pool.map(solve, range(0, n, batch)))
    real = sources >= 0
    matrix = sp.csr_matrix((weights[real], (sources[real], np.repeat(np.arange(n), count))), shape=(n, n))
    matrix.sort_indices()
    return matrix


def _solved(
    gram: sp.csr_matrix,
    right: sp.csr_matrix,
    diagonal: NDArray[np.float64],
    targets: NDArray[np.int64],
    sources: NDArray[np.int64],
) -> Float32:
    """The weights of a batch of targets; padding solves to zero."""
    b, k = sources.shape
    there = sources >= 0
    code = np.where(there, sources, 0)
    upper, lower = np.triu_indices(k, 1)
    left = np.zeros((b, k, k), dtype=np.float32)
    pairs = _lookup(gram, code[:, upper], code[:, lower]) * (there[:, upper] & there[:, lower])
    left[:, upper, lower] = pairs
    left[:, lower, upper] = pairs
    place = np.arange(k)
    left[:, place, place] = np.where(there, diagonal[code], 1.0)
    wanted = _lookup(right, np.broadcast_to(targets[:, None], (b, k)), code) * there
    # What is too far apart to be in `gram` counts as nothing in common, so the matrix may not be quite positive.
    return np.asarray(np.linalg.solve(left, wanted[:, :, None])[:, :, 0], dtype=np.float32)


def _lookup(matrix: sp.csr_matrix, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Float32:
    """Entries of a sparse matrix, in the shape of `rows`."""
    if not rows.size:
        return np.zeros(rows.shape, dtype=np.float32)
    return np.asarray(matrix[rows.ravel(), columns.ravel()], dtype=np.float32).reshape(rows.shape)
