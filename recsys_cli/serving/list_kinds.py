"""The kinds of lists that a placement can be made of, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from . import sources
from .engine import Engine
from .request import Answer, Request
from .rules import Picker

ITEM, BASKET = "item_id", "items"


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
    """

    name: str
    help: str
    make: Callable[[Engine, Request], Answer]
    needs: tuple[str, ...] = ()

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


_ALL = (
    ListKind("personal", "What this customer or guest would want.", Engine.recommend),
    ListKind("similar", "Like the product of the page.", _similar, (ITEM,)),
    ListKind(
        "together", "Bought in the same orders as the product of the page or the basket.", _together, (ITEM, BASKET)
    ),
    ListKind("category", "What sells in the category of the product or the basket.", _category, (ITEM, BASKET)),
    ListKind("popular", "What sells.", Engine.popular),
    ListKind("trending", "What sells more than before.", lambda engine, request: engine.shelf("trending", request)),
    ListKind("new", "The newest items.", lambda engine, request: engine.shelf("new", request)),
)
KINDS: Mapping[str, ListKind] = {kind.name: kind for kind in _ALL}
