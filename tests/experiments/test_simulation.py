"""Past orders replayed in a shop in which it is known what each customer buys next."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys_cli.artifacts import Artifacts
from recsys_cli.errors import NotEnoughData, NotFound, UsageError
from recsys_cli.evaluation.bench import Recipe
from recsys_cli.experiments.simulation import Question, _Figures, simulate
from recsys_cli.publishing.train import train
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from tests.experiments.shop import put_served

DAY = 86_400
START = 1_760_000_000 - 1_760_000_000 % DAY
CIRCLES, SIZE, CUSTOMERS = 4, 8, 160
LAST = 200  # day on which everybody buys the last item of their circle that they do not have


def item(circle: int, n: int) -> str:
    return f"i{circle}-{n}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Customers who buy within a circle of eight items: six of them one after the other, a seventh on the last day.

    One item of each circle has sold out since. The log has lists of the last days, with places exchanged by chance.
    """
    at = tmp_path_factory.mktemp("replayed")
    named = {"db": at / "shop.duckdb", "artifacts": at / "model_artifacts", "train.threads": 1, "train.ranker": False}
    settings = load(named, environ={})
    with Store(settings.db, settings.store).writing() as con:
        con.execute(
            f"""INSERT INTO items (item_id, category, price, availability)
                SELECT format('i{{}}-{{}}', c, n), format('circle {{}}', c), 10 + c, n <> 7
                FROM range({CIRCLES}) a(c), range({SIZE}) b(n)"""
        )
        con.execute(
            f"""INSERT INTO events (user_id, item_id, ts, qty, event_type, order_id, price)
                SELECT format('u{{}}', u), format('i{{}}-{{}}', u % {CIRCLES}, (u // {CIRCLES} + n) % {SIZE}),
                       {START} + (CASE WHEN n = 6 THEN {LAST} + u % 5 ELSE n * 30 + u % 20 END) * {DAY} + u, 2,
                       'purchase', format('o{{}}-{{}}', u, n), 10 + u % {CIRCLES}
                FROM range({CUSTOMERS}) a(u), range(7) b(n)"""
        )
        con.execute(  # a few also buy again what they had
            f"""INSERT INTO events (user_id, item_id, ts, qty, event_type, order_id, price)
                SELECT format('u{{}}', u), format('i{{}}-{{}}', u % {CIRCLES}, u // {CIRCLES} % {SIZE}),
                       {START} + {LAST + 1} * {DAY} + u, 1, 'purchase', format('again{{}}', u), 100
                FROM range(10) a(u)"""
        )
        log(con)
    train(Store(settings.db, settings.store), Artifacts(settings.artifacts), settings, Recipe.of("item-knn", {}))
    return settings


