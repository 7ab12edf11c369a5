"""Items that the shop lists itself, a category page or a search, in the order in which one person should see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .engine import Engine
from .request import NO_FILTERS, Answer, Request
from .rules import Picker


@dataclass(frozen=True, slots=True)
class Mix:
    """What the places in the list go by, besides the person: shares of 1.

    Parameters
    ----------
    popular
        Of the order by popularity.
    given
        Of the order in which the items were given, a search's relevance say.
    """

    popular: float = 0.0
    given: float = 0.0


PERSONAL = Mix()


@dataclass(frozen=True, slots=True)
class Reordered:
    """Given items in order.

    Parameters
    ----------
    answer
        Those that are known and fit the filter.
    unknown
        Ids that are not known.
    left_out
        Ids that are known and do not fit the written filter.
    """

    answer: Answer
    unknown: list[str]
    left_out: list[str]


def reorder(engine: Engine, request: Request, item_ids: Sequence[str], mix: Mix = PERSONAL) -> Reordered:
    """These items, best first for the person of the request.

    With a mix, items stand by the weighted mean of their places in the orders that are mixed (Borda's count).

    Nothing is left out but what is not known and what does not fit the request's written filter: rules and other
    filters do not count, for the shop lists these items anyway. Items that the model has no opinion of come late,
    popular ones first; what this person turned away from comes last.
    """
    engine.second.start()
    person, catalogue = engine.people.find(request), engine.catalogue
    engine.watch.lap("visitor")
    asked = list(dict.fromkeys(item_ids))
    named: dict[int, list[str]] = {}  # the ids that the page has, whichever variant this person knows
    for i in asked:
        if i in catalogue.code_of:
            named.setdefault(catalogue.code_of[i], []).append(i)
    codes = np.array(list(named), dtype=np.int32)
    left_out: list[str] = []
    if request.filters.filter:
        fits = catalogue.fitting(request.filters)[codes]
        left_out = [i for code, fit in zip(named, fits.tolist(), strict=True) if not fit for i in named[code]]
        codes = codes[fits]
    picker = Picker(len(codes), set())
    engine.watch.lap("filters")
    now, groups = engine.people.now, engine.groups(request)
    ranked = engine.second.scores_of(person, codes, engine.bundle, now, groups)
    scores = engine.retrieval.scores_of(person, codes) if ranked is None else ranked
    popular = engine.filler.popular[codes]
    order = np.lexsort((codes, -popular, -scores))
    own = 1.0 - min(mix.popular + mix.given, 1.0)
    places = own * np.argsort(order) + mix.popular * np.argsort(np.lexsort((codes, -popular)))
    places = places + mix.given * np.arange(len(codes))
    order = np.lexsort((np.argsort(order), places, np.isin(codes, person.shunned)))
    for place in order.tolist():
        score = float(scores[place])
        picker.add(int(codes[place]), score, engine.model.name if score != 0 else "popular", score == 0)
    engine.watch.lap("rules")
    whole = replace(request, k=len(codes), offset=0, filters=NO_FILTERS)
    answer = engine.answer(picker, whole, known=len(person.past) > 0, person=person)
    _name_each(answer, named)
    return Reordered(answer, [i for i in asked if i not in catalogue.code_of], left_out)


def _name_each(answer: Answer, named: Mapping[int, Sequence[str]]) -> None:
    """A line for each id that was asked about: variants of one product stand together, in the order given."""
    lines = [(place, i) for place, code in enumerate(answer.codes) for i in named[code]]
    answer.item_ids = [i for _, i in lines]
    for parallel in ("codes", "scores", "sources", "fallbacks", "reasons"):
        values = getattr(answer, parallel)
        setattr(answer, parallel, [values[place] for place, _ in lines] if values else values)
