"""Rankers whose order is known: the cheapest first, or by one feature; and a shop's version with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys_cli.artifacts import Version, suppressed
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.features import learned
from recsys_cli.models import registry
from recsys_cli.publishing.train import read_snapshot
from recsys_cli.publishing.version import Release, publish_version
from recsys_cli.ranking import trees
from recsys_cli.ranking.dlrm import Inputs, Network, Output
from recsys_cli.ranking.outcome import RANKER
from recsys_cli.ranking.ranker import Head, Ranker
from recsys_cli.store import Store


def cheap_first(*kinds: str) -> Ranker:
    """Orders by price alone, the cheapest first; one of the other features is there as well."""
    names = ("score:first", "rank:first", *(name for name in learned() if name in ("price", "own_days", "orders")))
    price = np.log(np.arange(1, 11, dtype=np.float32)).repeat(20)
    values = np.zeros((len(price), len(names)), np.float32)
    values[:, names.index("price")] = price
    params = {"objective": "regression", "min_data_in_leaf": 1, "num_threads": 1, "deterministic": True}
    text = trees.grow(values, -price, params, rounds=30)
    return Ranker(names, {"order": Head(trees.Trees(text), 1.0)}, {kind: {"on": True} for kind in kinds})


def first_by(name: str, *kinds: str) -> Ranker:
    """Orders by one feature alone, the largest first."""
    names = ("score:first", "rank:first", name)
    values = np.zeros((400, len(names)), np.float32)
    values[:, -1] = np.linspace(-2, 2, 20, dtype=np.float32).repeat(20)
    params = {"objective": "regression", "min_data_in_leaf": 1, "num_threads": 1, "deterministic": True}
    text = trees.grow(values, values[:, -1], params, rounds=30)
    return Ranker(names, {"order": Head(trees.Trees(text), 1.0)}, {kind: {"on": True} for kind in kinds})


def cheap_network(*kinds: str) -> Ranker:
    """The same by a network: five less the logarithm of the price."""
    one, none = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    dense, unknown = np.arange(2), np.zeros(0, np.int64)
    inputs = Inputs(("score:first", "price"), dense, unknown, np.zeros(2, np.float32), np.ones(2, np.float32), {})
    weights = {
        "in": np.array([[0], [-1]], np.float32), "in bias": none + 5, "bottom": one, "bottom bias": none, "wide": one,
        "top": 0 * one, "top bias": none, "out": one, "out bias": none,
    }  # fmt: skip
    output = Output(Network(inputs, ("order",), weights), 0)
    return Ranker(inputs.names, {"order": Head(output, 1.0)}, {kind: {"on": True} for kind in kinds})


def with_ranker(shop: Any, ranker: Ranker) -> Version:
    """The shop's version, published again with a ranker."""
    snapshot = read_snapshot(Store(shop.settings.db, shop.settings.store), shop.settings)
    return publish_version(
        shop.artifacts,
        shop.settings,
        Release(
            snapshot,
            registry.load(read_bundle(shop.version.path)),
            kind="train",
            erasures=suppressed.mark(shop.settings.db),
            ranker=ranker,
            notes={RANKER: {"on": list(ranker.verdicts), "reason": "It is surely not worse.", "verdicts": {}}},
        ),
    )
