"""What shelves count over all events, by Spark SQL: popularity, pairs, and the customers and intervals of windows.

The same numbers as `shelves.Counts` gives, from the view `weighed` that `SparkEngine.view_events` makes: only sums for
each item come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..models.support.demand import wanted
from ..progress import SILENT, Progress
from ..schema import DAY, PURCHASE, Dataset, Float32
from ..splitting.usable_time import usable_time
from .pairs import LARGE_BASKET, PAIR_SHRINKAGE, SUBSTITUTE, TOGETHER, categories
from .shelves import Counts, Sales, bought_again

# Each customer's newest event of a type with an item, by how much it weighs.
_NEWEST = """
    SELECT item, greatest(max_by(weight, ts), 0) AS weight, greatest(({end} - max(ts)) / {day}, 0) AS age
    FROM weighed GROUP BY customer, item, event_type"""
_CUSTOMERS = """
    SELECT item, count(DISTINCT customer) AS value FROM weighed
    WHERE {counted} AND {until} - ts < {first} AND greatest({until} - ts, 0) >= {last} GROUP BY item"""
_INTERVALS = """
    SELECT item, count(gap) AS times, count(*) AS purchases, percentile_disc(0.5) WITHIN GROUP (ORDER BY gap) AS gap
    FROM (
      SELECT item, CASE WHEN gap > {day} THEN gap END AS gap FROM (
        SELECT item, ts - lag(ts) OVER (PARTITION BY item, customer ORDER BY ts) AS gap FROM weighed
        WHERE event_type = '{purchase}'))
    GROUP BY item HAVING count(gap) > 0"""
# Without order numbers, a customer's day is an order; an order of one thing counts for how often it is sold.
_LINES = """
    SELECT basket, max(customer) AS owner, item FROM (
      SELECT coalesce(basket, customer || ' ' || ((ts - {start}) div {day})) AS basket, customer, item FROM weighed
      WHERE {bought})
    GROUP BY basket, item"""
_SOLD = "SELECT item, count(*) AS orders FROM basket_lines GROUP BY item"
_PAIRS = """
    WITH few AS (
      SELECT basket FROM basket_lines GROUP BY basket HAVING count(*) BETWEEN 2 AND {large}),
    some AS (SELECT l.* FROM basket_lines l LEFT SEMI JOIN few USING (basket)),
    pairs AS (
      SELECT a.item AS item, b.item AS other, count(*) AS both, count(DISTINCT a.owner) AS people
      FROM some a JOIN some b ON a.basket = b.basket AND a.item <> b.item GROUP BY a.item, b.item
      HAVING count(*) >= {pairs} AND count(DISTINCT a.owner) >= {least}),
    lifted AS (
      SELECT p.item, p.other, p.both, (p.both + {shrink}) / (x.orders * y.orders / {total} + {shrink}) AS lift
      FROM pairs p JOIN sold x ON x.item = p.item JOIN sold y ON y.item = p.other)
    SELECT item, other, both, lift FROM (
      SELECT *, row_number() OVER (PARTITION BY item ORDER BY lift DESC, other) AS place FROM lifted WHERE lift > 1)
    WHERE place <= {together}"""
# Pairs of one category, and how many customers have bought both.
_ALIKE = """
    WITH buyers AS (SELECT DISTINCT customer, item FROM weighed WHERE event_type = '{purchase}')
    SELECT p.item, p.other, count(*) AS customers FROM pairs p
    JOIN categories c ON c.item = p.item JOIN categories d ON d.item = p.other AND d.category = c.category
    JOIN buyers x ON x.item = p.item JOIN buyers y ON y.item = p.other AND y.customer = x.customer
    GROUP BY p.item, p.other, p.both HAVING p.both < {substitute} * count(*)"""


class SparkCounts(Counts):
    """`shelves.Counts` by Spark SQL.

    Parameters
    ----------
    spark
        A session with the view `weighed`, of the events of `data`.
    data
        Item codes are this one's.
    """

    def __init__(self, spark: Any, data: Dataset, progress: Progress = SILENT) -> None:
        super().__init__(data)
        self.spark = spark
        self.progress = progress

    @cached_property
    def sales(self) -> Sales:
        local = Sales.of(self.data.interactions)
        return SparkSales(local.data, local.counted, local.until, local.purchases, self.spark)

    def popularity(self, tau_days: float) -> NDArray[np.float64]:
        seen = self.data.interactions
        with self.progress.stage("Counting customers on Spark"):
            newest = self.spark.sql(_NEWEST.format(end=seen.end, day=DAY))
            newest.createOrReplaceTempView("newest")

            def aged(days: float) -> NDArray[np.float64]:
                by = f"weight * exp(-least(age / {float(days)}D, 700D))" if days else "weight"
                rows = self.spark.sql(f"SELECT item, sum({by}) AS value FROM newest GROUP BY item").toArrow()
                return _dense(rows, seen.n_items)

            return wanted(aged, tau_days if usable_time(seen.histories) else 0.0)

    def intervals(self) -> Float32:
        out = np.zeros(self.data.interactions.n_items, dtype=np.float32)
        with self.progress.stage("Counting intervals on Spark"):
            rows = self.spark.sql(_INTERVALS.format(day=DAY, purchase=PURCHASE)).toArrow()
        item, times, purchases, gap = (rows[name].to_numpy() for name in ("item", "times", "purchases", "gap"))
        keep = bought_again(times, purchases)
        out[item[keep]] = (gap[keep] / DAY).astype(np.float32)
        return out

    def together(self, least: int) -> dict[str, NDArray[Any]]:
        seen = self.data.interactions
        n, start = seen.n_items, int(seen.histories.ts.min(initial=0))
        bought = f"event_type = '{PURCHASE}'" if seen.histories.is_kind(PURCHASE).any() else "true"
        category = categories(self.data.catalogue)
        known = np.flatnonzero(category >= 0)
        table = pa.table({"item": known.astype(np.int32), "category": category[known]})
        with self.progress.stage("Counting pairs on Spark"):
            self.spark.createDataFrame(table).createOrReplaceTempView("categories")
            lines = self.spark.sql(_LINES.format(start=start, day=DAY, bought=bought)).cache()
            lines.createOrReplaceTempView("basket_lines")
            self.spark.sql(_SOLD).createOrReplaceTempView("sold")
            total = max(lines.select("basket").distinct().count(), 1)
            asked = {"large": LARGE_BASKET, "shrink": f"{PAIR_SHRINKAGE}D", "together": TOGETHER, "total": total}
            pairs = self.spark.sql(_PAIRS.format(**asked, pairs=max(least, 2), least=least)).cache()
            pairs.createOrReplaceTempView("pairs")
            replaced = self.spark.sql(_ALIKE.format(purchase=PURCHASE, substitute=f"{SUBSTITUTE}D"))
            kept = pairs.join(replaced, ["item", "other"], "left_anti").orderBy("item", "lift", "other").toArrow()
            for cached in (pairs, lines):
                cached.unpersist()
        return _in_rows(kept, n)


@dataclass(frozen=True)
class SparkSales(Sales):
    """`Sales` whose customers are counted by Spark."""

    spark: Any = None

    def customers(self, first_day: float, last_day: float) -> Float32:
        counted = f"event_type = '{PURCHASE}'" if self.purchases else "weight > 0"
        window = {"first": first_day * DAY, "last": last_day * DAY, "until": self.until, "counted": counted}
        rows = self.spark.sql(_CUSTOMERS.format(**window)).toArrow()
        return _dense(rows, self.data.n_items).astype(np.float32)


def _dense(rows: pa.Table, n_items: int) -> NDArray[np.float64]:
    """The column `value` at each row's `item`, 0 elsewhere."""
    out = np.zeros(n_items, dtype=np.float64)
    out[rows["item"].to_numpy()] = rows["value"].to_numpy()
    return out


def _in_rows(pairs: pa.Table, n_items: int) -> dict[str, NDArray[Any]]:
    """Pairs, the best of an item last, as `pairs.together` gives them."""
    row, other, both, lift = (pairs[name].to_numpy()[::-1] for name in ("item", "other", "both", "lift"))
    order = np.argsort(row, kind="stable")
    row, other, both, lift = row[order], other[order], both[order], lift[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    found: dict[str, NDArray[Any]] = {
        "together_item": np.full((n_items, TOGETHER), -1, dtype=np.int32),
        "together_count": np.zeros((n_items, TOGETHER), dtype=np.int32),
        "together_lift": np.zeros((n_items, TOGETHER), dtype=np.float32),
    }
    for array, values in zip(found.values(), (other, both, lift), strict=True):
        array[row, place] = values
    return found
