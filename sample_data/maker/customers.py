"""Three thousand invented customers: how busy each is, when, and what each likes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maker.catalogue import Catalogue
from maker.clock import DAYS
from maker.dice import Dice

COUNT = 3_000
COUNTRIES = {"DE": 0.34, "FR": 0.17, "NL": 0.13, "AT": 0.1, "IT": 0.09, "ES": 0.08, "BE": 0.05, "IE": 0.04}
LANGUAGE = {"DE": "de", "FR": "fr", "NL": "nl", "AT": "de", "IT": "it", "ES": "es", "BE": "nl", "IE": "en"}
PETS = {"Dogs": 0.24, "Cats": 0.27}  # who has none buys next to nothing there


@dataclass(frozen=True)
class Customers:
    """Customers as columns, all of length COUNT; days count from the first day of the shop.

    Parameters
    ----------
    joined, left
        int64: first and last day on which the customer may come.
    orders_a_day, lines
        float64: how often they order, and how many products an order has beyond the first.
    measured
        bool: agreed that the shop records what they look at.
    country, newsletter, business
        What `users.csv` says of them.
    taste
        float64 (COUNT, products): log weight of each product for each customer, season and habit left aside.
    """

    joined: NDArray[np.int64]
    left: NDArray[np.int64]
    orders_a_day: NDArray[np.float64]
    lines: NDArray[np.float64]
    measured: NDArray[np.bool_]
    country: NDArray[np.str_]
    newsletter: NDArray[np.bool_]
    business: NDArray[np.bool_]
    taste: NDArray[np.float64]


def invent(catalogue: Catalogue, dice: Dice) -> Customers:
    """Draw the customers. Light and heavy ones differ log-normally; half were there before the first day."""
    early, when = dice.uniform(COUNT), dice.uniform(COUNT)
    joined = np.where(early < 0.5, -1 - np.floor(when * 600), np.floor(when * (DAYS - 12))).astype(np.int64)
    stays = -620.0 * np.log1p(-dice.uniform(COUNT))
    left = np.minimum(np.maximum(joined, 0) + 5 + stays, DAYS - 1).astype(np.int64)
    countries = np.array(list(COUNTRIES))
    return Customers(
        joined=joined,
        left=left,
        orders_a_day=np.exp(-4.99 + 0.95 * dice.normal(COUNT)),
        lines=np.exp(0.12 + 0.5 * dice.normal(COUNT)),
        measured=dice.uniform(COUNT) < 0.14,
        country=countries[dice.weighted(np.array(list(COUNTRIES.values())), COUNT)],
        newsletter=dice.uniform(COUNT) < 0.4,
        business=dice.uniform(COUNT) < 0.04,
        taste=_taste(catalogue, dice),
    )


def _taste(catalogue: Catalogue, dice: Dice) -> NDArray[np.float64]:
    """Categories, kinds of product, variants (colour, scent, flavour), brands and price level, added up."""
    return np.asarray(
        _category_taste(catalogue, dice)[:, catalogue.category]
        + _shared_taste(int(catalogue.kind.max()) + 1, 5, 0.9, dice)[:, catalogue.kind]
        + _shared_taste(int(catalogue.variant.max()) + 1, 4, 0.8, dice)[:, catalogue.variant]
        + 0.6 * dice.normal(COUNT, int(catalogue.brand.max()) + 1)[:, catalogue.brand]
        - 0.7 * np.abs(_price_level(dice)[:, None] - catalogue.level[None, :])
        + np.log(catalogue.pull)[None, :]
    )


def _category_taste(catalogue: Catalogue, dice: Dice) -> NDArray[np.float64]:
    """A few favourite categories each, along four hidden leanings; float64 (COUNT, categories)."""
    in_table = list(dict.fromkeys(product.category for product in catalogue.products))
    names = sorted(in_table)  # the order of `catalogue.category`
    taste = _shared_taste(len(names), 4, 1.1, dice) + 1.0 * dice.normal(COUNT, len(names))
    taste += np.log(catalogue.share)[[in_table.index(name) for name in names]]
    for name, owners in PETS.items():
        has = dice.uniform(COUNT) < owners
        taste[:, names.index(name)] += np.where(has, 1.6, -4.0)
    return taste


def _shared_taste(width: int, rank: int, spread: float, dice: Dice) -> NDArray[np.float64]:
    """Log weights of low rank, so that customers resemble each other; float64 (COUNT, width)."""
    leaning, loading = dice.normal(COUNT, rank), dice.normal(rank, width)
    return np.asarray(spread * (leaning[:, :, None] * loading[None, :, :]).sum(axis=1) / np.sqrt(rank))


def _price_level(dice: Dice) -> NDArray[np.float64]:
    return np.clip(0.9 + 0.8 * dice.normal(COUNT), 0.0, 2.0)
