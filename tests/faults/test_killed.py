"""kill -9 anywhere in everything that writes: nothing acknowledged is lost or there twice, and nothing is left over."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .crash_at import COUNTED
from .harness import Shop

KILLS = int(os.environ.get("RECSYS_TEST_KILLS", "3"))  # bench_faults.py asks for 200
SMALL = ("--set", "factors=8", "--set", "iterations=5")
NAMES = ("ingest", "watch", "worker", "train", "serve", "delete", "backup", "restore", "rollback", "prune")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path, random.Random(int(os.environ.get("RECSYS_TEST_SEED", "1"))))
    shop.ingest(shop.new_file(2000))
    shop.run("train", "--model", "als", *SMALL)
    return shop


@dataclass
class Owner:
    """Whoever runs the shop: gives commands, some of which are killed, and does then what the manual says.

    Parameters
    ----------
    hit
        Kills by command and by how: at a moment, or at an operation on files.
    refused
        Commands that ended by themselves with a sentence instead of success.
    saved
        Backups, and the event ids of files that were in the store when each was begun.
    usual
        Seconds and operations on files of each command when nobody kills it.
    """

    shop: Shop
    hit: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    saved: list[tuple[Path, frozenset[str]]] = field(default_factory=list)
    usual: dict[str, tuple[float, int]] = field(default_factory=dict)
    backups: int = 0

    def torment(self, kills: int) -> None:
        """Kill commands, each in its turn, until so many were hit; after each the ledger must be right."""
        self.again("backup", self.arguments("backup"))
        while self.hit.total() < kills:
            for name in self.shop.rng.sample(NAMES, len(NAMES)):
                before = self.hit.total()
                for _ in range(3):  # a command may be done before its moment comes
                    if before == self.hit.total() < kills:
                        self.kill(name)
                        self.check(name)

    def kill(self, name: str) -> None:
        """Kill one command somewhere, and go on as an owner would."""
        if name == "serve":
            time.sleep(self.shop.rng.uniform(0.0, 0.5))
            self.shop.kill_server()
            self.hit["serve"] += 1
            return
        if name not in self.usual:
            self.measure(name)
        arguments, (seconds, operations) = self.arguments(name), self.usual[name]
        at_operation = bool(operations) and self.shop.rng.random() < 0.5
        if at_operation:
            code, out = self.shop.crash(self.shop.rng.randint(1, operations), *arguments)
        else:
            # Not the first third, which is Python starting; at times the whole and a bit, which is the very end.
            code, out = self.shop.kill_during(self.shop.rng.uniform(0.33, 1.05) * seconds, *arguments)
        assert "Traceback" not in out, f"{' '.join(arguments)}:\n{out}"
        if code == -9:
            self.hit[f"{name} at {'an operation' if at_operation else 'a moment'}"] += 1
        elif code:
            assert name == "rollback", f"{' '.join(arguments)} ended with {code}:\n{out}"
            self.refused[name] += 1
        self.again(name, arguments)

    def measure(self, name: str) -> None:
        """Run a command undisturbed, to know how long it takes and how many operations on files."""
        arguments, started = self.arguments(name), time.monotonic()
        _, out = self.shop.crash(0, *arguments)
        counted = re.search(rf"{COUNTED}(\d+)", out)
        assert counted is not None, out
        self.usual[name] = time.monotonic() - started, int(counted[1])
        self.again(name, arguments)

    def arguments(self, name: str) -> tuple[str, ...]:
        """The command line; what it needs is made."""
        shop = self.shop
        if name in ("watch", "worker"):
            shop.into_watched()
        if name == "backup":
            self.backups += 1
        makers: dict[str, Callable[[], tuple[str, ...]]] = {
            "ingest": lambda: ("ingest", str(shop.new_file())),
            "watch": lambda: ("ingest", "--watch", str(shop.root / "watched"), "--once"),
            "worker": lambda: ("update-worker", "--once"),
            "train": lambda: ("train", "--model", "als", "--force", *SMALL),
            "rollback": lambda: ("models", "rollback"),
            "prune": lambda: ("models", "prune", "--keep", "2"),
            "delete": lambda: ("gdpr", "delete", shop.somebody_to_forget(), "--yes"),
            "restore": lambda: ("restore", str(shop.rng.choice(self.saved)[0]), "--replace"),
            "backup": lambda: ("backup", str(shop.root / "backups" / f"saved-{self.backups}")),
        }
        return makers[name]()

    def again(self, name: str, arguments: tuple[str, ...]) -> None:
        """What the owner does after a command that was killed, or that was not, and what must be there from then on."""
        shop, ledger = self.shop, self.shop.ledger
        if name == "ingest":
            shop.ingest(Path(arguments[1]))
        elif name in ("watch", "worker"):
            shop.run(*arguments)
            ledger.ingested |= self.watched()
        elif name == "delete":
            shop.run("gdpr", "resume")
            if shop.found().keys() & ledger.erased:  # killed before it was noted
                shop.run(*arguments)
        elif name == "restore":
            shop.run(*arguments)
            ledger.ingested = set(dict(self.saved)[Path(arguments[1])])
            shop.run("update-worker", "--once")
            ledger.ingested |= self.watched()
        elif name == "backup":
            target = Path(arguments[1])
            if not (target / "backup.json").exists():
                shop.run(*arguments)
            self.saved.append((target, frozenset(ledger.ingested)))
            for old, _ in self.saved[:-2]:
                shutil.rmtree(old)
            self.saved = self.saved[-2:]

    def watched(self) -> set[str]:
        """Event ids of all files in the watched folder."""
        return {e for path in (self.shop.root / "watched").glob("*.csv") for e in self.shop.events_of(path)}

    def check(self, after: str) -> None:
        """Nothing acknowledged is lost, nothing is there twice, nobody erased is back."""
        shop, ledger = self.shop, self.shop.ledger
        acknowledged = set(ledger.acknowledged)
        waiting, found = shop.waiting(), shop.found()
        report = f"after {after}: {dict(self.hit)}"
        twice = {event: n for event, n in found.items() if n > 1}
        assert not twice, f"{report}: twice {sorted(twice)[:5]}"
        lost = (ledger.ingested - found.keys()) | (acknowledged - found.keys() - waiting)
        assert not lost, f"{report}: lost {len(lost)}, {sorted(lost)[:5]}"
        back = found.keys() & ledger.erased
        assert not back, f"{report}: erased and there {sorted(back)[:5]}"
        strange = found.keys() - ledger.posted - ledger.offered
        assert not strange, f"{report}: never offered {sorted(strange)[:5]}"

    def settle(self) -> None:
        """What the owner and cron do next, without faults."""
        shop = self.shop
        for path in sorted((shop.root / "exports").iterdir()):
            shop.ingest(path)
        shop.run("update-worker", "--once")
        shop.run("gdpr", "resume")
        shop.run("models", "show")
        self.again("backup", self.arguments("backup"))


def test_killed_anywhere_nothing_is_lost_or_doubled(shop: Shop) -> None:
    owner, ledger = Owner(shop), shop.ledger
    shop.serve()
    try:
        owner.torment(KILLS)
    finally:
        shop.stop()
    owner.settle()
    owner.check("all")
    report = f"{dict(sorted(owner.hit.items()))}; refused {dict(owner.refused)}; answers {dict(ledger.answers)}"
    found = shop.found()
    print(f"{owner.hit.total()} kills: {report}; {len(ledger.acknowledged)} clicks, {len(found)} events")
    assert not ledger.acknowledged - found.keys(), report
    assert ledger.ingested == ledger.offered
    assert set(ledger.answers) <= {"200", "202", "down"}, f"{report} {ledger.complaints}"
    assert shop.litter() == []
    restored = Shop(shop.root / "again", shop.rng)
    restored.root.mkdir()
    restored.run("restore", str(owner.saved[-1][0]))
    assert restored.found() == found
