"""Who asks: what a person did, in the version and since, and what of that the model makes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.bundle import Bundle
from ..artifacts.choices import FULL, SESSION, Choices
from ..identity import find_key
from ..schema import PURCHASE, VIEW, Float32, Int32
from ..view_durations import level, with_levels
from .catalogue import Catalogue
from .history import NOTHING, Distaste, Past
from .live_events import Heard, Key, Overlay, customer_key, guest_key
from .request import Request
from .rules import Picker, Rules, bought_lately
from .variants import known_variants

_KEPT = 20_000  # people of whom is kept what was worked out: about 2 KB each
_VISIT = 1800.0  # seconds after which what somebody did is no longer of the same visit

Event = tuple[int, int, int, float]  # item code, epoch seconds, kind, quantity


@dataclass(slots=True)
class Person:
    """One person, and what was worked out for them; holds until they do something.

    Parameters
    ----------
    past
        What they did, oldest first; the basket of the request last.
    keys
        Under which they are known.
    fresh
        Items they touched since the version or in a visit still going on, newest first.
    basket
        Items of the request's basket.
    shunned
        Items that they disliked or sent back: never shown to them.
    disliked
        Those of them whose like is pushed down.
    vector
        What the model makes of the past; set by the engine.
    found
        `Allowed.number` without filters, how many items were asked for, and the model's best; set by the engine.
    candidates
        The same for the list that was last put in order, with its filters; set by the engine.
    ranked
        The filters, kind of list, hour and groups that candidates were last ranked for, and them in that order; set by
        the second stage.
    ordered
        What that list was asked for with, and the list; set by the engine.
    """

    past: Past
    keys: list[Key]
    fresh: list[int]
    basket: list[int]
    heard: int
    shunned: list[int]
    disliked: list[int]
    vector: Float32 | None = None
    found: tuple[int, int, Int32, Float32] | None = None
    candidates: tuple[int, int, Int32, Float32] | None = None
    ranked: tuple[tuple[Any, ...], Int32, Float32] | None = None
    ordered: tuple[tuple[Any, ...], Picker] | None = None


class People:
    """Finds people by the ids in requests.

    Parameters
    ----------
    bundle, catalogue, overlay, secret
        As the engine's.
    choices
        What people have decided about the use of their data; None when nobody can have.
    """

    def __init__(
        self,
        bundle: Bundle,
        catalogue: Catalogue,
        overlay: Overlay | None,
        secret: str,
        choices: Choices | None = None,
    ) -> None:
        self._choices = choices
        self._histories = bundle.histories
        self._user_keys = bundle.keys
        self._now = bundle.now
        self._catalogue = catalogue
        self._overlay = overlay
        self._secret = secret
        kinds = bundle.histories.kinds
        levels = with_levels(tuple(dict.fromkeys(kinds)), bundle.view_seconds)
        self._kinds = {kind: code for code, kind in enumerate(levels) if code < len(kinds)}
        self._view_seconds = bundle.view_seconds
        self.purchase = kinds.index(PURCHASE) if PURCHASE in kinds else -1
        self.distaste = Distaste.of(bundle.histories)
        self._kept: OrderedDict[tuple[Key, ...], Person] = OrderedDict()

    @property
    def now(self) -> int:
        """Epoch seconds by the shop's clock: what ages are counted from."""
        return max(self._now, self._overlay.clock if self._overlay else 0)

    def find(self, request: Request) -> Person:
        """The person of a request; one without a history when nothing is known."""
        if request.items:
            return self._assemble(request, self.keys_of(request))
        keys = self.keys_of(request)
        place = tuple(keys)
        kept = self._kept.get(place)
        if kept is not None and kept.heard == self._heard(keys):
            self._kept.move_to_end(place)
            return kept
        person = self._assemble(request, keys)
        self._kept[place] = person
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return person

    def of_customer(self, key: NDArray[np.uint64]) -> Person:
        """A customer by their key, not remembered: lists for everybody ask once."""
        place = (int(key[0]), int(key[1]))
        barred = self._choices is not None and len(self._choices) and not self._choices.of(place).profile
        return self._assemble(Request(), [] if barred else [place])

    def keys_of(self, request: Request) -> list[Key]:
        """The keys of the visitor, the customer's first; empty where nothing of them may be used."""
        keys: list[Key] = []
        profile, live = self.may_use(request.user_id, request.consent, request.session_id)
        if request.user_id is not None and profile:
            keys.append(customer_key(self._secret, request.user_id))
        if request.session_id is not None and live:
            keys.append(guest_key(self._secret, request.session_id))
        return keys

    def may_use(self, user_id: str | None, consent: str, session_id: str | None = None) -> tuple[bool, bool]:
        """Whether a customer's history and the present session may be used: as they chose, or stricter for now.

        What the guest of the session decided before they logged in, if they did, counts for the session.
        """
        profile, live = consent == FULL, consent in (FULL, SESSION)
        if self._choices is None or not len(self._choices):
            return profile, live
        if user_id is not None:
            choice = self._choices.of(customer_key(self._secret, user_id))
            profile, live = profile and choice.profile, live and choice.live
        if session_id is not None:
            live = live and self._choices.of(guest_key(self._secret, session_id)).live
        return profile, live

    def may_use_attributes(self, request: Request) -> bool:
        """Whether a list may be made by what the request says of the visitor: that is a profile too, which neither
        `session` nor `none` allows, whether the customer, the guest or the request says so."""
        profile, live = self.may_use(request.user_id, request.consent, request.session_id)
        if self._choices is not None and request.session_id is not None:
            profile = profile and self._choices.of(guest_key(self._secret, request.session_id)).profile
        return profile and live

    def _heard(self, keys: list[Key]) -> int:
        """How much was heard of somebody; it only grows while an engine lives."""
        if self._overlay is None:
            return 0
        return sum(self._overlay.heard_of(key) for key in keys)

    def _assemble(self, request: Request, keys: list[Key]) -> Person:
        past, later = NOTHING, []
        for key in keys:
            past = self._add_rows(past, key)
            if self._overlay is not None:
                later += self._coded(self._overlay.people.get(key, ()))
        if len(keys) > 1:
            later.sort(key=lambda event: event[1])
        shunned, disliked = self.distaste.of_one(past.then(later))
        fresh = self._fresh(past, later, shunned)
        live = self.may_use(request.user_id, request.consent, request.session_id)[1] if request.items else False
        basket = self._catalogue.codes(request.items) if live else []
        if basket and self.purchase >= 0:
            newest = max([self.now, *(event[1] for event in later)])
            later += [(code, newest, self.purchase, 1.0) for code in basket]
        return Person(past.then(later), keys, fresh, basket, self._heard(keys), shunned, disliked)

    def _fresh(self, past: Past, later: list[Event], shunned: list[int]) -> list[int]:
        """Items of the visit still going on that were not turned away from, newest first.

        With those that the version knows already: else a guest's list would change by itself in the middle of the
        visit, when the worker has published.
        """
        against = self.distaste.against
        codes = [code for code, _, kind, _ in reversed(later) if not against[kind]]
        since = time.time() - _VISIT
        if len(past) and past.ts[-1] >= since:
            codes += past.item[(past.ts >= since) & ~against[past.kind]][::-1].tolist()
        return [code for code in dict.fromkeys(codes) if code not in shunned]

    def _add_rows(self, past: Past, key: Key) -> Past:
        """With what the version knows under this key, and under those of guests that turned out to be the same."""
        for row in self._rows(key):
            found = Past.of_row(self._histories, row)
            past = found if not len(past) else past.joined(found)
        return past

    def _rows(self, key: Key) -> list[int]:
        also: list[Key] = []
        if self._overlay is not None:
            if key in self._overlay.gone:
                return []
            also = self._overlay.merged.get(key, also)
        found = (find_key(self._user_keys, each) for each in (*also, key))
        return [row for row in found if row >= 0]

    def variants(self, person: Person, codes: Collection[int]) -> dict[int, str]:
        """The variant of each of these products that somebody knows and that can be bought; see `known_variants`."""
        catalogue, touched = self._catalogue, list[tuple[int, int, int, int]]()
        if not catalogue.has_variants:
            return {}
        h = self._histories
        for row in (row for key in person.keys for row in self._rows(key) if h.variant is not None):
            start = int(h.indptr[row])
            at = start + np.flatnonzero(np.isin(h.item[start : h.indptr[row + 1]], list(codes)))
            assert h.variant is not None
            touched += zip(*(part[at].tolist() for part in (h.ts, h.item, h.variant, h.kind)), strict=True)
        if self._overlay is not None:
            heard = (e for key in person.keys for e in self._overlay.people.get(key, ()))
            coded = ((e, catalogue.code_of.get(e.item_id, -1), self._kind(e)) for e in heard)
            touched += [
                (e.ts, code, catalogue.number(code, e.item_id), kind)
                for e, code, kind in coded
                if code in codes and kind >= 0
            ]
        touched = sorted((each for each in touched if catalogue.buyable(each[1], each[2])), key=lambda each: each[0])
        if not touched:
            return {}
        _, product, number, kinds = np.array(touched, dtype=np.int64).T
        nobody = np.zeros(len(touched), dtype=np.int64)
        _, product, number = known_variants(nobody, product, number, kinds, self.distaste)
        return {code: catalogue.variant(code, n) for code, n in zip(product.tolist(), number.tolist(), strict=True)}

    def _coded(self, events: Any) -> list[Event]:
        """Events heard of since, as the version's codes; leaves out items and kinds that it does not know."""
        code_of = self._catalogue.code_of
        return [
            (code_of[e.item_id], e.ts, kind, e.qty)
            for e in events
            if e.item_id in code_of and (kind := self._kind(e)) >= 0
        ]

    def _kind(self, heard: Heard) -> int:
        """The version's code of an event's type; -1 where it does not know it."""
        took = heard.duration_ms if heard.kind == VIEW else None
        return self._kinds.get((heard.kind, level(took, self._view_seconds)), -1)

    def seen(self, key: Key) -> list[Heard]:
        """What was heard of somebody since the version, of whatever kind."""
        return self._overlay.people.get(key, []) if self._overlay else []

    def shown_often(self, person: Person, limit: int) -> list[int]:
        """Items shown to them at least `limit` times lately without a click."""
        if self._overlay is None or not person.keys:
            return []
        return self._catalogue.codes(tuple(self._overlay.shown_often(person.keys, limit, self.now)))

    def not_again(self, person: Person, request: Request, rules: Rules, interval: Float32 | None) -> set[int]:
        """Items that are not to be shown to this person now; for `interval` see `rules.bought_lately`."""
        skip = {*person.basket, *person.shunned}
        if not request.repeat and len(person.past):
            codes, ts = self.bought(person)
            skip |= bought_lately(codes, ts, self.now, rules, interval)
        if rules.settings.shown_limit:
            skip.update(self.shown_often(person, rules.settings.shown_limit))
        return skip

    def bought(self, person: Person) -> tuple[Any, Any]:
        """Codes and times of their purchases."""
        past = person.past
        if person.basket:  # counted as bought in `past`, but it is not yet
            past = past.first(len(past) - len(person.basket))
        hit = past.kind == self.purchase
        return past.item[hit], past.ts[hit]
