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
from threadpoolctl import threadpool_limits

from ...schema import Float32, Histories, Int32
from ..base import Model
from .blend_weights import drawn_in, standardised
from .item_matrix import ItemModel, largest_of_rows
from .top_n import best_first, highest, top_k
from .vectors import VectorModel

PROPOSED = 100  # items that each member puts forward for a customer
_INDEXED = 20_000  # items from which on an index pays
_HEAD, _HEAD_OF_EACH = 300, 60  # items that are the best by what all are told alike: together, and by each of it
_TOP = 4000  # of these, where only some items are allowed
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
        n, width = (vectors := np.ascontiguousarray(vectors, dtype=np.float32)).shape
        lists = int(np.clip(n // 100, 16, 1024))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.max_points_per_centroid = 5, 40
        with threadpool_limits(1):  # what is proposed when a ranker learns and when it is served must be the same
            index.train(vectors)
            index.add(vectors)
        index.nprobe = max(lists // 64, 8)  # .9995 of the places of 100,000 items are as in a blend in full
        return cls(vectors, vectors.mean(axis=0, dtype=np.float64), (vectors.T @ vectors).astype(np.float64) / n, index)

    def opinion(self, users: Float32, space: _Space, wanted: int) -> _Opinion:
        """What users' vectors say; the `wanted` items that they propose are marked in `space`.

        What somebody is proposed depends on nobody who is asked at the same time.
        """
        faiss.omp_set_num_threads(1)  # of this thread: several look at the same time
        codes = self.index.search(users, min(2 * wanted, len(self.vectors)), params=space.within(self.index))[1]
        place = (space.first + np.arange(len(users)))[:, None] * len(self.vectors) + codes
        free = (codes >= 0) & space.open(np.where(codes >= 0, place, 0).ravel()).reshape(codes.shape)
        space.propose(place[free & (np.cumsum(free, axis=1) <= wanted)])
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
    first
        The row that who is asked begins with.
    """

    def __init__(self, rows: int, n_items: int) -> None:
        self.rows, self.n_items, self.first = rows, n_items, 0
        self.chosen, self.taken = (np.zeros(rows * n_items, dtype=np.bool_) for _ in range(2))
        self.held = np.zeros(rows * n_items, dtype=np.float32)
        self.allow(np.ones(n_items, dtype=np.bool_))

    def allow(self, allowed: NDArray[np.bool_]) -> None:
        """From now on only these items may be shown to anybody."""
        self._allowed, self._all, self._selector = allowed, bool(allowed.all()), None

    def within(self, index: Any) -> Any:
        """How an index of vectors is searched: for what is allowed, where that is not most."""
        if self._all or 2 * np.count_nonzero(self._allowed) >= self.n_items:
            return None
        if self._selector is None:
            untyped: Any = faiss  # its stubs know the C++ constructors alone
            self._selector = untyped.IDSelectorBitmap(np.packbits(self._allowed, bitorder="little"))
            probes = min(index.nprobe * self.n_items // max(int(np.count_nonzero(self._allowed)), 1), index.nlist)
            self._asked = untyped.SearchParametersIVF(sel=self._selector, nprobe=probes)
        return self._asked

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
    proposed
        Items that each member puts forward for a customer.
    """

    def __init__(
        self,
        members: Mapping[str, Model],
        shares: Mapping[str, float],
        indices: Mapping[str, VectorIndex],
        allowed: NDArray[np.bool_],
        now: int,
        rows: int,
        proposed: int | None = None,
    ) -> None:
        self._rows, self._spaces = rows, local()
        nobody = Histories.of([[]])
        self.n_items, self._now, self._allowed = len(allowed), now, allowed
        self._wanted = PROPOSED if proposed is None else proposed
        self.alike: dict[str, Float32] = {}  # members that tell all customers the same: their standardised scores
        self._common, self._known_by_all = np.zeros(self.n_items, np.float32), np.zeros(self.n_items, np.bool_)
        self._personal: list[tuple[str, np.float32, Model, VectorIndex | None]] = []
        for label, member in members.items():
            share = np.float32(shares[label])
            if member.capabilities.personal:
                self._personal.append((label, share, member, indices.get(label)))
            else:
                scores = member.score(nobody, now)
                self.alike[label] = standardised(scores)[0]
                self._common += share * self.alike[label]
                self._known_by_all |= scores[0] != 0
        self._tops = [(best_first(self._common, _TOP), _HEAD)] if self.alike else []
        self._tops += [(best_first(scores, _TOP), _HEAD_OF_EACH) for scores in self.alike.values()]
        self._head = self.head(allowed)
        # So high are about as many of all scores, were they spread evenly; tails are longer.
        self._high = NormalDist().inv_cdf(1 - min(self._wanted / self.n_items, 0.5))

    def head(self, allowed: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Items, of those allowed, that are the best by what all are told alike."""
        parts = [top[allowed[top]][:n] for top, n in self._tops]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.intp)

    def look(
        self,
        own: Own | None,
        histories: Histories,
        exclude: sp.csr_matrix | None,
        *,
        allowed: NDArray[np.bool_] | None = None,
        now: int | None = None,
        apart: bool = False,
    ) -> Look:
        """What the members say to some histories.

        Parameters
        ----------
        own
            What items of the history itself are worth besides.
        exclude
            As for `Model.recommend`.
        allowed, now
            Others than for the search.
        apart
            Ask item vectors for one history after the other: products of matrices depend, in their last bits, on how
            many rows they have.
        """
        shape = len(histories), self.n_items
        space, at = self.space(shape[0]), self._now if now is None else now
        space.allow(self._allowed if allowed is None else allowed)
        taken = _places(exclude) if exclude is not None else _NOTHING
        space.taken[taken] = True
        head = self._head if allowed is None else self.head(allowed)
        space.propose((np.arange(shape[0])[:, None] * self.n_items + head).ravel())
        opinions: dict[str, _Opinion] = {}
        for label, _, member, index in self._personal:
            if index is None:
                opinions[label] = _opinion(member, histories, at, self._wanted, self._high, space)
                continue
            told = []
            for space.first in range(shape[0]) if apart else (0,):
                users = (
                    _user_vector(member, histories, space.first, at) if apart else member.user_vectors(histories, at)
                )
                told.append(index.opinion(users, space, self._wanted))
            opinions[label] = told[0] if len(told) == 1 else _Opinion.joined(told)
        if own is not None:
            space.propose(_places(own.items))
        proposed = space.proposed(shape[0])
        space.taken[taken] = False
        return Look(self, own, opinions, proposed, shape)

    def best(
        self, own: Own | None, histories: Histories, k: int, exclude: sp.csr_matrix | None
    ) -> tuple[Int32, Float32]:
        """The k best items of each history.

        Parameters
        ----------
        own, exclude
            As for `look`.

        Returns
        -------
        int32 codes and float32 scores, both of shape (rows, k); where a list is short, the row says nothing.
        """
        found = self.look(own, histories, exclude)
        total = found.total(found.proposed)
        keep = np.flatnonzero(total)
        row, item = np.divmod(found.proposed[keep], self.n_items)
        return _best(row, item, total[keep], len(histories), k)

    def space(self, rows: int) -> _Space:
        """This thread's, for as many histories at least."""
        mine: _Space | None = getattr(self._spaces, "mine", None)
        if mine is None or mine.rows < rows:
            mine = self._spaces.mine = _Space(max(rows, self._rows), self.n_items)
        return mine


@dataclass(frozen=True)
class Look:
    """What the members of a blend say to some histories; for the thread that looked.

    Parameters
    ----------
    proposed
        Places that are worth blending, ascending.
    shape
        (rows, n_items).
    """

    search: Search
    own: Own | None
    opinions: Mapping[str, _Opinion]
    proposed: Flat
    shape: tuple[int, int]

    def raw(self, label: str, asked: Flat) -> Float32:
        """A personal member's own scores of some places, ascending."""
        return self.opinions[label].at(asked, self.search.space(self.shape[0]).held)

    def total(self, asked: Flat, kept: dict[str, Float32] | None = None) -> Float32:
        """The blend's scores of some places, ascending; 0 where no member has an opinion.

        The members' standardised scores are put into `kept`, where it is given.
        """
        search, held = self.search, self.search.space(self.shape[0]).held
        row, item = asked // self.shape[1], asked % self.shape[1]
        total, known = search._common[item], search._known_by_all[item]
        for label, share, _, _ in search._personal:
            opinion = self.opinions[label]
            raw = opinion.at(asked, held)
            scaled = drawn_in((raw - opinion.middle[row]) / opinion.spread[row])
            total += share * scaled
            known |= raw != 0
            if kept is not None:
                kept[label] = scaled
        if kept is not None:
            kept |= {label: scores[item] for label, scores in search.alike.items()}
        if self.own is not None:
            place = _places(self.own.items)
            held[place] = self.own.worth
            total += held[asked]
            held[place] = 1
            known |= held[asked] != 0
            held[place] = 0
        total[total == 0] = np.float32(1e-9)  # as in a blend in full
        total[~known] = 0
        return total


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

    @staticmethod
    def joined(parts: list[_Opinion]) -> _Opinion:
        """Of users' vectors, for all rows."""
        scores, middle, spread = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("scores", "middle", "spread")
        )
        return _Opinion(scores, None, middle, spread, parts[0].vectors)

    def at(self, asked: Flat, held: Float32) -> Float32:
        """The scores of some places, in order; `held`, of all places, is zero and is left so."""
        if self.vectors is not None:
            ends = np.searchsorted(asked, np.arange(1, len(self.scores) + 1) * len(self.vectors))
            rows = np.split(asked % len(self.vectors), ends[:-1])
            # Row by row, because what a product of matrices says of an item depends, in its last bits, on the others.
            parts = [np.vecdot(self.vectors[items], user) for items, user in zip(rows, self.scores, strict=True)]
            return np.concatenate(parts).astype(np.float32, copy=False)
        if self.place is None:
            return self.scores.ravel()[asked]
        held[self.place] = self.scores
        found = held[asked]
        held[self.place] = 0
        return found


def _user_vector(member: Model, histories: Histories, row: int, now: int) -> Float32:
    """Of one history, shape (1, d), in the quickest way."""
    one = histories if len(histories) == 1 else histories.rows(np.array([row]))
    if not isinstance(member, VectorModel) or type(member).user_vectors is not VectorModel.user_vectors:
        return member.user_vectors(one, now)
    weights = member.weights(one, now)
    if not weights.nnz:
        return np.zeros((1, member.item_vectors().shape[1]), np.float32)
    return member.fold_in(weights.indices, weights.data)[None, :]


def _opinion(
    member: Model, histories: Histories, now: int, wanted: int, high: float, space: _Space
) -> _Opinion:  # fmt: skip
    """What a member says; the `wanted` items that it proposes, about `high` spreads above the mean, are marked."""
    if isinstance(member, ItemModel) and sp.issparse(member.matrix):
        product: Any = member.weights(histories, now) @ member.matrix
        row, place, n = _row_of(product), _places(product), product.shape[1]
        middle = np.bincount(row, product.data, minlength=len(histories)) / n
        squares = np.bincount(row, product.data * product.data, minlength=len(histories)) / n
        keep = np.flatnonzero(space.open(place))
        space.propose(_highest(row[keep], place[keep], product.data[keep], len(histories), wanted))
        return _Opinion(product.data, place, *_spread(middle, squares))
    dense = member.score(histories, now)
    middle = dense.mean(axis=1, dtype=np.float64)
    squares = np.square(dense.std(axis=1, dtype=np.float64)) + middle**2
    centre, spread = _spread(middle, squares)
    place = np.flatnonzero(dense > (centre + np.float32(high) * np.where(np.isinf(spread), 0, spread))[:, None])
    place = place[space.open(place)]
    space.propose(_highest(place // dense.shape[1], place, dense.ravel()[place], len(histories), wanted))
    return _Opinion(dense, None, centre, spread)


def _spread(middle: NDArray[np.float64], squares: NDArray[np.float64]) -> tuple[Float32, Float32]:
    spread = np.sqrt(np.maximum(squares - middle**2, 0))
    return middle.astype(np.float32), np.where(spread > 0, spread, np.inf).astype(np.float32)


def _highest(row: NDArray[np.integer], place: Flat, scores: Float32, rows: int, most: int) -> Flat:
    """The places of the `most` highest scores of each row, of equal ones those of the lowest codes; rows in order."""
    if rows == 1:
        return place[highest(scores, most, place)]
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(row, minlength=rows))])
    entries = sp.csr_matrix((scores, np.arange(len(place)), indptr), shape=(rows, len(place)))
    high = largest_of_rows(entries, most, ties=True)
    row, place = _row_of(high), place[high.indices]
    order = np.lexsort((place, -high.data, row))
    rank = np.arange(len(order)) - high.indptr[row]
    return np.asarray(place[order[rank < most]], dtype=np.int64)


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
