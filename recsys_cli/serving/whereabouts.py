"""Where an item stands in somebody's list, and what keeps it out when it is not there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from ..schema import DAY
from .campaigns import hits
from .engine import Engine
from .request import Request
from .rules import bought_lately
from .visitor import Person
from .words import begin

DEEPEST = 1000  # places of a list that are looked through


@dataclass(frozen=True)
class Whereabouts:
    """Where an item stands.

    Parameters
    ----------
    place
        From 1, in a list as long as it takes; None where it is not among the first DEEPEST.
    shown
        Whether the list of the length that was asked for has it.
    source, reason
        What proposed it, and why; empty when it is not shown.
    why_not
        Sentences, what weighs most first; empty when it is shown.
    """

    place: int | None
    shown: bool
    source: str = ""
    reason: str = ""
    why_not: tuple[str, ...] = ()


def find(engine: Engine, request: Request, item_id: str) -> Whereabouts:
    """Where an item stands in the list that would be answered.

    Parameters
    ----------
    request
        As of the list.

    Raises
    ------
    NotFound
        No such item.
    """
    code = engine.code(item_id)
    answer = engine.recommend(replace(request, explain=True))
    if code in answer.codes:
        at = answer.codes.index(code)
        return Whereabouts(at + 1, True, answer.sources[at], answer.reasons[at])
    person = engine.people.find(request)
    kept_out = (*_of_item(engine, code), *_of_person(engine, request, person, code))
    if kept_out:
        return Whereabouts(None, False, why_not=kept_out)
    place = _place(engine, request, code)
    return Whereabouts(place, False, why_not=tuple(_by_order(engine, request, code, place)))


def _of_item(engine: Engine, code: int) -> Iterator[str]:
    """What keeps an item out of every list."""
    catalogue, rules = engine.catalogue, engine.rules
    if catalogue.retired[code]:
        yield "It has left the catalogue."
    elif catalogue.only_heard[code]:
        yield "Only events name it: neither the catalogue nor an ingested file does."
    if rules.settings.in_stock_only and not catalogue.available[code]:
        yield "It is sold out, and rules.in_stock_only is on."
    least = rules.settings.min_margin
    if least is not None and not catalogue.margin[code] >= least:
        yield f"Its margin is below rules.min_margin ({least:g}), or not known."
    for number in _campaigns(engine, code, "ban"):
        yield f"Campaign {number} in [[rules.campaigns]] bans it."


def _campaigns(engine: Engine, code: int, action: str) -> Iterator[int]:
    """Numbers of the campaigns that now do this to an item."""
    catalogue, now = engine.catalogue, time.time()
    for number, campaign in enumerate(engine.rules.campaigns, 1):
        if campaign.action != action or not campaign.runs(now):
            continue
        if hits(campaign, catalogue.attributes, catalogue.code_of, len(catalogue))[code]:
            yield number


def _of_person(engine: Engine, request: Request, person: Person, code: int) -> Iterator[str]:
    """What keeps an item out of the lists of somebody."""
    words = engine.rules.words
    if code in person.basket:
        yield "It is in the basket."
    if code in person.shunned:
        yield f"This {words['customer']} disliked it or sent it back."
    codes, ts = engine.people.bought(person)
    interval = engine.bundle.shelves.get("interval_days")
    lately = set() if request.repeat else bought_lately(codes, ts, engine.people.now, engine.rules, interval)
    if code in lately:
        last = int(ts[codes == code].max())
        days = engine.rules.settings.bought_days
        until = f"until {_day(last + int(days * DAY))}" if days else "again"
        bought = f"{begin(words['bought'])} on {_day(last)}"
        yield f"{bought}: it is not shown {until} (rules.bought_days, rules.consumables)."
    limit = engine.rules.settings.shown_limit
    if limit and code in engine.people.shown_often(person, limit):
        yield f"It was shown {limit} times or more without a click (rules.shown_limit)."


def _by_order(engine: Engine, request: Request, code: int, place: int | None) -> Iterator[str]:
    """Why an item that may be shown is not."""
    limits = {name: most for name, most in asdict(engine.rules.settings).items() if name.startswith("max_per_")}
    for name, most in limits.items():
        if most and (at := _place(engine, request, code, **{name: 0})) is not None and at <= request.k:
            yield f"rules.{name} = {most} holds it back: without that it would stand at place {at}."
    if engine.rules.settings.diversity:
        at = _place(engine, request, code, diversity=0.0)
        if at is not None and at <= request.k:
            yield f"rules.diversity prefers what is less alike: without that it would stand at place {at}."
    for number in _campaigns(engine, code, "bury"):
        yield f"Campaign {number} in [[rules.campaigns]] buries it."
    if place is None:
        yield f"{min(DEEPEST, len(engine.catalogue)):,} other items fit better, or nothing speaks for it yet."
    else:
        yield f"Other items fit better: it would stand at place {place}, and the list has {request.k}."


def _place(engine: Engine, request: Request, code: int, **rules: float) -> int | None:
    """Place, from 1, in a list as long as it takes; with other values for some rules, in a list of the same length."""
    changed = {**(request.rules or {}), **rules} or None
    further = 0 if rules else max(DEEPEST - request.k, 0)  # in pages of the same length, to which limits apply
    codes = engine.order(replace(request, offset=further, rules=changed))
    return codes.index(code) + 1 if code in codes else None


def _day(ts: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(ts))
