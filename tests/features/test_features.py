"""Every registered feature: nothing from the future, and the same numbers in training as in serving, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from known import dataset

from recsys_cli.features import FEATURES, ItemTable, People, matrix
from recsys_cli.features.feature import TTL, declare
from recsys_cli.schema import DAY, Dataset, Float32

START = 1_700_000_000
NAMES = tuple(FEATURES)
KINDS = ("purchase", "view", "cart", "refund")


def shop(seed: int = 0, users: int = 40, n_items: int = 30, days: int = 500) -> Dataset:
    """Events of all kinds at random, with a catalogue of everything features look at."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(users):
        count = int(rng.integers(0, 40))
        ts = np.sort(rng.integers(0, days, count)) * DAY + START
        rows.append([(int(i), int(t)) for i, t in zip(rng.integers(0, n_items - 2, count), ts, strict=True)])
    made = dataset(
        rows,
        n_items,
        title=[f"Red Tea number {n % 7} box" if n % 3 else None for n in range(n_items)],
        category=[f"c{n % 4}" if n % 5 else None for n in range(n_items)],
        brand=[f"b{n % 3}" for n in range(n_items)],
        price=[None if n % 6 == 0 else 1.5 + n for n in range(n_items)],
        margin=[n / 10 for n in range(n_items)],
        availability=[n % 2 == 0 for n in range(n_items)],
    )
    h = made.interactions.histories
    histories = replace(
        h,
        kind=rng.choice(len(KINDS), h.n_events, p=[0.6, 0.2, 0.1, 0.1]).astype(np.uint8),
        qty=rng.integers(1, 5, h.n_events).astype(np.float32),
        kinds=KINDS,
        kind_weight=np.array([1, 0.1, 0.3, -1], np.float32),
    )
    return replace(made, interactions=replace(made.interactions, histories=histories))


def everything(data: Dataset, rows: list[int], table: ItemTable | None = None) -> Float32:
    """All features of these customers with all items, at the end of the data."""
    table = table or ItemTable.of(data)
    people = People(data.interactions.histories.rows(np.array(rows)), table, data.interactions.end)
    n = data.interactions.n_items
    row, item = np.repeat(np.arange(len(rows)), n), np.tile(np.arange(n, dtype=np.int32), len(rows))
    return matrix(people, row.astype(np.int64), item, NAMES, {})


def changed(a: Float32, b: Float32) -> list[str]:
    """Names of the features in which two matrices differ by a single bit."""
    return [name for j, name in enumerate(NAMES) if a[:, j].tobytes() != b[:, j].tobytes()]


def column(name: str) -> int:
    return NAMES.index(name)


@pytest.mark.parametrize("feature", FEATURES.values(), ids=NAMES)
def test_it_is_declared_in_full(feature: object) -> None:
    told = feature.as_dict()  # type: ignore[attr-defined]
    assert all(str(value) for value in told.values())
    assert told["help"].endswith((".", "never")) or "NaN" in told["help"]
    assert told["as_of"] in ("moment", "catalogue", "request")


def test_none_is_declared_twice() -> None:
    with pytest.raises(ValueError, match="sold_7d"):
        declare("item", "sold_7d", "count", "7 days", "The same again.")(lambda view: view)


def test_the_test_shop_makes_every_feature_say_something() -> None:
    """Else the two tests below would hold of features that are always unknown."""
    data = shop()
    values = everything(data, list(range(40)))
    dull = [name for j, name in enumerate(NAMES) if len(np.unique(values[:, j][~np.isnan(values[:, j])])) < 2]
    assert dull == ["hour", "weekday", "position"]  # these are of the request


