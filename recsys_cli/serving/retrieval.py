"""What the model says: its best items for a person, the scores of given ones, the neighbours of an item."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from ..artifacts.bundle import Bundle
from ..models.base import Model
from ..models.support.vectors import VectorModel, unit_rows
from ..schema import Float32, Int32
from .catalogue import Allowed, Catalogue
from .history import Past, weigh_one
from .item_index import ItemIndex, LongFirst
from .sources import Found
from .visitor import Person

_NEIGHBOURS = 200  # kept for each item that is asked about
_ITEMS_KEPT = 2048  # items whose neighbours are remembered
_DEPTH = 64  # candidates asked for at least
_LARGE = 20_000  # items from which on looking at all of them takes too long for a source among others
_PLAIN = 100  # candidates that the index answers quickest when everything is allowed
_DEEPEST = 1024  # candidates looked through before everything is scored
_FIRST = 1000  # customers among whom one is looked for whose list warms what all lists need
_AROUND = 1000  # of what scores best with an item, among which its neighbours are looked for in the largest catalogues

Scored = tuple[Int32, Float32]  # item codes and their scores, best first
NOTHING_FOUND: Scored = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)


class Retrieval:
    """Candidates from one version's model.

    Parameters
    ----------
    bundle, model, index, catalogue
        As the engine's.
    """

    def __init__(self, bundle: Bundle, model: Model, index: ItemIndex | None, catalogue: Catalogue) -> None:
        self._bundle = bundle
        self._model = model
        self.index = index
        self._catalogue = catalogue
        self._vectors = model if isinstance(model, VectorModel) and index is not None else None
        self._similar: OrderedDict[int, Found] = OrderedDict()

    def warm(self) -> None:
        """Make what the first list would wait for: sums over all items, a second in a catalogue of a million."""
        histories = self._bundle.histories
        rows = np.flatnonzero(np.diff(histories.indptr[:_FIRST]))
        if self._model.capabilities.personal and len(rows):
            somebody = Person(Past.of_row(histories, int(rows[0])), [], [], [], 0, [], [])
            self._look_for(somebody, self._catalogue.allowed_by_default(), 1)

    def by_model(self, person: Person, allowed: Allowed, want: int) -> Iterable[tuple[int, float]]:
        """The model's best allowed items with an opinion, at least `want` when there are as many."""
        if not self._model.capabilities.personal or not len(person.past):
            return ()
        whole = allowed is self._catalogue.allowed_by_default()
        if whole and person.found is not None and person.found[0] == allowed.number and person.found[1] >= want:
            codes, scores = person.found[2:]
        else:
            codes, scores = self._look_for(person, allowed, want)
            if whole:
                person.found = (allowed.number, max(want, len(codes)), codes, scores)
        return zip(codes.tolist(), scores.tolist(), strict=True)

    def candidates(self, person: Person, allowed: Allowed, want: int) -> Scored:
        """As `by_model`, as arrays, and remembered for whatever filters somebody comes back with."""
        if not self._model.capabilities.personal or not len(person.past):
            return NOTHING_FOUND
        kept = person.candidates
        # Exactly as many: what is put in order must not depend on what was asked before.
        if kept is not None and kept[0] == allowed.number and kept[1] == want:
            return kept[2], kept[3]
        codes, scores = self._look_for(person, allowed, want)
        person.candidates = (allowed.number, want, codes, scores)
        return codes, scores

    def _look_for(self, person: Person, allowed: Allowed, want: int) -> Scored:
        if self._vectors is None:
            return _best(self._dense(person), allowed, max(want, _DEPTH))
        vector = self._vector(self._vectors, person)
        return self._search(self._vectors, vector, allowed, want) if vector.any() else NOTHING_FOUND

    def scores_of(self, person: Person, codes: Int32) -> Float32:
        """The model's scores of these items; 0 where it has no opinion."""
        if not self._model.capabilities.personal or not len(person.past):
            return np.zeros(len(codes), dtype=np.float32)
        if self._vectors is None:
            return self._dense(person)[codes]
        vector = self._vector(self._vectors, person)
        return np.asarray(self._vectors.item_vectors()[codes] @ vector, dtype=np.float32)

    def vector_of(self, person: Person) -> Float32 | None:
        """The person's vector; None when the model has none."""
        return self._vector(self._vectors, person) if self._vectors is not None else None

    def with_items(self, found: Scored, person: Person, codes: NDArray[Any]) -> Scored:
        """`found` with these items too, where the model has an opinion of them."""
        missing = np.setdiff1d(codes, found[0]).astype(np.int32)
        scores = self.scores_of(person, missing)
        held = scores != 0
        return np.concatenate([found[0], missing[held]]), np.concatenate([found[1], scores[held]])

    def neighbours(self, code: int) -> Found:
        """The items most like one, best first."""
        kept = self._similar.get(code)
        if kept is None:
            near = self.index is not None and self.index.half
            kept = self._similar[code] = self._nearby(code, _AROUND) if near else self._look_around(code)
            if len(self._similar) > _ITEMS_KEPT:
                self._similar.popitem(last=False)
        return kept

    def near(self, code: int) -> Found:
        """As `neighbours`, but quick in large catalogues too: chosen among what scores best with the item."""
        if code in self._similar or self._vectors is None or self.index is None or len(self._catalogue) < _LARGE:
            return self.neighbours(code)
        return self._nearby(code, _NEIGHBOURS)

    def _nearby(self, code: int, depth: int) -> Found:
        assert self._vectors is not None
        assert self.index is not None
        vectors = self._vectors.item_vectors()
        vector = vectors[code]
        if not vector.any():
            return []
        found, _ = self.index.search(vector[None, :], depth)
        codes = found[0][(found[0] >= 0) & (found[0] != code)]
        likeness = unit_rows(vectors[codes]) @ unit_rows(vector[None, :])[0]
        order = np.argsort(-likeness, kind="stable")[:_NEIGHBOURS]
        return list(zip(codes[order].tolist(), likeness[order].tolist(), strict=True))

    def likeness(self, codes: Sequence[int]) -> dict[int, float]:
        """How much items are like the most similar of these, from 0 to 1, where they are at all."""
        most: dict[int, float] = {}
        for code in codes:
            found = self.near(code)
            # Cosines say how alike two items are; other models' scores only which are the most alike.
            top = 1.0 if self._vectors is not None or not found else found[0][1]
            for other, score in found:
                most[other] = max(most.get(other, 0.0), min(score / top, 1.0))
        return most

    def unit_rows(self, codes: Int32) -> Float32 | None:
        """Vectors of length 1 of some items, from which likeness is told; None when the model has none."""
        if self._vectors is None:
            return None
        rows = self._vectors.item_vectors()[codes]
        if self.index is not None and self.index.half:
            return unit_rows(rows)  # the lengths of millions are not computed for a list
        rows *= self._per_length[codes, None]
        return rows

    def _vector(self, model: VectorModel, person: Person) -> Float32:
        if person.vector is not None:
            return person.vector
        if model.capabilities.sequential:
            now = max(self._bundle.now, int(person.past.ts.max(initial=0)))
            person.vector = model.user_vectors(person.past.as_histories(self._bundle.histories), now)[0]
        else:
            items, weights = weigh_one(person.past, self._bundle.histories.kind_weight, model.config)
            width = model.item_vectors().shape[1]
            person.vector = model.fold_in(items, weights) if len(items) else np.zeros(width, dtype=np.float32)
        return person.vector

    def _dense(self, person: Person) -> Float32:
        now = max(self._bundle.now, int(person.past.ts.max()))
        scores = self._model.score(person.past.as_histories(self._bundle.histories), now)
        return np.asarray(scores[0], dtype=np.float32)

    def _search(self, model: VectorModel, vector: Float32, allowed: Allowed, want: int) -> Scored:
        assert self.index is not None
        if allowed.few:
            scores = allowed.rows_of(model.item_vectors()) @ vector
            order = _largest(scores, want)
            return _with_opinion(allowed.codes[order], scores[order])
        n = len(self._catalogue)
        depth = min(max(_DEPTH, want), n)
        inner = self.index.index
        if isinstance(inner, LongFirst) and (depth > _PLAIN or allowed.count < n):
            return _with_opinion(*inner.search_allowed(vector, depth, allowed.along(inner.ids)))
        bits = allowed.bits if self.index.half and allowed.count < n else None
        while True:
            codes, scores = (a[0] for a in self.index.search(vector[None, :], min(depth, n), bits))
            keep = scores != 0  # -inf where the index ran short
            keep &= codes >= 0
            if allowed.count < n:
                keep &= allowed.mask[codes]
            found = codes[keep].astype(np.int32), scores[keep]
            if len(found[0]) >= want or depth >= min(n, _DEEPEST) or bits is not None:
                break
            depth *= 4
        if len(found[0]) >= min(want, allowed.count):
            return found
        return _best(model.item_vectors() @ vector, allowed, want)

    def _look_around(self, code: int) -> Found:
        n = min(_NEIGHBOURS, len(self._catalogue))
        vectors = self._vectors
        if vectors is not None and type(vectors).similar is VectorModel.similar:
            scores, codes = self._around.search(self._around.reconstruct(code)[None, :], n)
        else:
            codes, scores = self._model.similar(np.array([code], dtype=np.int32), n)
        pairs = zip(codes[0].tolist(), scores[0].tolist(), strict=True)
        return [(c, s) for c, s in pairs if c >= 0 and c != code and s != 0 and np.isfinite(s)]

    @cached_property
    def _per_length(self) -> Float32:
        """One over each item's length, for whom diversity asks; 1 for items without a vector."""
        assert self._vectors is not None
        vectors = self._vectors.item_vectors()
        length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        length[length == 0] = 1
        return np.asarray(1 / length, dtype=np.float32)

    @cached_property
    def _around(self) -> Any:
        """Exact search among directions; what `VectorModel.similar` does, without doing the divisions every time."""
        assert self._vectors is not None
        unit = unit_rows(self._vectors.item_vectors())
        index = faiss.IndexFlatIP(unit.shape[1])
        index.add(unit)
        return index


def _largest(scores: Float32, n: int) -> NDArray[np.int64]:
    """Places of the `n` largest, largest first, ties in order."""
    if n < len(scores):
        part = np.sort(np.argpartition(-scores, n - 1)[:n])
        return part[np.argsort(-scores[part], kind="stable")]
    return np.argsort(-scores, kind="stable")


def _with_opinion(codes: NDArray[Any], scores: Float32) -> Scored:
    held = scores != 0
    return (codes if held.all() else codes[held]).astype(np.int32), scores if held.all() else scores[held]


def _best(dense: Float32, allowed: Allowed, want: int) -> Scored:
    """The best of what the model has an opinion of; in linear models that is little, so it is picked out first."""
    codes = np.flatnonzero(dense)
    codes = codes[allowed.mask[codes]]
    scores = dense[codes]
    order = _largest(scores, want)
    return codes[order].astype(np.int32), scores[order]