def log(con: Any) -> None:
    """On the last days everybody sees two lists of their circle; the last of it is liked most, the first looked at."""
    lists, said = [], []
    for u in range(CUSTOMERS):
        for turn in (0, 1):
            request, ts = f"r{u}-{turn}", START + LAST * DAY - 3600 + turn
            shown = [item(u % CIRCLES, (u // CIRCLES + 6 + n) % SIZE) for n in range(5)]
            lists.append({
                "request_id": request, "ts": ts, "route": "/recommend", "placement": "home", "version": "v000001",
                "items": shown, "sources": ["item-knn"] * 5, "fallbacks": 0, "seconds": 0.001, "share": 1.0,
                "swap": (2 + u % 4) * (1 if u // 4 % 2 else -1),
            })  # fmt: skip
            said += [(f"u{u}", name, ts + 1, "impression", request, n + 1) for n, name in enumerate(shown)]
            said += [
                (f"u{u}", shown[n], ts + 2, "click", request, n + 1) for n in range(5) if (u + n * 7) % (2 + n) == 0
            ]
    put_served(con, lists)
    names = ("user_id", "item_id", "ts", "event_type", "request_id", "position")
    con.register("said", pa.table(dict(zip(names, map(list, zip(*said, strict=True)), strict=True))))
    con.execute(f"INSERT INTO events ({', '.join(names)}, qty) SELECT *, 1 FROM said")
    con.unregister("said")


def replay(settings: Settings, *ways: str, **more: Any) -> dict[str, Any]:
    store, artifacts = Store(settings.db, settings.store), Artifacts(settings.artifacts)
    return simulate(store, artifacts, settings, ways, Question(**{"days": 10.0, "k": 2, **more}))


@pytest.fixture(scope="module")
def found(shop: Settings) -> dict[str, Any]:
    return replay(shop, "model:ease", "rules:in_stock_only=false", "version:v000001")


def way(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["ways"] if one["name"] == name)


def test_what_everybody_bought_is_found_and_worth_what_was_paid(found: dict[str, Any]) -> None:
    served = way(found, "served")
    assert found["customers"] == CUSTOMERS
    assert found["revenue"] == sum(2 * (10 + u % CIRCLES) for u in range(CUSTOMERS))
    # Two items of the circle are left for each, and a list has two places.
    assert served["hit_rate"]["value"] == 1.0
    assert served["revenue_touched"] == found["revenue"]
    assert served["revenue_share"] == 1.0
    assert way(found, "popular")["hit_rate"]["value"] < 0.5
    assert way(found, "popular")["against_served"]["hit_rate"]["high"] < 0


def test_a_version_is_fitted_again_on_what_was_known_then(found: dict[str, Any]) -> None:
    assert way(found, "version:v000001")["hit_rate"] == way(found, "served")["hit_rate"]
    assert way(found, "version:v000001")["made_of"] == "item-knn"
    assert way(found, "model:ease")["made_of"] == "ease"


def test_places_by_category_and_of_what_has_sold_out_since(found: dict[str, Any]) -> None:
    served = way(found, "served")
    assert served["coverage"] == 1.0
    assert sum(served["categories"].values()) == pytest.approx(1.0)
    assert served["categories"] == pytest.approx(found["bought"], abs=0.01)
    # One item of eight is sold out today; it was there then, so that it is in lists, and told.
    assert served["sold_out_share"] == pytest.approx(1 / SIZE, abs=0.03)
    assert served["fallback_share"] == 0.0
    assert way(found, "rules:in_stock_only=false")["hit_rate"] == served["hit_rate"]


def test_no_category_is_left_out_however_many_there_are() -> None:
    figures = _Figures.__new__(_Figures)
    figures._categories = pa.array([f"c{n}" for n in range(30)]).dictionary_encode()
    shares = figures._by_category(np.arange(30), np.ones(30))
    assert shares == pytest.approx({f"c{n}": 1 / 30 for n in range(30)}, abs=1e-6)


def test_the_log_with_places_exchanged_by_chance_tells_of_clicks(found: dict[str, Any]) -> None:
    assert found["log"]["visitors"] == CUSTOMERS
    assert found["log"]["lists"] == 2 * CUSTOMERS
    served = way(found, "served")["estimates"]
    assert 0 < served["ips"]["low"] < served["ips"]["value"] < served["ips"]["high"]
    assert served["shown_share"] > 0.9
    assert way(found, "popular")["estimates"]["shown_share"] < served["shown_share"]


def test_it_is_causal_only_where_chance_decided(shop: Settings, found: dict[str, Any]) -> None:
    assert found["causal"] == (not found["log"]["reason"])
    with Store(shop.db, shop.store).writing() as con:
        con.execute("ALTER TABLE served RENAME swap TO kept")
        con.execute("ALTER TABLE served ADD COLUMN swap INTEGER")
    plain = replay(shop)
    with Store(shop.db, shop.store).writing() as con:
        con.execute("ALTER TABLE served DROP COLUMN swap")
        con.execute("ALTER TABLE served RENAME kept TO swap")
    assert not plain["causal"]
    assert "swap_share" in plain["log"]["reason"]


def test_the_same_seed_gives_the_same(shop: Settings) -> None:
    assert replay(shop, customers=50) == replay(shop, customers=50)
    assert replay(shop, customers=50)["customers"] == 50


def test_with_repeats_what_they_had_counts_too(shop: Settings) -> None:
    new, again = replay(shop), replay(shop, repeat=True, k=8)
    assert again["revenue"] == new["revenue"] + 10 * 100
    assert way(again, "served")["revenue_touched"] == again["revenue"]  # lists of eight are the whole circle


def test_where_bought_items_return_lists_are_still_judged_by_what_they_show(shop: Settings) -> None:
    """Lists of what customers had, judged by what was new to them, would have looked worse than popular items."""
    returning = replace(shop, rules=replace(shop.rules, bought_days=1.0))
    usual, found = (replay(one, "model:popular", k=8) for one in (shop, returning))
    assert (usual["returns"], found["returns"]) == (False, True)
    for name in ("served", "model:popular"):
        assert way(found, name) | {"estimates": None} == way(usual, name) | {"estimates": None}


@pytest.mark.parametrize(
    ("ways", "more", "error", "says"),
    [
        (["version:v000099"], {}, NotFound, "v000099"),
        (["model:oracle"], {}, UsageError, "oracle"),
        (["rules:bought_days=30"], {}, UsageError, "bought before"),
        (["best"], {}, UsageError, "'best' is not a way to make a list"),
        ([], {"days": 100_000.0}, NotEnoughData, "known before the replayed days"),
    ],
)
def test_what_cannot_be_replayed_is_said(
    shop: Settings, ways: list[str], more: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        replay(shop, *ways, **more)


def test_the_tables_fit_80_columns(shop: Settings, recsys: Any) -> None:
    state = ["--db", str(shop.db), "--artifacts", str(shop.artifacts)]
    shown = recsys("simulate", "model:popular", "rules:diversity=0.3", "-k", "3", *state, COLUMNS="80")
    assert shown.returncode == 0, shown.stderr
    tables = [line for line in shown.stdout.splitlines() if "%" in line or " by " in line[:12]]
    assert len(tables) > 10
    assert max(map(len, tables)) <= 80
    assert "Not causal" in shown.stdout
    told = json.loads(recsys("simulate", "--json", *state).stdout)
    assert [one["name"] for one in told["ways"]] == ["served", "popular"]
