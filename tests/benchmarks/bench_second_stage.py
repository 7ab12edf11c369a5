"""What the second stage takes for one list: candidates, features and trees, in CPU milliseconds on one thread.

    python tests/benchmarks/bench_second_stage.py [--data ../shared/data] [--customers 300]

On Online Retail: a first stage of three sources, and heads grown from the orders of one past moment. For each customer
the steps of a list as it is served, then features and trees of 100 and of 500 products drawn by chance, and of the
latter what LightGBM itself takes for the same trees.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from bench_models import retail
from threadpoolctl import threadpool_limits

from recsys_cli.features import ItemTable, People, learned
from recsys_cli.models.base import Model
from recsys_cli.models.blend import Blend, BlendConfig
from recsys_cli.ranking import heads
from recsys_cli.ranking.opinions import SERVED, names_of
from recsys_cli.ranking.past import Candidates, best_of, lesson, of_pairs, owned_by
from recsys_cli.ranking.proposals import FirstStage
from recsys_cli.ranking.ranker import Items, Ranker
from recsys_cli.splitting.holdout import Split, time_split

MEMBERS = {
    "rp3beta": {"model": "rp3beta", "config": {}, "weight": 0.5},
    "next-item": {"model": "next-item", "config": {}, "weight": 0.2},
    "popular-10d": {"model": "popular", "config": {"tau_days": 10.0}, "weight": 0.3},
}
DRAWN = (100, 500)
Times = dict[str, list[float]]


def made(data: Path) -> tuple[Split, Model, Ranker]:
    """A past moment, a first stage fitted on what was before it, and a ranker of what came after it."""
    split = time_split(retail(data).train, 35.0)
    model = Blend.fit(split.train, BlendConfig(members=MEMBERS), seed=1)
    names = (*names_of(model), *learned())
    orders = lesson(Candidates.of(FirstStage.of(model), split, max_users=1000, seed=1), names, 1)
    return split, model, heads.grow(heads.Lessons(names, orders), {heads.ORDER: 1.0, heads.PURCHASE: 1.0}, 1)


def asked(split: Split, model: Model, ranker: Ranker, customers: int) -> tuple[Times, list[int]]:
    """Seconds of each step for each customer, and how many candidates there were."""
    times: Times = {}
    sizes: list[int] = []
    table, rng = ItemTable.of(split.train), np.random.default_rng(1)
    items, first = Items.of(ranker, table), FirstStage.of(model)

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        begin = time.thread_time()
        yield
        times.setdefault(step, []).append(time.thread_time() - begin)

    for user in split.judged(split.wanted(repeat=True), customers, 1).tolist():
        history = split.train.interactions.histories.rows(np.array([user]))
        owned = owned_by(history, table)
        with timed("scores of the first stage"):
            found = first.look(history, owned, split.now)
        with timed("candidates"):
            block = best_of(found, People(history, table, split.now), depth=SERVED)
        with timed("features"):
            values = ranker.asked(block, items)
        with timed("trees and order"):
            ranker.order(block, values)
        sizes.append(len(block.item))
        for drawn in DRAWN:
            codes = np.sort(rng.choice(len(table), drawn, replace=False)).astype(np.int32)
            block = of_pairs(found, People(history, table, split.now), np.zeros(drawn, np.int64), codes)
            with timed(f"{drawn}: features"):
                values = ranker.asked(block, items)
            with timed(f"{drawn}: trees"):
                ranker.forest.predict(values.values, values.columns, values.begun)
            both = times[f"{drawn}: features"][-1] + times[f"{drawn}: trees"][-1]
            times.setdefault(f"{drawn}: both", []).append(both)
        plain = block.values(ranker.names)
        with timed("500: trees by LightGBM"):
            for head in ranker.heads.values():
                head.trees.predict(plain)
    return times, sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--customers", type=int, default=300)
    given = parser.parse_args()
    with threadpool_limits(1):
        split, model, ranker = made(given.data)
        times, sizes = asked(split, model, ranker, given.customers)
    middle, most = np.percentile(sizes, [50, 99]).astype(int)
    print(f"{ranker.forest.size} trees, {len(ranker.names)} features, {middle} candidates a list (p99 {most})\n")
    print("| CPU ms | p50 | p99 |\n|---|---|---|")
    for step, seconds in times.items():
        print(f"| {step} | {1000 * np.median(seconds):.2f} | {1000 * np.percentile(seconds, 99):.2f} |")


if __name__ == "__main__":
    main()
