"""Filters leave out what does not fit, before the list is cut, alone and in pairs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from recsys_cli.serving import Engine, Filters, Request

FILTERS: dict[str, tuple[dict[str, Any], Any]] = {
    "category": ({"category": ("tea", "dogs")}, lambda r: r["category"] in ("tea", "dogs")),
    "brand": ({"brand": ("Birch",)}, lambda r: r["brand"] == "Birch"),
    "region": ({"region": ("south",)}, lambda r: r["region"] is None),
    "min_price": ({"min_price": 4.0}, lambda r: r["price"] >= 4),
    "max_price": ({"max_price": 6.0}, lambda r: r["price"] <= 6),
    "exclude": ({"exclude": ("d0", "t5", "nonsense")}, lambda r: r["item_id"] not in ("d0", "t5")),
    "include": (
        {"include": ("d1", "d4", "t4", "t5", "t6", "g1", "c4")},
        lambda r: r["item_id"] in ("d1", "d4", "t4", "t5", "t6", "g1", "c4"),
    ),
    "min_margin": ({"min_margin": 0.3}, lambda r: r["margin"] is not None and r["margin"] >= 0.3),
}


def test_words_that_no_item_has_are_told_to_those_who_ask_why(engine: Engine) -> None:
    of = lambda **words: engine.recommend(Request(explain=True, filters=Filters(**words))).stages[0]  # noqa: E731
    assert of(category=("Tea", "dogs"), brand=("ash",))["unknown"] == {"category": ["Tea"], "brand": ["ash"]}
    assert "unknown" not in of(category=("tea",))


def expected(engine: Engine, *names: str) -> set[str]:
    rows = engine.catalogue.table.to_pylist()
    fits = [r for r in rows if r["retired_at"] is None and r["availability"] is not False]
    return {r["item_id"] for r in fits if all(FILTERS[n][1](r) for n in names)}


@pytest.mark.parametrize("names", [*((n,) for n in FILTERS), *itertools.combinations(FILTERS, 2)])
@pytest.mark.parametrize("who", ["t4", "nobody"])
def test_a_filtered_list_holds_all_that_fits(engine: Engine, names: tuple[str, ...], who: str) -> None:
    given = {key: value for n in names for key, value in FILTERS[n][0].items()}
    answer = engine.recommend(Request(user_id=who, k=60, repeat=True, filters=Filters(**given)))
    assert set(answer.item_ids) == expected(engine, *names)
    assert len(answer.item_ids) == len(set(answer.item_ids))


@pytest.mark.parametrize("name", FILTERS)
def test_filters_hold_for_every_shelf(engine: Engine, name: str) -> None:
    filters, fits = Filters(**FILTERS[name][0]), expected(engine, name)
    request = Request(k=60, filters=filters)
    for answer in (
        engine.popular(request),
        engine.shelf("trending", request),
        engine.shelf("new", request),
        engine.similar("c3", 60, filters=filters),
        engine.bought_together("t0", request),
    ):
        assert set(answer.item_ids) <= fits
        assert len(answer.item_ids) >= len(fits) - 1


def test_the_order_is_that_of_the_whole_list(engine: Engine) -> None:
    whole = engine.recommend(Request(user_id="c7", k=60)).item_ids
    some = engine.recommend(Request(user_id="c7", k=60, filters=Filters(max_price=5.0))).item_ids
    assert some == [i for i in whole if i in set(some)]


def test_a_filter_that_nothing_fits_gives_an_empty_list(engine: Engine) -> None:
    answer = engine.recommend(Request(user_id="t4", filters=Filters(category=("none",))))
    assert answer.item_ids == []
    assert not answer.fallback