def test_nothing_comes_from_the_future() -> None:
    data = shop()
    cut = START + 400 * DAY
    h = data.interactions.histories
    late = h.ts >= cut
    assert late.sum() > 50
    rng = np.random.default_rng(1)
    other = replace(
        h,
        item=np.where(late, rng.integers(0, 30, h.n_events), h.item).astype(np.int32),
        qty=np.where(late, 99, h.qty).astype(np.float32),
        kind=np.where(late, 0, h.kind).astype(np.uint8),
        ts=np.where(late, cut + (h.ts - cut) // 2, h.ts),
    )
    moved = replace(data, interactions=replace(data.interactions, histories=other))
    then = [everything(each.before(cut), list(range(40))) for each in (data, moved)]
    now = [everything(each, list(range(40))) for each in (data, moved)]
    assert changed(*then) == []
    assert len(changed(*now)) > 40  # the change is large enough to be seen


def test_a_customer_alone_and_among_others_come_out_the_same() -> None:
    data = shop()
    table, n = ItemTable.of(data), data.interactions.n_items
    rows = list(range(40))
    together = everything(data, rows, table)
    for row in rows:
        assert changed(together[row * n : (row + 1) * n], everything(data, [row], table)) == []


def test_a_version_holds_the_same_numbers(tmp_path: Path) -> None:
    data = shop()
    cut = START + 400 * DAY
    ItemTable.of(data.before(cut)).save(tmp_path / "features")
    held = ItemTable.load(tmp_path / "features")
    past = data.before(cut)
    assert changed(everything(past, [3, 5, 8], held), everything(past, [3, 5, 8])) == []


class TestValues:
    """By hand."""

    def values(self, name: str, *, now: int = 100) -> list[float]:
        """Of customer 0, who bought item 0 on days 0, 20 and 40 and item 1 on days 40 and 90."""
        mine = [(0, START), (0, START + 20 * DAY), (0, START + 40 * DAY), (1, START + 40 * DAY), (1, START + 90 * DAY)]
        data = dataset(
            [mine, [(2, START + now * DAY)]],
            3,
            price=[2.0, 8.0, 4.0],
            title=["green tea", "green coffee", "black coffee"],
            category=["tea", "coffee", "coffee"],
        )
        return [float(v) for v in everything(data, [0])[:, column(name)]]

    def test_windows(self) -> None:
        assert self.values("sold_14d") == pytest.approx([0, np.log(2), np.log(2)])
        assert self.values("sold_ever") == pytest.approx([np.log(4), np.log(3), np.log(2)])

    def test_own(self) -> None:
        assert self.values("own_since_last") == pytest.approx([np.log(61), np.log(11), np.nan], nan_ok=True)
        assert self.values("own_interval")[:2] == pytest.approx([np.log(21), np.log(51)])
        assert self.values("own_due")[0] == pytest.approx(np.log(61 / 21))
        # Of four order days: three with item 0 since the first; two with item 1 of the two since the third.
        assert self.values("own_share") == pytest.approx([3 / 4, 1, np.nan], nan_ok=True)

    def test_customer(self) -> None:
        assert self.values("orders") == pytest.approx([np.log(5)] * 3)
        assert self.values("days_since_order") == pytest.approx([np.log(11)] * 3)
        assert self.values("repeat_share") == pytest.approx([3 / 5] * 3)

    def test_prices(self) -> None:
        mean = (3 * np.log(2) + 2 * np.log(8)) / 5
        assert self.values("price_ratio") == pytest.approx(np.log([2, 8, 4]) - mean)

    def test_families(self) -> None:
        assert self.values("category_share") == pytest.approx([3 / 5, 2 / 5, 2 / 5])
        assert self.values("days_since_category") == pytest.approx([np.log(61), np.log(11), np.log(11)])

    def test_titles(self) -> None:
        # "tea" and "black" are words of one item only and say nothing. What was bought says green + (green, coffee).
        half = np.sqrt(0.5)
        length = np.hypot(1 + half, half)
        assert self.values("title_likeness") == pytest.approx(
            [(1 + half) / length, half * (1 + 2 * half) / length, half / length], rel=1e-5
        )

    def test_smoothing_draws_the_untried_to_its_category(self) -> None:
        rates = self.values("rebought_rate")
        assert rates[0] > rates[2] > 0


def test_item_values_grow_old() -> None:
    data = shop()
    table = ItemTable.of(data)
    later = data.interactions.end + int(TTL["item"]) + 1
    people = People(data.interactions.histories.rows(np.array([3])), table, later)
    values = matrix(people, np.zeros(1, np.int64), np.array([1], np.int32), ("sold_ever", "price", "orders"), {})
    assert np.isnan(values[0, 0])
    assert not np.isnan(values[0, 1:]).any()
