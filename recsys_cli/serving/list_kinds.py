"""The kinds of lists that a placement can be made of, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from . import customer_lists, sources
from .engine import Engine
from .request import Answer, Request
from .rules import Picker

ITEM, BASKET = "item_id", "items"
_DEARER = 2.0  # times the price of the product of the page: beyond, it is another kind of product


@dataclass(frozen=True)
class ListKind:
    """One kind of list.

    Parameters
    ----------
    name, help
        What it is called, and what it shows.
    make
        The answer to a request, from position 0. What it only fills up with is marked as a fallback.
    needs
        Parameters of the request of which it must have at least one; none for lists that can do without.
    alone
        Nothing fills it up unless the shop says so: under "Buy again" popular items would be untrue.
    tells
        It shows or names what the customer bought or viewed. A page gets it only where a placement of the shop says so.
    """

    name: str
    help: str
    make: Callable[[Engine, Request], Answer]
    needs: tuple[str, ...] = ()
    alone: bool = False
    tells: bool = False

    def has_what_it_needs(self, request: Request) -> bool:
        """Whether it can be made for this request."""
        return not self.needs or any(getattr(request, name) for name in self.needs)


def anchors(engine: Engine, request: Request) -> list[int]:
    """Codes of the product of the page, or else of the basket."""
    if request.item_id is not None:
        return [engine.code(request.item_id)]
    return engine.catalogue.codes(request.items)


def listed(engine: Engine, request: Request, found: sources.Found, source: str, known: bool = False) -> Answer:
    """An answer of items with scores, best first; those of the page and the basket are left out."""
    picker = Picker(request.offset + request.k, set(anchors(engine, request)))
    picker.take(found, source, False)
    return engine.answer(picker, request, known=known)


def _similar(engine: Engine, request: Request) -> Answer:
    assert request.item_id is not None
    filters, explain = request.filters, request.explain
    return engine.similar(request.item_id, request.k, offset=request.offset, filters=filters, explain=explain)


def _together(engine: Engine, request: Request) -> Answer:
    if request.item_id is not None:
        return engine.bought_together(request.item_id, request)
    allowed = engine.catalogue.allowed(request.filters)
    found = sources.together(engine.bundle.shelves, anchors(engine, request), allowed)
    return listed(engine, request, found, "together")


def _category(engine: Engine, request: Request) -> Answer:
    """What sells in the categories of the product or the basket."""
    category = engine.catalogue.words["category"].code
    wanted = {int(category[code]) for code in anchors(engine, request)} - {-1}
    order = engine.filler.order
    mask = engine.catalogue.allowed(request.filters).mask & np.isin(category, list(wanted))
    same = order[mask[order]][: request.offset + request.k + len(request.items) + 1]
    pairs = zip(same.tolist(), engine.filler.popular[same].tolist(), strict=True)
    return listed(engine, request, list(pairs), "category")


def _alternatives(engine: Engine, request: Request, *, cheaper: bool) -> Answer:
    """Items of the same category like the product of the page, that cost less or, up to twice as much, more."""
    (code,) = anchors(engine, request)
    category, price = engine.catalogue.words["category"].code, engine.catalogue.price
    mine = price[code]
    with np.errstate(invalid="ignore"):  # those without a price are neither
        fits = price < mine if cheaper else (price > mine) & (price <= _DEARER * mine)
    mask = engine.catalogue.allowed(request.filters).mask & fits & (category == category[code]) & (category >= 0)
    near = [pair for pair in engine.retrieval.neighbours(code) if mask[pair[0]]]
    order = engine.filler.order
    same = order[mask[order]][: request.offset + request.k + 1]
    rest = zip(same.tolist(), engine.filler.popular[same].tolist(), strict=True)
    answer = listed(engine, replace(request, explain=False), [*near, *rest], "alternatives")
    if request.explain:
        title = engine.catalogue.title(code)
        answer.reasons = [f"Like {title}, for {price[c]:.2f} instead of {mine:.2f}." for c in answer.codes]
    return answer


def _complete(engine: Engine, request: Request) -> Answer:
    """What is bought along with the basket: first one item of each category that the basket lacks."""
    allowed, category = engine.catalogue.allowed(request.filters), engine.catalogue.words["category"].code
    found = sources.together(engine.bundle.shelves, anchors(engine, request), allowed)
    held = {int(category[code]) for code in anchors(engine, request)}
    missing: sources.Found = []
    rest: sources.Found = []
    for pair in found:
        group = int(category[pair[0]])
        (rest if group in held else missing).append(pair)
        held.add(group)
    return listed(engine, request, [*missing, *rest], "together")


_ALL = (
    ListKind("personal", "What this customer or guest would want.", Engine.recommend),
    ListKind("similar", "Like the product of the page.", _similar, (ITEM,)),
    ListKind(
        "together", "Bought in the same orders as the product of the page or the basket.", _together, (ITEM, BASKET)
    ),
    ListKind("category", "What sells in the category of the product or the basket.", _category, (ITEM, BASKET)),
    ListKind(
        "complete",
        "Bought along with the basket: what it lacks first, one of each category.",
        _complete,
        (BASKET, ITEM),
    ),
    ListKind(
        "cheaper",
        "Like the product of the page, in its category, for less.",
        lambda engine, request: _alternatives(engine, request, cheaper=True),
        (ITEM,),
        alone=True,
    ),
    ListKind(
        "better",
        "Like the product of the page, in its category, for up to twice its price.",
        lambda engine, request: _alternatives(engine, request, cheaper=False),
        (ITEM,),
        alone=True,
    ),
    ListKind(
        "buy-again",
        "What this customer buys regularly and is due again.",
        customer_lists.buy_again,
        alone=True,
        tells=True,
    ),
    ListKind(
        "viewed", "What this customer or guest viewed last.", customer_lists.recently_viewed, alone=True, tells=True
    ),
    ListKind(
        "because",
        "What goes with one of this customer's last purchases, which the title names.",
        customer_lists.because,
        alone=True,
        tells=True,
    ),
    ListKind(
        "new-for-you",
        "The newest items of the categories and brands that this customer goes for.",
        customer_lists.new_for_you,
        alone=True,
    ),
    ListKind(
        "on-sale",
        "What costs less than its regular price, in this customer's order.",
        customer_lists.on_sale,
        alone=True,
    ),
    ListKind("popular", "What sells.", Engine.popular),
    ListKind("trending", "What sells more than before.", lambda engine, request: engine.shelf("trending", request)),
    ListKind("new", "The newest items.", lambda engine, request: engine.shelf("new", request)),
)
KINDS: Mapping[str, ListKind] = {kind.name: kind for kind in _ALL}
