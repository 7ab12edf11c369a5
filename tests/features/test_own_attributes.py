"""Attributes that the shop names are features: of then in training, the same bit for bit in serving."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from known import dataset

from recsys_cli.features import ItemTable, People, matrix
from recsys_cli.features.own_attributes import described, features_of, with_attributes
from recsys_cli.ranking.ranker import words_of
from recsys_cli.schema import DAY, Dataset, Float32

ITEMS = 12
NAMES = ("attribute:pages", "attribute_sold:roast", "attribute_share:roast")


def shop() -> Dataset:
    rng = np.random.default_rng(0)
    days = [np.sort(rng.integers(1, 90, 12)) for _ in range(20)]
    rows = [[(int(i), int(d) * DAY) for i, d in zip(rng.integers(0, ITEMS, 12), day, strict=True)] for day in days]
    made = dataset(rows, ITEMS)
    said = [json.dumps({"roast": "Dark" if n % 2 else "light", "pages": str(10 * n)}) for n in range(ITEMS - 1)]
    place = made.catalogue.column_names.index("attributes")
    catalogue = made.catalogue.set_column(place, "attributes", pa.array([*said, None]))
    return replace(made, catalogue=with_attributes(catalogue, ["roast", "pages", "nothing"]))


def values(data: Dataset, table: ItemTable, *, until: int) -> Float32:
    """Of the first three customers and all items at a moment."""
    people = People(data.interactions.histories.rows(np.arange(3)), table, until)
    row, item = np.repeat(np.arange(3), ITEMS).astype(np.int64), np.tile(np.arange(ITEMS, dtype=np.int32), 3)
    return matrix(people, row, item, NAMES, {})


def test_numbers_and_words() -> None:
    data = shop()
    table = ItemTable.of(data)
    assert table.own == NAMES
    found = values(data, table, until=data.interactions.end).reshape(3, ITEMS, len(NAMES))
    assert found[0, :-1, 0].tolist() == [10.0 * n for n in range(ITEMS - 1)]
    assert np.isnan(found[:, -1]).all()  # an item of which nothing is said
    bought = data.interactions.histories.rows(np.array([1])).item
    dark = np.mean((bought % 2 == 1) & (bought < ITEMS - 1))
    assert found[1, 1, 2] == pytest.approx(dark)
    late = data.interactions.end - data.interactions.histories.ts < 28 * DAY
    item = data.interactions.histories.item[late]
    assert found[0, 0, 1] == pytest.approx(np.log1p(np.count_nonzero((item % 2 == 0) & (item < ITEMS - 1))))


def test_they_are_of_the_moment_and_a_version_holds_the_same(tmp_path: Path) -> None:
    data, cut = shop(), 60 * DAY
    past = data.before(cut)
    table = ItemTable.of(past)
    before = values(past, table, until=cut)
    h = data.interactions.histories
    other = replace(h, item=np.where(h.ts >= cut, 0, h.item).astype(np.int32))
    changed = replace(data, interactions=replace(data.interactions, histories=other)).before(cut)
    assert values(changed, ItemTable.of(changed), until=cut).tobytes() == before.tobytes()
    table.save(tmp_path / "features")
    assert values(past, ItemTable.load(tmp_path / "features"), until=cut).tobytes() == before.tobytes()


def test_they_are_told_in_words() -> None:
    rows = [described(name) for name in features_of(["roast"])]
    assert [row["group"] for row in rows] == ["item", "item", "pair"]
    assert words_of("attribute_share:roast") == "Share of the customer's purchases with the same roast"
