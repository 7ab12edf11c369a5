"""Every model, grown by a new item that one kind of customer bought, recommends it to that kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from recsys_cli.artifacts import Artifacts, SpoolWriter
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.identity import find_key, load_secret, user_key
from recsys_cli.models import registry
from recsys_cli.publishing.train import Recipe, train
from recsys_cli.settings import Settings
from recsys_cli.store import Store
from recsys_cli.updates import run_pass

Line = Callable[..., bytes]
T0, DAY = 1_700_000_000, 86_400
ITEM_BASED = [name for name, cls in registry.MODELS.items() if cls.__mro__[1].__name__ == "ItemModel"]


def scores(artifacts: Artifacts, store: Store, user: str) -> dict[str, float]:
    bundle = read_bundle(artifacts.current().path)
    row = find_key(bundle.keys, user_key(load_secret(store.path), user))
    found = registry.load(bundle).score(bundle.histories.rows(np.array([row])), bundle.now)[0]
    return dict(zip(bundle.items().ids.to_pylist(), map(float, found), strict=True))


def test_there_are_item_based_models() -> None:
    assert {"ease", "item-knn", "rp3beta"} <= {name.replace("_", "-") for name in ITEM_BASED}


@pytest.mark.parametrize("name", [*ITEM_BASED, "als", "spectral"])
def test_new_items_are_for_customers_like_their_buyers_and_for_friends_of_their_kind(
    name: str, shop: Store, artifacts: Artifacts, values: Settings, writer: SpoolWriter, line: Line
) -> None:
    values = replace(values, evaluation=replace(values.evaluation, max_users=10))
    train(shop, artifacts, values, Recipe.of(name, {}))
    kind = {"t": "item", "item_id": "unsold", "title": "Brush number 12", "category": "tools", "ts": 1}
    writer.append([json.dumps(kind).encode(), line(user_id="a-user3", item_id="sold", ts=T0 + 36 * DAY)])
    assert run_pass(shop, artifacts, values).new_items == 2
    a, b = scores(artifacts, shop, "a-user7"), scores(artifacts, shop, "b-user7")
    assert a["sold"] > 2 * abs(b["sold"])
    assert b["unsold"] > 2 * abs(a["unsold"])
    assert all(np.isfinite(list(a.values())))
