"""What the sources beside the model are worth: half of an order is shown to the engine, the other half is hidden.

    python -m tests.benchmarks.bench_sources INVOICES.parquet [MODEL...]

Online Retail, trained up to a day and asked about the orders after it. A basket is one half of an order in any order, a
session the half that was typed first; guests are strangers, customers have their past. Prints NDCG@10 and HR@10 of the
model's own list and of the engine's. `RECSYS_BENCH` names a folder to keep the trained shops in between runs.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from recsys_cli.artifacts import Artifacts, Spool
from recsys_cli.identity import load_secret
from recsys_cli.serving import Engine, Request
from recsys_cli.serving.live_events import Heard, Overlay, customer_key, guest_key

SPANS = (("2010-10-01", "2010-11-01"), ("2010-11-01", "2011-01-01"))
MODELS = ("als", "ease", "blend")
ORDERS = 700  # of each kind
KINDS = ("guest's basket", "customer's basket", "guest's session", "customer's session", "customer, nothing new")
SALES = """
SELECT CAST(CAST("Customer ID" AS BIGINT) AS VARCHAR) AS user_id, upper(trim(StockCode)) AS item_id,
    CAST(epoch(CAST(InvoiceDate AS TIMESTAMP)) AS BIGINT) AS ts, CAST(Quantity AS INTEGER) AS qty,
    CAST(Invoice AS VARCHAR) AS order_id, Price AS price
FROM read_parquet('{path}', file_row_number = true)
WHERE "Customer ID" IS NOT NULL AND Invoice NOT LIKE 'C%' AND Quantity > 0 AND Price > 0
    AND regexp_full_match(upper(trim(StockCode)), '[0-9]{{5}}[A-Z]{{0,2}}')
    AND CAST(InvoiceDate AS TIMESTAMP) >= '{start}' AND CAST(InvoiceDate AS TIMESTAMP) < '{end}'
ORDER BY ts, order_id, file_row_number
"""


@dataclass(frozen=True)
class Case:
    """One question: who asks, what was shown, and what is hidden."""

    user_id: str
    given: list[str]
    hidden: set[str]


def make_shop(invoices: Path, folder: Path, cut: str, model: str) -> None:
    """Ingest and train on what was sold before `cut`, unless `folder` has it already."""
    if (folder / "model_artifacts").exists():
        return
    folder.mkdir(parents=True)
    sales = SALES.format(path=invoices, start="2000-01-01", end=cut)
    duckdb.execute(f"COPY ({sales}) TO '{folder / 'sales.parquet'}'")
    for args in (["ingest", "sales.parquet"], ["train", "--model", model]):
        state = ["--db", "shop.duckdb", "--artifacts", "model_artifacts"]
        subprocess.run([sys.executable, "-m", "recsys_cli", *args, *state], cwd=folder, check=True)


def open_engine(folder: Path) -> Engine:
    secret = load_secret(folder / "shop.duckdb")
    artifacts = Artifacts(folder / "model_artifacts")
    return Engine.open(artifacts.current(), secret, Overlay(Spool(artifacts.spool_dir), {}, secret))


def cases(engine: Engine, invoices: Path, start: str, end: str) -> dict[str, list[Case]]:
    """Questions by kind."""
    orders: dict[str, tuple[str, list[str]]] = {}
    known = engine.catalogue.code_of
    for user, item, _, _, order, _ in duckdb.execute(SALES.format(path=invoices, start=start, end=end)).fetchall():
        if item in known:
            orders.setdefault(order, (user, []))[1].append(item)
    chance = random.Random(1)
    names = list(orders)
    chance.shuffle(names)
    made: dict[str, list[Case]] = {kind: [] for kind in KINDS}
    for name in names:
        user, lines = orders[name]
        items = list(dict.fromkeys(lines))
        past = engine.people.find(Request(user_id=user)).past
        before = {engine.catalogue.ids[code] for code in past.item.tolist()}
        for kind in KINDS:
            if len(items) < 3 or len(made[kind]) >= ORDERS or (kind.startswith("customer") and not before):
                continue
            chosen = chance.sample(items, len(items)) if "basket" in kind else items
            half = 0 if "nothing" in kind else len(items) // 2
            hidden = set(chosen[half:]) - (before if kind.startswith("customer") else set())
            if hidden:
                made[kind].append(Case(user, chosen[:half], hidden))
    return made


def lists(engine: Engine, kind: str, case: Case) -> tuple[list[str], list[str]]:
    """The model's own list and the engine's."""
    assert engine.overlay is not None
    user = case.user_id if kind.startswith("customer") else None
    engine.overlay.people.clear()
    engine.people._kept.clear()
    if "session" in kind:
        key = guest_key(engine.people._secret, "s") if user is None else customer_key(engine.people._secret, user)
        engine.overlay.people[key] = [Heard(item, engine.people.now, "purchase", 1) for item in case.given]
    request = Request(user, "s" if user is None else None, tuple(case.given) if "basket" in kind else ())
    person = engine.people.find(request)
    skip = set(engine.people.bought(person)[0].tolist()) | set(person.basket)
    allowed = engine.catalogue.allowed_by_default()
    found = list(engine.retrieval.by_model(person, allowed, 128 + len(skip)))
    alone = [engine.catalogue.ids[code] for code, _ in found if code not in skip][:10]
    return alone, engine.recommend(request).item_ids


def worth(items: list[str], hidden: set[str]) -> tuple[float, float]:
    """NDCG@10 and HR@10."""
    hits = [1 / np.log2(place + 2) for place, item in enumerate(items) if item in hidden]
    return sum(hits) / sum(1 / np.log2(place + 2) for place in range(min(10, len(hidden)))), float(bool(hits))


def rows(invoices: Path, folder: Path, models: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for start, end in SPANS:
        for model in models:
            place = folder / f"{start}-{model}"
            make_shop(invoices, place, start, model)
            engine = open_engine(place)
            for kind, asked in cases(engine, invoices, start, end).items():
                both = [[worth(each, case.hidden) for each in lists(engine, kind, case)] for case in asked]
                (ndcg, hr), (mixed_ndcg, mixed_hr) = np.mean(both, axis=0)
                yield {"from": start, "model": model, "kind": kind, "asked": len(asked)} | {
                    "alone": f"{ndcg:.4f} {hr:.3f}",
                    "mixed": f"{mixed_ndcg:.4f} {mixed_hr:.3f}",
                }


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("RECSYS_BENCH") or temporary).absolute()
        for row in rows(Path(sys.argv[1]).absolute(), folder, tuple(sys.argv[2:]) or MODELS):
            print(*row.values(), sep="\t", flush=True)


if __name__ == "__main__":
    main()
