"""Kinds of lists, each in a shop where the right answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys_cli.serving import Engine, Request
from recsys_cli.serving.customer_lists import Due
from recsys_cli.serving.list_kinds import KINDS

DAY, NOW = 86_400, 1_750_000_000


def made(engine: Engine, kind: str, **asked: Any) -> Any:
    return KINDS[kind].make(engine, Request(**asked))


def event(item: str, days_ago: float, kind: str = "purchase", user: str = "u") -> dict[str, Any]:
    ts = int(NOW - days_ago * DAY)
    return {"t": "event", "item_id": item, "ts": ts, "qty": 1, "event_type": kind, "user_id": user}


def test_buy_again_goes_by_each_customers_own_interval(live: Callable[..., Engine]) -> None:
    engine = live(
        *(event("c3", d) for d in (90, 60, 30)),  # every 30 days, 30 days ago: due
        *(event("c4", d) for d in (70, 40, 10)),  # every 30 days, 10 days ago: not yet
        *(event("d5", d) for d in (26, 19, 12)),  # every 7 days, 12 days ago: due, and for longer
        *(event("d6", d) for d in (400, 393, 386)),  # every 7 days, a year ago: given up
        event("g7", 300),  # once: nobody knows
        *(event("g8", d) for d in (40, 20, 19.99)),  # two orders on a day are one purchase
        event("t2", 40), event("t2", 20),  # due, but sold out
    )  # fmt: skip
    answer = made(engine, "buy-again", user_id="u", explain=True)
    assert answer.item_ids == ["d5", "c3", "g8"]
    assert set(answer.sources) == {"buy-again"}
    assert answer.reasons[1] == "Bought 3 times, usually again after 30 days; last on 2025-05-16."
    assert made(engine, "buy-again", user_id="u", k=1, offset=1).item_ids == ["c3"]
    assert made(engine, "buy-again", user_id="nobody").item_ids == []
    assert made(engine, "buy-again", user_id="u", consent="none").item_ids == []


def test_what_was_bought_once_is_due_when_others_buy_it_again() -> None:
    usual = np.array([0, 30, 30], dtype=np.float32)
    code = np.array([0, 1, 2], dtype=np.int32)
    ts = np.array([NOW - 40 * DAY, NOW - 40 * DAY, NOW - 10 * DAY])
    due = Due.of(code, ts, NOW, usual)
    assert due.code.tolist() == [1]
    assert due.days.tolist() == [30]
    assert not len(Due.of(code[:0], ts[:0], NOW, usual).code)


def test_viewed_last_comes_first(live: Callable[..., Engine]) -> None:
    lines = [event(item, 3 - n, "view") for n, item in enumerate(("c3", "d5", "c3", "t2"))]
    engine = live(*lines, event("g7", 0))
    assert made(engine, "viewed", user_id="u").item_ids == ["c3", "d5"]  # t2 is sold out, g7 was only bought
    engine.hear(event("d9", -1, "view"))  # type: ignore[attr-defined]
    assert made(engine, "viewed", user_id="u").item_ids == ["d9", "c3", "d5"]
    assert made(engine, "viewed", user_id="u", item_id="d9").item_ids == ["c3", "d5"]  # the page's product is in sight


def test_rails_name_the_last_purchases_and_share_no_item(live: Callable[..., Engine]) -> None:
    engine = live(event("c3", 9), event("c5", 5), event("t0", 3))
    first, second, third = (made(engine, "because", user_id="u", rail=n, k=4, explain=True) for n in (1, 2, 3))
    assert first.title == 'Because you bought Tea "0"'
    assert first.item_ids[0] == "t1"  # in the same orders
    assert set(first.reasons) == {first.title + "."}
    assert second.title == 'Because you bought Coffee "5"'  # and not also of c3: it is of the same category
    assert second.item_ids
    assert not {"t0", "c3", "c5", *first.item_ids} & set(second.item_ids)
    assert [third.item_ids, third.title] == [[], ""]


def test_cheaper_and_better_alternatives_are_of_the_category_and_price(engine: Engine) -> None:
    cheaper = made(engine, "cheaper", item_id="c4", k=40, explain=True)
    assert set(cheaper.item_ids) == {"c0", "c1", "c2", "c3"}
    assert cheaper.reasons[cheaper.item_ids.index("c2")] == 'Like Coffee "4", for 3.00 instead of 5.00.'
    assert set(made(engine, "better", item_id="c4", k=40).item_ids) == {"c5", "c6", "c7", "c8", "c9"}
    assert set(made(engine, "better", item_id="c1", k=40).item_ids) == {"c2", "c3"}  # up to twice the price


def test_a_basket_is_completed_by_what_it_lacks(live: Callable[..., Engine], shop: Any) -> None:
    engine = live()
    codes, shelves = engine.catalogue.code_of, dict(engine.bundle.shelves)
    for name, values in (("together_item", ["c1", "d1", "d2", "g1"]), ("together_lift", [9, 8, 7, 6])):
        shelf = np.array(shelves[name])
        shelf[codes["c0"]] = -1 if name == "together_item" else 0
        shelf[codes["c0"], :4] = [codes[v] if isinstance(v, str) else v for v in values]
        engine.bundle.shelves[name] = shelf
    assert made(engine, "complete", items=("c0",)).item_ids == ["d1", "g1", "c1", "d2"]
    assert made(engine, "together", items=("c0",)).item_ids == ["c1", "d1", "d2", "g1"]


def test_new_for_somebody_is_new_in_their_categories_and_brands(live: Callable[..., Engine]) -> None:
    engine = live(event("d1", 3), event("d3", 3, user="ash"))  # Birch and Ash; the new tea is of Ash
    tea, dogs = (made(engine, "new-for-you", user_id=user) for user in ("t4", "ash"))
    assert tea.item_ids == dogs.item_ids == ["new0", "new1"]
    assert tea.scores[0] > dogs.scores[0] > 0
    assert made(engine, "new-for-you", user_id="u").item_ids == []
    assert made(engine, "new-for-you", user_id="nobody").item_ids == []


@pytest.mark.parametrize("name", ["regular_price", "Variant Compare At Price"])
def test_on_sale_is_what_costs_less_than_usual(live: Callable[..., Engine], name: str) -> None:
    engine = live()
    assert made(engine, "on-sale", user_id="c4").item_ids == []
    prices = {"c5": "10", "g5": "10", "d1": "2", "t2": "100"}  # c5 and g5 cost 6; d1 its 2; t2 is sold out
    engine.hear(  # type: ignore[attr-defined]
        *(
            {"t": "item", "item_id": i, "ts": NOW, "attributes": f'{{"{name}": "{price}"}}'}
            for i, price in prices.items()
        )
    )
    for user in ("c4", "nobody"):
        answer = made(engine, "on-sale", user_id=user, repeat=True)
        assert set(answer.item_ids) == {"c5", "g5"}
        assert not any(answer.fallbacks)
    assert made(engine, "on-sale", user_id="c4", repeat=True).item_ids == ["c5", "g5"]
