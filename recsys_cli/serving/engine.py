"""From a request to a list of items: one version, what was heard since, and the rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from ..artifacts import Version
from ..artifacts.choices import Choices
from ..artifacts.spool import changes
from ..errors import NotFound
from ..features import FeatureStore
from ..features.customer_groups import Groups
from ..identity import UserKeys
from ..schema import IdMap
from . import batch, exploration, list_builder, sources
from .catalogue import Allowed, Catalogue
from .explanations import Reasons
from .exploration import Explorer
from .filler import Filler
from .live_events import Overlay
from .loaded_version import LoadedVersion
from .newcomers import SEGMENT, Newcomers, Segment
from .request import Answer, Batch, Filters, Request
from .retrieval import Retrieval, Scored
from .rules import NO_RULES, Picker, Rules
from .second_stage import feature_store, followed_by
from .sources import Found
from .visitor import People, Person

_PAGE_KEPT = 100  # places of a list that is remembered
_DISLIKED = 20  # disliked items whose like are pushed down
_RULES_KEPT = 256  # requests' own rules that are kept ready


class Engine:
    """Answers from one version; made again for the next one. Not for several threads at a time.

    Parameters
    ----------
    loaded
        The version.
    secret
        See `identity.load_secret`.
    overlay
        What was heard since; None for batch work on the version alone.
    rules
        The shop's.
    choices
        See `People`.
    """

    def __init__(
        self,
        loaded: LoadedVersion,
        secret: str,
        overlay: Overlay | None = None,
        rules: Rules = NO_RULES,
        choices: Choices | None = None,
    ) -> None:
        self.bundle = bundle = loaded.bundle
        self.model = model = loaded.model
        self.version = loaded.name
        self.trained, self.currency = loaded.trained, loaded.currency
        self.overlay = overlay
        self.rules = rules
        self.second, self.watch = loaded.second, loaded.second.watch
        self.catalogue = Catalogue(bundle, rules)
        self.people = People(bundle, self.catalogue, overlay, secret, choices)
        self.retrieval = Retrieval(bundle, model, loaded.index, self.catalogue)
        self.filler, self.newcomers = Filler(bundle), Newcomers(bundle)
        self._has_campaigns = bool(rules.campaigns)
        self._rules_by_changes: dict[tuple[tuple[str, Any], ...], Rules] = {}
        self._explorer = Explorer.of(bundle, model, self.catalogue, loaded.manifest)

    @classmethod
    def open(
        cls,
        version: Version,
        secret: str,
        overlay: Overlay | None = None,
        rules: Rules = NO_RULES,
        choices: Choices | None = None,
        budget: float = 10.0,
    ) -> Self:
        """The engine on a published version.

        Raises
        ------
        CorruptArtifact
            The version cannot be read.
        """
        return cls(LoadedVersion.open(version, budget), secret, overlay, rules, choices)

    @property
    def items(self) -> IdMap:
        """Item ids by code."""
        return self.bundle.items()

    @property
    def set_aside(self) -> int:
        """Lines of the spool that are not ours, since the version."""
        return self.overlay.set_aside if self.overlay else 0

    def catch_up(self) -> Iterator[None]:
        """Take what was heard since the last time, from the spool; yields between pieces of work."""
        if self.overlay is not None:
            yield from self._take(self.overlay.read())

    def take_over(self, before: Overlay) -> Iterator[None]:
        """As `catch_up`, from what an overlay that this engine's `follows` knows; uses that up."""
        assert self.overlay is not None
        yield from self._take(self.overlay.take_over(before))

    def _take(self, heard: Iterator[list[Any]]) -> Iterator[None]:
        for lines in heard:
            for line in lines:
                self.catalogue.change(line.item_id, changes(line), retired=bool(line.retired))
                self.second.change(self.catalogue, line.item_id)
            yield

    @cached_property
    def features(self) -> FeatureStore:
        """Features of customers and items, to look up by id.

        Raises
        ------
        NotFound
            The version is older than features.
        """
        return feature_store(self.second.table, self.catalogue, self.people, self.bundle.histories)

    # -- lists for somebody -----------------------------------------------------------------------------------------

    def recommend(self, request: Request) -> Answer:
        """The best items for the visitor; popular ones, labelled as a fallback, where nothing personal is known."""
        self.second.start()
        person = self.people.find(request)
        self.watch.lap("visitor")
        picker = self._pick(person, request)
        self.watch.stop()
        return self.answer(picker, request, known=len(person.past) > 0, person=person)

    def order(self, request: Request) -> list[int]:
        """Codes of the visitor's list from its top to the end of the page that is asked for."""
        return self._pick(self.people.find(request), request).codes

    def _pick(self, person: Person, request: Request) -> Picker:
        """The visitor's list."""
        rules = self._rules_of(request) if request.rules else self.rules
        allowed = self.catalogue.allowed(request.filters)
        skip = self.people.not_again(person, request, rules, self.bundle.shelves.get("interval_days"))
        want = request.offset + request.k
        self.watch.lap("filters")
        if not (rules.shape or self._has_campaigns or person.fresh or person.basket or person.disliked):
            picker = Picker(want, skip)
            if (segment := self._segment(person, request)) is not None:
                found = self.newcomers.best(segment, allowed)
                picker.take(zip(found[0].tolist(), found[1].tolist(), strict=True), SEGMENT, False)
            picker.take(self._best(person, request, allowed, skip), self.model.name, False)
            if not picker.full:
                self.filler.fill(picker, allowed)
            self._explore(picker, person, request, rules, allowed)
            return picker
        if person.fresh or person.basket or request.explain or want > _PAGE_KEPT:
            return self._shaped(person, request, rules, allowed, skip)
        return self._shaped_once(person, request, rules, allowed, skip)

    def _ranked(self, person: Person, request: Request, allowed: Allowed, skip: set[int]) -> Scored | None:
        """The candidates in the ranker's order; None where it is off, or not to be used."""
        if not request.ranked:
            return None
        now, groups = self.people.now, self.groups(request)
        return self.second.order(person, allowed, self.bundle, now, skip, groups)

    def groups(self, request: Request) -> Groups:
        """What the ranker may make use of in what the request says of the visitor."""
        return self.second.groups(request.user) if request.user and self.people.may_use_attributes(request) else ()

    def _best(self, person: Person, request: Request, allowed: Allowed, skip: set[int]) -> Iterator[tuple[int, float]]:
        """As `_candidates`, for lists that no rule orders; what comes below is only looked for when it is needed."""
        ranked = self._ranked(person, request, allowed, skip)
        if ranked is not None:
            yield from zip(ranked[0].tolist(), ranked[1].tolist(), strict=True)
        self.watch.lap("rules")
        found = self.retrieval.by_model(person, allowed, request.offset + request.k + len(skip))
        self.watch.lap("candidates")
        yield from found

    def _candidates(self, person: Person, request: Request, allowed: Allowed, skip: set[int], depth: int) -> Scored:
        """The model's best for somebody, in the ranker's order where it is on."""
        ranked = self._ranked(person, request, allowed, skip)
        if ranked is not None and len(ranked[0]) >= depth:
            return ranked[0][:depth], ranked[1][:depth]
        self.watch.lap("rules")
        found = self.retrieval.candidates(person, allowed, depth)
        self.watch.lap("candidates")
        return found if ranked is None else followed_by(ranked, found)

    def _shaped_once(self, person: Person, request: Request, rules: Rules, allowed: Allowed, skip: set[int]) -> Picker:
        """`_shaped`, remembered for the next request of the same list: putting it in order takes most of the time."""
        minute = self.people.now // 60  # by which freshness moves nothing
        page = request.k, request.offset, request.ranked, self._segment(person, request), self.groups(request)
        asked = (allowed.number, rules, *page, minute, hash(frozenset(skip)))
        if person.ordered is None or person.ordered[0] != asked:
            picker = self._shaped(person, request, rules, allowed, skip)
            # Without what only the making of the list needs: the items bought and shown are many.
            slim = replace(picker, skip=set(), limits=[], pins={}, notes=[], _counts=[], _waiting=[])
            person.ordered = (asked, slim)
        return person.ordered[1]

    def _rules_of(self, request: Request) -> Rules:
        """The shop's rules with the request's changes; pages ask for the same ones all the time."""
        assert request.rules is not None
        key = tuple(request.rules.items())
        rules = self._rules_by_changes.get(key)
        if rules is None:
            if len(self._rules_by_changes) >= _RULES_KEPT:
                self._rules_by_changes.clear()
            rules = self._rules_by_changes[key] = self.rules.with_changes(**request.rules)
        return rules

    def _explore(self, picker: Picker, person: Person, request: Request, rules: Rules, allowed: Allowed) -> None:
        """Give the last place of the first page to the new item that is most to this person's taste.

        What stood there is the first of the next page, which is made from the same list.
        """
        if not (self._explores(rules, request.k) and len(person.past) and len(picker.codes) >= request.k):
            return
        place, page = request.k - 1, picker.codes[: request.k]
        if self._explorer.codes_in(page) or picker.sources[place] == "pinned":
            return
        code = self._explorer.best(
            self.retrieval.vector_of(person),
            self._explorer.liked(person.past, self.people.distaste),
            allowed,
            picker.skip.difference(picker.codes[request.k :]),
            unsold=exploration.sees_unsold(int(person.past.item.sum())),
        )
        if code is not None:
            picker.give(place, code, exploration.SOURCE)

    def _explores(self, rules: Rules, k: int) -> bool:
        return rules.settings.explore and k >= exploration.SHORTEST and len(self._explorer.codes) > 0

    def _shaped(self, person: Person, request: Request, rules: Rules, allowed: Allowed, skip: set[int]) -> Picker:
        """With several sources and the rules that order lists."""
        depth = list_builder.depth(request, len(skip))
        name, found = self.model.name, self._candidates(person, request, allowed, skip, depth)
        if (segment := self._segment(person, request)) is not None:
            name, found = SEGMENT, self.newcomers.best(segment, allowed)
        factor = self.catalogue.campaigns().factor
        if segment is None and len(found[0]) and factor is not None:
            found = self.retrieval.with_items(found, person, np.flatnonzero((factor > 1) & allowed.mask))
        others = self._other_sources(person, allowed, found)
        weights = sources.BASKET if person.basket else sources.SESSION
        lines = list_builder.lines(found, others, weights, name, skip)
        unwanted = self.retrieval.likeness(person.disliked[-_DISLIKED:])
        shaper = list_builder.Shaper(
            self.catalogue, rules, self.bundle.shelves["first_seen"], self.people.now, unwanted
        )
        picker = shaper.picker(request, skip)
        shaper.put(picker, lines, self.retrieval.unit_rows, fallback=False)
        if not picker.full:
            fill = list_builder.plain_lines(self.filler.best(allowed, depth), self.filler.popular, skip)
            shaper.put(picker, fill, self.retrieval.unit_rows, fallback=True)
        self._explore(picker, person, request, rules, allowed)
        return picker

    def _other_sources(self, person: Person, allowed: Allowed, found: Scored) -> dict[str, Found]:
        """What speaks for items besides the model's `found`, where there is a basket or something just happened."""
        latest = sources.latest(person.basket, person.fresh)
        if not latest:
            return {}
        others = {
            "together": sources.together(self.bundle.shelves, person.basket or latest, allowed),
            "neighbours": sources.neighbours(map(self.retrieval.near, latest), allowed),
            "content": sources.content(self.catalogue, self.filler.unsold, person.fresh or person.basket, allowed, 20),
        }
        if len(found[0]) or others["together"] or others["neighbours"]:
            # Alone it would keep popular items, which are liked better, from the list of whom nothing is known.
            others["trending"] = sources.trending(self.bundle.shelves, allowed)
        return others

    def _segment(self, person: Person, request: Request) -> Segment | None:
        """The visitor's kind, where that is all that is known of them and they let it be used."""
        if not request.user or len(person.past) or person.basket:
            return None
        return self.newcomers.segment_of(request.user) if self.people.may_use_attributes(request) else None

    # -- lists for everybody ----------------------------------------------------------------------------------------

    def similar(
        self, item_id: str, k: int = 10, *, offset: int = 0, filters: Filters | None = None, explain: bool = False
    ) -> Answer:
        """The items most like one.

        Raises
        ------
        NotFound
            No such item.
        """
        request = Request(k=k, offset=offset, filters=filters or Filters(), explain=explain)
        return self._like(item_id, request, pairs=False)

    def bought_together(self, item_id: str, request: Request) -> Answer:
        """What is in the same orders as one item, by lift with shrinkage; like items where there is too little.

        Raises
        ------
        NotFound
            No such item.
        """
        return self._like(item_id, request, pairs=True)

    def _like(self, item_id: str, request: Request, *, pairs: bool) -> Answer:
        code = self.code(item_id)
        allowed = self.catalogue.allowed(request.filters)
        want = request.offset + request.k
        picker = Picker(want, {code})
        if pairs:
            picker.take(sources.together(self.bundle.shelves, [code], allowed), "together", False)
        else:
            near = self.retrieval.neighbours(code)
            picker.take([pair for pair in near if allowed.mask[pair[0]]], self.model.name, False)
        if not picker.full:
            category = self.catalogue.words["category"].code
            if category[code] >= 0:
                same = self.filler.order[(allowed.mask & (category == category[code]))[self.filler.order]]
                same = same[: want + len(picker.skip)]
                scores = self.filler.popular[same].tolist()
                picker.take(list(zip(same.tolist(), scores, strict=True)), "category", True)
        if not picker.full:
            self.filler.fill(picker, allowed)
        answer = self.answer(picker, request, known=True)
        if request.explain and pairs:
            reasons = Reasons(self, None)
            told = zip(answer.codes, answer.sources, answer.reasons, strict=True)
            answer.reasons = [reasons.pair(code, c) if s == "together" else why for c, s, why in told]
        return answer

    def popular(self, request: Request) -> Answer:
        """What sells, best first."""
        picker = Picker(request.offset + request.k, set())
        self.filler.fill(picker, self.catalogue.allowed(request.filters), fallback=False)
        return self.answer(picker, request, known=False)

    def shelf(self, name: str, request: Request) -> Answer:
        """The shelf `trending` or `new`, with popular items where it is short."""
        allowed = self.catalogue.allowed(request.filters)
        order = self.bundle.shelves[f"{name}_order"]
        order = order[allowed.mask[order]][: request.offset + request.k]
        scores = self.bundle.shelves["trending" if name == "trending" else "first_seen"][order].tolist()
        picker = Picker(request.offset + request.k, set())
        picker.take(list(zip(order.tolist(), scores, strict=True)), name, False)
        if not picker.full:
            self.filler.fill(picker, allowed)
        return self.answer(picker, request, known=False)

    def recommend_batch(self, keys: UserKeys, asked: Request) -> Batch:
        """Lists for many customers, from the version alone; see `batch.recommend`.

        Where rules do more than leave items out, each is made as for the one who asks alone: no list may depend on
        the way it was asked for.
        """
        if self.orders_lists:
            people = map(self.people.of_customer, keys)
            picked = ((self._pick(person, asked), len(person.past) > 0) for person in people)
            return batch.of_lists(picked, len(keys), asked.k)
        allowed = self.catalogue.allowed(Filters())
        every = batch.Everybody(self.bundle, keys, self.people.distaste)
        k, repeat, index = asked.k, asked.repeat, self.retrieval.index
        second = self.second if asked.ranked and self.second.on(repeat) else None
        lists = batch.recommend(
            every, self.model, allowed.mask, self.filler.order, k, repeat=repeat, index=index, second=second
        )
        if self._explores(self.rules, k):
            batch.explore(lists, every, self.model, self._explorer, allowed.mask, repeat=repeat)
        for row in np.flatnonzero(every.dislikes).tolist():
            person = self.people.of_customer(keys[row])
            lists.put(row, self._pick(person, asked))
        return lists

    @property
    def orders_lists(self) -> bool:
        """Whether the shop has rules beyond those that leave items out of every list."""
        s, now = self.rules.settings, self.catalogue.campaigns()
        return bool(self.rules.shape or s.bought_days or s.consumables or now.pins or now.factor is not None)

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
            row = self.catalogue.describe(code, answer.item_ids[i])
            row |= {"score": answer.scores[i], "source": answer.sources[i], "fallback": answer.fallbacks[i]}
            if answer.reasons:
                row["reason"] = answer.reasons[i]
            rows.append(row)
        return rows

    def history(self, user_id: str | None, n: int, session_id: str | None = None) -> list[dict[str, Any]]:
        """The newest `n` events of a customer or guest, newest first, with what is known of the items."""
        past = self.people.find(Request(user_id=user_id, session_id=session_id)).past
        kinds = self.bundle.histories.kinds
        return [
            self.catalogue.describe(int(past.item[i]))
            | {"ts": int(past.ts[i]), "event_type": kinds[past.kind[i]], "qty": float(past.qty[i])}
            for i in range(len(past) - 1, max(len(past) - 1 - n, -1), -1)
        ]

    def answer(self, picker: Picker, request: Request, *, known: bool, person: Person | None = None) -> Answer:
        """The page of a list that was asked for."""
        page = slice(request.offset, request.offset + request.k)
        codes = picker.codes[page]
        ids, mine = self.catalogue.named, self.people.variants(person, codes) if person is not None else {}
        parts = picker.scores[page], picker.sources[page], picker.fallbacks[page], known, self.version
        answer = Answer(codes, *parts, [mine.get(c) or ids[c] for c in codes])
        if request.explain:
            reasons = Reasons(self, person, self._segment(person, request) if person is not None else None)
            pairs = zip(codes, answer.sources, strict=True)
            answer.reasons = [reasons.of(code, source) for code, source in pairs]
            allowed, unknown = self.catalogue.allowed(request.filters), self.catalogue.unknown(request.filters)
            answer.stages = picker.stages(allowed.count, len(self.catalogue), unknown)
            if person is not None and request.ranked:
                self.second.tell(answer, person, self.bundle, self.model, self.people.now, self.groups(request))
            if person is not None:
                answer.stages.append({"stage": "time", "ms": self.watch.milliseconds()})
        return answer
