"""What counts as drift: other items, categories, prices or activity than before; not chance, and not a quiet day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from recsys_cli.schema import DAY, Dataset, Histories, IdMap, Interactions
from recsys_cli.updates.drift import stability

T0, ITEMS, USERS = 1_700_000_000, 100, 400
Pick = Callable[[np.random.Generator, int], np.ndarray]


def plain(rng: np.random.Generator, n: int) -> np.ndarray:
    """Mostly the first items."""
    return np.minimum(rng.exponential(20, n), ITEMS - 1).astype(np.int32)


def turned(rng: np.random.Generator, n: int) -> np.ndarray:
    """Mostly the last ones."""
    return ITEMS - 1 - plain(rng, n)


def shop(new: Pick, *, events: int = 2333, users: int = USERS) -> Dataset:
    """60 days of plain events and 14 of new ones."""
    rng = np.random.default_rng(0)
    item = np.concatenate([plain(rng, 10_000), new(rng, events)])
    ts = np.concatenate([rng.integers(0, 60 * DAY, 10_000), rng.integers(60 * DAY, 74 * DAY, events)]) + T0
    user = np.concatenate([rng.integers(0, USERS, 10_000), rng.integers(0, users, events)])
    order = np.lexsort((ts, user))
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(user, minlength=USERS))])
    histories = Histories.of([[0]])
    histories = replace(
        histories,
        indptr=indptr,
        item=item[order].astype(np.int32),
        ts=ts[order].astype(np.int64),
        kind=np.zeros(len(item), np.uint8),
        qty=np.ones(len(item), np.float32),
    )
    ids = pa.array([f"i{n}" for n in range(ITEMS)])
    kinds, prices = [f"c{n // 20}" for n in range(ITEMS)], [float(n + 1) for n in range(ITEMS)]
    catalogue = pa.table({"item_id": ids, "category": kinds, "price": prices})
    users_map = IdMap(pa.array([f"u{n}" for n in range(USERS)]))
    basket = np.full(len(item), -1, np.int32)
    return Dataset(Interactions(histories, users_map, IdMap(ids), basket, int(ts.max())), catalogue)


TRAINED = T0 + 60 * DAY


def test_the_same_as_before_is_no_drift() -> None:
    found = stability(shop(plain), TRAINED)
    assert set(found) == {"items", "categories", "prices", "activity"}
    assert max(found.values()) < 0.1, found


def test_other_items_categories_and_prices_are() -> None:
    found = stability(shop(turned), TRAINED)
    assert min(found["items"], found["categories"], found["prices"]) > 1, found


def test_busier_customers_are() -> None:
    found = stability(shop(plain, users=120), TRAINED)
    assert found["activity"] > 0.25, found
    assert found["items"] < 0.1


@pytest.mark.parametrize("events", [0, 200])
def test_a_few_events_tell_nothing(events: int) -> None:
    assert stability(shop(turned, events=events), TRAINED) == {}


def test_a_catalogue_without_prices_and_categories_still_has_items() -> None:
    data = shop(plain)
    bare = Dataset(data.interactions, data.catalogue.select(["item_id"]))
    assert set(stability(bare, TRAINED)) == {"items", "activity"}
