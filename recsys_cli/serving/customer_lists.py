"""Lists made from what one customer or guest did: buy again, viewed, because you bought, new for you, on sale."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..schema import DAY, VIEW, Float32, Int32, Int64
from . import sources
from .attributes import Attributes
from .request import Answer, Request
from .rules import Picker
from .visitor import Person
from .words import begin

if TYPE_CHECKING:
    from .engine import Engine

EARLY = 0.9  # of the interval: a little before the last one is used up
GIVEN_UP = 3.0  # intervals without a purchase, after which the customer is taken to have stopped buying it
RAILS = 5  # different "because you bought" lists of one customer
REGULAR_PRICES = (
    "regular_price",
    "compare_at_price",
    "Variant Compare At Price",
    "Compare At Price",
    "list_price",
    "old_price",
    "was_price",
    "rrp",
    "uvp",
)


@dataclass(frozen=True)
class Due:
    """Purchases of one customer that are due again, most urgent first; parallel arrays.

    Parameters
    ----------
    code
        Items.
    days
        Days between purchases: the median of the customer's own, else what is usual for the item.
    last
        Epoch seconds of the last purchase.
    times
        Days on which it was bought.
    """

    code: Int32
    days: Float32
    last: Int64
    times: Int64

    @staticmethod
    def of(code: Int32, ts: Int64, now: int, usual: Float32 | None) -> Due:
        """From all purchases of one customer.

        Parameters
        ----------
        code, ts
            Items and epoch seconds, in any order.
        usual
            Shape (n_items,): days after which customers usually buy each item again, 0 where they do not.
        """
        # An order of three lines, or two orders on one day, are one purchase.
        days = np.unique(np.stack([code.astype(np.int64), ts // DAY]), axis=1)
        item, first, times = np.unique(days[0], return_index=True, return_counts=True)
        last = days[1][first + times - 1]
        apart = np.zeros(len(item), dtype=np.float32)
        for place in np.flatnonzero(times > 1).tolist():  # a few items of one customer
            own = days[1][first[place] : first[place] + times[place]]
            apart[place] = np.median(np.diff(own))
        if usual is not None:
            apart = np.where(apart > 0, apart, usual[item]).astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            waited = np.where(apart > 0, (now // DAY - last) / apart, 0)
        due = np.flatnonzero((waited >= EARLY) & (waited <= GIVEN_UP))
        # What was bought most often is missed most; of those, what is due for longer.
        order = due[np.lexsort((item[due], -waited[due], -times[due]))]
        return Due(item[order].astype(np.int32), apart[order], last[order] * DAY, times[order])


def buy_again(engine: Engine, request: Request) -> Answer:
    """What the customer buys again and again and is due now, by their own interval."""
    person = engine.people.find(request)
    due = Due.of(*engine.people.bought(person), engine.people.now, engine.bundle.shelves.get("interval_days"))
    bought = begin(engine.rules.words["bought"])
    reasons = {
        code: f"{bought} {'once' if times == 1 else f'{times} times'}, usually again after {days:.0f} days; "
        f"last on {time.strftime('%Y-%m-%d', time.gmtime(last))}."
        for code, days, last, times in zip(
            due.code.tolist(), due.days.tolist(), due.last.tolist(), due.times.tolist(), strict=True
        )
    }
    return _in_order(engine, request, person, due.code.tolist(), "buy-again", reasons)


def recently_viewed(engine: Engine, request: Request) -> Answer:
    """What the customer or guest looked at last, newest first."""
    person = engine.people.find(request)
    views = person.past.as_histories(engine.bundle.histories).is_kind(VIEW)
    codes = list(dict.fromkeys(person.past.item[views][::-1].tolist()))
    last = dict(zip(person.past.item[views].tolist(), person.past.ts[views].tolist(), strict=True))
    reasons = {
        code: f"{begin(engine.rules.words['viewed'])} on {time.strftime('%Y-%m-%d', time.gmtime(last[code]))}."
        for code in codes
    }
    return _in_order(engine, request, person, codes, "viewed", reasons)


def because(engine: Engine, request: Request) -> Answer:
    """What goes with one of the customer's last purchases, each `Request.rail` with another of them."""
    person = engine.people.find(request)
    taken = {*person.basket, *person.shunned}
    bought, ts = engine.people.bought(person)
    taken.update(bought.tolist())
    wanted = request.offset + request.k
    picker, about = Picker(wanted, set(taken)), -1
    allowed, rail = engine.catalogue.allowed(request.filters), 0
    for about in _purchases(engine, bought, ts):
        picker = Picker(wanted, set(taken))
        picker.take(sources.together(engine.bundle.shelves, [about], allowed), "together", False)
        near = (pair for pair in engine.retrieval.near(about) if allowed.mask[pair[0]])
        picker.take(near, "neighbours", False)
        rail += len(picker.codes) > 0
        if rail == request.rail:
            break
        taken.update(picker.codes)  # no item stands in two rails
    else:
        picker, about = Picker(wanted, set()), -1
    answer = engine.answer(picker, replace(request, explain=False), known=len(person.past) > 0, person=person)
    if about >= 0:
        answer.title = f"Because you {engine.rules.words['bought']} {engine.catalogue.title(about)}"
        if request.explain:
            answer.reasons = [f"{answer.title}."] * len(answer.codes)
    return answer


