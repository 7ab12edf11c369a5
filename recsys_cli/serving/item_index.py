"""Search for the item vectors with the largest inner product (faiss).

What is fastest depends on the vectors, so it is measured when the index is built. Vectors of factorisations differ in
length by a hundred times, and an inner product is never larger than the product of the lengths: a flat index over the
longest few thousand vectors mostly holds the whole answer, and proves it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..errors import CorruptArtifact
from ..schema import Float32, Int32, Int64

ENOUGH_RECALL = 0.99  # share of the exact best 100 that an approximate search must find
MEASURE_FROM = 20_000  # items; below, exact search is fast enough not to look further
_DEPTH = 100
_FIRST = 2048  # of the longest vectors, looked at before the worst acceptable score is known
_QUERIES = 256
_PROBES = (8, 16, 32, 48, 64, 96, 128, 192)


@dataclass(frozen=True)
class ItemIndex:
    """Search over all item vectors; the position of a vector is its item's code.

    Parameters
    ----------
    index
        A faiss index, or `LongFirst`.
    figures
        What was measured when its kind was chosen: `kind`, `recall_at_100` against exact search, `ms` a search on one
        thread, and the `candidates` that were not chosen. For the manifest.
    """

    index: Any
    figures: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def build(vectors: Float32, queries: Float32 | None = None, *, like: ItemIndex | None = None) -> ItemIndex:
        """Index vectors with the fastest kind of search that finds at least 99 % of the exact best 100.

        Parameters
        ----------
        vectors
            float32, shape (n_items, d).
        queries
            Vectors such as will be asked for, shape (n, d); judged by some of the items' own when not given.
        like
            An index over much the same vectors: its kind and its partition are kept instead of being chosen anew.
        """
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

    def search(self, queries: Float32, k: int) -> tuple[Int32, Float32]:
        """The k best items for each query of shape (n, d): codes and inner products, -1 and -inf where short."""
        scores, codes = self.index.search(np.ascontiguousarray(queries, dtype=np.float32), k)
        return codes.astype(np.int32), np.where(codes < 0, -np.inf, scores).astype(np.float32)

    @property
    def width(self) -> int:
        """Length of the vectors."""
        return int(self.index.d)

    def save(self, path: Path) -> None:
        """Write the index, and its figures beside it."""
        index = self.index.stored() if isinstance(self.index, LongFirst) else self.index
        faiss.write_index(index, str(path))
        _figures_path(path).write_text(json.dumps(self.figures, indent=1, sort_keys=True), encoding="utf-8")

    @staticmethod
    def load(path: Path) -> ItemIndex:
        """Read an index written by `save`.

        Raises
        ------
        CorruptArtifact
        """
        try:
            figures = json.loads(_figures_path(path).read_bytes())
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
            return ItemIndex(LongFirst.restored(index, figures["head"]) if "head" in figures else index, figures)
        except (RuntimeError, OSError, ValueError, KeyError) as e:
            raise CorruptArtifact(f"{path} cannot be read.", "Run recsys train.") from e


class LongFirst:
    """Exact search in two flat indexes: the longest vectors, and the others, which are seldom needed.

    When the k-th best score among the long ones is at least |query| times the length of the longest other vector, no
    other can be better.

    Parameters
    ----------
    vectors
        float32, shape (n, d), longest first.
    ids
        int64, shape (n,): item code of each.
    head
        How many count as long.
    """

    def __init__(self, vectors: Float32, ids: Int64, head: int) -> None:
        self.d = vectors.shape[1]
        self._vectors = vectors
        self.ids = ids
        self._shortness = -np.linalg.norm(vectors, axis=1)  # ascending, as searchsorted wants it
        self._parts: list[Any] = []
        for part in (vectors[:head], vectors[head:]):
            flat = faiss.IndexFlatIP(self.d)
            flat.add(part)
            self._parts.append(flat)
        self.head = head
        self._reach = float(-self._shortness[head]) if head < len(vectors) else 0.0

    @staticmethod
    def of(vectors: Float32, head: int) -> LongFirst:
        """From vectors in the order of their codes."""
        order = np.argsort(-np.linalg.norm(vectors, axis=1), kind="stable")
        return LongFirst(np.ascontiguousarray(vectors[order]), order.astype(np.int64), head)

    def search(self, queries: Float32, k: int) -> tuple[Float32, Int64]:
        """As a faiss index's."""
        scores, places = self._parts[0].search(queries, k)
        codes = np.where(places < 0, -1, self.ids[places])
        bound = np.sqrt(np.einsum("ij,ij->i", queries, queries)) * self._reach
        # Rounding may not let an unlucky tie through.
        unsure = np.flatnonzero((scores[:, -1] < bound * 1.0001) | (places[:, -1] < 0)) if self._reach else ()
        if len(unsure):
            self._with_the_rest(queries, k, unsure, scores, codes)
        return scores, codes

    def search_allowed(self, query: Float32, k: int, allowed: NDArray[np.bool_]) -> tuple[Int64, Float32]:
        """The k best allowed items for one query of shape (d,): codes and inner products, fewer where there are fewer.

        Parameters
        ----------
        allowed
            Shape (n,), in the order of `ids`.
        """
        size, n = max(_FIRST, 4 * k), len(self.ids)
        while True:
            size = min(size, n)
            places = np.flatnonzero(allowed[:size])
            if len(places) >= k or size == n:
                break
            size *= 4
        scores = self._vectors[:size] @ query
        scores = scores[places] if len(places) < size else scores
        if k < len(places):
            best = np.argpartition(scores, len(places) - k)[len(places) - k :]
            places, scores = places[best], scores[best]
        if size < n:
            places, scores = self._what_could_be_better(query, allowed, size, places, scores)
        order = np.lexsort((self.ids[places], -scores))[:k]
        return self.ids[places[order]], scores[order]

    def _what_could_be_better(
        self, query: Float32, allowed: NDArray[np.bool_], size: int, places: Int64, scores: Float32
    ) -> tuple[Int64, Float32]:
        """With those of the vectors after `size` that are long enough and score no worse than the worst so far."""
        worst = float(scores.min())
        needed = worst / max(float(np.sqrt(query @ query)), 1e-30)
        # Rounding may not let an unlucky tie through.
        end = len(self.ids)
        if needed > 0:
            # As float32: for a Python number the whole array would be converted first.
            end = int(self._shortness.searchsorted(np.float32(-needed * 0.9999), side="right"))
        if end <= size:
            return places, scores
        more = self._vectors[size:end] @ query
        better = np.flatnonzero((more >= worst) & allowed[size:end])
        return np.concatenate([places, better + size]), np.concatenate([scores, more[better]])

    def _with_the_rest(self, queries: Float32, k: int, rows: Any, scores: Float32, codes: Int64) -> None:
        more, places = self._parts[1].search(np.ascontiguousarray(queries[rows]), k)
        found = np.where(places < 0, -1, self.ids[np.where(places < 0, 0, places + self.head)])
        both = np.concatenate([scores[rows], more], axis=1)
        names = np.concatenate([codes[rows], found], axis=1)
        order = np.argsort(-both, axis=1, kind="stable")[:, :k]
        scores[rows] = np.take_along_axis(both, order, axis=1)
        codes[rows] = np.take_along_axis(names, order, axis=1)

    def stored(self) -> Any:
        """One faiss index with everything, longest first."""
        index = faiss.IndexIDMap(faiss.IndexFlatIP(self.d))
        index.add_with_ids(self._vectors, self.ids)
        return index

    @staticmethod
    def restored(index: Any, head: int) -> LongFirst:
        """What `stored` gave."""
        flat: Any = faiss.downcast_index(index.index)
        vectors = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
        return LongFirst(np.array(vectors), faiss.vector_to_array(index.id_map), head)


