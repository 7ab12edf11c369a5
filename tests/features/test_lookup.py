"""Features by id, from a published version and what was heard since."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from recsys_cli.artifacts import Spool, SpoolWriter
from recsys_cli.errors import NotFound
from recsys_cli.features import FEATURES
from recsys_cli.serving import Engine
from recsys_cli.serving.live_events import Overlay

_path = Path(__file__).parents[1] / "serving" / "shop.py"
_spec = importlib.util.spec_from_file_location("shop_of_tests", _path)
assert _spec is not None
assert _spec.loader is not None
shop_module = sys.modules.setdefault("shop_of_tests", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(shop_module)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return shop_module.make_shop(tmp_path_factory.mktemp("shop"))


def engine_of(shop: Any) -> Engine:
    overlay = Overlay(Spool(shop.artifacts.spool_dir), dict(shop.version.manifest["spool"]), shop.secret)
    engine = Engine.open(shop.version, shop.secret, overlay)
    list(engine.catch_up())
    return engine


def test_a_customer_with_many_items_at_once_is_as_one_by_one(shop: Any) -> None:
    store = engine_of(shop).features
    rows = store.batch_get("t1", ["t0", "c1", "nothing", "t5"])
    assert (rows.item_ids, rows.unknown) == (["t0", "c1", "t5"], ["nothing"])
    assert rows.names == tuple(FEATURES)
    whole = store.get_user_features("t1") | store.get_item_features("c1") | store.compute_interaction("t1", "c1")
    assert whole.items() <= rows.as_dicts()[1].items()
    assert rows.as_dicts()[0]["own_days"] > 0  # type: ignore[operator]
    assert rows.as_dicts()[1]["own_days"] == 0


def test_who_and_what_is_not_known(shop: Any) -> None:
    store = engine_of(shop).features
    assert store.get_user_features("nobody")["orders"] == 0
    assert store.compute_interaction("nobody", "t0")["own_since_last"] is None
    for ask in (store.get_item_features, lambda item: store.compute_interaction("t1", item)):
        with pytest.raises(NotFound, match="no item 'nothing'"):
            ask("nothing")


def test_what_was_just_heard_counts(shop: Any) -> None:
    before = engine_of(shop).features
    assert before.compute_interaction("g1", "d9")["own_days"] == 0
    event = {"t": "event", "event_type": "purchase", "qty": 2, "user_id": "g1", "item_id": "d9", "ts": shop_module.NOW}
    change = {"t": "item", "item_id": "d9", "price": 1000.0}
    SpoolWriter(shop.artifacts.spool_dir).append([orjson.dumps(event), orjson.dumps(change)])
    store = engine_of(shop).features
    assert store.compute_interaction("g1", "d9")["own_days"] == pytest.approx(0.693147)
    assert store.get_item_features("d9")["price"] == pytest.approx(6.907755)
    assert store.get_item_features("d8")["price"] == before.get_item_features("d8")["price"]
