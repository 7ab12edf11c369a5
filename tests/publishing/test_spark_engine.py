"""`als` fitted on Spark: the same weights, the same artifact, nearly the same lists. Needs pyspark and Java."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from recsys_cli.artifacts import Artifacts
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.errors import MissingDependency, UsageError
from recsys_cli.evaluation.bench import Recipe
from recsys_cli.models.als import ALS, ALSConfig
from recsys_cli.models.registry import load
from recsys_cli.publishing.lake import export_lake
from recsys_cli.publishing.shelves import Counts
from recsys_cli.publishing.spark_engine import spark_engine, train_on_spark
from recsys_cli.publishing.train import read_snapshot
from recsys_cli.schema import DAY, Dataset, IdMap
from recsys_cli.settings import Settings, StoreSettings
from recsys_cli.splitting.interactions import weigh
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events, merge_items, transaction

T0 = 1_700_000_000
needs_spark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None or shutil.which("java") is None,
    reason="needs pyspark and Java: pip install '.[spark]', apt-get install openjdk-17-jre-headless",
)


@pytest.fixture
def shop(store: Store, values: Settings, tmp_path: Path) -> tuple[Store, Settings, Path]:
    """Two kinds of customers, who buy of two kinds of items, view others, and send some back."""
    rng = np.random.default_rng(5)
    n = 4000
    user = rng.integers(0, 200, n)
    item = 2 * rng.integers(0, 20, n) + user % 2
    kind = rng.choice(["purchase", "view", "refund"], n, p=[0.6, 0.35, 0.05])
    table = {
        "user_id": [f"c{u}" for u in user], "item_id": [f"p{i}" for i in item], "qty": rng.integers(1, 5, n),
        "ts": T0 + np.sort(rng.integers(0, 90 * DAY, n)), "event_type": kind,
        "order_id": [f"o{u}-{o}" if o else None for u, o in zip(user, rng.integers(0, 6, n), strict=True)],
    }  # fmt: skip
    with store.writing() as con, transaction(con):
        merge_events(con, pa.table(table))
        kinds = {"item_id": [f"p{i}" for i in range(40)], "category": [["tea", "pots"][i < 8] for i in range(40)]}
        merge_items(con, pa.table(kinds), now=T0)
    settings = replace(values, db=store.path, artifacts=tmp_path / "shop" / "model_artifacts", store=StoreSettings())
    return store, replace(settings, train=replace(settings.train, ranker=False)), tmp_path / "lake"


def parity(ids: IdMap, codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Of the number in each id."""
    return np.array([int(str(one)[1:]) % 2 for one in ids.take(codes)])


def they_count(theirs: Counts, data: Dataset) -> None:
    """What this process counts."""
    ours = Counts(data)
    for tau in (0.0, 15.0):
        np.testing.assert_allclose(theirs.popularity(tau), ours.popularity(tau), rtol=1e-6)
    for window in ((30, 0), (14, 7)):
        np.testing.assert_array_equal(theirs.sales.customers(*window), ours.sales.customers(*window))
    np.testing.assert_allclose(theirs.intervals(), ours.intervals(), rtol=1e-6)
    assert ours.intervals().any()
    there, here = theirs.together(2), ours.together(2)
    pairs = here["together_item"] >= 0
    # Some stand in for each other, and are left out.
    assert 0 < pairs.sum() < pairs.size
    for name in ("together_count", "together_lift"):
        np.testing.assert_allclose(there[name], here[name], rtol=1e-5)
    # Pairs of the same lift may change places.
    for row in np.flatnonzero(pairs.any(axis=1)):
        assert set(there["together_item"][row]) == set(here["together_item"][row])


@needs_spark
def test_it_learns_what_this_process_learns(shop: tuple[Store, Settings, Path]) -> None:
    """One Spark for all that is to be seen of it: starting one takes seconds."""
    store, settings, lake = shop
    export_lake(store, settings, lake)
    data = read_snapshot(store, settings).data
    config = ALSConfig(factors=4, iterations=5, qty_power=0.5, repeat_power=0.3)
    with spark_engine(lake, "local[2]", settings) as engine:
        engine.view_events(data)
        rows = engine.ratings(config).collect()
        theirs = engine(config, data)
        they_count(engine.counts(data), data)
    ours = weigh(data.interactions.histories, data.interactions.n_items, 0.0, 0.5, 0.3)
    assert len(rows) == ours.nnz
    assert np.allclose(sorted(row["weight"] for row in rows), np.sort(ours.data), rtol=1e-5)
    assert isinstance(theirs, ALS)
    here = ALS.fit(data, config, threads=1)
    assert theirs.config == here.config
    rows = np.arange(0, len(data.interactions.histories), 7)
    some, users = data.interactions.histories.rows(rows), parity(data.interactions.users, rows)
    for model in (theirs, here):  # each finds the items of the customer's kind
        best, _ = model.recommend(some, 10, data.interactions.end)
        kinds = parity(data.interactions.items, best.ravel()).reshape(best.shape)
        assert np.mean(kinds == users[:, None]) > 0.95


@needs_spark
def test_it_publishes_a_version_like_any_other(shop: tuple[Store, Settings, Path]) -> None:
    store, settings, lake = shop
    artifacts = Artifacts(settings.artifacts)
    recipe = Recipe.of("als", {"factors": 4, "iterations": 2})
    done = train_on_spark(store, artifacts, settings, recipe, "local[2]", lake)
    assert done.version.manifest["engine"] == "spark"
    assert done.report is not None
    assert load(read_bundle(done.version.path)).item_vectors().any()


def test_what_is_missing_is_named(shop: tuple[Store, Settings, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    store, settings, _ = shop
    artifacts, als = Artifacts(settings.artifacts), Recipe.of("als", {})
    with pytest.raises(UsageError, match="There is no lake yet"):
        train_on_spark(store, artifacts, settings, als, "local[2]", None)
    with pytest.raises(UsageError, match="Spark fits als, not ease"):
        train_on_spark(store, artifacts, settings, Recipe.of("ease", {}), "local[2]", None)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(MissingDependency, match="pyspark, which is not installed"):
        train_on_spark(store, artifacts, settings, als, "local[2]", settings.db.parent / "lake")
