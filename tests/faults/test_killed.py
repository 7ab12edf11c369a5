"""kill -9 at random moments of everything that writes: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from .harness import Shop

KILLS = int(os.environ.get("RECSYS_TEST_KILLS", "4"))  # bench_faults.py asks for 200


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path, random.Random(int(os.environ.get("RECSYS_TEST_SEED", "1"))))
    shop.ingest(shop.new_file(2000))
    shop.run("train", "--model", "als", "--set", "factors=8", "--set", "iterations=5")
    return shop


def commands(shop: Shop) -> dict[str, Callable[[], tuple[str, ...]]]:
    """What is killed, by name; each makes its arguments."""
    saved = iter(range(1_000_000))
    shop.run("backup", str(shop.root / "backups" / "first"))
    return {
        "ingest": lambda: ("ingest", str(shop.new_file())),
        "worker": lambda: ("update-worker", "--once"),
        "train": lambda: ("train", "--model", "als", "--force", "--set", "factors=8", "--set", "iterations=5"),
        "rollback": lambda: ("models", "rollback"),
        "prune": lambda: ("models", "prune", "--keep", "2"),
        "watch": lambda: (shop.into_watched(), ("update-worker", "--once"))[1],
        "delete": lambda: ("gdpr", "delete", shop.somebody_to_forget(), "--yes"),
        "restore": lambda: ("restore", str(shop.root / "backups" / "first"), "--replace"),
        "backup": lambda: ("backup", str(shop.root / "backups" / f"saved-{next(saved)}")),
    }


def usual_seconds(shop: Shop, arguments: Callable[[], tuple[str, ...]]) -> float:
    """How long a command takes when nobody kills it."""
    started = time.monotonic()
    shop.run(*arguments())
    return time.monotonic() - started


def torment(shop: Shop, kills: int) -> Counter[str]:
    """Kill commands at random moments until so many were hit; how many of which."""
    known = commands(shop)
    usual = {name: usual_seconds(shop, arguments) for name, arguments in known.items()}
    hit: Counter[str] = Counter()
    while sum(hit.values()) < kills:
        name = shop.rng.choice(sorted(known))
        # Not the first third, which is Python starting; at times the whole and a bit, which is the very end.
        if shop.kill_during(shop.rng.uniform(0.33, 1.05) * usual[name], *known[name]()):
            hit[name] += 1
    return hit


def settle(shop: Shop) -> None:
    """What the owner and cron would do next, without faults."""
    shop.run("restore", str(shop.root / "backups" / "first"), "--replace")
    for path in sorted((shop.root / "exports").iterdir()):
        shop.ingest(path)
    shop.run("update-worker", "--once")
    shop.run("gdpr", "resume")
    shop.run("update-worker", "--once")
    taken = {path.stem.split("-")[1] for path in (shop.root / "watched").glob("*.csv")}
    shop.ledger.ingested |= {e for e in shop.ledger.offered if e.split("-")[0].removeprefix("file") in taken}
    shop.run("backup", str(shop.root / "backups" / "last"))
    shop.run("models", "show")


def test_killed_anywhere_nothing_is_lost_or_doubled(shop: Shop) -> None:
    shop.serve()
    try:
        hit = torment(shop, KILLS)
    finally:
        shop.stop()
    settle(shop)
    ledger, found = shop.ledger, shop.found()
    report = f"{dict(hit)}; {len(ledger.acknowledged)} clicks; answers {dict(ledger.answers)}"
    print(report)
    twice = {event: n for event, n in found.items() if n > 1}
    assert not twice, report
    assert not (ledger.acknowledged | ledger.ingested) - found.keys(), report
    assert not found.keys() & ledger.erased, report
    assert not found.keys() - (ledger.posted | ledger.offered), report
    assert set(ledger.answers) <= {"200", "202"}, f"{report} {ledger.complaints}"
    assert ledger.ingested == ledger.offered
    assert shop.litter() == []
    restored = Shop(shop.root / "again", shop.rng)
    restored.root.mkdir()
    restored.run("restore", str(shop.root / "backups" / "last"))
    assert restored.found() == found
