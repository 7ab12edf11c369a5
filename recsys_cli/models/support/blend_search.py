"""The best of a blend for many histories: members propose, and only what one of them proposes is blended.

To standardise and add up the scores of every item takes milliseconds a customer where there are a hundred thousand.
What is among the best of a sum, some part of it puts high, but for a few places (the idea of the threshold algorithm;
Fagin, Lotem and Naor 2003). `recsys recommend --all` measures how many these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from threading import local
from typing import Any

import faiss
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...schema import Float32, Histories, Int32
from ..base import Model
from .blend_weights import standardised
from .item_matrix import ItemModel, largest_of_rows
from .top_n import top_k
from .vectors import VectorModel

PROPOSED = 100  # items that each member puts forward for a customer
_INDEXED = 20_000  # items from which on an index pays
_HEAD = 300  # items that are the best by what all are told alike
Flat = NDArray[np.int64]  # places in an array of shape (rows, n_items), row by row
_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Own:
    """What is added for items of the history itself: CSR of shape (rows, n_items), and a value for each entry."""

    items: sp.csr_matrix
    worth: Float32


@dataclass(frozen=True)
class VectorIndex:
    """A model's item vectors: where the best for somebody are, and how all scores of anybody are spread.

    Parameters
    ----------
    vectors
        float32, shape (n_items, d).
    mean, outer
        Of the vectors, and of their outer products: from these the mean and the spread of anybody's scores are known
        without looking at them.
    index
        faiss's inverted lists (Jégou et al. 2011).
    """

    vectors: Float32
    mean: NDArray[np.float64]
    outer: NDArray[np.float64]
    index: Any

    @classmethod
    def of(cls, vectors: Float32) -> VectorIndex:
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        n, width = vectors.shape
        lists = int(np.clip(n // 100, 16, 1024))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.max_points_per_centroid = 5, 40
        index.train(vectors)
        index.add(vectors)
        index.nprobe = max(lists // 16, 8)
        return cls(vectors, vectors.mean(axis=0, dtype=np.float64), (vectors.T @ vectors).astype(np.float64) / n, index)

    def opinion(self, users: Float32, space: _Space) -> _Opinion:
        """What users' vectors say; what they propose is marked in `space`."""
        faiss.omp_set_num_threads(1)  # of this thread: several look at the same time
        want = PROPOSED + int(min(np.quantile(space.shut, 0.9), PROPOSED))
        codes = self.index.search(users, min(want, len(self.vectors)))[1]
        place = np.arange(len(users))[:, None] * len(self.vectors) + codes
        space.propose(place[codes >= 0])
        exact = users.astype(np.float64)
        middle, squares = exact @ self.mean, np.einsum("ij,ij->i", exact @ self.outer, exact)
        return _Opinion(users, None, *_spread(middle, squares), self.vectors)


def indices_of(members: Mapping[str, Model]) -> dict[str, VectorIndex]:
    """Of each member that is item vectors, an index of them."""
    return {
        label: VectorIndex.of(member.item_vectors())
        for label, member in members.items()
        if isinstance(member, VectorModel) and type(member)._score is VectorModel._score and member.n_items > _INDEXED
    }


class _Space:
    """Room for what is marked and held of some customers, used again for the next ones: zeroing it took a third of
    the time.

    Attributes
    ----------
    chosen, taken
        bool, shape (rows * n_items,): items that somebody proposes, and those that are not to be shown.
    held
        float32, of the same shape: what a member says, where that is little, item by item. Zero between uses.
    shut
        int64, shape (rows,): how many are not to be shown.
    """

    def __init__(self, rows: int, allowed: NDArray[np.bool_]) -> None:
        self._allowed, self._all = allowed, bool(allowed.all())
        self.chosen, self.taken = (np.zeros(rows * len(allowed), dtype=np.bool_) for _ in range(2))
        self.held = np.zeros(rows * len(allowed), dtype=np.float32)
        self.shut = np.zeros(rows, dtype=np.int64)

    def open(self, place: Flat) -> NDArray[np.bool_]:
        """Which of these places may be shown."""
        free = ~self.taken[place]
        return free if self._all else free & self._allowed[place % len(self._allowed)]

    def propose(self, place: Flat) -> None:
        """Mark these places; what may not be shown is left out by `proposed`."""
        self.chosen[place] = True

    def proposed(self, rows: int) -> Flat:
        """The marked places that may be shown, ascending, of the first rows; the marks are gone then."""
        place = np.flatnonzero(self.chosen[: rows * len(self._allowed)])
        self.chosen[place] = False
        return place[self.open(place)]


