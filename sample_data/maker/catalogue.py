"""The range: `catalogue.toml` read into one table of products with one NumPy column per trait."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maker.clock import DAYS, day_of
from maker.dice import Dice

FLAT = "flat"
NEVER = 10 * DAYS
Table = dict[str, Any]
TABLE = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True)
class Product:
    """One line of `items.csv`, before prices and dates."""

    item_id: str
    category: str
    kind: str
    variant: str
    brand: str
    title: str
    description: str
    tags: str
    shape: str
    emblem: str
    palette: str


@dataclass(frozen=True)
class Catalogue:
    """Products and, in the same order, the columns which the simulation reads; n products, t types.

    Parameters
    ----------
    products
        What is written out.
    price, pull, every
        float64 (n,): EUR; how sought after; days until it is needed again, 0 for what lasts.
    since, gone
        int64 (n,): first day on sale and first day no longer on sale, counted from the first day of the shop.
    category, kind, brand, variant, level
        int64 (n,): codes; `level` is 0, 1, 2 for a value, middle or fine brand.
    season
        float64 (n, 12): factor of each month.
    complement
        bool (n, n): [bought, wanted with it].
    share
        float64 (categories,): how many customers lean towards it.
    """

    products: tuple[Product, ...]
    price: NDArray[np.float64]
    pull: NDArray[np.float64]
    every: NDArray[np.float64]
    since: NDArray[np.int64]
    gone: NDArray[np.int64]
    category: NDArray[np.int64]
    kind: NDArray[np.int64]
    brand: NDArray[np.int64]
    variant: NDArray[np.int64]
    level: NDArray[np.int64]
    season: NDArray[np.float64]
    complement: NDArray[np.bool_]
    share: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.products)


def load(dice: Dice) -> Catalogue:
    """Read the table and draw what it leaves open: appeal, price, the days products come and go."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    rows = [
        (category, kind, variant, number)
        for category in table["category"]
        for number, (kind, variant) in enumerate(_variants(category))
    ]
    products = tuple(_product(table, *row) for row in rows)
    since, gone = _life(rows, dice)
    level_names, brand_names = list(table["level"]), list(table["brand"])
    level = np.array([level_names.index(table["brand"][p.brand]) for p in products])
    factor = np.array(list(table["level"].values()))[level] * (0.94 + 0.12 * dice.uniform(len(rows)))
    price = np.array([row[1]["price"] for row in rows]) * factor
    # A handful of bestsellers and a long tail: the appeal of a product among its like is log-normal.
    pull = np.array([row[1]["pull"] for row in rows]) * np.exp(0.75 * dice.normal(len(rows)))
    return Catalogue(
        products=products,
        price=_shop_price(price),
        pull=pull,
        every=np.array([float(row[1]["every"]) for row in rows]),
        since=since,
        gone=gone,
        category=_codes([p.category for p in products]),
        kind=_codes([p.kind for p in products]),
        brand=np.array([brand_names.index(p.brand) for p in products]),
        variant=_codes([p.variant for p in products]),
        level=level,
        season=np.array([table["season"][row[1].get("season", FLAT)] for row in rows]),
        complement=_complement(rows),
        share=np.array([category["share"] for category in table["category"]]),
    )


def _variants(category: Table) -> list[tuple[Table, str]]:
    return [(kind, variant) for kind in category["types"] for variant in kind["variants"]]


def _product(table: Table, category: Table, kind: Table, variant: str, number: int) -> Product:
    brand = category["brands"][number % len(category["brands"])]
    palette, note = table["variant"][variant]
    tags = [category["name"], kind["shape"].replace("_", " "), variant, table["brand"][brand]]
    if kind["every"]:
        tags.append("refill")
    if kind.get("season", FLAT) != FLAT:
        tags.append(kind["season"])
    return Product(
        item_id=f"{category['code']}-{number + 1:03d}",
        category=category["name"],
        kind=kind["name"],
        variant=variant,
        brand=brand,
        title=f"{brand} {kind['name']}, {variant}",
        description=kind["text"].format(note=note),
        tags=", ".join(tag.lower() for tag in tags),
        shape=kind["shape"],
        emblem=category["emblem"],
        palette=palette,
    )


def _life(rows: list[Any], dice: Dice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Days on and off sale: three products in four were there before the first day, one in twelve leaves."""
    came, born, left, died = (dice.uniform(len(rows)) for _ in range(4))
    old = came < 0.76
    since = np.floor(np.where(old, -30 - born * 700, (0.04 + 0.92 * born) * DAYS)).astype(np.int64)
    gone = np.floor(np.where(old & (left < 0.08), (0.35 + 0.6 * died) * DAYS, NEVER)).astype(np.int64)
    for place, (_, kind, _, _) in enumerate(rows):
        if "since" in kind:
            since[place], gone[place] = day_of(kind["since"]), NEVER
        if "gone" in kind:
            since[place], gone[place] = -40, day_of(kind["gone"])
    return since, gone


def _shop_price(price: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prices as shops write them: x.49 or x.90 below 20 EUR, whole EUR less ten cents above."""
    small = np.floor(price * 2) / 2 + np.where(np.floor(price * 2) % 2 == 0, 0.49, 0.4)
    return np.asarray(np.round(np.where(price < 20, small, np.round(price) - 0.1), 2), dtype=np.float64)


def _complement(rows: list[Any]) -> NDArray[np.bool_]:
    kinds = np.array([row[1]["name"] for row in rows])
    wanted = [np.isin(kinds, row[1].get("with", [])) for row in rows]
    return np.stack(wanted)


def _codes(names: list[str]) -> NDArray[np.int64]:
    return np.unique(np.array(names), return_inverse=True)[1].reshape(-1).astype(np.int64)