def _figures_path(path: Path) -> Path:
    return path.with_suffix(".json")


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
    good = [m for m in measured if m[0]["recall_at_100"] >= ENOUGH_RECALL]
    figures, index = min(good, key=lambda m: m[0]["ms"])
    if "nprobe" in figures:
        index.nprobe = figures["nprobe"]
    others = [m[0] for m in measured if m[0] is not figures]
    return ItemIndex(index, {**figures, "candidates": others})


def _candidates(exact: Any, vectors: Float32, queries: Float32) -> Iterator[tuple[str, Any]]:
    """Trained and filled indexes to be measured; the partition is one or two lists for each root of n."""
    n, d = vectors.shape
    yield "long_first", LongFirst.of(vectors, _head(exact, vectors, queries))
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
    """Recall and median time of single searches."""
    hits, times = 0, []
    for row in range(len(queries)):
        started = time.perf_counter()
        _, found = index.search(queries[row : row + 1], _DEPTH)
        times.append(time.perf_counter() - started)
        hits += len(np.intersect1d(found[0], truth[row], assume_unique=True))
    recall = hits / truth.size
    return {"kind": kind, "recall_at_100": round(recall, 4), "ms": round(float(np.median(times)) * 1e3, 3)}


def _same_kind(like: ItemIndex, vectors: Float32) -> Any:
    """A new index of the same kind, with the same partition; None when only measuring can tell."""
    kind = like.figures.get("kind", "")
    if kind == "exact" and (len(vectors) < MEASURE_FROM or "candidates" in like.figures):
        exact = faiss.IndexFlatIP(vectors.shape[1])
        exact.add(vectors)
        return exact
    if isinstance(like.index, LongFirst):
        return LongFirst.of(vectors, like.index.head) if like.index.head < len(vectors) else None
    if kind.startswith("ivf"):
        old = like.index
        quantiser = faiss.IndexFlatIP(old.d)
        quantiser.add(old.quantizer.reconstruct_n(0, old.nlist))
        # Made anew: a mapped index cannot be emptied.
        index = faiss.IndexIVFFlat(quantiser, old.d, old.nlist, faiss.METRIC_INNER_PRODUCT)
        index.is_trained = True
        index.nprobe = old.nprobe
        index.add(vectors)
        return index
    return None
