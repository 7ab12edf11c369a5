"""Products, not SKUs: models and lists see the product, answers name a variant that can be bought."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_cli.artifacts import Spool, SpoolWriter
from recsys_cli.identity import user_keys
from recsys_cli.list_export import recommend_all
from recsys_cli.serving import Engine, Request
from recsys_cli.serving.customer_lists import recently_viewed
from recsys_cli.serving.live_events import Overlay
from recsys_cli.serving.reordering import reorder
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events, merge_items, transaction
from recsys_cli.updates import run_pass

NOW, DAY = 1_750_000_000, 86_400
SIZES = ("S", "M", "L")


def rows() -> list[dict[str, Any]]:
    """Six shirts in three sizes, the parent of the even ones being an item too; mugs without variants.

    Size M is the most sold. Of shirt1 M is sold out, shirt2 is sold out altogether.
    """
    items: list[dict[str, Any]] = [
        {
            "item_id": f"shirt{n}-{size}",
            "parent_id": f"shirt{n}",
            "title": f"Shirt {n} {size}",
            "price": 20.0 + n,
            "category": "shirts",
            "url": f"https://shop.example/shirt{n}?size={size}",
            "availability": (n, size) != (1, "M") and n != 2,
        }
        for n in range(6)
        for size in SIZES
    ]
    items += [{"item_id": f"shirt{n}", "title": f"Shirt {n}", "category": "shirts"} for n in (0, 2, 4)]
    return items + [{"item_id": f"mug{n}", "title": f"Mug {n}", "price": 9.0, "category": "mugs"} for n in range(6)]


def sales() -> list[dict[str, Any]]:
    """Everybody buys shirts of several sizes, or mugs."""
    return [
        {
            "user_id": f"{kind}{user}",
            "item_id": f"mug{n}" if kind == "mug" else f"shirt{n}-{('M', 'M', 'S', 'L')[(user + n) % 4]}",
            "ts": NOW - DAY * (60 - (user + n) % 50),
            "order_id": f"{kind}{user}-{n}",
        }
        for kind in ("shirt", "mug")
        for user in range(24)
        for n in range(6)
        if (user + n) % 3
    ]


@pytest.fixture
def variants(tmp_path: Path) -> Any:
    from shop_of_tests import Shop, make_settings

    settings = make_settings(tmp_path)
    with Store(settings.db, settings.store).writing() as con, transaction(con):
        merge_events(con, pa.Table.from_pylist(sales()))
        merge_items(con, pa.Table.from_pylist(rows()), now=NOW)
    shop = Shop(settings)
    shop.publish()
    return shop


@pytest.fixture
def hearing(variants: Any) -> Callable[..., Engine]:
    """An engine that has heard these lines."""

    def make(*lines: dict[str, Any]) -> Engine:
        SpoolWriter(variants.artifacts.spool_dir).append([orjson.dumps(line) for line in lines])
        overlay = Overlay(Spool(variants.artifacts.spool_dir), {}, variants.secret)
        engine = Engine.open(variants.version, variants.secret, overlay)
        for _ in engine.catch_up():
            pass
        return engine

    return make


def product(item_id: str) -> str:
    return item_id.split("-")[0]


def test_no_list_shows_a_product_twice(variants: Any) -> None:
    engine = Engine.open(variants.version, variants.secret)
    assert len(engine.catalogue) == 12
    everything = Request(k=30)
    for answer in (
        engine.popular(everything),
        engine.shelf("trending", everything),
        engine.recommend(Request(user_id="shirt3", k=30, repeat=True)),
        engine.recommend(Request(items=("shirt3-S",), k=30)),
        engine.similar("shirt3-L", 30),
        engine.bought_together("shirt4", everything),
    ):
        products = [product(i) for i in answer.item_ids]
        assert len(set(products)) == len(products)
        assert "shirt2" not in products


def test_sales_of_variants_add_up(variants: Any) -> None:
    engine = Engine.open(variants.version, variants.secret)
    since = int(engine.bundle.shelves["sold_until"][0]) - 30 * DAY
    customers = {e["user_id"] for e in sales() if product(e["item_id"]) == "shirt3" and e["ts"] > since}
    assert engine.bundle.shelves["sold_lately"][engine.code("shirt3")] == len(customers) > 4
    assert engine.code("shirt3-S") == engine.code("shirt3-M") == engine.code("shirt3")


def test_answers_name_a_variant_in_stock(variants: Any) -> None:
    engine = Engine.open(variants.version, variants.secret)
    answer = engine.recommend(Request(user_id="mug1", k=12, repeat=True))
    named = {product(i): i for i in answer.item_ids}
    assert named["shirt3"] == "shirt3-M"  # the most sold
    assert named["shirt1"] in ("shirt1-S", "shirt1-L")  # M is sold out
    assert named["mug3"] == "mug3"
    line = next(row for row in engine.describe(answer) if row["item_id"] == "shirt4-M")
    assert line["parent_id"] == "shirt4"
    assert line["title"] == "Shirt 4"  # as the product says
    assert line["price"] == 24.0
    assert line["url"] == "https://shop.example/shirt4?size=M"
    assert (engine.catalogue.find("shirt4-L") or {})["item_id"] == "shirt4"  # as GET /items/shirt4-L answers


def test_what_was_bought_in_one_size_is_not_shown_in_another(variants: Any) -> None:
    engine = Engine.open(variants.version, variants.secret)
    bought = {product(e["item_id"]) for e in sales() if e["user_id"] == "shirt5"}
    assert not bought & {product(i) for i in engine.recommend(Request(user_id="shirt5", k=12)).item_ids}


def test_stock_of_a_variant_changes_what_is_named(hearing: Callable[..., Engine]) -> None:
    gone = {"t": "item", "item_id": "shirt3-M", "availability": False, "ts": NOW}
    names = lambda e: [i for i in e.popular(Request(k=12)).item_ids if product(i) == "shirt3"]  # noqa: E731
    assert names(hearing()) == ["shirt3-M"]
    assert names(hearing(gone)) in (["shirt3-S"], ["shirt3-L"])
    others = [{**gone, "item_id": f"shirt3-{size}"} for size in "SL"]
    assert names(hearing(*others)) == []
    back = hearing({**gone, "availability": True, "price": 18.5})
    assert names(back) == ["shirt3-M"]
    assert back.describe(back.popular(Request(k=12)))[0]["item_id"]


def test_events_of_a_variant_count_for_its_product(hearing: Callable[..., Engine]) -> None:
    bought = {"t": "event", "item_id": "shirt5-L", "event_type": "purchase", "ts": NOW, "qty": 1, "user_id": "mug2"}
    assert "shirt5" not in [product(i) for i in hearing(bought).recommend(Request(user_id="mug2", k=12)).item_ids]


def test_an_update_and_a_batch_name_the_same(variants: Any) -> None:
    SpoolWriter(variants.artifacts.spool_dir).append(
        [b'{"t":"item","item_id":"shirt3-XL","parent_id":"shirt3","title":"Shirt 3 XL","ts":1}']
    )
    before = Engine.open(variants.version, variants.secret)
    run_pass(Store(variants.settings.db, variants.settings.store), variants.artifacts, variants.settings)
    after = Engine.open(variants.version, variants.secret)
    assert after.catalogue.ids == before.catalogue.ids
    assert after.code("shirt3-XL") == before.code("shirt3")
    codes, _, _ = after.recommend_batch(user_keys(variants.secret, ["mug1"]), Request(k=5))
    assert codes[0].tolist() == after.recommend(Request(user_id="mug1", k=5)).codes


def test_an_item_that_becomes_a_variant_gives_up_its_place(variants: Any) -> None:
    with Store(variants.settings.db, variants.settings.store).writing() as con, transaction(con):
        merge_items(con, pa.Table.from_pylist([{"item_id": "mug5", "parent_id": "mug4"}]), now=NOW)
        merge_events(con, pa.Table.from_pylist([{"user_id": "late", "item_id": "mug5", "ts": NOW + 1}]))
    run_pass(Store(variants.settings.db, variants.settings.store), variants.artifacts, variants.settings)
    engine = Engine.open(variants.version, variants.secret)
    names = [i for i in engine.popular(Request(k=30)).item_ids if i.startswith("mug")]
    assert sorted(names) == ["mug0", "mug1", "mug2", "mug3", "mug5"]
    assert engine.code("mug5") == engine.code("mug4")


def sold(item_id: str, **changed: Any) -> dict[str, Any]:
    """A line of the spool; mug2 bought no shirt before."""
    return {
        "t": "event",
        "item_id": item_id,
        "event_type": "purchase",
        "ts": NOW,
        "qty": 1,
        "user_id": "mug2",
    } | changed


def shown(engine: Engine, **asked: Any) -> dict[str, str]:
    """What the visitor's list calls each product."""
    return {product(i): i for i in engine.recommend(Request(k=12, repeat=True, **asked)).item_ids}


