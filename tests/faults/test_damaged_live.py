"""Damage that a running server is pointed to: found before it is served, said, and answered from the version before."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter, deque
from pathlib import Path

import pytest

from recsys_cli.artifacts import Artifacts
from recsys_cli.durable_files import write_atomic

from .harness import Shop

DAMAGES = int(os.environ.get("RECSYS_TEST_DAMAGES", "12"))  # bench_faults.py asks for 300
RESTARTS = 6  # every so many the server is started on the damage, instead of being pointed to it
SECONDS = 60.0  # for the server to notice; it looks five times a second, but others use the machine as well


def two_versions(folder: Path) -> Shop:
    """A shop with two whole versions."""
    shop = Shop(folder, random.Random(2), said=deque())
    shop.ingest(shop.new_file(1500))
    shop.run("train", "--model", "als", "--set", "factors=8", "--set", "iterations=5")
    shop.ingest(shop.new_file(50))
    shop.run("update-worker", "--once")
    return shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return two_versions(tmp_path)


def kinds(version: Path) -> dict[str, list[Path]]:
    """The files of a version by what they are, so that each kind has its turn."""
    found: dict[str, list[Path]] = {}
    for path in sorted(p for p in version.rglob("*") if p.is_file()):
        inside = path.relative_to(version)
        found.setdefault(str(inside.parent) if len(inside.parts) > 1 else path.name, []).append(path)
    return found


def spoil(path: Path, rng: random.Random) -> str:
    """Flip a bit or cut the file, by taking its place: what is mapped by the server stays what it was."""
    whole = path.read_bytes()
    kind = rng.choice(["flip", "flip", "cut"])
    if kind == "cut":
        write_atomic(path, whole[: rng.randrange(len(whole))])
    else:
        at = rng.randrange(len(whole))
        write_atomic(path, whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
    return kind


def logged(shop: Shop, event: str) -> int:
    return sum(f'"{event}"' in line for line in list(shop.said))


def wait_for(shop: Shop, event: str, before: int, context: str) -> None:
    deadline = time.monotonic() + SECONDS
    while logged(shop, event) <= before:
        assert time.monotonic() < deadline, f"the server says nothing of {event}: {context}"
        time.sleep(0.02)


def test_a_running_server_refuses_damage_and_goes_on_with_the_version_before(shop: Shop) -> None:
    artifacts, rng = Artifacts(shop.artifacts), random.Random(5)
    pointer = shop.artifacts / "current"
    second = pointer.read_bytes()
    with artifacts.exclusive():
        artifacts.point_to("v000001")
    first = pointer.read_bytes()
    files = kinds(artifacts.versions_dir / "v000002") | {"the pointer": [pointer]}
    done: Counter[str] = Counter()
    shop.serve()
    try:
        for number in range(DAMAGES):
            kind = sorted(files)[number % len(files)]
            path = rng.choice(files[kind])
            whole = second if kind == "the pointer" else path.read_bytes()
            refused, served = logged(shop, "version_refused"), logged(shop, "version_served")
            if number % RESTARTS == RESTARTS - 1 and kind != "the pointer":
                how = f"{spoil(path, rng)} before a start"
                write_atomic(pointer, second)
                restart(shop)
            else:
                if kind == "the pointer":
                    write_atomic(pointer, second)  # both are whole, and the second is taken
                    wait_for(shop, "version_served", served, kind)
                    served += 1
                how = spoil(path, rng)
                write_atomic(pointer, pointer.read_bytes() if kind == "the pointer" else second)
            context = f"{how}: {kind}, {path.name}"
            wait_for(shop, "version_refused", refused, context)
            expected = "v000002" if kind == "the pointer" else "v000001"
            time.sleep(0.05)
            assert version_of(shop) == expected, context
            done[f"{how}: {kind}"] += 1
            served = logged(shop, "version_served")
            if kind != "the pointer":  # which, fixed first, may be followed before it is turned back
                write_atomic(path, whole)
            write_atomic(pointer, first)
            wait_for(shop, "version_served", served, f"fixed after {context}")
            assert version_of(shop) == "v000001"
    finally:
        shop.stop()
    answers = dict(shop.ledger.answers)
    print(f"{sum(done.values())} damages of {len(files)} kinds of files, all refused: {dict(done)}; answers {answers}")
    assert sum(done.values()) == DAMAGES
    assert set(answers) <= {"200", "202"}, f"{answers} {shop.ledger.complaints}"
    assert answers["200"] > DAMAGES


def restart(shop: Shop) -> None:
    """End the server and start another where it is."""
    before = shop.ledger.answers.copy()
    shop.stop()
    shop.resume()
    shop.ledger.answers.update(before)


def version_of(shop: Shop) -> str:
    status, body = shop.ask("/ready")
    assert status == 200, body
    return str(json.loads(body)["version"])
