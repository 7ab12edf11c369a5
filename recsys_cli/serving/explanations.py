"""Why an item is in a list, from what really happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..schema import CART, DAY, FEW, LIKE, PURCHASE, VIEW, Histories
from . import sources
from .newcomers import SEGMENT, Segment
from .visitor import Person
from .words import begin

if TYPE_CHECKING:
    from .engine import Engine

STALE = 2 * DAY  # since the last sale, after which "this week" would be a lie


class Reasons:
    """Reasons for the items of one answer.

    Parameters
    ----------
    engine
        That gave the answer.
    person
        Whom it is for; None for shelves that are for everybody.
    segment
        Their kind, where that is all that is known of them.
    """

    def __init__(self, engine: Engine, person: Person | None, segment: Segment | None = None) -> None:
        self._engine = engine
        self._person = person
        self._segment = segment
        self._shelves = engine.bundle.shelves
        self._words = engine.rules.words

    def of(self, code: int, source: str) -> str:
        """One sentence."""
        if source == self._engine.model.name and self._person is not None:
            return self._by_model(code)
        told: dict[str, Callable[[int], str]] = {
            "together": self._together,
            "neighbours": self._near,
            "content": self._content,
            "popular": self._popular,
            "trending": self._trending,
            "new": self._new,
            "category": self._in_category,
            SEGMENT: self._among_alike,
            "pinned": lambda code: f"Placed here by the {self._words['shop']}.",
            "catalogue": lambda code: "Fills the list; not sold yet.",
        }
        return told[source](code) if source in told else "Like the item."

    def _by_model(self, code: int) -> str:
        engine, person = self._engine, self._person
        if person is None or not len(person.past):
            return "Fits what is known."
        if not engine.model.capabilities.explains:
            return f"Fits what this {self._words['customer']} did before."
        histories: Histories = person.past.as_histories(engine.bundle.histories)
        parts = engine.model.explain(histories, code, engine.people.now)
        best = next(((item, part) for item, part in parts if part > 0 and item != code), None)
        return self._because(best[0], person) if best else f"Fits what this {self._words['customer']} did before."

    def _because(self, item: int, person: Person) -> str:
        past, kinds = person.past, self._engine.bundle.histories.kinds
        if item in person.basket:
            return f"Goes with {self._title(item)} in the basket."
        place = int((past.item == item).nonzero()[0][-1])
        verb = {PURCHASE: self._words["bought"], VIEW: self._words["viewed"], CART: "put in the cart", LIKE: "liked"}
        day = time.strftime("%Y-%m-%d", time.gmtime(int(past.ts[place])))
        return f"Goes with {self._title(item)}, {verb.get(kinds[past.kind[place]], 'seen')} on {day}."

    def _together(self, code: int) -> str:
        person = self._person
        items = (person.basket or person.fresh) if person else []
        best, orders = -1, 0
        for item in items:
            hit = (self._shelves["together_item"][item] == code).nonzero()[0]
            if len(hit) and int(self._shelves["together_count"][item][hit[0]]) > orders:
                best, orders = item, int(self._shelves["together_count"][item][hit[0]])
        if best < 0:
            return f"{begin(self._words['bought'])} in the same {self._words['orders']}."
        return self._with(best, orders)

    def pair(self, item: int, code: int) -> str:
        """Why `code` is shown beside `item`."""
        hit = (self._shelves["together_item"][item] == code).nonzero()[0]
        orders = int(self._shelves["together_count"][item][hit[0]]) if len(hit) else 0
        return self._with(item, orders)

    def _with(self, item: int, orders: int) -> str:
        return f"{begin(self._words['bought'])} with {self._title(item)} in {orders} {self._words['orders']}."

    def _near(self, code: int) -> str:
        person = self._person
        latest = sources.latest(person.basket, person.fresh) if person else []
        where = "in the basket" if person and person.basket else "looked at just now"
        for item in latest:
            if any(near == code for near, _ in self._engine.retrieval.near(item)[: sources.NEAR]):
                return f"Like {self._title(item)}, {where}."
        return f"Like what is {where}." if person and person.basket else f"Like what was {where}."

    def _content(self, code: int) -> str:
        return f"New in {self._word(code, 'category')}."

    def _popular(self, code: int) -> str:
        count = int(self._shelves["sold_lately"][code])
        if not count:
            return f"{self._did} before, not {self._when(30, 'in the last 30 days')}."
        if count == FEW:
            return f"{self._did} {self._when(30, 'in the last 30 days')}."
        return f"{self._by(count)} {self._when(30, 'in the last 30 days')}."

    def _trending(self, code: int) -> str:
        week, usual = self._shelves["sold_week"][code], self._shelves["sold_usual"][code]
        return f"{self._by(int(week))} {self._when(7, 'this week')}, usually {usual:.1f}."

    def _by(self, count: int) -> str:
        """Who wanted it."""
        who = "customer" if self._of_purchases else "visitor"
        return f"{self._did} by {count} {self._words[who if count == 1 else f'{who}s']}"

    @property
    def _did(self) -> str:
        return begin(self._words["bought" if self._of_purchases else "viewed"])

    def _among_alike(self, code: int) -> str:
        bought, customers = self._words["bought"], self._words["customers"]
        attribute, value = self._segment or ("kind", "theirs")
        told = "Sells well to" if bought == "bought" else f"Often {bought} by"
        return f"{told} {customers} whose {attribute} is {value}."

    def _in_category(self, code: int) -> str:
        bought, category = self._words["bought"], self._word(code, "category")
        return f"Sells well in {category}." if bought == "bought" else f"Often {bought} in {category}."

    @property
    def _of_purchases(self) -> bool:
        return "sold_until" not in self._shelves or bool(self._shelves["sold_until"][1])

    def _when(self, days: int, lately: str) -> str:
        """A stretch of days in words: by its last day where that is not about now."""
        end = int(self._shelves["sold_until"][0]) if "sold_until" in self._shelves else self._engine.bundle.now
        if time.time() - end < STALE:
            return lately
        return f"in the {days} days to {time.strftime('%Y-%m-%d', time.gmtime(end))}"

    def _new(self, code: int) -> str:
        since = int(self._shelves["first_seen"][code])
        if since <= 0:
            return f"New in the {self._words['shop']}."  # nobody knows since when
        return f"New since {time.strftime('%Y-%m-%d', time.gmtime(since))}."

    def _title(self, code: int) -> str:
        return self._engine.catalogue.title(code)

    def _word(self, code: int, column: str) -> str:
        return str(self._engine.catalogue.describe(code).get(column) or f"the {self._words['shop']}")