def test_who_bought_a_size_is_shown_that_size(variants: Any) -> None:
    engine = Engine.open(variants.version, variants.secret)
    bought = {product(e["item_id"]): e["item_id"] for e in sales() if e["user_id"] == "shirt5"}
    assert {"S", "L"} < {i[-1] for i in bought.values()}  # neither is what strangers are shown
    named = shown(engine, user_id="shirt5")
    assert {p: named[p] for p in bought if p not in ("shirt1", "shirt2")} == {
        p: i for p, i in bought.items() if p not in ("shirt1", "shirt2")
    }
    rows = engine.describe(engine.recommend(Request(user_id="shirt5", k=12, repeat=True)))
    line = next(row for row in rows if row["item_id"].endswith("-L"))
    assert line["url"] == f"https://shop.example/{product(line['item_id'])}?size=L"
    assert line["parent_id"] == product(line["item_id"])
    titles = {row["item_id"]: row["title"] for row in rows if "parent_id" in row}
    # The even ones have a title themselves.
    assert titles == {i: f"Shirt {i[5]}" + ("" if int(i[5]) % 2 == 0 else f" {i[-1]}") for i in titles}


def test_the_size_of_a_visit_counts_until_it_is_sold_out_or_sent_back(hearing: Callable[..., Engine]) -> None:
    looked, large = {"item_id": "shirt3-S", "event_type": "view"}, {"item_id": "shirt3-L", "ts": NOW - 9}
    small, back = {"item_id": "shirt3-S", "ts": NOW - 5}, {"item_id": "shirt3-S", "event_type": "refund"}
    did = {
        "mug2": (looked,),
        "mug4": (large, looked),  # what was bought comes before what was looked at
        "mug5": (large,),
        "mug7": (large, small),
        "mug8": (large, small, back),
    }
    lines = [sold("", user_id=user) | line for user, each in did.items() for line in each]
    guest = sold(**looked, user_id=None, session_id="visit")
    engine = hearing(*lines, guest)
    named = {user: shown(engine, user_id=user)["shirt3"][-1] for user in did}
    assert named == {"mug2": "S", "mug4": "L", "mug5": "L", "mug7": "S", "mug8": "L"}
    assert shown(engine, session_id="visit")["shirt3"] == "shirt3-S"
    assert shown(engine, session_id="visit", consent="none")["shirt3"] == "shirt3-M"
    engine = hearing({"t": "item", "item_id": "shirt3-L", "availability": False, "ts": NOW})
    named = {user: shown(engine, user_id=user)["shirt3"][-1] for user in did}
    assert named == {"mug2": "S", "mug4": "S", "mug5": "M", "mug7": "S", "mug8": "M"}


