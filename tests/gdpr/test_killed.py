"""An erasure killed at any point is finished by the next run, and never leaves a person half there unnoticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.gdpr import erase
from recsys_cli.gdpr.records import journal
from recsys_cli.gdpr.records.request_log import requests
from recsys_cli.identity import find_key, load_secret, user_key

from .conftest import LONG, Shop, places, shop_at

POINTS = 4  # bench_killed.py takes fifty


def run(shop: Shop, point: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed.py")), str(point), shop.settings.db,
         shop.settings.artifacts, LONG],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def copy_of(shop: Shop, where: Path) -> Shop:
    shutil.copytree(shop.root, where)
    return shop_at(where)


def traces(shop: Shop) -> dict[str, int]:
    """Where the person still is: rows, received lines, versions."""
    key = user_key(load_secret(shop.settings.db), LONG)
    lines = [line for chunk in shop.spool.read({}) for line in chunk.lines() if LONG.encode() in line]
    versions = [n for n in shop.artifacts.names() if find_key(read_bundle(shop.artifacts.open(n).path).keys, key) >= 0]
    rows = shop.count("events", f"user_id = '{LONG}'") + shop.count("users", f"user_id = '{LONG}'")
    return {"rows": rows, "lines": len(lines), "versions": len(versions)}


def check_killed_at(shop: Shop, point: int) -> None:
    whole = traces(shop)
    assert all(whole.values())
    killed = run(shop, point)
    assert killed.returncode == -9, killed.stderr
    if not journal.unfinished(shop.settings.db):
        left = traces(shop)
        assert left == whole or not places(shop, LONG), f"half there and nobody knows: {left} of {whole}"
    done = erase(shop.store, shop.artifacts, shop.settings, [LONG])
    assert done.scanned.clean
    assert not places(shop, LONG)
    assert not journal.unfinished(shop.settings.db)
    assert not list(shop.root.rglob("*.tmp"))
    assert not list(shop.root.rglob("*.fresh*"))
    assert requests(shop.settings.db)[-1].outcome in ("done", "nothing held")
    shop.artifacts.current().verify()


def points(shop: Shop, where: Path, wanted: int) -> list[int]:
    total = int(run(copy_of(shop, where), 0).stdout)
    return sorted({1 + i * (total - 1) // (wanted - 1) for i in range(wanted)})


def test_killed_anywhere_the_next_run_finishes(shop: Shop, tmp_path: Path) -> None:
    for point in points(shop, tmp_path / "whole", POINTS):
        check_killed_at(copy_of(shop, tmp_path / f"killed-{point}"), point)
