"""A disk that fills up at any moment: a sentence, an exit code, the old state whole; with space again, on it goes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recsys_cli.artifacts import Artifacts, SpoolWriter

from .harness import Shop

POINTS = int(os.environ.get("RECSYS_TEST_POINTS", "4"))  # bench_faults.py asks for 30
SIZE = 96 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    options = f"size={SIZE},mode=0700"
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a small disk cannot be made here: {made.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def fill(disk: Path, leave: int) -> None:
    """Write ballast until only so many bytes are free."""
    with (disk / "ballast").open("wb") as f:
        left = max(free(disk) - leave, 0)
        while left > 0:
            left -= f.write(b"\0" * min(left, 1 << 20))


def click(shop: Shop, number: int) -> None:
    writer = SpoolWriter(shop.artifacts / "spool")
    kind = "ab"[number % 2]
    lines = [
        f'{{"t":"event","user_id":"{kind}{n}","item_id":"{kind}-item{n % 20}","ts":1700000000,'
        f'"event_id":"click-{number}-{n}"}}'.encode()
        for n in range(50)
    ]
    writer.append(lines)
    writer.close()
    shop.ledger.acknowledged |= {f"click-{number}-{n}" for n in range(50)}


def check_at(shop: Shop, disk: Path, number: int, arguments: Callable[[], tuple[str, ...]], leave: int) -> bool:
    """Run a command with so little space, check what is left of the shop, and run it with enough; whether it failed."""
    click(shop, number)
    command = arguments()
    served, before = Artifacts(shop.artifacts).current().name, shop.found()
    fill(disk, leave)
    process = shop.start(*command)
    out, _ = process.communicate(timeout=300)
    (disk / "ballast").unlink()
    context = f"{' '.join(command)} with {leave:,} bytes left: exit {process.returncode}\n{out}"
    assert "Traceback" not in out, context
    version = Artifacts(shop.artifacts).current()
    version.verify()
    if process.returncode:
        assert "space" in out.lower() or "full" in out.lower(), context
        assert version.name >= served, context
        assert not before - shop.found(), context
    shop.run(*command)
    return process.returncode != 0


def test_full_at_any_point_it_says_so_and_goes_on_later(disk: Path) -> None:
    shop, rng = Shop(disk, random.Random(6)), random.Random(7)
    shop.ingest(shop.new_file(1500))
    shop.run("train", "--model", "als", "--set", "factors=8", "--set", "iterations=5")
    commands: dict[str, Callable[[], tuple[str, ...]]] = {
        "ingest": lambda: ("ingest", str(shop.new_file(500))),
        "worker": lambda: ("update-worker", "--once"),
        "train": lambda: ("train", "--model", "als", "--force", "--set", "factors=8", "--set", "iterations=5"),
        "backup": lambda: ("backup", str(disk / f"saved-{rng.random()}")),
    }
    need = {"ingest": 2_500_000, "worker": 1_200_000, "train": 400_000, "backup": 1_500_000}
    failed = 0
    for number in range(POINTS):
        name = sorted(commands)[number % len(commands)]
        failed += check_at(shop, disk, number, commands[name], int(rng.random() * need[name]))
        for saved in disk.glob("saved-*"):
            shutil.rmtree(saved)
    shop.run("update-worker", "--once")
    found = shop.found()
    assert max(found.values()) == 1
    assert found.keys() == shop.ledger.offered | shop.ledger.acknowledged
    print(f"{failed} of {POINTS} points failed for want of space")
    assert failed >= POINTS // 2
    assert [p for p in shop.litter() if not p.startswith("exports")] == []