class Search:
    """The members of a blend, and what they tell all customers alike.

    Parameters
    ----------
    members, shares
        Models and their weights, by label.
    indices
        Of members that are item vectors, see `indices_of`.
    allowed
        Shape (n_items,): items that may be shown at all.
    now
        As for `Model.recommend`.
    rows
        Histories asked about at a time, at most.
    """

    def __init__(
        self,
        members: Mapping[str, Model],
        shares: Mapping[str, float],
        indices: Mapping[str, VectorIndex],
        allowed: NDArray[np.bool_],
        now: int,
        rows: int,
    ) -> None:
        self._rows, self._spaces = rows, local()
        nobody = Histories.of([[]])
        self.n_items, self.now, self._allowed = len(allowed), now, allowed
        self._common, self._known_by_all = np.zeros(self.n_items, np.float32), np.zeros(self.n_items, np.bool_)
        self._personal: list[tuple[np.float32, Model, VectorIndex | None]] = []
        for label, member in members.items():
            share = np.float32(shares[label])
            if member.capabilities.personal:
                self._personal.append((share, member, indices.get(label)))
            else:
                scores = member.score(nobody, now)
                self._common += share * standardised(scores)[0]
                self._known_by_all |= scores[0] != 0
        shown = np.flatnonzero(allowed)
        if len(shown) > _HEAD:
            shown = shown[np.argpartition(-self._common[shown], _HEAD)[:_HEAD]]
        self._head = shown
        # So high are about PROPOSED of all scores, were they spread evenly; tails are longer.
        self._high = NormalDist().inv_cdf(1 - min(PROPOSED / self.n_items, 0.5))

    def best(
        self, own: Own | None, histories: Histories, k: int, exclude: sp.csr_matrix | None
    ) -> tuple[Int32, Float32]:
        """The k best items of each history.

        Parameters
        ----------
        own
            What items of the history itself are worth besides.
        exclude
            As for `Model.recommend`.

        Returns
        -------
        int32 codes and float32 scores, both of shape (rows, k); where a list is short, the row says nothing.
        """
        shape = len(histories), self.n_items
        space = self._space()
        taken = _places(exclude) if exclude is not None else _NOTHING
        space.taken[taken] = True
        space.shut = np.diff(exclude.indptr) if exclude is not None else np.zeros(shape[0], np.int64)
        space.propose((np.arange(shape[0])[:, None] * self.n_items + self._head).ravel())
        opinions = [
            index.opinion(member.user_vectors(histories, self.now), space)
            if index is not None
            else _opinion(member, histories, self.now, self._high, space)
            for _, member, index in self._personal
        ]
        if own is not None:
            space.propose(_places(own.items))
        asked = space.proposed(shape[0])
        space.taken[taken] = False
        row, item = asked // self.n_items, asked % self.n_items
        total, known = self._common[item], self._known_by_all[item]
        held = space.held
        for (share, _, _), opinion in zip(self._personal, opinions, strict=True):
            raw = opinion.at(asked, held)
            total += share * np.arcsinh((raw - opinion.middle[row]) / opinion.spread[row])
            known |= raw != 0
        if own is not None:
            place = _places(own.items)
            held[place] = own.worth
            total += held[asked]
            held[place] = 1
            known |= held[asked] != 0
            held[place] = 0
        total[total == 0] = np.float32(1e-9)  # as in a blend in full
        keep = np.flatnonzero(known)
        return _best(row[keep], item[keep], total[keep], shape[0], k)

    def _space(self) -> _Space:
        """This thread's."""
        if not hasattr(self._spaces, "mine"):
            self._spaces.mine = _Space(self._rows, self._allowed)
        mine: _Space = self._spaces.mine
        return mine


