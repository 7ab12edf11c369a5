"""Freshness at scale: a big shop, 10,000 new events of 5,000 customers and 200 new items, one pass.

    python -m tests.benchmarks.bench_update FOLDER STATE

FOLDER has events.parquet and items.csv of `make_scale_shop.py`; STATE is made on the first run (some minutes) and used
again. Prints the pass's time and memory, and whether the new items reach the customers they are for.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np

from recsys_cli.artifacts import Artifacts, SpoolWriter, suppressed
from recsys_cli.identity import load_secret
from recsys_cli.progress import SILENT
from recsys_cli.publishing.train import Recipe, read_snapshot
from recsys_cli.publishing.version import Release, publish_version
from recsys_cli.serving import Engine, Request
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.store.batches import close_batch, open_batch
from recsys_cli.store.merge import Merged, transaction
from recsys_cli.updates import run_pass

NOW = 1_767_225_600
EVENTS, CUSTOMERS, ITEMS, BOUGHT = 10_000, 5_000, 200, 100


def make_state(settings: Settings, folder: Path) -> None:
    """The shop's store and a first version; the fit is short, because its quality is not what is measured."""
    events, items = folder / "events.parquet", folder / "items.csv"
    store = Store(settings.db, settings.store)
    with store.writing([events, items]) as con, transaction(con):
        batch = open_batch(con, "scale", "events", "", 0)
        con.execute(
            f"INSERT INTO events (user_id, item_id, ts, qty, event_type, batch_id) "
            f"SELECT user_id, item_id, ts, qty, 'purchase', {batch} FROM '{events}'"
        )
        con.execute(
            "INSERT INTO items (item_id, category, brand, price, img_url, title) "
            f"SELECT item_id, category, brand, price, img_url, title FROM '{items}'"
        )
        close_batch(con, batch, Merged(1, 1, 0), 0)
    snapshot, recipe = read_snapshot(store, settings), Recipe.of("als", {"iterations": 5, "factors": 64})
    publish_version(
        Artifacts(settings.artifacts),
        settings,
        Release(
            snapshot,
            recipe.fit(snapshot.data, settings, SILENT),
            kind="train",
            erasures=suppressed.mark(settings.db),
            notes={"recipe": recipe.as_dict()},
        ),
    )


def customers(folder: Path, tag: str) -> list[tuple[str, str]]:
    """Busy customers and the category that most of their last ten purchases are of."""
    return duckdb.sql(
        f"""WITH last AS (SELECT user_id, category,
              row_number() OVER (PARTITION BY user_id ORDER BY ts DESC) AS n, count(*) OVER (PARTITION BY user_id) AS c
              FROM '{folder}/events.parquet' JOIN '{folder}/items.csv' USING (item_id))
            SELECT user_id, mode(category) FROM last WHERE n <= 10 AND c BETWEEN 20 AND 60
            GROUP BY user_id ORDER BY hash(user_id || '{tag}') LIMIT {CUSTOMERS}"""
    ).fetchall()


def post(settings: Settings, people: list[tuple[str, str]], tag: str) -> dict[str, str]:
    """Write items and events to the spool; each of half of the items has one buyer, who likes its category."""
    writer = SpoolWriter(Artifacts(settings.artifacts).spool_dir)
    rng = np.random.default_rng(0)
    category = {f"new{tag}-{i}": people[i][1] for i in range(ITEMS)}
    lines = [
        {"t": "item", "item_id": item, "title": f"Product {tag}", "category": kind, "price": 20.0, "ts": NOW}
        for item, kind in category.items()
    ]
    for n in range(EVENTS):
        item = f"new{tag}-{n}" if n < BOUGHT else f"i{rng.integers(100_000)}"
        lines.append(
            {"t": "event", "user_id": people[n % CUSTOMERS][0], "item_id": item, "ts": NOW, "event_type": "purchase"}
        )
    writer.append([json.dumps(line).encode() for line in lines])
    writer.close()
    return category


def reach(settings: Settings, people: list[tuple[str, str]], category: dict[str, str]) -> None:
    """How many customers see a new item, and whether it is of the category they like."""
    secret = load_secret(settings.db)
    engine = Engine.open(Artifacts(settings.artifacts).current(), secret)
    shown: dict[str, list[bool]] = {"one buyer": [], "no buyer": []}
    lists = 0
    for user, liked in people[ITEMS : ITEMS + 2000]:
        found = engine.recommend(Request(user_id=user, k=50)).items
        lists += 1
        for line in found:
            if line.item_id in category:
                kind = "one buyer" if int(line.item_id.split("-")[1]) < BOUGHT else "no buyer"
                shown[kind].append(category[line.item_id] == liked)
    for kind, right in shown.items():
        share = np.mean(right) if right else 0.0
        print(f"{kind}: {len(right)} places in {lists} lists of 50; {share:.0%} with the customer's own category")
    print(f"by chance it would be {1 / len(set(category.values())):.0%}")


def main() -> None:
    folder, state = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    flags = {"db": state / "shop.duckdb", "artifacts": state / "model_artifacts", "update.retrain": False}
    settings = load(flags, environ={})
    if "--pass" in sys.argv:
        started = time.monotonic()
        done = run_pass(Store(settings.db, settings.store), Artifacts(settings.artifacts), settings)
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(f"{done.outcome} {done.version}: {done.new_events:,} events, {done.new_items} items in ", end="")
        print(f"{time.monotonic() - started:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of CPU, ", end="")
        print(f"{used.ru_maxrss / 1e6:.2f} GB")
        return
    if not (state / "model_artifacts" / "current").exists():
        state.mkdir(parents=True, exist_ok=True)
        make_state(settings, folder)
    tag = str(int(time.time()))
    people = customers(folder, tag)
    category = post(settings, people, tag)
    for _ in range(2):  # the second has nothing to do
        subprocess.run([sys.executable, "-m", "tests.benchmarks.bench_update", *sys.argv[1:3], "--pass"], check=True)
    reach(settings, people, category)


if __name__ == "__main__":
    main()
