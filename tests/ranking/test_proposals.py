"""The first stage asked about what its sources propose, beside the same one asked about everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from known import dataset

from recsys_cli.features import ItemTable, People, learned, matrix
from recsys_cli.models import registry
from recsys_cli.models.base import Model
from recsys_cli.models.blend import Blend, BlendConfig
from recsys_cli.models.support import blend_search
from recsys_cli.ranking import heads, learning
from recsys_cli.ranking.learning import learn
from recsys_cli.ranking.opinions import names_of
from recsys_cli.ranking.past import Block, block_of, of_pairs, owned_by
from recsys_cli.ranking.proposals import FirstStage
from recsys_cli.ranking.ranker import Ranker
from recsys_cli.schema import DAY, Dataset
from recsys_cli.splitting.holdout import Split, time_split

CUSTOMERS, ITEMS, TASTES, DAYS = 300, 1500, 12, 100
MEMBERS: Mapping[str, Any] = {
    "als": {"model": "als", "config": {"factors": 8, "iterations": 4}, "weight": 0.4},
    "rp3beta": {"model": "rp3beta", "config": {}, "weight": 0.3},
    "popular-10d": {"model": "popular", "config": {"tau_days": 10.0}, "weight": 0.2},
    "popular-ever": {"model": "popular", "config": {"tau_days": 0.0}, "weight": 0.1},
}


def shop() -> Dataset:
    """Customers of one taste each, who buy its popular items and now and then anything."""
    rng = np.random.default_rng(0)
    rows = []
    for customer in range(CUSTOMERS):
        mine = np.arange(customer % TASTES, ITEMS, TASTES)
        place = np.minimum(rng.geometric(0.06, 14) - 1, len(mine) - 1)
        item = np.where(rng.random(14) < 0.2, rng.integers(0, ITEMS, 14), mine[place])
        rows.append(list(zip(item.tolist(), (np.sort(rng.choice(DAYS, 14)) * DAY).tolist(), strict=True)))
    return dataset(rows, ITEMS, price=np.exp(rng.uniform(0, 4, ITEMS)).tolist())


@pytest.fixture(scope="module")
def split() -> Split:
    return time_split(shop(), 20)


@pytest.fixture(scope="module")
def blend(split: Split) -> Model:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blend_search, "_INDEXED", 100)  # an index, as in a large catalogue
        model = Blend.fit(split.train, BlendConfig(members=dict(MEMBERS), own={"had": 0.5}), seed=1, threads=1)
        assert model._indices.keys() == {"als"}
    return model


def asked(model: Model, split: Split, users: np.ndarray, *, whole: bool = False, allowed: Any = None) -> Block:
    histories = split.train.interactions.histories.rows(users)
    return block_of(FirstStage(model, whole=whole), People(histories, ItemTable.of(split.train), split.now), allowed)


def test_many_are_told_what_each_is_told(blend: Model, split: Split) -> None:
    """Bit for bit, in training (many at a time) as in serving (one by one): candidates and all their features."""
    names = (*names_of(blend), *learned())
    users = np.arange(40)
    every = asked(blend, split, users)
    values = every.values(names)
    for user in users:
        alone = asked(blend, split, users[user : user + 1])
        mine = every.row == user
        assert np.array_equal(alone.item, every.item[mine])
        assert np.array_equal(alone.own, every.own[mine])
        assert np.array_equal(alone.values(names), values[mine], equal_nan=True)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_one_is_told_of_the_whole_catalogue_what_many_are_told(split: Split, share: float) -> None:
    """Bit for bit, by the quick way of a single history; without item vectors, whose products depend on the rows."""
    members = {label: member for label, member in MEMBERS.items() if label != "als"}
    model = Blend.fit(split.train, BlendConfig(members=members, own={"had": 0.5}), seed=1, threads=1)
    names, users = (*names_of(model), *learned()), np.arange(40)
    allowed = None if share == 1 else np.random.default_rng(5).random(ITEMS) < share
    every = asked(model, split, users, whole=True, allowed=allowed)
    values = every.values(names)
    for user in users:
        alone = asked(model, split, users[user : user + 1], whole=True, allowed=allowed)
        mine = every.row == user
        assert np.array_equal(alone.item, every.item[mine])
        assert np.array_equal(alone.own, every.own[mine])
        assert np.array_equal(alone.first, every.first[mine])
        assert np.array_equal(alone.values(names), values[mine], equal_nan=True)


@pytest.mark.parametrize("kind", ["blend", "als", "rp3beta"])
def test_it_says_what_is_said_of_the_whole_catalogue(blend: Model, split: Split, kind: str) -> None:
    model = blend if kind == "blend" else blend.members[kind]
    users = np.arange(0, CUSTOMERS, 5)
    some, every = (asked(model, split, users, whole=whole) for whole in (False, True))
    width = np.int64(ITEMS)
    here, there = (block.row * width + block.item for block in (some, every))
    best = np.zeros(len(there), np.bool_)  # of the best hundred, which lists are made of
    for row in range(len(users)):
        mine = np.flatnonzero(every.row == row)
        best[mine[np.argsort(-every.first[mine], kind="stable")[:100]]] = True
    assert np.isin(there[best], here).mean() > 0.97
    both = np.isin(here, there)
    at = np.searchsorted(there, here[both])
    assert np.allclose(some.first[both], every.first[at], atol=1e-3)
    for name in names_of(model)[1:-1]:
        assert np.allclose(some.given[name][both], every.given[name][at], atol=0.01), name
    assert np.array_equal(some.own[both], every.own[at])
    top = every.first[at] >= np.sort(every.first)[-len(users) * 20]
    assert np.allclose(some.given["rank:first"][both][top], every.given["rank:first"][at][top], atol=0.15)


@pytest.mark.parametrize("share", [0.9, 0.3, 0.01])
def test_only_what_may_be_shown_is_a_candidate(
    blend: Model, split: Split, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys_cli.ranking.proposals._FEW", 100)
    allowed = np.random.default_rng(3).random(ITEMS) < share
    block = asked(blend, split, np.arange(20), allowed=allowed)
    assert allowed[block.item].all()
    count = np.bincount(block.row, minlength=20)
    assert (count >= min(60, 0.5 * allowed.sum())).all()


def test_an_item_has_the_same_features_wherever_it_is_asked_for(blend: Model, split: Split) -> None:
    """As a candidate, and on the page of a category, in any order and beside items that nothing proposes."""
    block = asked(blend, split, np.arange(1))
    histories = split.train.interactions.histories.rows(np.arange(1))
    people = People(histories, ItemTable.of(split.train), split.now)
    found = FirstStage(blend, whole=False).look(histories, owned_by(histories, people.table), split.now)
    codes = np.random.default_rng(1).permutation(ITEMS).astype(np.int32)
    page = of_pairs(found, people, np.zeros(ITEMS, np.int64), codes)
    at = np.argsort(codes)[block.item]
    for name, column in block.given.items():
        assert np.array_equal(column, page.given[name][at]), name
    assert matrix(people, page.row, page.item, names_of(blend), page.given).shape == (ITEMS, len(names_of(blend)))


def test_a_large_shop_has_a_ranker(split: Split, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """It remembers what it was asked about, for a catalogue that grows or shrinks before the next training."""
    pytest.importorskip("lightgbm")
    monkeypatch.setattr(learning, "WHOLE_ITEMS", 1000)
    monkeypatch.setattr(learning, "LEAST_BUYERS", 100)
    monkeypatch.setattr(heads, "_ROUNDS", dict.fromkeys(heads.HEADS, 5))  # how well it orders is not the question
    model = registry.get("rp3beta").fit(split.train, registry.get("rp3beta").Config(), threads=1)
    found = learn(split, model, model, seed=1, threads=1)
    assert found.verdicts
    assert found.ranker is not None, found.reason
    found.ranker.save(tmp_path / "ranker")
    assert not Ranker.load(tmp_path / "ranker").whole
