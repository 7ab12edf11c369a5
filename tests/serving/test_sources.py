"""Candidates of several sources: each is named, has its share, and none pushes aside what is liked better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recsys_cli.serving import Engine, Filters, Request, sources
from recsys_cli.serving.retrieval import NOTHING_FOUND
from tests.serving.shop import NOW

Live = Callable[..., Engine]


def view(item: str) -> dict[str, Any]:
    return {"t": "event", "item_id": item, "ts": NOW, "qty": 1, "event_type": "view", "session_id": "s"}


def source_of(engine: Engine, item: str, request: Request) -> tuple[str, bool]:
    answer = engine.recommend(request)
    place = answer.item_ids.index(item)
    return answer.sources[place], answer.fallbacks[place]


@pytest.mark.parametrize(
    ("item", "source"), [("t1", "together"), ("new0", "content"), ("c9", "trending"), ("d9", "popular")]
)
def test_every_source_has_its_part_and_is_named(engine: Engine, item: str, source: str) -> None:
    # Of the model's own candidates none is needed, so that what the others say can be seen.
    engine.retrieval.candidates = lambda *_: NOTHING_FOUND  # type: ignore[method-assign]
    assert source_of(engine, item, Request(items=("t0",), k=42)) == (source, source == "popular")


def test_neighbours_are_named(live: Live) -> None:
    engine = live(view("t4"))
    engine.retrieval.candidates = lambda *_: NOTHING_FOUND  # type: ignore[method-assign]
    answer = engine.recommend(Request(session_id="s", k=3, explain=True))
    assert "neighbours" in answer.sources
    assert 'Like Tea "4", looked at just now.' in answer.reasons
    basket = engine.recommend(Request(items=("t4",), k=3, explain=True))
    assert 'Like Tea "4", in the basket.' in basket.reasons


def test_what_trends_waits_for_what_is_like_the_basket(engine: Engine) -> None:
    answer = engine.recommend(Request(items=("t0",), k=10))
    places = [n for n, item in enumerate(answer.item_ids) if item == "c9"]
    assert all(place > 2 for place in places)


def test_what_trends_does_not_replace_what_sells(engine: Engine) -> None:
    # Neither the model nor any order knows the item: nothing is known of whoever has it in the basket.
    answer = engine.recommend(Request(items=("new0",), k=10))
    assert "trending" not in answer.sources
    plain = engine.recommend(Request(user_id="nobody", k=9)).item_ids
    assert [i for i, s in zip(answer.item_ids, answer.sources, strict=True) if s == "popular"] == plain


def test_trending_keeps_to_the_filters(engine: Engine) -> None:
    everything = engine.catalogue.allowed(Filters())
    without = engine.catalogue.allowed(Filters(exclude=("c9",)))
    shelves = engine.bundle.shelves
    codes = [code for code, _ in sources.trending(shelves, everything)]
    assert codes[0] == engine.code("c9")
    assert [code for code, _ in sources.trending(shelves, without)] == codes[1:]


def test_without_anything_new_a_customers_list_is_the_models(engine: Engine) -> None:
    for user_id in ("t4", "c7", "g2", "d11"):
        request = Request(user_id=user_id)
        person = engine.people.find(request)
        bought = set(person.past.item.tolist())
        found = engine.retrieval.by_model(person, engine.catalogue.allowed_by_default(), 42)
        own = [engine.catalogue.ids[code] for code, _ in found if code not in bought]
        assert own
        assert engine.recommend(request).item_ids[: len(own)] == own[:10]


def test_the_share_of_a_source_decides() -> None:
    model, other = [(1, 8.0), (2, 4.0)], {"together": [(3, 1.0), (2, 0.5)]}
    light = [(code, source) for code, _, source in sources.fuse(model, other, {"together": 0.4})]
    assert light == [(1, ""), (2, ""), (3, "together")]
    heavy = [(code, source) for code, _, source in sources.fuse(model, other, {"together": 2.0})]
    assert heavy == [(3, "together"), (2, "together"), (1, "")]


def test_the_last_of_a_basket_and_the_newest_of_a_session_are_looked_around() -> None:
    assert sources.latest([1, 2, 3, 4], [9]) == [4, 3, 2]
    assert sources.latest([], [9, 8, 7, 6]) == [9, 8, 7]


def test_likeness_to_any_of_them_counts(engine: Engine) -> None:
    allowed = engine.catalogue.allowed(Filters(exclude=("t7",)))
    t7, t8, t9 = (engine.code(i) for i in ("t7", "t8", "t9"))
    found = sources.neighbours([[(t7, 0.9), (t8, 0.2)], [(t9, 0.8), (t8, 0.4)]], allowed)
    assert found == [(t9, 1.0), (t8, 0.5)]


def test_a_visit_goes_on_when_the_worker_has_published(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(user_id="late0")  # bought c9 at NOW, in the version
    monkeypatch.setattr("recsys_cli.serving.visitor.time.time", lambda: NOW + 3600.0)
    assert engine.people.find(request).fresh == []
    engine.people._kept.clear()
    monkeypatch.setattr("recsys_cli.serving.visitor.time.time", lambda: NOW + 60.0)
    assert engine.people.find(request).fresh == [engine.code("c9")]
