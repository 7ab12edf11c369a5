"""The search index of catalogues of millions of items: inverted lists of half-precision vectors, mapped from the file.

Vectors are put into the cell of the nearest centre (k-means), and a search looks through the cells whose centres have
the largest inner product with the query (Jégou et al. 2011; cells by distance and search by inner product as in Guo et
al. 2020). Half precision is exact enough not to need the vectors themselves again, so that the file is half as large as
they are, and servers on one machine share its pages. Codes of four bits with a second look at the vectors (faiss's fast
scan) are slower on one core when 500 items are wanted, and miss more: `tests/benchmarks/bench_index.py --fast-scan`.
"""

from __future__ import annotations

import time
from typing import Any

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from ..schema import Float32, Int64
from ..serving.item_index import HALF, ItemIndex

LARGE_FROM = 1_000_000  # items; below, the kinds that hold all vectors in memory are compared by measuring
DEPTH = 500
ENOUGH_RECALL = 0.96  # share of the exact best 500 for the queries of the sample; .95 is what others may expect
_PROBES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_BLOCK = 1 << 18  # vectors that are looked at together
_TRAINED = 40  # vectors that a centre is learned from
_PASSES = 8
_LARGEST = 30_000.0  # half of what half precision can hold


def build_large(vectors: Float32, queries: Float32, *, like: ItemIndex | None = None) -> ItemIndex:
    """An index over vectors, which looks through as many cells as the queries need.

    Parameters
    ----------
    vectors
        Floating-point, shape (n_items, d); may be mapped from a file. Zeros are no answer, and are left out.
    queries
        float32, shape (n, d).
    like
        An index of this kind over much the same vectors: its cells are kept, and only vectors that are new or have
        changed are put into one.
    """
    known, largest = _known(vectors)
    if like is None or largest * like.scale > _LARGEST:
        like, scale = None, float(2.0 ** -np.ceil(np.log2(max(largest, 1e-30))))
        centres, cell = _centres(vectors, known), np.full(len(vectors), -1, dtype=np.int64)
    else:
        scale = like.scale
        centres, cell = _kept(like, vectors)
    missing = known[cell[known] < 0]
    nearest = faiss.IndexFlatL2(vectors.shape[1])
    nearest.add(centres)
    for start in range(0, len(missing), _BLOCK):
        rows = missing[start : start + _BLOCK]
        cell[rows] = nearest.search(_float32(vectors[rows]), 1)[1][:, 0]
    index = _filled(vectors, known, cell, centres, scale)
    if like is not None:
        index.nprobe = like.index.nprobe
        return ItemIndex(index, like.figures)
    figures = {"kind": f"ivf{len(centres)}{HALF}", "scale": scale}
    return ItemIndex(index, figures | _tuned(ItemIndex(index, figures), vectors, queries))


def _known(vectors: Float32) -> tuple[Int64, float]:
    """Rows that are not zero, and the largest number in them."""
    found, largest = [], 0.0
    for start in range(0, len(vectors), _BLOCK):
        top = np.abs(vectors[start : start + _BLOCK]).max(axis=1)
        found.append(start + np.flatnonzero(top))
        largest = max(largest, float(top.max()))
    return np.concatenate(found), largest


def _centres(vectors: Float32, known: Int64) -> Float32:
    """Two to four cells for each root of n, learned from a sample."""
    cells = 1 << round(np.log2(2.5 * np.sqrt(max(len(known), 1))))
    rows = np.random.default_rng(0).choice(known, min(_TRAINED * cells, len(known)), replace=False)
    means = faiss.Kmeans(
        vectors.shape[1], min(cells, len(rows)), niter=_PASSES, seed=0, max_points_per_centroid=_TRAINED,
        min_points_per_centroid=1,
    )  # fmt: skip
    means.train(_float32(vectors[np.sort(rows)]))
    return np.asarray(means.centroids, dtype=np.float32)


