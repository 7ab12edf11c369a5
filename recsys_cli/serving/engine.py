"""From a request to a list of items: one version, what was heard since, and the rules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..artifacts import Version
from ..artifacts.bundle import Bundle, read_bundle
from ..errors import NotFound
from ..identity import UserKeys, find_key, user_key
from ..index import ItemIndex
from ..models import registry
from ..models.base import Model, top_k
from ..models.vectors import VectorModel
from ..schema import ITEM_COLUMNS, PURCHASE, Float32, IdMap, Int32
from . import batch
from .catalogue import Allowed, Catalogue
from .overlay import Overlay
from .person import NOTHING, Past, weigh_one
from .request import Answer, Batch, Filters, Request

INDEX_FILE = "index.faiss"
_SIMILAR_KEPT = 2048  # items whose neighbours are remembered
_DEPTH = 64  # candidates asked for at least

Found = list[tuple[int, float]]  # item codes with scores, best first


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: what they did, what of it the model weighs, and what they have bought."""

    past: Past
    bought: frozenset[int]


class Engine:
    """Answers from one version; made anew for the next one. Not for several threads at a time.

    Parameters
    ----------
    bundle
        The version's content.
    model
        Its model.
    index
        Over the model's item vectors, when it has any.
    secret
        See `identity.load_secret`.
    version
        The version's name.
    overlay
        What was heard since; None for batch work on the version alone.
    """

    def __init__(
        self,
        bundle: Bundle,
        model: Model,
        index: ItemIndex | None,
        secret: str,
        *,
        version: str = "",
        overlay: Overlay | None = None,
    ) -> None:
        self.bundle = bundle
        self.model = model
        self.version = version
        self.overlay = overlay
        self.catalogue = Catalogue(bundle)
        self._index = index
        self._vectors = model if isinstance(model, VectorModel) and index is not None else None
        self._secret = secret
        self._kind_code = {name: code for code, name in enumerate(bundle.histories.kinds)}
        self._purchase = self._kind_code.get(PURCHASE, -1)
        self._popular = bundle.shelves["popular"]
        self._shelf_order = _everything(bundle)
        self._similar: OrderedDict[int, Found] = OrderedDict()

    @classmethod
    def open(cls, version: Version, secret: str, overlay: Overlay | None = None) -> Self:
        """The engine on a published version.

        Raises
        ------
        CorruptArtifact
            The version cannot be read.
        """
        bundle = read_bundle(version.path)
        model = registry.load(bundle)
        path = version.file(INDEX_FILE)
        index = ItemIndex.load(path) if path.exists() and model.capabilities.vectors else None
        return cls(bundle, model, index, secret, version=version.name, overlay=overlay)

    @property
    def items(self) -> IdMap:
        """Item ids by code."""
        return self.bundle.items()

    def catch_up(self) -> Iterator[None]:
        """Take what was heard since the last time, from the spool; yields between pieces of work."""
        if self.overlay is None:
            return
        for lines in self.overlay.read():
            for line in lines:
                if line["t"] == "item":
                    self._change_item(line)
            yield

    def _change_item(self, line: dict[str, Any]) -> None:
        columns = {name: line[name] for name in ITEM_COLUMNS if name in line and name != "item_id"}
        self.catalogue.change(line["item_id"], columns, retired=line.get("retired", False))

    # -- answers ----------------------------------------------------------------------------------------------------

    def recommend(self, request: Request) -> Answer:
        """The best items for whoever asks; popular ones, labelled as a fallback, where nothing personal is known."""
        person = self._person(request)
        allowed = self.catalogue.allowed(request.filters)
        skip = set() if request.repeat else set(person.bought)
        skip.update(self._codes(request.items))
        want = request.offset + request.k
        found = self._by_model(person.past, allowed, want + len(skip)) if len(person.past) else []
        picked = _Picked(want, skip)
        picked.take(found, self.model.name, False)
        if not picked.full:
            self._fill(picked, allowed)
        return self._answer(picked, request, known=len(person.past) > 0)

    def similar(self, item_id: str, k: int = 10, *, offset: int = 0, filters: Filters | None = None) -> Answer:
        """The items most like one.

        Raises
        ------
        NotFound
            No such item.
        """
        code = self.code(item_id)
        request = Request(k=k, offset=offset, filters=filters or Filters())
        allowed = self.catalogue.allowed(request.filters)
        picked = _Picked(offset + k, {code})
        picked.take([(c, s) for c, s in self._neighbours(code) if allowed.mask[c]], self.model.name, False)
        if not picked.full:
            category = self.catalogue.record(code).get("category")
            same = Filters(category=(category,)) if category else None
            if same is not None and not request.filters.category:
                both = allowed.mask & self.catalogue.allowed(same).mask
                picked.take(self._popular_of(both, offset + k + 1), "category", True)
        if not picked.full:
            self._fill(picked, allowed)
        return self._answer(picked, request, known=True)

    def popular(self, request: Request) -> Answer:
        """What sells, best first."""
        picked = _Picked(request.offset + request.k, set())
        self._fill(picked, self.catalogue.allowed(request.filters), fallback=False)
        return self._answer(picked, request, known=False)

    def recommend_batch(self, keys: UserKeys, k: int, *, repeat: bool = False) -> Batch:
        """Lists for many customers, from the version alone; see `batch.recommend`."""
        return batch.recommend(
            self.bundle, self.model, self.catalogue.shown, self._shelf_order, keys, k, repeat=repeat
        )

    # -- looking things up ------------------------------------------------------------------------------------------

    def code(self, item_id: str) -> int:
        """The item's code.

        Raises
        ------
        NotFound
        """
        code = self.catalogue.code_of.get(item_id)
        if code is None:
            raise NotFound(f"There is no item '{item_id}'.", "New items are known after the next update.")
        return code

    def describe(self, answer: Answer) -> list[dict[str, Any]]:
        """The lines of an answer with what is known of the items."""
        rows = []
        for i, code in enumerate(answer.codes):
            row = self.catalogue.describe(code)
            row |= {"score": answer.scores[i], "source": answer.sources[i], "fallback": answer.fallbacks[i]}
            if answer.reasons:
                row["reason"] = answer.reasons[i]
            rows.append(row)
        return rows

    def history(self, user_id: str, n: int) -> list[dict[str, Any]]:
        """The newest `n` events of a customer, newest first, with what is known of the items."""
        past = self._person(Request(user_id=user_id)).past
        kinds = self.bundle.histories.kinds
        return [
            self.catalogue.describe(int(past.item[i]))
            | {"ts": int(past.ts[i]), "event_type": kinds[past.kind[i]], "qty": float(past.qty[i])}
            for i in range(len(past) - 1, max(len(past) - 1 - n, -1), -1)
        ]

    def _codes(self, ids: tuple[str, ...]) -> list[int]:
        code_of = self.catalogue.code_of
        return [code_of[i] for i in ids if i in code_of]

    # -- who asks ---------------------------------------------------------------------------------------------------

    def _person(self, request: Request) -> Person:
        past, later = NOTHING, []
        if request.user_id is not None:
            key = user_key(self._secret, request.user_id)
            row = find_key(self.bundle.keys, key)
            if row >= 0:
                past = Past.of_row(self.bundle.histories, row)
            if self.overlay is not None:
                later += self._coded(self.overlay.users.get(key, ()))
        if request.session_id is not None and self.overlay is not None:
            later += self._coded(self.overlay.guests.get(request.session_id, ()))
        bought = past.item[past.kind == self._purchase].tolist() if len(past) else []
        bought += [code for code, _, kind, _ in later if kind == self._purchase]
        if request.items and self._purchase >= 0:
            now = max(self.bundle.now, self.overlay.newest if self.overlay else 0)
            later += [(code, now, self._purchase, 1.0) for code in self._codes(request.items)]
        return Person(past.then(later), frozenset(bought))

    def _coded(self, events: Any) -> list[tuple[int, int, int, float]]:
        """Events heard of since, as the version's codes; leaves out items and kinds that it does not know."""
        code_of, kind_code = self.catalogue.code_of, self._kind_code
        return [
            (code_of[e.item_id], e.ts, kind_code[e.kind], e.qty)
            for e in events
            if e.item_id in code_of and e.kind in kind_code
        ]

    # -- where items come from --------------------------------------------------------------------------------------

    def _by_model(self, past: Past, allowed: Allowed, want: int) -> Found:
        """The model's best allowed items with an opinion, at least `want` when there are as many."""
        if not self.model.capabilities.personal:
            return []
        if self._vectors is None:
            now = max(self.bundle.now, int(past.ts[-1]))
            dense = self.model.score(past.as_histories(self.bundle.histories), now)
            return _best(dense[0], allowed, want)
        items, weights = weigh_one(past, self.bundle.histories.kind_weight, self.model.config)
        if not len(items):
            return []
        return self._search(self._vectors, self._vectors.fold_in(items, weights), allowed, want)

    def _search(self, model: VectorModel, vector: Float32, allowed: Allowed, want: int) -> Found:
        assert self._index is not None
        if allowed.few:
            codes = allowed.codes
            scores = allowed.rows_of(model.item_vectors()) @ vector
            order = np.argsort(-scores, kind="stable")[:want]
            return [(c, s) for c, s in zip(codes[order].tolist(), scores[order].tolist(), strict=True) if s != 0]
        depth = max(_DEPTH, want)
        while True:
            codes, scores = self._index.search(vector[None, :], min(depth, len(self.catalogue)))
            keep = (codes[0] >= 0) & (scores[0] != 0) & allowed.mask[codes[0]]
            found = list(zip(codes[0][keep].tolist(), scores[0][keep].tolist(), strict=True))
            if len(found) >= want or depth >= min(len(self.catalogue), 16 * _DEPTH):
                break
            depth *= 4
        if len(found) >= min(want, allowed.count):
            return found
        return _best(model.item_vectors() @ vector, allowed, want)

    def _neighbours(self, code: int) -> Found:
        kept = self._similar.get(code)
        if kept is None:
            codes, scores = self.model.similar(np.array([code], dtype=np.int32), min(200, len(self.catalogue)))
            kept = [(c, s) for c, s in zip(codes[0].tolist(), scores[0].tolist(), strict=True) if c >= 0]
            self._similar[code] = kept
            if len(self._similar) > _SIMILAR_KEPT:
                self._similar.popitem(last=False)
        return kept

    def _fill(self, picked: _Picked, allowed: Allowed, *, fallback: bool = True) -> None:
        """Popular items, then the rest of the catalogue, newest first."""
        order = self._shelf_order
        step = 4 * (picked.want + len(picked.skip)) + _DEPTH
        for start in range(0, len(order), step):
            block = order[start : start + step]
            block = block[allowed.mask[block]]
            scores = self._popular[block].tolist()
            for code, score in zip(block.tolist(), scores, strict=True):
                picked.add(code, score, "popular" if score > 0 else "catalogue", fallback)
            if picked.full:
                return
            step *= 4

    def _popular_of(self, mask: Any, n: int) -> Found:
        order = self._shelf_order[mask[self._shelf_order]][:n]
        return list(zip(order.tolist(), self._popular[order].tolist(), strict=True))

    def _answer(self, picked: _Picked, request: Request, *, known: bool) -> Answer:
        page = slice(request.offset, request.offset + request.k)
        codes = picked.codes[page]
        ids = self.catalogue.ids
        return Answer(
            codes,
            picked.scores[page],
            picked.sources[page],
            picked.fallbacks[page],
            known,
            self.version,
            [ids[c] for c in codes],
        )


