"""What customers of one kind buy more than others: as of a moment, of many, and the same in training and serving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from known import dataset

from recsys_cli.features import ItemTable, People, matrix
from recsys_cli.features.customer_groups import UNTOLD, as_codes, groups_of, told_of
from recsys_cli.features.own_attributes import described, features_of
from recsys_cli.schema import DAY, Dataset, Float32, Profiles

ITEMS, CUSTOMERS = 20, 300
NAMES = ("group_lift:country", "group_category:country")


def shop(*, differ: bool = True, until: int = 90) -> Dataset:
    """Customers of two countries, each of which buys its half of the items, one category, four times as often."""
    rng = np.random.default_rng(0)
    country = np.arange(CUSTOMERS) % 2
    rows = []
    for who in range(CUSTOMERS):
        odds = np.ones(ITEMS)
        if differ:
            odds[country[who] * 10 : country[who] * 10 + 10] = 4
        days = np.sort(rng.integers(1, until, 8))
        rows.append([(int(rng.choice(ITEMS, p=odds / odds.sum())), int(day) * DAY) for day in days])
    made = dataset(rows, ITEMS, category=["a"] * 10 + ["b"] * 10)
    codes = country[:, None].astype(np.int16)
    return replace(made, profiles=Profiles(("country",), (("de", "fr"),), codes, least=20, buyers=3))


def of_both(data: Dataset, table: ItemTable, now: int) -> Float32:
    """Both features of all items for somebody of each country, and for somebody of whom nothing is told."""
    people = People(
        data.interactions.histories.rows(np.arange(3)), table, now, {"country": np.array([0, 1, -1], np.int16)}
    )
    row, item = np.repeat(np.arange(3), ITEMS).astype(np.int64), np.tile(np.arange(ITEMS, dtype=np.int32), 3)
    return matrix(people, row, item, NAMES, {}).reshape(3, ITEMS, 2)


def test_each_country_is_told_what_it_buys() -> None:
    data = shop()
    table = ItemTable.of(data)
    assert table.own == NAMES
    found = of_both(data, table, data.interactions.end)
    expected = np.log(2 * 4 / (4 + 1))  # of an even share
    assert found[0, :10, 0].mean() == pytest.approx(expected, abs=0.1)
    assert found[1, 10:, 0].mean() == pytest.approx(expected, abs=0.1)
    assert found[0, 0, 1] == pytest.approx(expected, abs=0.1)
    assert found[0, 0, 1] == found[0, 9, 1]
    assert (found[0, 10:] < -0.3).all()
    assert np.isnan(found[2]).all()


def test_where_countries_are_alike_there_is_nothing_to_tell() -> None:
    data = shop(differ=False)
    assert np.abs(of_both(data, ItemTable.of(data), data.interactions.end)[:2]).max() < 0.1


def test_it_is_of_the_moment_and_a_version_holds_the_same(tmp_path: Path) -> None:
    data, cut = shop(), 60 * DAY
    table = ItemTable.of(data.before(cut))
    before = of_both(data.before(cut), table, cut)
    h = data.interactions.histories
    other = replace(h, item=np.where(h.ts >= cut, 0, h.item).astype(np.int32))
    changed = replace(data, interactions=replace(data.interactions, histories=other)).before(cut)
    assert of_both(changed, ItemTable.of(changed), cut).tobytes() == before.tobytes()
    table.save(tmp_path / "features")
    again = ItemTable.load(tmp_path / "features")
    assert of_both(data.before(cut), again, cut).tobytes() == before.tobytes()
    assert groups_of(again.lifts, {"country": " FR", "size": "xl"}) == (("country", 1),)
    assert groups_of(again.lifts, {"country": "at"}) == ()
    assert as_codes((("country", 1),))["country"].tolist() == [1]


def test_what_few_of_a_country_bought_is_not_told() -> None:
    """Whether one or two customers of a country bought an item, or none did, comes to the same."""
    data = shop()
    assert data.profiles is not None
    rare = replace(data.profiles, buyers=CUSTOMERS)
    found = of_both(data, ItemTable.of(replace(data, profiles=rare)), data.interactions.end)[:2, :, 0]
    assert np.abs(found).max() < 1e-6, "nobody is told of, and nothing is"


def test_of_some_customers_nothing_is_told_in_learning() -> None:
    profiles = shop().profiles
    codes = told_of(profiles, np.arange(30))["country"]
    assert np.flatnonzero(codes < 0).tolist() == list(range(0, 30, UNTOLD))
    assert told_of(None, np.arange(30)) == {}


def test_they_are_told_in_words() -> None:
    rows = [described(name) for name in features_of((), ["country"])]
    assert [row["name"] for row in rows] == list(NAMES)
    assert {row["group"] for row in rows} == {"pair"}