def _purchases(engine: Engine, bought: Int32, ts: Int64) -> list[int]:
    """The last purchases, newest first, one of each category: five rails about tea are one too many."""
    newest = list(dict.fromkeys(bought[np.argsort(-ts, kind="stable")].tolist()))
    category = engine.catalogue.words["category"].code
    found: dict[int, int] = {}
    for code in newest:
        group = int(category[code])
        found.setdefault(group if group >= 0 else -2 - code, code)
    return list(found.values())[: 4 * RAILS]


def new_for_you(engine: Engine, request: Request) -> Answer:
    """The newest items from the categories and brands that the customer or guest goes for."""
    person, catalogue = engine.people.find(request), engine.catalogue
    past, new = person.past, engine.bundle.shelves["new_order"]
    new = new[catalogue.allowed(request.filters).mask[new]]
    worth = np.zeros(len(new), dtype=np.float64)
    liked = ~engine.people.distaste.against[past.kind]
    weight = np.maximum(engine.bundle.histories.kind_weight[past.kind[liked]], 0)
    parts: Mapping[str, float] = {"category": 1.0, "brand": 0.5}
    for name, share in parts.items():
        code = catalogue.words[name].code
        mine = code[past.item[liked]]
        total = np.bincount(mine[mine >= 0], weights=weight[mine >= 0], minlength=len(catalogue.words[name].words))
        if total.sum() > 0:
            worth += share * np.where(code[new] >= 0, total[code[new]], 0) / total.sum()
    skip = {*person.basket, *person.shunned, *past.item.tolist()}
    order = np.flatnonzero(worth > 0)
    order = order[np.argsort(-worth[order], kind="stable")]
    picker = Picker(request.offset + request.k, skip)
    picker.take(list(zip(new[order].tolist(), worth[order].tolist(), strict=True)), "new", False)
    return engine.answer(picker, request, known=len(past) > 0)


def on_sale(engine: Engine, request: Request) -> Answer:
    """What costs less than its regular price, in the order in which the customer would want it.

    Empty where no item has a regular price: a sale that ends must not break the page.
    """
    name = regular_price(engine.catalogue.attributes)
    if name is None:
        return engine.answer(Picker(0, set()), request, known=False)
    filters = request.filters.and_written(f"price < `{name}`", user=dict(request.filters.user))
    answer = engine.recommend(replace(request, filters=filters))
    answer.fallbacks = [False] * len(answer.codes)  # popular or not: it is on sale, which was asked for
    return answer


def regular_price(attributes: Attributes) -> str | None:
    """The attribute of the items that says what they cost when they are not on sale."""
    known = attributes.names
    return next((name for name in REGULAR_PRICES if name in known), None)


def _in_order(
    engine: Engine, request: Request, person: Person, codes: list[int], source: str, reasons: Mapping[int, str]
) -> Answer:
    """These items as a list, without what may not be shown; scores fall from 1 evenly."""
    mask = engine.catalogue.allowed(request.filters).mask
    page = [engine.catalogue.code_of[request.item_id]] if request.item_id in engine.catalogue.code_of else []
    picker = Picker(request.offset + request.k, {*person.basket, *person.shunned, *page})
    shown = [code for code in codes if mask[code]]
    picker.take([(code, 1 - place / len(shown)) for place, code in enumerate(shown)], source, False)
    answer = engine.answer(picker, replace(request, explain=False), known=len(person.past) > 0, person=person)
    if request.explain:
        answer.reasons = [reasons[code] for code in answer.codes]
    return answer
