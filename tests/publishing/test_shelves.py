"""Shelves say of a small shop what can be counted by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.publishing.items_json import render_items
from recsys_cli.publishing.pairs import together
from recsys_cli.publishing.shelves import Sales, choose_tau, intervals
from recsys_cli.schema import SHOWN, Dataset, Histories, IdMap, Interactions

DAY = 86_400


def shop(rows: list[tuple[int, int, int, int]], n_items: int, category: list[str] | None = None) -> Dataset:
    """From (user, item, day, order) rows."""
    rows = sorted(rows, key=lambda r: (r[0], r[2]))
    user, item, day, order = (np.array([r[i] for r in rows], dtype=np.int64) for i in range(4))
    n_users = int(user.max()) + 1
    indptr = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=n_users))]).astype(np.int64)
    zeros = np.zeros(len(rows), dtype=np.uint8)
    histories = Histories(
        indptr,
        item.astype(np.int32),
        day * DAY,
        zeros,
        np.ones(len(rows), np.float32),
        ("purchase",),
        np.ones(1, np.float32),
    )
    names = IdMap(pa.array([f"i{n}" for n in range(n_items)]))
    users = IdMap(pa.array([f"u{n}" for n in range(n_users)]))
    data = Interactions(histories, users, names, order.astype(np.int32), int(day.max()) * DAY)
    catalogue = pa.table({"item_id": names.ids, "category": category or ["x"] * n_items})
    return Dataset(data, catalogue)


def pairs_of(data: Dataset, item: int) -> list[int]:
    found = together(data)
    return [int(c) for c in found["together_item"][item] if c >= 0]


def test_pairs_are_of_one_order() -> None:
    rows = [(u, i, u, u) for u in range(6) for i in (0, 1)]  # 0 and 1 in one order
    rows += [(u, i, 50 + u, 100 + u) for u in range(6, 40) for i in (2,)]  # 2 alone
    rows += [(0, 2, 90, 200)]
    data = shop(rows, 3, ["a", "b", "c"])
    assert pairs_of(data, 0) == [1]
    assert pairs_of(data, 2) == []
    assert together(data)["together_count"][0, 0] == 6


def test_a_pair_of_too_few_customers_is_not_told() -> None:
    """Every pair by hand: orders with both, and the different customers of those orders."""
    rng = np.random.default_rng(3)
    rows = [(u, int(i), o % 90, 100 * u + o) for u in range(12) for o in range(8)
            for i in rng.choice(9, size=rng.integers(1, 4), replace=False)]  # fmt: skip
    rows += [(12, i, o, 5000 + o) for o in range(9) for i in (9, 10)]  # one customer's weekly basket
    whose: dict[tuple[int, int], set[int]] = {}
    for order in {r[3] for r in rows}:
        lines = [r for r in rows if r[3] == order]
        for a in lines:
            for b in lines:
                whose.setdefault((a[1], b[1]), set()).add(a[0])
    data = shop(rows, 11, [f"c{n}" for n in range(11)])
    told = {least: together(data, least)["together_item"] for least in (1, 3, 5)}
    assert 10 in told[1][9]
    for least in (3, 5):
        kept = {(i, int(j)) for i in range(11) for j in told[least][i] if j >= 0}
        every = {(i, int(j)) for i in range(11) for j in told[1][i] if j >= 0}
        assert kept == {pair for pair in every if len(whose[pair]) >= least}
        assert kept


def test_chance_is_no_pair() -> None:
    rng = np.random.default_rng(1)
    rows = [(u, int(i), u, u) for u in range(600) for i in rng.choice(10, 2, replace=False)]
    lift = together(shop(rows, 10))["together_lift"]
    assert lift.max() < 1.5


def test_substitutes_are_left_out() -> None:
    # Everybody buys both teas (0, 1), one at a time, each with honey (2); two were once in one order.
    rows = [(u, i, 2 * u + i, 2 * u + i) for u in range(30) for i in (0, 1)]
    rows += [(u, 2, 2 * u + i, 2 * u + i) for u in range(30) for i in (0, 1)]
    rows += [(u, i, 99, 1000 + u) for u in range(3) for i in (0, 1)]
    rows += [(100 + u, 3, u, 5000 + u) for u in range(400)]
    data = shop(rows, 4, ["tea", "tea", "honey", "other"])
    assert pairs_of(data, 0) == [2]
    other = shop(rows, 4, ["tea", "coffee", "honey", "other"])
    assert set(pairs_of(other, 0)) == {1, 2}


def test_without_orders_a_customers_day_is_one() -> None:
    rows = [(u, i, u, -1) for u in range(6) for i in (0, 1)] + [(u, 2, 50, -1) for u in range(6, 60)]
    assert pairs_of(shop(rows, 3, ["a", "b", "c"]), 0) == [1]


def test_intervals_are_medians_of_what_is_bought_again() -> None:
    rows = [(u, 0, u + 30 * n, 100 * u + n) for u in range(8) for n in range(4)]  # every 30 days
    rows += [(u, 1, u, 5000 + u) for u in range(8)]  # once
    days = intervals(shop(rows, 2).interactions)
    assert days[0] == pytest.approx(30)
    assert days[1] == 0


def test_weeks_are_counted_from_the_newest_sale() -> None:
    rows = [(n, 0, 100 - n, n) for n in range(7)] + [(50 + n, 1, 100 - 7 - n, 50 + n) for n in range(28)]
    sales = Sales.of(shop(rows, 2).interactions)
    week, usual = sales.weekly()
    assert sales.until == 100 * DAY
    assert week.tolist() == [7, 0]
    assert usual.tolist() == [0, 7]


def test_a_customer_counts_once_a_week() -> None:
    rows = [(0, 0, 100 - n, n) for n in range(7)] + [(1, 0, 99, 50)]
    assert Sales.of(shop(rows, 1).interactions).weekly()[0].tolist() == [2]


def test_a_shop_whose_bestsellers_change_forgets_quickly() -> None:
    fast = shop([(0, day // 7, day, day) for day in range(140) for _ in range(5)], 20).interactions
    slow = shop([(0, (day * 7 + n) % 10, day, day) for day in range(140) for n in range(4)], 20).interactions
    assert choose_tau(fast, top=1) <= 8
    assert choose_tau(slow, top=1) >= choose_tau(fast, top=1)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(text.filter(bool), st.none() | text, st.none() | st.floats()), min_size=1, max_size=5))
def test_items_are_rendered_as_json_would(rows: list[tuple[str, Any, Any]]) -> None:
    table = pa.table(
        {
            "item_id": pa.array([r[0] for r in rows], pa.string()),
            "title": pa.array([r[1] for r in rows], pa.string()),
            "price": pa.array([r[2] for r in rows], pa.float64()),
        }
    )
    blob, at = render_items(table)
    assert len(at) == len(rows) + 1
    for i, (item_id, title, price) in enumerate(rows):
        item = json.loads(b"{" + blob[at[i] : at[i + 1]].tobytes() + b"}")
        assert list(item) == ["item_id", *SHOWN]
        clean = lambda s: "".join(" " if ord(c) < 32 and c not in "\n\r\t" else c for c in s)  # noqa: E731
        assert item["item_id"] == clean(item_id)
        assert item["title"] == (None if title is None else clean(title))
        assert item["price"] == (None if price is None or not np.isfinite(price) else price)
