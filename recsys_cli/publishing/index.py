"""The search index of a version, of the kind that is measured to be the fastest for its vectors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from ..artifacts import Version
from ..models.base import Model
from ..schema import Float32
from ..serving.item_index import INDEX_FILE, ItemIndex, LongFirst, figures_path
from ..store import Snapshot
from .large_index import LARGE_FROM, build_large

ENOUGH_RECALL = 0.99  # share of the exact best 100 that an approximate search must find
MEASURE_FROM = 20_000  # items; below, exact search is fast enough not to look further
_DEPTH = 100
_QUERIES = 256
_QUICK = 6  # times as fast as looking at all: exact search that is so quick needs no competitor
_PROBES = (8, 16, 32, 48, 64, 96, 128, 192)


def build_index(model: Model, vectors: Float32, snapshot: Snapshot, *, like: Version | None = None) -> ItemIndex:
    """The index over a model's vectors, of the kind that is fastest for some of these customers.

    Parameters
    ----------
    like
        A version whose model this one was grown from: its kind of index is kept instead of being chosen again.
    """
    if like is not None and like.file(INDEX_FILE).exists():
        return build(vectors, like=ItemIndex.load(like.file(INDEX_FILE)))
    if len(vectors) < MEASURE_FROM:
        return build(vectors)
    histories = snapshot.data.interactions.histories
    some = np.linspace(0, len(histories) - 1, min(len(histories), 512)).astype(np.int64)
    return build(vectors, model.user_vectors(histories.rows(some), snapshot.data.interactions.end))


def build(vectors: Float32, queries: Float32 | None = None, *, like: ItemIndex | None = None) -> ItemIndex:
    """Index vectors with the fastest kind of search that finds at least 99 % of the exact best 100.

    From `LARGE_FROM` vectors on there is one kind, see `build_large`.

    Parameters
    ----------
    vectors
        float32, shape (n_items, d).
    queries
        Vectors such as will be asked for, shape (n, d); judged by some of the items' own when not given.
    like
        An index over much the same vectors: its kind and its partition are kept instead of being chosen again.
    """
    if len(vectors) >= LARGE_FROM:
        alike = like is not None and like.half and like.width == vectors.shape[1]
        return build_large(vectors, _sample(vectors, queries), like=like if alike else None)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if like is not None and like.width == vectors.shape[1]:
        kept = _same_kind(like, vectors)
        if kept is not None:
            return ItemIndex(kept, like.figures)
    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    if len(vectors) < MEASURE_FROM:
        return ItemIndex(exact, {"kind": "exact"})
    return _fastest(exact, vectors, _sample(vectors, queries))


def save(index: ItemIndex, path: Path) -> None:
    """Write the index, and its figures beside it."""
    whole = _stored(index.index) if isinstance(index.index, LongFirst) else index.index
    faiss.write_index(whole, str(path))
    figures_path(path).write_text(json.dumps(index.figures, indent=1, sort_keys=True), encoding="utf-8")


def long_first(vectors: Float32, head: int) -> LongFirst:
    """From vectors in the order of their codes."""
    order = np.argsort(-np.linalg.norm(vectors, axis=1), kind="stable")
    return LongFirst(np.ascontiguousarray(vectors[order]), order.astype(np.int64), head)


def _stored(index: LongFirst) -> Any:
    """One faiss index with everything, longest first."""
    whole = faiss.IndexIDMap(faiss.IndexFlatIP(index.d))
    whole.add_with_ids(index.vectors, index.ids)
    return whole


def _sample(vectors: Float32, queries: Float32 | None) -> Float32:
    pool = vectors if queries is None else np.ascontiguousarray(queries, dtype=np.float32)
    pool = pool[pool.any(axis=1)]
    if not len(pool):
        return vectors[:_QUERIES]
    rows = np.random.default_rng(0).choice(len(pool), min(_QUERIES, len(pool)), replace=False)
    return pool[rows]


def _fastest(exact: Any, vectors: Float32, queries: Float32) -> ItemIndex:
    _, truth = exact.search(queries, _DEPTH)
    measured: list[tuple[dict[str, Any], Any]] = []
    with threadpool_limits(1):
        measured.append((_measure("exact", exact, queries, truth), exact))
        for kind, index in _candidates(exact, vectors, queries):
            figures = _measure(kind, index, queries, truth)
            measured.append((figures | ({"head": index.head} if isinstance(index, LongFirst) else {}), index))
            if kind.startswith("ivf"):
                _tune_probes(index, measured, queries, truth)
            if isinstance(index, LongFirst) and figures["ms"] * _QUICK < measured[0][0]["ms"]:
                break  # the others take seconds to build, and would find less
    good = [m for m in measured if m[0]["recall_at_100"] >= ENOUGH_RECALL]
    figures, index = min(good, key=lambda m: m[0]["ms"])
    if "nprobe" in figures:
        index.nprobe = figures["nprobe"]
    others = [m[0] for m in measured if m[0] is not figures]
    return ItemIndex(index, {**figures, "candidates": others})


def _candidates(exact: Any, vectors: Float32, queries: Float32) -> Iterator[tuple[str, Any]]:
    """Trained and filled indexes to be measured; the partition is one or two lists for each root of n."""
    n, d = vectors.shape
    yield "long_first", long_first(vectors, _head(exact, vectors, queries))
    lists = 1 << int(np.log2(1.6 * np.sqrt(n)))
    quantiser = faiss.IndexFlatIP(d)
    ivf = faiss.IndexIVFFlat(quantiser, d, lists, faiss.METRIC_INNER_PRODUCT)
    ivf.cp.niter = 8
    ivf.train(vectors)
    ivf.add(vectors)
    yield f"ivf{lists}", ivf
    if d % 2 == 0:
        scan = faiss.IndexPQFastScan(d, d // 2, 4, faiss.METRIC_INNER_PRODUCT)
        scan.train(vectors)
        scan.add(vectors)
        refined = faiss.IndexRefineFlat(scan, faiss.swig_ptr(vectors))
        refined.k_factor = 4
        yield "fastscan+refine4", refined


def _head(exact: Any, vectors: Float32, queries: Float32) -> int:
    """How many of the longest vectors hold the answers to all but the worst hundredth of the queries."""
    best, _ = exact.search(queries, _DEPTH)
    length = np.sort(np.linalg.norm(vectors, axis=1))
    needed = best[:, -1] / np.maximum(np.linalg.norm(queries, axis=1), 1e-12)
    longer = len(length) - np.searchsorted(length, needed)
    return int(min(max(np.quantile(longer, 0.99) * 1.02, 1024), len(vectors) - 1))


def _tune_probes(ivf: Any, measured: list[tuple[dict[str, Any], Any]], queries: Float32, truth: Any) -> None:
    """Replace the last measurement by the one with the fewest lists looked into that finds enough."""
    kind = measured.pop()[0]["kind"]
    for probes in _PROBES:
        ivf.nprobe = probes
        figures = _measure(kind, ivf, queries, truth) | {"nprobe": probes}
        if figures["recall_at_100"] >= ENOUGH_RECALL:
            break
    measured.append((figures, ivf))


def _measure(kind: str, index: Any, queries: Float32, truth: Any) -> dict[str, Any]:
    """Recall and median CPU time of single searches."""
    hits, times = 0, []
    for row in range(len(queries)):
        started = time.thread_time()  # a busy neighbour must not choose
        _, found = index.search(queries[row : row + 1], _DEPTH)
        times.append(time.thread_time() - started)
        hits += len(np.intersect1d(found[0], truth[row], assume_unique=True))
    recall = hits / truth.size
    return {"kind": kind, "recall_at_100": round(recall, 4), "ms": round(float(np.median(times)) * 1e3, 3)}


def _same_kind(like: ItemIndex, vectors: Float32) -> Any:
    """A new index of the same kind, with the same partition; None when only measuring can tell."""
    kind = like.figures.get("kind", "")
    if like.half:
        return None
    if kind == "exact" and (len(vectors) < MEASURE_FROM or "candidates" in like.figures):
        exact = faiss.IndexFlatIP(vectors.shape[1])
        exact.add(vectors)
        return exact
    if isinstance(like.index, LongFirst):
        return long_first(vectors, like.index.head) if like.index.head < len(vectors) else None
    if kind.startswith("ivf"):
        old = like.index
        quantiser = faiss.IndexFlatIP(old.d)
        quantiser.add(old.quantizer.reconstruct_n(0, old.nlist))
        # Made again: a mapped index cannot be emptied.
        index = faiss.IndexIVFFlat(quantiser, old.d, old.nlist, faiss.METRIC_INNER_PRODUCT)
        index.is_trained = True
        index.nprobe = old.nprobe
        index.add(vectors)
        return index
    return None
