"""Fitting `als` on Spark, from the lake: for shops whose events outgrow the cores of one machine.

Spark SQL weighs the events as `splitting.interactions.weigh` does, Spark's MLlib alternates, and the items' vectors
come back. Customers are folded in by them as after any other fit: artifact, gate and server are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..artifacts import Artifacts
from ..errors import NotEnoughData, UsageError
from ..evaluation.bench import Recipe
from ..models.als import ALS, ALSConfig
from ..models.base import Model, ModelConfig
from ..progress import SILENT, Progress
from ..schema import Dataset, Float32, Histories
from ..settings import Settings
from ..store import Store
from ..view_durations import level_sql, with_levels
from .lake import EVENTS, export_lake, lakes
from .shelves import Counts
from .spark_counts import SparkCounts
from .spark_session import spark_session
from .train import Trained, train

# Each event of a type with a weight, as the store's own reading has it; see `store.reading`.
_WEIGHED = """
    SELECT e.customer, e.basket, i.code AS item, e.ts, e.event_type, k.weight, greatest(e.qty, 1) AS qty
    FROM (SELECT *, {level} AS level FROM events WHERE ts <= {until}) e
    JOIN kinds k ON k.event_type = e.event_type AND k.level = e.level
    JOIN items i ON i.item_id = e.item_id"""
# The strongest event of each item times its number of events, unless what came back is as much as what was bought.
_RATINGS = """
    SELECT dense_rank() OVER (ORDER BY customer) AS customer, item, weight FROM (
      SELECT customer, item,
             max(weight * pow(qty, {qty_power})) * pow(count_if(weight > 0), {repeat_power}) AS weight
      FROM weighed GROUP BY customer, item HAVING sum(weight * qty) > 1e-6 AND max(weight) > 0)"""


@dataclass(frozen=True)
class SparkEngine:
    """A running Spark and a lake to fit from; made by `spark_engine`."""

    spark: Any
    lake: Path
    settings: Settings
    progress: Progress = SILENT

    def __call__(self, config: ModelConfig, data: Dataset) -> Model:
        """`ALS` fitted on the events of the lake that are in `data`.

        Raises
        ------
        UsageError
            The lake does not hold these events: they came in since, or are not a stretch of time.
        NotEnoughData
        """
        assert isinstance(config, ALSConfig)
        with self.progress.stage("Weighing events on Spark"):
            self.view_events(data)
            ratings = self.ratings(config).cache()
            counted = ratings.selectExpr("count(*)", "count(DISTINCT customer)", "count(DISTINCT item)").collect()
            pairs, customers, sold = (int(n) for n in counted[0])
        if not pairs:
            raise NotEnoughData("There is no purchase to learn from.", "Run recsys ingest FILE with purchases.")
        chosen = ALS.sized(config, sold=sold, pairs=pairs, customers=customers)
        with self.progress.stage(f"Fitting als on Spark, {chosen.iterations} passes"):
            vectors = self._vectors(ratings, chosen, data.interactions.n_items)
        ratings.unpersist()
        return ALS.of_vectors(data, chosen, vectors)

    def ratings(self, config: ModelConfig) -> Any:
        """What everybody has, weighed: a row for each customer (a number) and item (its code). After `view_events`."""
        return self.spark.sql(_RATINGS.format(qty_power=config.qty_power, repeat_power=config.repeat_power))

    def view_events(self, data: Dataset) -> None:
        """Make the view `weighed`: the events of `data`, with weights and item codes.

        Raises
        ------
        UsageError
            The lake does not hold them.
        """
        seen, level = data.interactions, level_sql(self.settings.events.view_seconds)
        kinds = _kinds(seen.histories, self.settings.events.view_seconds)
        codes = pa.table({"item_id": seen.items.ids, "code": np.arange(seen.n_items, dtype=np.int32)})
        weighed = _WEIGHED.format(level=level, until=int(seen.histories.ts.max(initial=0)))
        for name, table in (
            ("events", self.spark.read.parquet(str(self.lake.absolute() / EVENTS))),
            ("kinds", self.spark.createDataFrame(kinds, "event_type string, level int, weight double")),
            ("items", self.spark.createDataFrame(codes)),
        ):
            table.createOrReplaceTempView(name)
        weighed = self.spark.sql(weighed)
        weighed.createOrReplaceTempView("weighed")
        there, wanted = weighed.count(), seen.histories.n_events
        if there != wanted:
            raise UsageError(
                f"The lake holds {there:,} of these events, and the database {wanted:,}.",
                "If events came in meanwhile, run this again. If the times of events are not reliable, which "
                "recsys doctor tells, leave --engine spark out.",
            )

    def counts(self, data: Dataset) -> Counts:
        """What the shelves of a version count over all events."""
        self.view_events(data)
        self.spark.catalog.cacheTable("weighed")  # looked through a dozen times
        return SparkCounts(self.spark, data, self.progress)

    def _vectors(self, ratings: Any, config: ALSConfig, n_items: int) -> Float32:
        from pyspark.ml.recommendation import ALS as SparkALS

        blocks = max(self.spark.sparkContext.defaultParallelism, 1)
        fitted = SparkALS(
            rank=config.factors,
            numUserBlocks=blocks,
            numItemBlocks=blocks,
            maxIter=config.iterations,
            regParam=config.regularization / _scale(ratings),
            implicitPrefs=True,
            alpha=config.alpha,
            userCol="customer",
            itemCol="item",
            ratingCol="weight",
            seed=self.settings.train.seed,
        ).fit(ratings)
        rows = fitted.itemFactors.collect()
        vectors = np.zeros((n_items, config.factors), dtype=np.float32)
        vectors[[row["id"] for row in rows]] = np.array([row["features"] for row in rows], dtype=np.float32)
        return vectors


def _scale(ratings: Any) -> float:
    """What MLlib multiplies the penalty by, for a pair in the middle: how many items its customer has, or customers its
    item, while our own fit multiplies it by 1.

    Divided by the mean of customers alone, NDCG@10 fell from .126 to .122 on Online Retail, where histories differ
    most; by this it is .126 there, and .033 as before on Amazon Beauty.
    """
    sides = [
        ratings.groupBy(side).count().selectExpr("sum(count * count) / sum(count)").collect()[0][0]
        for side in ("customer", "item")
    ]
    return math.sqrt(sides[0] * sides[1])


def _kinds(histories: Histories, view_seconds: float) -> list[tuple[str, int, float]]:
    """Type, level and weight of each kind of event that histories know."""
    named = with_levels(tuple(dict.fromkeys(histories.kinds)), view_seconds)
    assert tuple(name for name, _ in named) == histories.kinds
    return [(name, level, float(w)) for (name, level), w in zip(named, histories.kind_weight, strict=True)]


@contextmanager
def spark_engine(lake: Path, master: str, settings: Settings, progress: Progress = SILENT) -> Iterator[SparkEngine]:
    """A Spark for the time of a training; see `spark_session`."""
    with spark_session(master, progress) as spark:
        yield SparkEngine(spark, lake, settings, progress)


def train_on_spark(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    recipe: Recipe,
    master: str,
    lake: Path | None,
    *,
    progress: Progress = SILENT,
    force: bool = False,
) -> Trained:
    """As `train`, with the fits on Spark; the lake is brought up to date first.

    Parameters
    ----------
    recipe
        Of `als`.
    lake
        None for the only one that was exported to.

    Raises
    ------
    UsageError
        Another model, or no lake.
    MissingDependency, MissingLibrary, RecsysError
        See `spark_session`.
    """
    if recipe.name != ALS.name:
        raise UsageError(f"Spark fits als, not {recipe.name}.", "Leave --model or --engine out.")
    known = lakes(settings.db)
    if lake is None and len(known) != 1:
        told = f"There are {len(known)} lakes." if known else "There is no lake yet."
        raise UsageError(told, "Name the folder with --lake DIR; recsys export --lake DIR writes one.")
    folder = lake if lake is not None else known[0]
    with spark_engine(folder, master, settings, progress) as engine:
        export_lake(store, settings, folder, progress)
        recipe = replace(recipe, engine=engine)
        return train(
            store, artifacts, settings, recipe, progress, force=force, notes={"engine": "spark"}, counts=engine.counts
        )
