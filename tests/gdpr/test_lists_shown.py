"""What the log of lists and the experiments hold of people: exported, erased with its proof, joined as they allow."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from recsys_cli.artifacts import running
from recsys_cli.artifacts.running import SPLIT, Experiment, report_file
from recsys_cli.experiments import sales_report, verdicts
from recsys_cli.gdpr import erase
from recsys_cli.gdpr.rights import export
from recsys_cli.gdpr.rights.consent import decide
from recsys_cli.store.merge import merge_events, transaction
from tests.experiments.shop import put_served

from .conftest import LONG, NUMBER, Shop

T = 1_700_000_000


def filled(shop: Shop) -> Experiment:
    """Two customers of an experiment: a list that each saw alone, and one that both saw."""
    one = Experiment("trial", SPLIT, ("served", "popular"), "salt", started_at=T)
    with shop.artifacts.exclusive():
        running.write(shop.artifacts.root, running.Running().with_one(one))
    row: dict[str, Any] = {"ts": T + 5, "route": "/recommend", "placement": "home", "version": "v000001", "arm": "a",
           "experiment": "trial", "items": ["p1", "p2"], "sources": ["als", "als"], "fallbacks": 0, "seconds": 0.001,
           "share": 1.0}  # fmt: skip
    who = [(NUMBER, "list-of-13085"), (NUMBER, "list-of-both"), (LONG, "list-of-both"), (LONG, "list-of-the-other")]
    names = [n for n, _ in who]
    with shop.store.writing() as con, transaction(con):
        put_served(con, [{**row, "request_id": r} for r in dict.fromkeys(r for _, r in who)])
        for kind, at in (("impression", 6), ("click", 9)):
            merge_events(con, pa.table({
                "user_id": names, "item_id": ["p1"] * 4, "ts": [T + at] * 4, "event_type": [kind] * 4,
                "request_id": [r for _, r in who]}))  # fmt: skip
        merge_events(con, pa.table({
            "user_id": names[:1] + names[-1:], "item_id": ["p1"] * 2, "ts": [T + 20] * 2,
            "event_type": ["purchase"] * 2, "price": [30.0, 20.0]}))  # fmt: skip
    return one


def sold(shop: Shop) -> float:
    made = sales_report.make_report(shop.store, shop.artifacts, shop.settings, 2, now=T + 60)
    report_file(shop.artifacts.root).write(made)
    return float(made["totals"]["revenue"])


def test_an_export_has_the_lists_that_they_saw(shop: Shop) -> None:
    filled(shop)
    found = export.export(shop.store, shop.artifacts, shop.settings, [NUMBER])
    assert [row["request_id"] for row in found["lists_shown"]] == ["list-of-13085", "list-of-both"]
    assert found["lists_shown"][0]["experiment"] == "trial"
    assert found["counts"]["lists_shown"] == 2
    assert LONG not in json.dumps(found["lists_shown"])


def test_an_erasure_leaves_nothing_of_them_in_the_log_the_report_and_the_experiments(shop: Shop) -> None:
    one = filled(shop)
    assert sold(shop) == 50.0
    assert verdicts.judge(shop.store, shop.artifacts, shop.settings, one, now=T + 60).figures["visitors"]["a"] == 2
    assert erase(shop.store, shop.artifacts, shop.settings, [NUMBER]).erased == 1
    with shop.store.reading() as con:
        left = con.execute("SELECT request_id FROM served ORDER BY 1").fetchall()
    assert left == [("list-of-both",), ("list-of-the-other",)]
    everything = b"".join(path.read_bytes() for path in shop.root.rglob("*") if path.is_file())
    assert b"list-of-13085" not in everything
    assert b"list-of-the-other" in everything
    assert sold(shop) == 20.0
    assert verdicts.judge(shop.store, shop.artifacts, shop.settings, one, now=T + 60).figures["visitors"]["a"] == 1
    for file in ("experiments.json", "report.json"):
        assert NUMBER.encode() not in (shop.artifacts.root / file).read_bytes()


def test_of_who_objects_nothing_is_joined(shop: Shop) -> None:
    one = filled(shop)
    decide(shop.store, shop.artifacts, shop.settings, [NUMBER], "objected")
    assert sold(shop) == 20.0
    assert verdicts.judge(shop.store, shop.artifacts, shop.settings, one, now=T + 60).figures["visitors"]["a"] == 1
