"""A small shop with two kinds of customers: those who buy a0…a9 and those who buy b0…b9."""

from __future__ import annotations

import filecmp
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from recsys_cli.artifacts import Artifacts, SpoolWriter, Version
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events, merge_items, transaction

T0 = 1_700_000_000
DAY = 86_400


Line = Callable[..., bytes]


@pytest.fixture
def line() -> Line:
    """Makes one event as the server writes it."""
    return lambda **values: json.dumps({"t": "event", "event_type": "purchase", "qty": 1} | values).encode()


@pytest.fixture
def values(tmp_path: Path) -> Settings:
    return load(
        {
            "db": str(tmp_path / "shop" / "shop.duckdb"),
            "artifacts": str(tmp_path / "model_artifacts"),
            "train.threads": 1,
            "store.lock_timeout": 5,
            "update.retrain": False,
        },
        environ={},
    )


@pytest.fixture
def store(values: Settings) -> Store:
    return Store(values.db, values.store)


@pytest.fixture
def writer(artifacts: Artifacts) -> SpoolWriter:
    return SpoolWriter(artifacts.spool_dir)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves a copy of the shop, and of what was trained on it, for all others."""
    return tmp_path_factory.mktemp("pristine")


@pytest.fixture
def shop(store: Store, values: Settings, pristine: Path) -> Store:
    """40 customers who each bought 6 of the 10 items of their kind, over 40 days."""
    if (pristine / "shop").exists():
        shutil.copytree(pristine / "shop", values.db.parent)
        return store
    rows = [
        (f"{kind}-user{u}", f"{kind}{(u + i) % 10}", T0 + DAY * (6 * i + u % 6), f"{kind}{u}-{i}")
        for kind in "ab"
        for u in range(20)
        for i in range(6)
    ]
    names = ("user_id", "item_id", "ts", "order_id")
    events = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    items = pa.table(
        {
            "item_id": [f"{kind}{i}" for kind in "ab" for i in range(10)],
            "title": [f"{word} number {i}" for word in ("apple", "brush") for i in range(10)],
            "category": ["fruit"] * 10 + ["tools"] * 10,
        }
    )
    with store.writing() as con, transaction(con):
        merge_events(con, events)
        merge_items(con, items)
    shutil.copytree(values.db.parent, pristine / "shop")
    return store


@pytest.fixture
def train(shop: Store, artifacts: Artifacts, values: Settings, pristine: Path) -> Callable[[], Version]:
    """Train and publish; the first version of a shop as it was made is trained once for all tests."""
    from recsys_cli.publishing.train import Recipe
    from recsys_cli.publishing.train import train as run

    config = {"factors": 4, "iterations": 10, "tau_days": 0}
    folders = (values.db.parent, artifacts.root)
    asked = str(values).replace(str(values.db.parent.parent), "")
    copy = pristine / hashlib.sha256(asked.encode()).hexdigest()

    def trained() -> Version:
        first = not artifacts.root.exists() and filecmp.cmp(
            values.db, pristine / "shop" / values.db.name, shallow=False
        )
        if first and copy.exists():
            for folder in folders:
                shutil.copytree(copy / folder.name, folder, symlinks=True, dirs_exist_ok=True)
            return artifacts.current()
        version = run(shop, artifacts, values, Recipe.of("als", config)).version
        if first:
            for folder in folders:
                shutil.copytree(folder, copy / folder.name, symlinks=True)
        return version

    return trained
