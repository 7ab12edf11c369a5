"""Truncated singular value decomposition of a tall sparse matrix, without anything as tall and dense beside it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from ...schema import Float32

_CHUNK = 60_000_000  # floats of the tall side held at a time: 240 MB


def right_vectors(
    matrix: sp.csr_matrix,
    k: int,
    *,
    seed: int,
    passes: int = 2,
    threads: int = 2,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Float32, NDArray[np.float64]]:
    """Leading right singular vectors of `matrix`, shape (m, n), by subspace iteration (Halko et al. 2011).

    Every pass multiplies by M'M through blocks of rows, so memory grows with n times k and never with m times k.

    Parameters
    ----------
    k
        How many; at most min(m, n).
    passes
        Multiplications by M'M after the first; 2 are enough for recommending.

    Returns
    -------
    float32 of shape (n, k) with orthonormal columns, largest first, and the singular values, float64 of shape (k,).
    """
    m, n = matrix.shape
    k = max(1, min(k, m, n))
    width = min(k + min(k // 8 + 8, 64), min(m, n))
    basis = np.random.default_rng(seed).standard_normal((n, width), dtype=np.float32)
    blocks = _blocks(matrix, width)
    for _ in range(passes):
        basis = orthonormal(_gram_times(blocks, basis, threads))
        advance(1)
    image = _gram_times(blocks, basis, threads)
    # Rayleigh and Ritz: the small matrix Q' M'M Q has the singular values' squares.
    small = basis.T.astype(np.float64) @ image.astype(np.float64)
    values, turn = scipy.linalg.eigh((small + small.T) / 2)
    order = np.argsort(-values)[:k]
    advance(1)
    return np.asarray(basis @ turn[:, order].astype(np.float32)), np.sqrt(np.maximum(values[order], 0))


def orthonormal(basis: Float32) -> Float32:
    """An orthonormal basis of the columns by Cholesky-QR in double precision, twice, for once is not enough."""
    out = basis
    for _ in range(2):
        length = np.linalg.norm(out, axis=0)
        out /= np.where(length > 0, length, 1).astype(np.float32)
        gram = _gram64(out)
        # A hair on the diagonal keeps columns that are nearly dependent from breaking the factorisation.
        gram[np.diag_indices_from(gram)] += 1e-7
        factor = np.linalg.cholesky(gram)
        inverse = scipy.linalg.solve_triangular(factor, np.eye(len(gram)), lower=True).T
        out = np.asarray(out @ inverse.astype(np.float32))
    return out


def _gram64(basis: Float32) -> NDArray[np.float64]:
    """Q'Q in double precision, by blocks of rows so that Q itself is never doubled."""
    gram = np.zeros((basis.shape[1], basis.shape[1]))
    for start in range(0, len(basis), 16_384):
        block = basis[start : start + 16_384].astype(np.float64)
        gram += block.T @ block
    return gram


def _blocks(matrix: sp.csr_matrix, width: int) -> list[tuple[sp.csr_matrix, sp.csr_matrix]]:
    """Row blocks and their transposes, short enough that a dense image of one fits."""
    rows = max(1, _CHUNK // width)
    cut = [matrix[start : start + rows] for start in range(0, matrix.shape[0], rows)]
    return [(block, block.T.tocsr()) for block in cut]


def _gram_times(blocks: list[tuple[sp.csr_matrix, sp.csr_matrix]], basis: Float32, threads: int) -> Float32:
    """M'M times `basis`; columns are shared out between threads (SciPy's sparse products let others run)."""
    shares = np.array_split(np.arange(basis.shape[1]), max(1, threads))

    def times(share: NDArray[Any]) -> Float32:
        part = np.ascontiguousarray(basis[:, share[0] : share[-1] + 1])
        total = np.zeros_like(part)
        for block, back in blocks:
            total += back @ (block @ part)
        return total

    shares = [share for share in shares if len(share)]
    with ThreadPoolExecutor(len(shares)) as pool:
        return np.hstack(list(pool.map(times, shares)))