def test_what_was_viewed_is_listed_in_the_size_that_was(hearing: Callable[..., Engine]) -> None:
    cheaper = {"t": "item", "item_id": "shirt4-S", "price": 5.0, "ts": NOW}
    engine = hearing(sold("shirt4-S", event_type="view"), sold("mug1", event_type="view"), cheaper)
    rows = engine.describe(recently_viewed(engine, Request(user_id="mug2", k=2)))
    assert {row["item_id"]: row["price"] for row in rows} == {"shirt4-S": 5.0, "mug1": 9.0}


def test_a_page_is_put_in_order_by_its_own_ids(variants: Any) -> None:
    engine = Engine.open(variants.version, variants.secret)
    asked = ["shirt3-L", "shirt0", "mug1", "shirt1-M"]
    assert sorted(reorder(engine, Request(user_id="shirt3"), asked).answer.item_ids) == sorted(asked)
    # A grid of sizes loses no tile: two of one product are two lines, beside each other.
    answer = reorder(engine, Request(user_id="mug2", explain=True), ["shirt3-L", "mug1", "shirt3-S", "shirt3-L"]).answer
    assert sorted(answer.item_ids) == ["mug1", "shirt3-L", "shirt3-S"]
    assert [i for i in answer.item_ids if i != "mug1"] == ["shirt3-L", "shirt3-S"]
    assert len(answer.scores) == len(answer.sources) == len(answer.fallbacks) == len(answer.reasons) == 3
    assert [row["item_id"] for row in engine.describe(answer)] == answer.item_ids


def test_a_list_for_everybody_names_the_same_variants(variants: Any, tmp_path: Path) -> None:
    engine = Engine.open(variants.version, variants.secret)
    store, out = Store(variants.settings.db, variants.settings.store), tmp_path / "lists.parquet"
    recommend_all(store, engine, variants.secret, out, Request(k=12, repeat=True), with_items=True)
    told: dict[str, list[tuple[Any, ...]]] = {}
    for row in pq.read_table(out).to_pylist():
        told.setdefault(row["user_id"], []).append((row["item_id"], row["title"], row["url"], row["price"]))
    alone = {
        user: [
            (row["item_id"], row["title"], row["url"], row["price"])
            for row in engine.describe(engine.recommend(Request(user_id=user, k=12, repeat=True)))
        ]
        for user in told
    }
    assert {user: set(rows) for user, rows in told.items()} == {user: set(rows) for user, rows in alone.items()}
    assert len({i for rows in told.values() for i, *_ in rows if product(i) == "shirt3"}) == 3
