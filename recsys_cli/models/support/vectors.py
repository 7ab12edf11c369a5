"""Models whose scores are inner products of a customer's and an item's vector, so that an index can search them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...schema import Dataset, Float32, Histories, Int32
from ..base import Model, ModelConfig, State
from .cold_start import Buyers, company, grown_vectors
from .top_n import contains, top_k

_DENSE_ITEMS = 5_000  # up to here one matrix product and a partial sort are as fast as faiss
_SEARCH_ROWS = 4096


class VectorModel(Model):
    """A model that is its item vectors; a subclass says how a history becomes a vector.

    Parameters
    ----------
    item_factors
        float32, shape (n_items, d); zeros for items that the model knows nothing of.
    trained
        bool, shape (n_items,): vectors that come from the fit; the others were filled in by `grow`. By default
        those that are not zero.
    """

    item_axes: ClassVar[Mapping[str, tuple[int, ...]]] = {"item_factors": (0,), "trained": (0,)}
    numbers: ClassVar[tuple[str, ...]] = ()  # names in the meta of `state`

    def __init__(self, config: ModelConfig, item_factors: Float32, trained: NDArray[np.bool_] | None = None) -> None:
        super().__init__(config, len(item_factors))
        self.item_factors = item_factors
        self.trained: NDArray[np.bool_] = np.any(item_factors, axis=1) if trained is None else trained

    def state(self) -> State:
        return State({"item_factors": self.item_factors, "trained": self.trained})

    @classmethod
    def from_state(cls, config: Any, n_items: int, state: State) -> Self:
        return cls(config, state.arrays["item_factors"], state.arrays["trained"])

    @classmethod
    def layout(cls, config: Any, n_items: int, width: int) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """Dtype and shape of each array of `state`, where item vectors have `width` numbers."""
        return {"item_factors": (np.float32, (n_items, width)), "trained": (np.bool_, (n_items,))}

    def grow(self, data: Dataset, now: int) -> Self:
        """As `Model.grow`; items that the fit did not see get vectors from their buyers and their content."""
        padded = super().grow(data, now)
        state = padded.state()
        arrays = {**state.arrays, "item_factors": grown_vectors(padded, data, self.n_items)}
        return type(self).from_state(self.config, padded.n_items, State(arrays, state.meta))

    def vectors_from_buyers(self, weights: sp.csr_matrix, buyers: Buyers, prior: Float32, exposure: Float32) -> Float32:
        """Vectors of items that the fit did not see, from who bought them.

        Parameters
        ----------
        weights
            Everybody's weights, not aged, shape (n_users, n_items).
        buyers
            Who bought the n items.
        prior
            float32, shape (n, d): vectors that their content lets expect, zeros where it says nothing.
        exposure
            float32, shape (n,): share of all events since the first of each item.
        """
        return company(self.item_factors, weights, buyers, prior)

    @abstractmethod
    def _fold_in(self, weights: sp.csr_matrix) -> Float32:
        """Vectors of weighted histories, shape (rows, d); zeros for empty ones."""

    def fold_in(self, items: Int32, weights: Float32) -> Float32:
        """Vector of one history that is already weighed: item codes and weights of shape (n,) in, (d,) out."""
        row = sp.csr_matrix((weights, items, np.array([0, len(items)])), shape=(1, self.n_items))
        return np.asarray(self._fold_in(row)[0], dtype=np.float32)

    def item_vectors(self) -> Float32:
        return self.item_factors

    def user_vectors(self, histories: Histories, now: int) -> Float32:
        return self._fold_in(self.weights(histories, now))

    def _score(self, weights: sp.csr_matrix, histories: Histories, now: int) -> Float32:
        return np.asarray(self._fold_in(weights) @ self.item_vectors().T, dtype=np.float32)

    def similar(self, items: Int32, k: int) -> tuple[Int32, Float32]:
        """The k items whose vectors point most nearly the same way (cosine)."""
        return nearest(unit_rows(self.item_vectors()), items, k)

    def recommend(
        self,
        histories: Histories,
        k: int,
        now: int,
        *,
        exclude: sp.csr_matrix | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Int32, Float32]:
        """As `Model.recommend`; beyond some thousand items by faiss's exact search."""
        if self.n_items <= _DENSE_ITEMS:
            return super().recommend(histories, k, now, exclude=exclude, allowed=allowed)
        vectors = self.item_vectors()
        known = vectors.any(axis=1) if allowed is None else vectors.any(axis=1) & allowed
        codes = np.flatnonzero(known).astype(np.int32)
        return _search(self.user_vectors(histories, now), vectors[codes], codes, k, exclude)


def unit_rows(vectors: Float32) -> Float32:
    """Rows scaled to length 1; zero rows stay zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), dtype=np.float32)


def nearest(unit: Float32, items: Int32, k: int) -> tuple[Int32, Float32]:
    """The k rows of `unit` with the largest cosine to each of `items`, never itself nor unknown (zero) ones."""
    codes = np.full((len(items), k), -1, dtype=np.int32)
    scores = np.full((len(items), k), -np.inf, dtype=np.float32)
    for start in range(0, len(items), 512):
        block = items[start : start + 512]
        dense = unit[block] @ unit.T
        dense[dense == 0] = -np.inf
        dense[np.arange(len(block)), block] = -np.inf
        codes[start : start + 512], scores[start : start + 512] = top_k(dense, k)
    return codes, scores


def _search(
    queries: Float32, vectors: Float32, codes: Int32, k: int, exclude: sp.csr_matrix | None
) -> tuple[Int32, Float32]:
    """Exact inner-product search for rows of `queries`, longest exclusions together.

    Each block asks for as many more as its longest row of `exclude` may take away. faiss answers -1 when there are
    fewer, which must not be taken for the last item.
    """
    import faiss

    rows = len(queries)
    out_items = np.full((rows, k), -1, dtype=np.int32)
    out_scores = np.full((rows, k), -np.inf, dtype=np.float32)
    if not len(codes) or not rows:
        return out_items, out_scores
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    taken = np.zeros(rows, np.int64) if exclude is None else np.diff(exclude.indptr).astype(np.int64)
    asked = np.flatnonzero(queries.any(axis=1))
    asked = asked[np.argsort(taken[asked], kind="stable")]
    for start in range(0, len(asked), _SEARCH_ROWS):
        block = asked[start : start + _SEARCH_ROWS]
        want = int(min(k + taken[block].max(), len(codes)))
        scores, found = index.search(np.ascontiguousarray(queries[block], dtype=np.float32), want)
        items = np.where(found < 0, -1, codes[found])
        scores = np.where(found < 0, -np.inf, scores).astype(np.float32)
        if exclude is not None:
            scores[contains(exclude[block], items)] = -np.inf
        place, best = top_k(scores, k)
        out_items[block] = np.where(place < 0, -1, np.take_along_axis(items, np.maximum(place, 0), axis=1))
        out_scores[block] = best
    return out_items, out_scores
