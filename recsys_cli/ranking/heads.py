"""The heads of a ranker: what each is grown from, and how well each foretells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import Float32
from . import trees
from .calibration import foretold
from .dlrm import CODES
from .past import Lesson, Weighed
from .ranker import Head, Ranker
from .trees import Trees

HEADS = ORDER, PURCHASE, CLICK, REVENUE = "order", "purchase", "click", "revenue"  # as the settings of their weights
# Measured on Online Retail; see RECIPES in the README's chapter. One thread, because two come out differently.
_PARAMS: Mapping[str, Any] = {
    "learning_rate": 0.1,
    "num_leaves": 31,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.6,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
}
_ROUNDS = {ORDER: 75, PURCHASE: 50, CLICK: 50, REVENUE: 50}
_LEAF = 200  # rows in a leaf at least, with rows enough
_PRICE = "price"  # the feature, a logarithm
_DEAREST = 100.0  # times the mean price, that one purchase counts for at most


@dataclass(frozen=True)
class Cards:
    """Cards that were seen, one by one.

    Parameters
    ----------
    values
        float32, shape (cards, features).
    clicked
        bool.
    weight
        float32: one over the chance that its place is looked at for what was clicked, else 1.
    """

    values: Float32
    clicked: NDArray[np.bool_]
    weight: Float32


@dataclass(frozen=True)
class Lessons:
    """What all heads learn from.

    Parameters
    ----------
    names
        Features, in the order of the columns.
    orders
        Candidates of past moments, labelled by what was bought.
    told
        Pairs of cards that were seen; None without clicks.
    cards
        The same cards one by one.
    """

    names: Sequence[str]
    orders: Lesson
    told: Weighed | None = None
    cards: Cards | None = None

    def of(self, head: str) -> _Rows | None:
        """The rows of a head; None where there are none, or no known prices."""
        label = self.orders.label
        if head == ORDER:
            if self.told is None:
                return _Rows(self.orders.values, label, None, self.orders.groups)
            rows = Lesson.joined([self.orders, self.told.rows])
            weight = np.concatenate([np.ones(len(label), np.float32), self.told.weight])
            return _Rows(rows.values, rows.label, weight, rows.groups)
        if head == PURCHASE:
            return _Rows(self.orders.values, label)
        if head == CLICK:
            return None if self.cards is None else _Rows(self.cards.values, self.cards.clicked, self.cards.weight)
        worth = self.worth()
        return None if worth is None else _Rows(self.orders.values, label, worth)

    def worth(self) -> Float32 | None:
        """Of what was bought its price over the mean; so the odds that trees tell are what is expected of it."""
        if _PRICE not in self.names:
            return None
        price = np.exp(self.orders.values[:, list(self.names).index(_PRICE)].astype(np.float64))
        bought = (self.orders.label > 0) & (price > 0)
        if not bought.any():
            return None
        worth = np.ones(len(price), np.float32)
        worth[bought] = np.minimum(price[bought] / price[bought].mean(), _DEAREST)
        return worth


@dataclass(frozen=True)
class _Rows:
    values: Float32
    label: NDArray[Any]
    weight: Float32 | None = None
    groups: NDArray[np.int64] | None = None


def grow(lessons: Lessons, mix: Mapping[str, float], seed: int) -> Ranker:
    """The heads that have a weight in the mix; features that say the same of all rows are left out."""
    telling = [column for column in telling_columns(lessons) if lessons.names[column] not in CODES]
    heads: dict[str, Head] = {}
    for name, weight in mix.items():
        rows = lessons.of(name) if weight > 0 else None
        if rows is None or not len(rows.values):
            continue
        values = np.ascontiguousarray(rows.values[:, telling])
        leaf = int(np.clip(len(values) // 500, 20, _LEAF))
        objective = "lambdarank" if rows.groups is not None else "binary"
        params = {**_PARAMS, "objective": objective, "seed": seed, "min_data_in_leaf": leaf, "num_threads": 1}
        text = trees.grow(
            values, rows.label, params, rounds=_ROUNDS[name], groups=rows.groups, weights=rows.weight
        )  # fmt: skip
        grown = Trees(text)
        spread = float(grown.predict(values).std())
        if spread > 0:
            heads[name] = Head(grown, spread, weight)
    return Ranker(tuple(lessons.names[column] for column in telling), heads, notes=counted(lessons))


def telling_columns(lessons: Lessons) -> list[int]:
    """Features that do not say the same of all rows."""
    every = _every(lessons)
    return [column for column in range(len(lessons.names)) if _tells(every[:, column])]


def counted(lessons: Lessons) -> dict[str, int]:
    """What is learned from, for a ranker's notes."""
    clicks = {} if lessons.told is None else {"clicks": len(lessons.told.rows.groups)}
    return {"rows": len(_every(lessons)), "customers": len(lessons.orders.groups), **clicks}


def _every(lessons: Lessons) -> Float32:
    known = [lessons.orders.values] + ([] if lessons.told is None else [lessons.told.rows.values])
    return np.concatenate(known) if len(known) > 1 else known[0]


def quality(ranker: Ranker, lessons: Lessons) -> dict[str, dict[str, Any]]:
    """How well each head foretells rows of later days: see `calibration.foretold`; an order tells no chances."""
    at = {name: column for column, name in enumerate(lessons.names)}
    columns = [at[name] for name in ranker.names]
    found: dict[str, dict[str, Any]] = {}
    for name, head in ranker.heads.items():
        orders = Lessons(lessons.names, lessons.orders)
        rows = (lessons if name == CLICK else orders).of(name)
        if rows is None or not len(rows.values):
            continue
        label = np.asarray(rows.label) > 0
        if label.all() or not label.any():
            continue
        raw = head.trees.predict(np.ascontiguousarray(rows.values[:, columns]))
        found[name] = foretold(raw, label, rows.weight, chances=name != ORDER)
    return found


def _tells(column: Any) -> bool:
    known = column[~np.isnan(column)]
    return bool(len(known) and (len(known) < len(column) or known.min() < known.max()))
