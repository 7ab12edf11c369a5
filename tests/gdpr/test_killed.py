"""An erasure killed at any point is finished by the next run, and never leaves a person half there unnoticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.gdpr import erase, journal, requests
from recsys_cli.identity import find_key, load_secret, user_key
from recsys_cli.store import rewrite

from .conftest import LONG, Shop, shop_at
from .test_erasing import places

POINTS = 5  # bench_killed.py takes fifty


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
    if journal.pending(shop.settings.db) is None:
        left = traces(shop)
        assert left == whole or not places(shop, LONG), f"half there and nobody knows: {left} of {whole}"
    done = erase(shop.store, shop.artifacts, shop.settings, [LONG])
    assert done.scanned.clean
    assert not places(shop, LONG)
    assert journal.pending(shop.settings.db) is None
    assert not list(shop.root.rglob("*.tmp"))
    assert not list(shop.root.rglob("*.fresh*"))
    assert all(r.outcome == "done" for r in requests.requests(shop.settings.db)[-1:])
    shop.artifacts.current().verify()


def points(shop: Shop, where: Path, wanted: int) -> list[int]:
    total = int(run(copy_of(shop, where), 0).stdout)
    return sorted({1 + i * (total - 1) // (wanted - 1) for i in range(wanted)})


def test_killed_anywhere_the_next_run_finishes(shop: Shop, tmp_path: Path) -> None:
    for point in points(shop, tmp_path / "whole", POINTS):
        check_killed_at(copy_of(shop, tmp_path / f"killed-{point}"), point)


def test_the_rewriting_ends_with_the_process_that_waits_for_it(shop: Shop) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent has gone")
    code = (
        "import os, signal, subprocess, sys, threading\n"
        "from recsys_cli.store import Store\nfrom recsys_cli.store import rewriting\n"
        "from recsys_cli.settings import StoreSettings\nfrom pathlib import Path\n"
        "run = subprocess.run\n"
        "def slow(args, **kw):\n"
        "    kw.pop('check'); kw.pop('capture_output')\n"
        "    p = subprocess.Popen(args, **kw); print(p.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
        "rewriting.subprocess.run = slow\n"
        "rewriting.rewrite(Store(Path(sys.argv[1]), StoreSettings()))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, shop.settings.db], capture_output=True, text=True, check=False, timeout=300,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    # It was killed before the other had so much as begun: that one learns of it all the same, and makes nothing.
    assert not shop.settings.db.with_name(shop.settings.db.name + rewrite.FRESH).exists()
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    assert not places(shop, LONG)
