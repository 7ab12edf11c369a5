"""Online Retail played forward week by week: folding in alone, with the rules for retraining, and weekly training.

    python -m tests.benchmarks.bench_forward INVOICES.parquet

Each week every way is asked what its customers will buy in the next seven days. An item exists from its first sale on;
before, nobody could have recommended it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from recsys_cli.artifacts import Version
from recsys_cli.evaluation import Split, evaluate
from recsys_cli.models import registry
from recsys_cli.models.base import Model
from recsys_cli.schema import DAY, Dataset, IdMap
from recsys_cli.settings import StoreSettings, UpdateSettings
from recsys_cli.settings_sources import load
from recsys_cli.store import Snapshot, Store
from recsys_cli.store.merge import merge_events, merge_items, transaction
from recsys_cli.updates.drift import look
from recsys_cli.updates.retrain_triggers import reason

START = 1_275_350_400  # 2010-06-01
WEEK = 7 * DAY


def read_shop(invoices: Path, folder: Path) -> Dataset:
    """Real sales of known customers; items coded in the order of their first sale."""
    sales = f"""SELECT CAST(CAST("Customer ID" AS BIGINT) AS VARCHAR) AS user_id, upper(trim(StockCode)) AS item_id,
                CAST(epoch(CAST(InvoiceDate AS TIMESTAMP)) AS BIGINT) AS ts, CAST(Quantity AS INTEGER) AS qty,
                CAST(Invoice AS VARCHAR) AS order_id, Price AS price, trim(Description) AS title
                FROM '{invoices}' WHERE "Customer ID" IS NOT NULL AND CAST(Invoice AS VARCHAR) NOT LIKE 'C%'
                AND Quantity > 0 AND Price > 0
                AND regexp_full_match(upper(trim(StockCode)), '[0-9]{{5}}[A-Z]{{0,2}}')"""
    con = duckdb.connect()
    con.execute(f"CREATE TABLE sales AS {sales}")
    events = con.sql("SELECT user_id, item_id, ts, qty, order_id FROM sales ORDER BY ts").to_arrow_table()
    items = con.sql(
        "SELECT item_id, mode(title) AS title, median(price) AS price, min(ts) AS born FROM sales GROUP BY 1 "
        "ORDER BY born, item_id"
    ).to_arrow_table()
    store = Store(folder / "shop.duckdb", StoreSettings())
    with store.writing() as db, transaction(db):
        merge_events(db, events)
        merge_items(db, items.drop_columns("born"))
    with store.reading() as db:
        weights = load(environ={}).events.weights
        return Snapshot.read(db, "0" * 64, weights, item_order=items["item_id"].combine_chunks()).data


def at(data: Dataset, now: int) -> Dataset:
    """The shop as it was known just before `now`: its events and the items it had by then."""
    past = data.before(now)
    first = pa.compute.fill_null(data.catalogue["first_seen"], now).to_numpy()
    n = int(np.searchsorted(first, now))
    return Dataset(replace(past.interactions, items=IdMap(data.interactions.items.ids[:n])), data.catalogue.slice(0, n))


def week_of(data: Dataset, known: Dataset, now: int) -> Split:
    """What was known at `now`, and the week after it on items that there were."""
    h = data.interactions.histories
    inside = (h.ts >= now) & (h.ts < now + WEEK) & (h.item < known.interactions.n_items)
    return Split(known, now, data.interactions.where(inside).histories, "time")


@dataclass
class Way:
    """One way of keeping a model: how often it was trained, and how it did each week."""

    model: Model
    trained: dict[str, Any]
    trainings: int = 0
    scores: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def figures(data: Dataset) -> dict[str, Any]:
    seen = data.interactions
    return {"last_ts": seen.end, "events": seen.histories.n_events, "items": seen.n_items}


def fit(name: str, data: Dataset) -> Model:
    cls = registry.get(name)
    return cls.fit(data, cls.Config(), seed=42, threads=1)


def pretend_version(way: Way, data: Dataset, metrics: dict[str, Any]) -> Version:
    manifest = {
        "kind": "update",
        "trained": {"version": "v000001", "created_at": 0, "data": way.trained},
        "model": {"name": way.model.name},
        "metrics": {"metrics": metrics},
        "data": figures(data),
    }
    return Version(Path(), manifest)


def play(invoices: Path, model: str = "als", settings: UpdateSettings | None = None) -> dict[str, Way]:
    """All weeks from START on; the ways by name."""
    # Age would train every week; the question here is what the other rules see.
    settings = settings or UpdateSettings(retrain_days=0, retrain_share=0, retrain_items=0)
    with tempfile.TemporaryDirectory() as folder:
        data = read_shop(invoices, Path(folder))
    first = at(data, START)
    start = fit(model, first)
    ways = {name: Way(start, figures(first)) for name in ("fold-in only", "fold-in with rules", "weekly training")}
    metrics: dict[str, Any] = {}
    for now in range(START, data.interactions.end - WEEK, WEEK):
        known = at(data, now)
        split = week_of(data, known, now)
        ways["fold-in only"].model = ways["fold-in only"].model.grow(known, known.interactions.end)
        ruled = ways["fold-in with rules"]
        ruled.model = ruled.model.grow(known, known.interactions.end)
        if now > START:
            weekly = ways["weekly training"]
            weekly.model, weekly.trainings = fit(model, known), weekly.trainings + 1
            watch = look(known, ruled.model, ruled.trained["last_ts"])
            why = reason(pretend_version(ruled, known, metrics), watch, None, settings)
            if why:
                ruled.model, ruled.trained = ways["weekly training"].model, figures(known)
                ruled.trainings += 1
                ruled.reasons.append(f"{time.strftime('%m-%d', time.gmtime(now))}: {why}")
                metrics = {}
        report = evaluate({name: way.model for name, way in ways.items()}, split, seed=0)
        if not metrics:
            found = report.metrics["fold-in with rules"], report.metrics["popular"]
            metrics = {
                name: {"ndcg@10": one["ndcg@10"].as_dict()}
                for name, one in zip((ruled.model.name, "popular"), found, strict=True)
            }
        for name, way in ways.items():
            way.scores.append(report.metrics[name]["ndcg@10"].value)
    return ways


def main() -> None:
    ways = play(Path(sys.argv[1]), *(sys.argv[2:3]))
    weekly = np.mean(ways["weekly training"].scores)
    print("| update | trainings | mean NDCG@10 of the next week | compared with weekly training |\n|---|---|---|---|")
    for name, way in ways.items():
        mean = np.mean(way.scores)
        print(f"| {name} | {way.trainings} | {mean:.4f} | {mean / weekly - 1:+.1%} |")
    for why in ways["fold-in with rules"].reasons:
        print(why)


if __name__ == "__main__":
    main()
