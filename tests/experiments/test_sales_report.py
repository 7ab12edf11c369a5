"""The report of a simulated shop is what its ledger says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recsys_cli.artifacts import Artifacts
from recsys_cli.evaluation.bench import Recipe
from recsys_cli.experiments.sales_report import make_report
from recsys_cli.publishing.train import train
from recsys_cli.schema import DAY
from recsys_cli.settings import ReportSettings, Settings
from recsys_cli.store import Store
from tests.experiments.shop import ITEMS, START, Shop

NOW = START + 60 * DAY


@pytest.fixture
def shop(store: Store) -> Shop:
    made = Shop(5, visitors=200)
    made.fill(store)
    return made


def test_sums_are_the_ledger_s(shop: Shop, store: Store, artifacts: Artifacts, values: Settings) -> None:
    report = make_report(store, artifacts, values, days=61, now=NOW)
    totals, ledger = report["totals"], shop.ledger
    assert round(totals["revenue"] * 100) == sum(ledger.owed.values())
    assert round(totals["shop_revenue"] * 100) == ledger.total
    assert totals["shop_orders"] == len(ledger.orders)
    assert totals["lists"] == len(shop.served)
    looks = {(e.get("user_id") or e["session_id"], e["request_id"], e["item_id"])
             for e in shop.events if e["event_type"] == "impression"}  # fmt: skip
    assert totals["seen"] == len(looks)
    assert len(report["daily"]) == 61
    for group in ("placements", "versions", "daily"):
        assert round(sum(row["revenue"] for row in report[group]), 2) == totals["revenue"]
        assert sum(row["seen"] for row in report[group]) == totals["seen"]
    for row in report["placements"]:
        owed = sum(c for (place, *_), c in ledger.owed.items() if place == row["placement"])
        assert round(row["revenue"] * 100) == owed == round(sum(row["daily_revenue"]) * 100)
    by_arm = {row["arm"]: row["revenue"] for row in report["arms"]}
    assert round(by_arm["a"] * 100) == sum(c for (_, arm, _), c in ledger.owed.items() if arm == "a")
    assert sum(row["revenue"] for row in report["rows"]) == pytest.approx(totals["revenue"])


def test_a_sampled_log_counts_for_all(shop: Shop, store: Store, artifacts: Artifacts, values: Settings) -> None:
    with store.writing() as con:
        con.execute("UPDATE served SET share = 0.25")
    report = make_report(store, artifacts, values, days=61, now=NOW)
    assert report["totals"]["lists"] == 4 * len(shop.served)
    assert round(report["totals"]["revenue"] * 100) == sum(shop.ledger.owed.values())


def test_days_begin_at_the_shop_s_midnight(store: Store, artifacts: Artifacts, values: Settings, shop: Shop) -> None:
    there = replace(values, ingest=replace(values.ingest, timezone="Pacific/Kiritimati"))  # 14 hours ahead
    report = make_report(store, artifacts, there, days=61, now=NOW)
    assert round(report["totals"]["shop_revenue"] * 100) == shop.ledger.total
    assert report["daily"] != make_report(store, artifacts, values, days=61, now=NOW)["daily"]
    assert report["until"] == "2025-12-08"


def test_what_is_never_shown_and_what_earns(shop: Shop, store: Store, artifacts: Artifacts, values: Settings) -> None:
    with store.writing() as con:
        con.execute("INSERT INTO items (item_id, title) VALUES ('dusty', 'Dusty')")
        con.execute("INSERT INTO items (item_id, title, retired_at) VALUES ('gone', 'Gone', 1)")
    exposure = make_report(store, artifacts, values, days=61, now=NOW)["exposure"]
    assert exposure["for_sale"] == ITEMS + 1
    assert [row["item_id"] for row in exposure["never_shown"]] == ["dusty"]
    assert exposure["coverage"] == pytest.approx(ITEMS / (ITEMS + 1))
    revenue = [row["revenue"] for row in exposure["top"]]
    assert revenue == sorted(revenue, reverse=True)
    assert 0.1 < exposure["top_tenth_share"] < 0.3  # lists of the simulated shop are drawn evenly


def test_windows_are_settings(shop: Shop, store: Store, artifacts: Artifacts, values: Settings) -> None:
    strict = replace(values, report=ReportSettings(click_days=0, seen_days=0))
    loose = make_report(store, artifacts, values, days=61, now=NOW)["totals"]
    assert 0 < make_report(store, artifacts, strict, days=61, now=NOW)["totals"]["orders"] < loose["orders"]


def test_a_shop_that_logs_nothing_yet(store: Store, artifacts: Artifacts, values: Settings) -> None:
    with store.writing():
        pass
    report = make_report(store, artifacts, values, days=3, now=NOW)
    assert report["totals"]["revenue"] == 0
    assert report["totals"]["ctr"] is None
    assert [row["lists"] for row in report["daily"]] == [0, 0, 0]


def test_what_the_items_of_a_campaign_did_while_it_ran(store: Store, values: Settings, tmp_path: Path) -> None:
    shop = Shop(5, visitors=200)
    shop.fill(store)
    mine = replace(values, db=store.path, artifacts=tmp_path / "model_artifacts")
    artifacts = Artifacts(mine.artifacts)
    campaigns = (
        {"action": "boost", "filter": "item_id != 'i0'"},
        {"action": "pin", "item": "i0", "position": 1},
        {"action": "ban", "item": "i1", "from": "2020-01-01", "until": "2020-02-01"},
    )
    there = replace(mine, rules=replace(mine.rules, campaigns=campaigns))
    assert make_report(store, artifacts, there, days=61, now=NOW)["campaigns"] == []  # nothing is published yet
    train(store, artifacts, mine, Recipe.of("popular", {}))
    report = make_report(store, artifacts, there, days=61, now=NOW)
    boosted, pinned, over = report["campaigns"]
    assert (boosted["matched"], pinned["matched"], boosted["runs"], over["runs"]) == (ITEMS - 1, 1, True, False)
    for name in ("seen", "clicks", "revenue"):
        assert round(boosted[name] + pinned[name], 2) == report["totals"][name], name
        assert over[name] == 0
    assert pinned["seen"] > 0


def test_buyers_of_each_span_are_counted_once(shop: Shop, store: Store, artifacts: Artifacts, values: Settings) -> None:
    spans = make_report(store, artifacts, values, days=61, now=NOW)["buyers"]
    assert [span["days"] for span in spans] == [7, 28, 61]
    for span in spans:
        since = START + (61 - span["days"]) * DAY
        bought = {e.get("user_id") or e["session_id"] for e in shop.events
                  if e["event_type"] == "purchase" and e["ts"] >= since}  # fmt: skip
        assert span["buyers"] == len(bought)


def test_what_is_set_of_rules_and_the_currency_are_told(
    shop: Shop, store: Store, artifacts: Artifacts, values: Settings
) -> None:
    there = replace(values, rules=replace(values.rules, max_per_brand=2), serve=replace(values.serve, currency="CHF"))
    report = make_report(store, artifacts, there, days=7, now=NOW)
    assert [(rule["name"], rule["value"]) for rule in report["rules"]] == [("max_per_brand", 2)]
    assert report["currency"] == "CHF"
    with store.writing() as con:
        con.execute("UPDATE events SET currency = 'eur' WHERE event_type = 'purchase' AND rowid % 2 = 0")
        con.execute("UPDATE events SET currency = 'a <b>' WHERE event_type = 'impression'")
    assert make_report(store, artifacts, values, days=7, now=NOW)["currency"] == "EUR"
