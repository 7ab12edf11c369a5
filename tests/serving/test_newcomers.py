"""What came after the catalogue was loaded: new products are shown as new, and invented ones not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from recsys_cli.artifacts import SpoolWriter
from recsys_cli.identity import user_keys
from recsys_cli.serving import Engine, Request
from recsys_cli.serving.rules import Rules
from recsys_cli.settings import RuleSettings
from recsys_cli.store import Store
from recsys_cli.store.batches import close_batch, open_batch
from recsys_cli.store.merge import merge_events, merge_items, transaction
from recsys_cli.updates import run_pass

NOW = 1_750_000_000
DAY = 86_400
EVIL = "BUY-CHEAP-AT-EVIL.example"
Heard = Callable[..., Engine]


@pytest.fixture
def store(shop: Any) -> Store:
    return Store(shop.settings.db, shop.settings.store)


@pytest.fixture
def heard(shop: Any, store: Store) -> Heard:
    """The engine after the server has received these lines and the update worker has taken them in."""
    writer = SpoolWriter(shop.artifacts.spool_dir)

    def make(*lines: dict[str, Any]) -> Engine:
        writer.append([orjson.dumps(line) for line in lines])
        run_pass(store, shop.artifacts, shop.settings)
        return Engine.open(shop.version, shop.secret)

    return make


def event(item: str, **more: Any) -> dict[str, Any]:
    base = {"t": "event", "item_id": item, "event_type": "view", "qty": 1, "ts": NOW, "session_id": "x"}
    return base | more


def everywhere(engine: Engine, secret: str) -> set[str]:
    """The ids in all lists that can be asked for."""
    many = Request(k=1000)
    answers = [engine.shelf("new", many), engine.shelf("trending", many), engine.popular(many)]
    answers += [engine.similar("t0", 1000), engine.bought_together("t0", many)]
    answers += [engine.recommend(Request(user_id=user, session_id="x", k=1000)) for user in ("t4", "nobody")]
    codes, _, _ = engine.recommend_batch(user_keys(secret, ["t4", "nobody"]), Request(k=1000))
    batch = {engine.catalogue.ids[code] for code in np.unique(codes[codes >= 0])}
    return batch.union(*(answer.item_ids for answer in answers))


def test_an_invented_item_is_in_no_list(shop: Any, heard: Heard) -> None:
    engine = heard(event(EVIL), *(event(EVIL, event_type="purchase", user_id=f"t{n}") for n in range(20)))
    assert EVIL in engine.catalogue.code_of
    shown = everywhere(engine, shop.secret)
    assert "t0" in shown
    assert EVIL not in shown


def test_it_is_shown_as_soon_as_the_catalogue_has_it(shop: Any, heard: Heard) -> None:
    engine = heard(event("late"))
    assert "late" not in everywhere(engine, shop.secret)
    engine.catalogue.change("late", {"title": "Late"})
    assert "late" in everywhere(engine, shop.secret)
    assert "late" in everywhere(heard({"t": "item", "item_id": "late", "title": "Late", "ts": NOW}), shop.secret)


def test_what_a_file_sold_is_shown_though_the_catalogue_lacks_it(shop: Any, store: Store, heard: Heard) -> None:
    sold = pa.table({"user_id": ["t1"], "item_id": ["old"], "ts": [NOW - DAY], "order_id": ["1"]})
    with store.writing() as con, transaction(con):
        batch = open_batch(con, "orders.csv", "events", "0" * 64, 100)
        close_batch(con, batch, merge_events(con, sold, batch_id=batch), 0)
    engine = heard(event("old"), event(EVIL))
    assert {"old", EVIL} & everywhere(engine, shop.secret) == {"old"}


def test_a_shop_without_a_catalogue_shows_what_it_hears_of(shop: Any, store: Store, heard: Heard) -> None:
    with store.writing() as con:
        con.execute("DELETE FROM items")
    assert EVIL in everywhere(heard(event(EVIL)), shop.secret)


def test_a_product_without_a_date_is_new_from_its_arrival(heard: Heard) -> None:
    put = {"t": "item", "item_id": "NEU2", "title": "Neu", "category": "tea", "ts": NOW}
    engine = heard(put | {"price": 9.5, "availability": True}, put | {"item_id": "bare"})
    answer = engine.shelf("new", Request(k=3, explain=True))
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert set(answer.item_ids[:2]) == {"NEU2", "bare"}
    assert answer.reasons[:2] == [f"New since {today}."] * 2
    assert abs(int(engine.bundle.shelves["first_seen"][engine.code("bare")]) - time.time()) < 600


def test_a_catalogue_that_is_loaded_is_not_all_new(shop: Any, store: Store, heard: Heard) -> None:
    with store.writing() as con, transaction(con):
        con.execute("DELETE FROM items")
        con.execute("DELETE FROM item_history")
        ids = [f"{letter}{n}" for letter in "tcgdz" for n in range(10)]
        merge_items(con, pa.table({"item_id": ids, "price": [1.0] * 50}), now=NOW)
        more = [f"more{n}" for n in range(30)]
        merge_items(con, pa.table({"item_id": more, "title": more}), now=NOW + 60)
        merge_items(con, pa.table({"item_id": ["one"], "title": ["One"]}), now=NOW + DAY)
    first = heard(event("t0"))
    born = first.bundle.shelves["first_seen"]
    assert born[first.code("one")] == NOW + DAY
    assert [int(born[first.code(item)]) for item in ("z1", "more1")] == [0, 0]
    assert 0 < born[first.code("t0")] < NOW - 5 * DAY  # its first sale


def test_new_items_reach_batches_as_they_reach_single_lists(shop: Any, heard: Heard) -> None:
    heard({"t": "item", "item_id": "fresh", "title": "Fresh tea", "category": "tea", "ts": NOW})
    for rules in (RuleSettings(bought_days=400), RuleSettings()):
        engine = Engine.open(shop.version, shop.secret, rules=Rules.of(rules))
        users = [f"{taste}{n}" for taste in "tc" for n in range(30)]
        singles = [engine.recommend(Request(user_id=user, k=10)) for user in users]
        assert any(single.sources[9] == "new" for single in singles)
        codes, _, sources = engine.recommend_batch(user_keys(shop.secret, users), Request(k=10))
        assert codes.tolist() == [single.codes for single in singles]
        assert sources.tolist() == [single.sources for single in singles]


def test_nobody_knows_since_when(heard: Heard, shop: Any, store: Store) -> None:
    """As in databases of before arrivals were noted."""
    with store.writing() as con:
        con.execute("INSERT INTO items (item_id, title, category) VALUES ('dateless', 'Tea', 'tea')")
    engine = heard(event("t0"))
    from recsys_cli.serving.explanations import Reasons

    assert Reasons(engine, None).of(engine.code("dateless"), "new") == "New in the shop."


def test_the_item_that_gave_its_place_opens_the_next_page(shop: Any, heard: Heard) -> None:
    heard({"t": "item", "item_id": "fresh", "title": "Fresh tea", "category": "tea", "ts": NOW})
    engine = Engine.open(shop.version, shop.secret)
    plain = Engine.open(shop.version, shop.secret, rules=Rules.of(RuleSettings(explore=False)))
    explored = 0
    for n in range(30):
        whole = plain.recommend(Request(user_id=f"t{n}", k=30, repeat=True)).item_ids
        pages = [engine.recommend(Request(user_id=f"t{n}", k=10, offset=o, repeat=True)).item_ids for o in (0, 10)]
        both = [*pages[0], *pages[1]]
        assert len(set(both)) == 20
        if pages[0] != whole[:10]:
            explored += 1
            assert pages[1][0] == whole[9]
    assert explored


def test_the_first_item_that_is_sent_hides_no_other(shop: Any, store: Store, heard: Heard) -> None:
    """A shop whose items are known from what is sent to the server sends the first with a title."""
    with store.writing() as con:
        con.execute("DELETE FROM items")
    sold = [event(f"heard{n}", event_type="purchase", user_id=f"x{u}") for n in range(3) for u in range(3)]
    engine = heard(*sold, {"t": "item", "item_id": "heard0", "title": "Heard of", "ts": NOW})
    assert {"heard0", "heard1", "heard2"} <= everywhere(engine, shop.secret)


def test_an_item_known_from_events_alone_can_be_taken_out(shop: Any, store: Store, heard: Heard) -> None:
    with store.writing() as con:
        con.execute("DELETE FROM items")
    heard(*(event("gone", event_type="purchase", user_id=f"x{u}") for u in range(3)))
    engine = heard({"t": "item", "item_id": "gone", "retired": True, "ts": NOW})
    assert "gone" not in everywhere(engine, shop.secret)
    assert {"t0", "c0"} <= everywhere(engine, shop.secret)
    assert "gone" in everywhere(heard({"t": "item", "item_id": "gone", "title": "Back", "ts": NOW + 9}), shop.secret)