@dataclass(frozen=True)
class _Opinion:
    """What one member says of all items, to each of some histories.

    Parameters
    ----------
    scores
        Dense of shape (rows, n_items), or the values that are not zero, at `place`, or users' vectors.
    place
        None where the scores are dense, or products of vectors.
    middle, spread
        float32, shape (rows,): of each row; an infinite spread where all its scores are alike.
    vectors
        Of the items, where scores are products.
    """

    scores: Float32
    place: Flat | None
    middle: Float32
    spread: Float32
    vectors: Float32 | None = None

    def at(self, asked: Flat, held: Float32) -> Float32:
        """The scores of some places, in order; `held`, of all places, is zero and is left so."""
        if self.vectors is not None:
            ends = np.searchsorted(asked, np.arange(1, len(self.scores) + 1) * len(self.vectors))
            rows = np.split(asked % len(self.vectors), ends[:-1])
            parts = [self.vectors[items] @ user for items, user in zip(rows, self.scores, strict=True)]
            return np.concatenate(parts).astype(np.float32, copy=False)
        if self.place is None:
            return self.scores.ravel()[asked]
        held[self.place] = self.scores
        found = held[asked]
        held[self.place] = 0
        return found


def _opinion(member: Model, histories: Histories, now: int, high: float, space: _Space) -> _Opinion:
    """What a member says; what it proposes is marked in `space`."""
    if isinstance(member, ItemModel) and sp.issparse(member.matrix):
        product = sp.csr_matrix(member.weights(histories, now) @ member.matrix)
        row, place, n = _row_of(product), _places(product), product.shape[1]
        middle = np.bincount(row, product.data, minlength=len(histories)) / n
        squares = np.bincount(row, product.data * product.data, minlength=len(histories)) / n
        keep = np.flatnonzero(space.open(place))
        space.propose(_highest(row[keep], place[keep], product.data[keep], len(histories)))
        return _Opinion(product.data, place, *_spread(middle, squares))
    dense = member.score(histories, now)
    middle = dense.mean(axis=1, dtype=np.float64)
    squares = np.square(dense.std(axis=1, dtype=np.float64)) + middle**2
    centre, spread = _spread(middle, squares)
    place = np.flatnonzero(dense > (centre + np.float32(high) * np.where(np.isinf(spread), 0, spread))[:, None])
    place = place[space.open(place)]
    space.propose(_highest(place // dense.shape[1], place, dense.ravel()[place], len(histories)))
    return _Opinion(dense, None, centre, spread)


def _spread(middle: NDArray[np.float64], squares: NDArray[np.float64]) -> tuple[Float32, Float32]:
    spread = np.sqrt(np.maximum(squares - middle**2, 0))
    return middle.astype(np.float32), np.where(spread > 0, spread, np.inf).astype(np.float32)


def _highest(row: NDArray[np.integer], place: Flat, scores: Float32, rows: int) -> Flat:
    """The places of the highest scores of each row, of rows in order."""
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(row, minlength=rows))])
    high = largest_of_rows(sp.csr_matrix((scores, np.arange(len(place)), indptr), shape=(rows, len(place))), PROPOSED)
    return np.asarray(place[high.indices], dtype=np.int64)


def _row_of(entries: sp.csr_matrix) -> Flat:
    return np.repeat(np.arange(entries.shape[0], dtype=np.int64), np.diff(entries.indptr))


def _places(entries: sp.csr_matrix) -> Flat:
    return np.asarray(_row_of(entries) * entries.shape[1] + entries.indices, dtype=np.int64)


def _best(row: NDArray[np.intp], item: NDArray[np.intp], total: Float32, rows: int, k: int) -> tuple[Int32, Float32]:
    """The k largest of each row, largest first, ties by lower code; padded with -1 and -inf."""
    count = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    side_by_side = np.full((rows, max(int(count.max(initial=0)), 1)), -np.inf, dtype=np.float32)
    code = np.full(side_by_side.shape, -1, dtype=np.int32)
    side_by_side[row, place], code[row, place] = total, item
    found, scores = top_k(side_by_side, k)
    return np.where(found < 0, -1, np.take_along_axis(code, np.maximum(found, 0), axis=1)), scores
