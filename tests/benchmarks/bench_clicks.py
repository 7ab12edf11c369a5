"""From what visitors click on a real server to an order that was learned from it, by the worker's pass; two minutes.

    python tests/benchmarks/bench_clicks.py

Sixty customers who bought at random, too few for a ranker by orders, ask a running server for lists and click what is
cheap, the more often the further up it stands. Impressions and clicks are posted; one pass of the update worker takes
them in and trains the ranker; the running server takes the new version. Exits with 1 where that is not what happened.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from recsys_cli.artifacts import Artifacts
from recsys_cli.evaluation.bench import Recipe
from recsys_cli.publishing.train import train
from recsys_cli.ranking.outcome import LEAST_CLICKS, RANKER
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.updates.one_pass import run_pass
from tests.api.conftest import Server, eventually

DAY, CUSTOMERS, ITEMS = 86_400, 60, 120


def price(item_id: str) -> float:
    return 1.0 + int(item_id[1:]) * 37 % 50


def made(folder: Path) -> Settings:
    """The shop, which sold something two days ago for the last time."""
    place = {"db": folder / "shop.duckdb", "artifacts": folder / "model_artifacts", "train.threads": 1}
    settings = load(place, environ={})
    with Store(settings.db, settings.store).writing() as con:
        con.execute(
            f"""INSERT INTO events (user_id, item_id, ts, qty, event_type, order_id)
                SELECT 'u' || u, 'i' || hash(u * 100 + n) % {ITEMS}, $end - (n * 5 + u % 5) * {DAY}, 1, 'purchase',
                       format('o{{}}-{{}}', u, n) FROM range({CUSTOMERS}) AS a(u), range(24) AS b(n)""",
            {"end": int(time.time()) - 2 * DAY},
        )
        con.executemany("INSERT INTO items (item_id, price) VALUES (?, ?)", [(i, price(i)) for i in names()])
    return settings


def names() -> list[str]:
    return [f"i{n}" for n in range(ITEMS)]


def visit(server: Any, rng: np.random.Generator, user: str) -> list[dict[str, Any]]:
    """What somebody saw of their list and clicked of it: what is cheap, the more often the further up it stands."""
    answer = server.get("/recommend", user_id=user, k=8)
    said = {"user_id": user, "request_id": answer["request_id"]}
    events = []
    for place, item in enumerate(answer["items"], 1):
        events.append({**said, "item_id": item["item_id"], "event_type": "impression", "position": place})
        if rng.random() < (0.9 if price(item["item_id"]) < 20 else 0.03) / place**0.5:
            events.append({**said, "item_id": item["item_id"], "event_type": "click"})
    return events


def prices(server: Any) -> tuple[float, float]:
    """Mean price on the first and on the last three of eight places."""
    lists = [server.get("/recommend", user_id=f"u{n}", k=8)["items"] for n in range(CUSTOMERS)]
    found = np.array([[price(item["item_id"]) for item in items] for items in lists if len(items) == 8])
    return float(found[:, :3].mean()), float(found[:, -3:].mean())


def ask(server: Any) -> tuple[int, int]:
    """Lists asked for until enough of them have a click, and how many have one."""
    rng, waiting, clicked = np.random.default_rng(1), [], 0
    for number in range(10 * LEAST_CLICKS):
        events = visit(server, rng, f"u{number % CUSTOMERS}")
        clicked += any(event["event_type"] == "click" for event in events)
        waiting += events
        enough = clicked > 1.1 * LEAST_CLICKS
        if len(waiting) > 500 or enough:
            server.post("/events", {"events": waiting})
            waiting = []
        if enough:
            break
    return number + 1, clicked


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = made(Path(folder))
        store, artifacts = Store(settings.db, settings.store), Artifacts(settings.artifacts)
        first = train(store, artifacts, settings, Recipe.of("item-knn", {}))
        print(f"by orders: {first.version.manifest[RANKER]['reason']}")
        server = Server(SimpleNamespace(settings=settings), Path(folder) / "log")
        try:
            before = prices(server)
            lists, clicked = ask(server)
            run_pass(store, artifacts, settings)
            version = artifacts.current()
            told = version.manifest[RANKER]
            eventually(lambda: prices(server)[0] < 0.9 * before[0])
            after = prices(server)
        finally:
            server.stop()
    print(f"{lists} lists, {clicked} with a click; {told['reason']}")
    for when, (top, bottom) in (("before", before), ("after", after)):
        print(f"{when}: mean price {top:.1f} on places 1 to 3, {bottom:.1f} on places 6 to 8")
    sys.exit(not ("new" in told["on"] and after[0] < after[1]))


if __name__ == "__main__":
    main()
