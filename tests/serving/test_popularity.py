"""What a shopper sees of popularity after a pause, beside a robot, and of what is new: on real shops."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys_cli.serving import Engine
from recsys_cli.serving.request import Request
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events, merge_items, transaction

DAY = 86_400
NOW = 1_750_000_000
ITEMS = 30


def sale(user: str, item: int, day: float, **more: Any) -> dict[str, Any]:
    return {"user_id": user, "item_id": f"i{item:02}", "ts": int(NOW - day * DAY), **more}


def usual(days: range, seed: int = 0) -> list[dict[str, Any]]:
    """Nine customers a day; i00 is what most of them buy, then i01, …"""
    rng = np.random.default_rng(seed)
    worth = 1 / np.arange(1, ITEMS + 1)
    picks = rng.choice(ITEMS, size=len(days) * 9, p=worth / worth.sum())
    return [sale(f"u{n % 300}", int(i), days[n // 9] + (n % 9) / 10) for n, i in enumerate(picks)]


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Engine]:
    """The engine of a shop with these events."""
    from shop_of_tests import Shop, make_settings

    def make(events: list[dict[str, Any]], born: Callable[[int], float] = lambda n: 400.0) -> Engine:
        settings = make_settings(tmp_path)
        items = [
            {"item_id": f"i{n:02}", "title": f"Item {n}", "created_at": int(NOW - born(n) * DAY)} for n in range(ITEMS)
        ]
        with Store(settings.db, settings.store).writing() as con, transaction(con):
            merge_events(con, pa.Table.from_pylist(events))
            merge_items(con, pa.Table.from_pylist(items), now=NOW - 500 * DAY)
        shop = Shop(settings)
        shop.publish()
        return Engine.open(shop.version, shop.secret)

    return make


def shelves(engine: Engine, n: int = 5) -> dict[str, list[str]]:
    """What everybody sees, and what a guest sees of whom nothing is known."""
    request = Request(k=n)
    return {
        "popular": engine.popular(request).item_ids,
        "trending": engine.shelf("trending", request).item_ids,
        "guest": engine.recommend(Request(session_id="stranger", k=n)).item_ids,
    }


def test_five_sales_after_a_pause_own_no_list(opened: Callable[..., Engine]) -> None:
    late = [sale(f"late{n}", 25 + n, 0.1 * n) for n in range(5)]
    for name, items in shelves(opened([*usual(range(28, 150)), *late])).items():
        assert "i00" in items[:2], name
        assert not set(items) & {f"i{25 + n}" for n in range(5)}, name


def test_one_session_owns_no_list(opened: Callable[..., Engine]) -> None:
    views = [
        {"session_id": "robot", "item_id": "i29", "ts": NOW - n, "event_type": "view", "event_id": f"e{n}"}
        for n in range(600)
    ]
    engine = opened([*usual(range(1, 120)), *views])
    for name, items in shelves(engine, 8).items():
        assert "i29" not in items, name
    assert engine.popular(Request(k=1)).item_ids == ["i00"]


def test_a_robot_does_not_empty_the_windows_of_a_silent_shop(opened: Callable[..., Engine]) -> None:
    """The sales end in spring; a robot looks at one item in summer."""
    views = [
        {"session_id": "robot", "item_id": "i29", "ts": NOW - n, "event_type": "view", "event_id": f"e{n}"}
        for n in range(600)
    ]
    engine = opened([*usual(range(90, 200)), *views])
    assert int(engine.bundle.shelves["sold_until"][0]) // DAY == (NOW - 90 * DAY) // DAY
    assert engine.bundle.shelves["sold_lately"].sum() > 50
    assert shelves(engine)["popular"][0] == "i00"


def test_one_customer_makes_nothing_popular(opened: Callable[..., Engine]) -> None:
    orders = [sale("wholesale", 29, n / 10, order_id=f"w{n}", qty=50) for n in range(300)]
    for name, items in shelves(opened([*usual(range(120)), *orders])).items():
        assert "i29" not in items, name


def test_what_more_customers_than_usual_buy_is_trending(opened: Callable[..., Engine]) -> None:
    rush = [sale(f"rush{n}", 20, n / 5) for n in range(25)]
    engine = opened([*usual(range(120)), *rush])
    assert engine.shelf("trending", Request(k=1)).item_ids == ["i20"]


def test_a_season_in_which_all_sells_more_is_no_trend(opened: Callable[..., Engine]) -> None:
    again = [{**e, "user_id": f"{e['user_id']}-{n}"} for n in range(4) for e in usual(range(7), seed=1 + n)]
    engine = opened([*usual(range(120)), *again])
    assert "i00" not in engine.shelf("trending", Request(k=3)).item_ids


def test_reasons_say_until_when(opened: Callable[..., Engine]) -> None:
    engine = opened(usual(range(120)))
    reasons = engine.popular(Request(k=3, explain=True)).reasons
    until = time.strftime("%Y-%m-%d", time.gmtime(NOW))
    assert all(r.startswith("Bought by ") and r.endswith(f" customers in the 30 days to {until}.") for r in reasons)


def test_reasons_of_a_shop_that_sells_today(opened: Callable[..., Engine]) -> None:
    shift = int(time.time()) - NOW
    events = [{**e, "ts": e["ts"] + shift} for e in usual(range(120))]
    reasons = opened(events).popular(Request(k=3, explain=True)).reasons
    assert all(r.endswith(" customers in the last 30 days.") for r in reasons)


def test_what_is_a_year_old_is_not_new(opened: Callable[..., Engine]) -> None:
    engine = opened(usual(range(120)), born=lambda n: 10.0 if n in (7, 8) else 365.0 + n)
    answer = engine.shelf("new", Request(k=6))
    assert sorted(answer.item_ids[:2]) == ["i07", "i08"]
    assert answer.sources == ["new", "new", "popular", "popular", "popular", "popular"]
    assert answer.fallbacks == [False, False, True, True, True, True]
