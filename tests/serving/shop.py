"""A shop in which the right answers are known, made by the real store and a real training.

Four tastes of ten items each (t0…: tea, c0…: coffee, g0…: garden, d0…: dogs); every customer buys within one taste, so
whoever bought tea should be shown tea. Item number n of a taste costs n + 1, is of brand n mod 3 and is the
better known the lower n is. In tea, t0 and t1 are bought in one order; t2 is sold out, t3 is retired.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from recsys_cli.artifacts import Artifacts, Version, suppressed
from recsys_cli.evaluation.bench import Recipe
from recsys_cli.identity import load_secret
from recsys_cli.progress import SILENT
from recsys_cli.publishing.train import read_snapshot
from recsys_cli.publishing.version import Release, publish_version
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events, merge_items, transaction

DAY = 86_400
NOW = 1_750_000_000
TASTES = {"t": "tea", "c": "coffee", "g": "garden", "d": "dogs"}
BRANDS = ("Ash", "Birch", "Cedar")


@dataclass(frozen=True)
class Shop:
    """Where a shop's state is."""

    settings: Settings

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.settings.artifacts, lock_timeout=5)

    @property
    def secret(self) -> str:
        return load_secret(self.settings.db)

    @property
    def version(self) -> Version:
        return self.artifacts.current()

    def publish(self, model: str = "als", **config: Any) -> Version:
        """Train on what the store holds, and publish."""
        store = Store(self.settings.db, self.settings.store)
        snapshot = read_snapshot(store, self.settings)
        config = config or {"factors": 8, "iterations": 5, "tau_days": 0}
        fitted = Recipe.of(model, config).fit(snapshot.data, self.settings, SILENT)
        return publish_version(
            self.artifacts,
            self.settings,
            Release(snapshot, fitted, kind="train", erasures=suppressed.mark(self.settings.db)),
        )


def make_settings(folder: Path) -> Settings:
    """Of a shop under `folder`, whose secret is made."""
    settings = load(
        {
            "db": str(folder / "shop.duckdb"),
            "artifacts": str(folder / "model_artifacts"),
            "train.threads": 1,
            "store.lock_timeout": 5,
        },
        environ={},
    )
    load_secret(settings.db, create=True)
    return settings


def make_shop(folder: Path) -> Shop:
    """The shop's database and first version under `folder`."""
    settings = make_settings(folder)
    with Store(settings.db, settings.store).writing() as con, transaction(con):
        merge_events(con, _events())
        merge_items(con, _items(), now=NOW)
        con.execute("UPDATE items SET retired_at = ? WHERE item_id = 't3'", [NOW])
    shop = Shop(settings)
    shop.publish()
    return shop


def _items() -> pa.Table:
    rows = [
        {
            "item_id": f"{letter}{n}",
            "title": f'{word.capitalize()} "{n}"',
            "category": word,
            "brand": BRANDS[n % 3],
            "price": float(n + 1),
            "availability": (letter, n) != ("t", 2),
            "margin": n / 10 if letter != "g" else None,
            "region": "north" if letter == "d" and n < 5 else None,
            "created_at": NOW - DAY * (400 - 10 * n),
            "attributes": f'{{"colour": "{"red" if n % 2 else "blue"}"}}',
        }
        for letter, word in TASTES.items()
        for n in range(10)
    ]
    # Nobody bought these yet.
    rows += [
        {**rows[0], "item_id": f"new{n}", "title": f"New tea {n}", "created_at": NOW - DAY * n, "availability": True}
        for n in range(2)
    ]
    return pa.Table.from_pylist(rows)


def _events() -> pa.Table:
    rows = []
    for letter in TASTES:
        for user in range(30):
            # Low numbers oftener, so that popularity has an order; every customer lacks some items of the taste.
            bought = [n for n in range(10) if (user + 3 * n) % 10 < 6 - n // 2 or (letter == "t" and n < 2)]
            for n in bought:
                ts = NOW - DAY * (200 - 6 * ((user + n) % 30))
                together = letter == "t" and n in (0, 1)
                order = f"{letter}{user}-pair" if together else f"{letter}{user}-{n}"
                ts = NOW - DAY * (5 + user) if together else ts
                rows.append({"user_id": f"{letter}{user}", "item_id": f"{letter}{n}", "ts": ts, "order_id": order})
    # Today c9 sells as never before.
    rows += [{"user_id": f"late{n}", "item_id": "c9", "ts": NOW - n, "order_id": f"late{n}"} for n in range(12)]
    return pa.Table.from_pylist(rows)