def _kept(like: ItemIndex, vectors: Float32) -> tuple[Float32, Int64]:
    """The centres of an index, and the cell of each vector that is still the same; -1 for the others."""
    old = like.index
    cell = np.full(len(vectors), -1, dtype=np.int64)
    for number in range(old.nlist):
        size = old.invlists.list_size(number)
        if not size:
            continue
        ids = faiss.rev_swig_ptr(old.invlists.get_ids(number), size)
        codes = faiss.rev_swig_ptr(old.invlists.get_codes(number), size * old.code_size)
        there = ids < len(vectors)
        rows = ids[there]
        same = (_halves(vectors[rows], like.scale) == codes.reshape(size, -1)[there]).all(axis=1)
        cell[rows[same]] = number
    return old.quantizer.reconstruct_n(0, old.nlist), cell


def _filled(vectors: Float32, known: Int64, cell: Int64, centres: Float32, scale: float) -> Any:
    """An index with every list as long as it must be: lists that grow by being added to take twice the memory."""
    d = vectors.shape[1]
    quantiser = faiss.IndexFlatIP(d)
    quantiser.add(centres)
    index: Any = faiss.IndexIVFScalarQuantizer(
        quantiser, d, len(centres), faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    index.train(centres)
    order = known[np.argsort(cell[known], kind="stable")]
    ends = np.cumsum(np.bincount(cell[known], minlength=len(centres)))
    for number, (start, end) in enumerate(zip(ends - np.diff(ends, prepend=0), ends, strict=True)):
        rows = np.ascontiguousarray(order[start:end])
        codes = _halves(vectors[rows], scale)
        if len(rows):
            index.invlists.add_entries(number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
    index.ntotal = len(known)
    return index


def _halves(rows: Float32, scale: float) -> Any:
    """The bytes of rows in half precision, as faiss keeps them: shape (n, 2 d)."""
    return np.ascontiguousarray(_float32(rows) * np.float32(scale)).astype(np.float16).view(np.uint8)


def _tuned(index: ItemIndex, vectors: Float32, queries: Float32) -> dict[str, Any]:
    """Have an index look through the fewest cells that hold enough of the best; gives what was measured."""
    truth = exact_best(vectors, queries, DEPTH)
    figures: dict[str, Any] = {}
    with threadpool_limits(1):
        for probes in _PROBES:
            index.index.nprobe = probes
            hits, times = 0, []
            for row in range(len(queries)):
                started = time.thread_time()
                found, _ = index.search(queries[row : row + 1], DEPTH)
                times.append(time.thread_time() - started)
                hits += int(np.isin(found[0], truth[row][truth[row] >= 0]).sum())
            recall = hits / max(int((truth >= 0).sum()), 1)
            figures = {"recall_at_500": round(recall, 4), "ms": round(float(np.median(times)) * 1e3, 3)}
            figures["nprobe"] = probes
            if recall >= ENOUGH_RECALL or probes >= index.index.nlist:
                break
    return figures


def exact_best(vectors: Float32, queries: Float32, k: int) -> Int64:
    """Rows of the k largest inner products with each query, shape (n, k); -1 where there are fewer."""
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    for start in range(0, len(vectors), _BLOCK):
        scores, found = faiss.knn(
            queries, _float32(vectors[start : start + _BLOCK]), k, metric=faiss.METRIC_INNER_PRODUCT
        )
        both = np.concatenate([best, np.where(found < 0, -np.inf, scores)], axis=1)
        names = np.concatenate([rows, np.where(found < 0, -1, found + start)], axis=1)
        order = np.argpartition(-both, k - 1, axis=1)[:, :k]
        best, rows = np.take_along_axis(both, order, axis=1), np.take_along_axis(names, order, axis=1)
    return rows


def _float32(rows: Any) -> Float32:
    return np.ascontiguousarray(rows, dtype=np.float32)
