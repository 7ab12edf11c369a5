"""Search for the item vectors with the largest inner product (faiss); `publishing.index` builds what is searched.

Vectors of factorisations differ in length by a hundred times, and an inner product is never larger than the product of
the lengths: a flat index over the longest few thousand vectors mostly holds the whole answer, and proves it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptArtifact
from ..schema import Float32, Int32, Int64

INDEX_FILE = "index.faiss"  # in a version
HALF = "-fp16"  # what the kind of an index over half-precision vectors ends in
_FIRST = 2048  # of the longest vectors, looked at before the worst acceptable score is known


@dataclass(frozen=True)
class ItemIndex:
    """Search over all item vectors; the position of a vector is its item's code.

    Parameters
    ----------
    index
        A faiss index, or `LongFirst`.
    figures
        What was measured when its kind was chosen: `kind`, `recall_at_100` (or 500) against exact search, `ms` a
        search on one thread, and the `candidates` that were not chosen. For the manifest.
    """

    index: Any
    figures: dict[str, Any] = field(default_factory=dict)

    def search(self, queries: Float32, k: int, allowed: NDArray[np.uint8] | None = None) -> tuple[Int32, Float32]:
        """The k best items for each query of shape (n, d): codes and inner products, -1 and -inf where short.

        Parameters
        ----------
        allowed
            A bit for each item, least significant first, where `half`: the others are passed over.
        """
        asked = np.ascontiguousarray(queries if self.scale == 1 else queries / self.scale, dtype=np.float32)
        more = {}
        if allowed is not None:
            untyped: Any = faiss  # its stubs know the C++ side of these alone
            selector = untyped.IDSelectorBitmap(allowed)
            # What a visitor may see lies in some cells, few of which are the nearest.
            share = int(np.bitwise_count(allowed).sum()) / self.index.ntotal
            probes = min(ceil(self.index.nprobe / max(share, 1e-6)), self.index.nlist)
            more = {"params": untyped.SearchParametersIVF(sel=selector, nprobe=probes)}
        scores, codes = self.index.search(asked, k, **more)
        return codes.astype(np.int32), np.where(codes < 0, -np.inf, scores).astype(np.float32)

    @property
    def half(self) -> bool:
        """Whether it holds vectors in half precision, mapped from the file; see `publishing.large_index`."""
        return str(self.figures.get("kind", "")).endswith(HALF)

    @property
    def scale(self) -> float:
        """What its vectors are multiplied with to fit into half precision."""
        return float(self.figures.get("scale", 1))

    @property
    def width(self) -> int:
        """Length of the vectors."""
        return int(self.index.d)

    @staticmethod
    def load(path: Path) -> ItemIndex:
        """Read an index written by `save`.

        Raises
        ------
        CorruptArtifact
        """
        try:
            figures = json.loads(figures_path(path).read_bytes())
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

    Attributes
    ----------
    vectors, ids, head
        As given.
    """

    def __init__(self, vectors: Float32, ids: Int64, head: int) -> None:
        self.d = vectors.shape[1]
        self.vectors = vectors
        self.ids = ids
        self._shortness = -np.linalg.norm(vectors, axis=1)  # ascending, as searchsorted wants it
        self._parts: list[Any] = []
        for part in (vectors[:head], vectors[head:]):
            flat = faiss.IndexFlatIP(self.d)
            flat.add(part)
            self._parts.append(flat)
        self.head = head
        self._reach = float(-self._shortness[head]) if head < len(vectors) else 0.0

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
        scores = self.vectors[:size] @ query
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
        more = self.vectors[size:end] @ query
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

    @staticmethod
    def restored(index: Any, head: int) -> LongFirst:
        """What `stored` gave."""
        flat: Any = faiss.downcast_index(index.index)
        vectors = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
        return LongFirst(np.array(vectors), faiss.vector_to_array(index.id_map), head)


def figures_path(path: Path) -> Path:
    """Where the figures of an index lie."""
    return path.with_suffix(".json")
