"""Everything at once for an hour: ingest, train, worker, erasure, backup, and a server asked without pause.

Run by name: RECSYS_TEST_SECONDS=3600 pytest tests/benchmarks/bench_hour.py -s
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.harness import Shop

SECONDS = float(os.environ.get("RECSYS_TEST_SECONDS", "3600"))


def test_all_together(tmp_path: Path) -> None:
    shop = Shop(tmp_path, random.Random(8))
    shop.ingest(shop.new_file(2000))
    shop.run("train", "--model", "als", "--set", "factors=8", "--set", "iterations=5")
    shop.serve(workers=2)
    done: Counter[str] = Counter()
    troubles: list[str] = []
    until = time.monotonic() + SECONDS
    numbers = iter(range(1_000_000))

    def again_and_again(name: str, pause: float, arguments: Callable[[], tuple[str, ...]]) -> None:
        while time.monotonic() < until and not troubles:
            command = arguments()
            process = shop.start(*command)
            out, _ = process.communicate(timeout=600)
            done[name] += 1
            if process.returncode or "is in use by" in out or "Traceback" in out:
                troubles.append(f"recsys {' '.join(command)} ended with {process.returncode}:\n{out}")
            time.sleep(pause)

    def saved() -> tuple[str, ...]:
        for old in (tmp_path / "backups").glob("*"):
            shutil.rmtree(old)
        return ("backup", str(tmp_path / "backups" / f"{next(numbers)}"))

    work: list[tuple[str, float, Callable[[], tuple[str, ...]]]] = [
        ("worker", 2, lambda: ("update-worker", "--once")),
        ("ingest", 5, lambda: ("ingest", str(shop.new_file()))),
        ("train", 10, lambda: ("train", "--model", "als", "--set", "factors=8", "--set", "iterations=5")),
        ("delete", 8, lambda: ("gdpr", "delete", f"a{next(numbers) % 100}", "--yes")),
        ("status", 3, lambda: ("status",)),
        ("backup", 20, saved),
    ]
    threads = [threading.Thread(target=again_and_again, args=args) for args in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shop.stop()
    report = f"{dict(done)}; answers {dict(shop.ledger.answers)}"
    print(report)
    assert not troubles, troubles[0]
    assert set(shop.ledger.answers) <= {"200", "202"}, f"{report} {shop.ledger.complaints}"
    assert all(done[name] for name, _, _ in work), report
