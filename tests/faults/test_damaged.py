"""Flipped bytes and cut files anywhere in the artifacts: found before they are served; the version before is."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from recsys_cli.artifacts import Artifacts
from recsys_cli.errors import RecsysError
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.updates import run_pass

from .harness import Shop

DAMAGES = 300


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two versions; the second is served."""
    shop = Shop(tmp_path_factory.mktemp("shop"), random.Random(2))
    shop.ingest(shop.new_file(1500))
    shop.run("train", "--model", "als", "--set", "factors=8", "--set", "iterations=5")
    shop.ingest(shop.new_file(50))
    shop.run("update-worker", "--once")
    return shop


def spoil(path: Path, rng: random.Random) -> str:
    """Flip a bit, cut the file, or take it away; what was done."""
    whole = path.read_bytes()
    kind = rng.choice(["flip", "flip", "flip", "cut", "longer", "gone"])
    if kind == "gone":
        path.unlink()
    elif kind == "longer":
        path.write_bytes(whole + b"\0")
    elif kind == "cut" or not whole:
        path.write_bytes(whole[: rng.randrange(len(whole))] if whole else b"x")
    else:
        at = rng.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
    return kind


def test_every_damage_is_found_and_the_version_before_is_served(shop: Shop) -> None:
    artifacts, rng = Artifacts(shop.artifacts), random.Random(3)
    served = artifacts.current().path
    files = [p for p in sorted(served.rglob("*")) if p.is_file()]
    assert served.name == "v000002"
    for _ in range(DAMAGES):
        path = rng.choice(files)
        whole, told = path.read_bytes(), []
        kind = spoil(path, rng)
        found = artifacts.current(damaged=told.append)
        assert found.name == "v000001", f"{kind} of {path} was not found"
        assert told
        path.write_bytes(whole)
        path.chmod(0o600)
    assert artifacts.current().name == "v000002"


def test_a_damaged_pointer_never_leads_to_something_damaged(shop: Shop) -> None:
    artifacts, rng = Artifacts(shop.artifacts), random.Random(4)
    pointer = shop.artifacts / "current"
    whole = pointer.read_bytes()
    for _ in range(50):
        kind = spoil(pointer, rng)
        try:
            assert artifacts.current().name == "v000002"
        except RecsysError:
            assert kind == "gone"
        pointer.write_bytes(whole)


def test_the_next_pass_publishes_a_whole_version_again(shop: Shop, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(shop.root, again)
    settings = load({"db": again / "shop.duckdb", "artifacts": again / "model_artifacts"}, environ={})
    artifacts = Artifacts(settings.artifacts)
    spoil(artifacts.current().path / "model.json", random.Random(5))
    done = run_pass(Store(settings.db, settings.store), artifacts, settings)
    assert (done.outcome, done.version) == ("published", "v000003")
    artifacts.current().verify()