class _Picked:
    """A list being filled, each item once."""

    __slots__ = ("codes", "fallbacks", "scores", "skip", "sources", "want")

    def __init__(self, want: int, skip: set[int]) -> None:
        self.want = want
        self.skip = skip
        self.codes: list[int] = []
        self.scores: list[float] = []
        self.sources: list[str] = []
        self.fallbacks: list[bool] = []

    @property
    def full(self) -> bool:
        return len(self.codes) >= self.want

    def add(self, code: int, score: float, source: str, fallback: bool) -> None:
        if len(self.codes) < self.want and code not in self.skip:
            self.skip.add(code)
            self.codes.append(code)
            self.scores.append(score)
            self.sources.append(source)
            self.fallbacks.append(fallback)

    def take(self, found: Found, source: str, fallback: bool) -> None:
        for code, score in found:
            if len(self.codes) >= self.want:
                return
            self.add(code, score, source, fallback)


def _best(dense: Any, allowed: Allowed, want: int) -> Found:
    scores = np.where(allowed.mask & (dense != 0), dense, -np.inf)[None, :].astype(np.float32)
    codes, values = top_k(scores, min(want, scores.shape[1]))
    return [(c, s) for c, s in zip(codes[0].tolist(), values[0].tolist(), strict=True) if c >= 0]


def _everything(bundle: Bundle) -> Int32:
    """All codes: those that sell, best first, then the others, newest first."""
    order = bundle.shelves["popular_order"]
    rest = np.ones(len(bundle.catalogue), dtype=np.bool_)
    rest[order] = False
    codes = np.flatnonzero(rest)
    codes = codes[np.argsort(-bundle.shelves["first_seen"][codes], kind="stable")]
    return np.concatenate([order, codes]).astype(np.int32)
