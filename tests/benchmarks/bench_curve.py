"""From how many events on a shop gets more than bestsellers: the learning curve of the README.

    python tests/benchmarks/bench_curve.py [--data ../shared/data] [--shops retail,sample] [--asked 400]

Small shops are made of a large one: customers drawn at random, with everything they did, until there are so many events
before the cut; the catalogue is the large one's. `auto` chooses and fits by what was before the cut; its list and
that of popularity are held against what the same customers bought after it and had not before (NDCG@10). Small draws
are repeated until enough customers were asked. Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_models import retail

from recsys_cli.demo import sample_files
from recsys_cli.evaluation import Split, Task, holdout, per_user, recommend
from recsys_cli.evaluation.report import Bootstrap, Interval
from recsys_cli.ingest import ingest
from recsys_cli.models import registry
from recsys_cli.models.popular import Popular, PopularConfig
from recsys_cli.publishing.train import read_snapshot
from recsys_cli.schema import Dataset, IdMap, Interactions
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.tuning.auto import pick

SIZES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 400_000)
MOST_DRAWS = 25


def sample_shop(_: Path) -> Split:
    """The sample shop, its last month hidden."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load(environ={"RECSYS_DB": f"{folder}/x.duckdb", "RECSYS_ARTIFACTS": f"{folder}/a"})
        ingest(settings, sample_files())
        split = holdout(read_snapshot(Store(settings.db, settings.store), settings).data)
    assert split is not None
    return split


SHOPS = {"retail": retail, "sample": sample_shop}


def small(split: Split, events: int, rng: np.random.Generator) -> Split:
    """The shop of customers drawn at random who have so many events before the cut between them."""
    past, future = split.train.interactions, split.future
    order = rng.permutation(len(past.histories))
    order = order[np.diff(past.histories.indptr)[order] + np.diff(future.indptr)[order] > 0]
    enough = np.searchsorted(np.cumsum(np.diff(past.histories.indptr)[order]), events) + 1
    rows = np.sort(order[:enough])
    basket = past.basket[np.isin(past.histories.row_of_event, rows)]
    seen = Interactions(past.histories.rows(rows), IdMap(past.users.take(rows)), past.items, basket, past.end)
    return Split(Dataset(seen, split.train.catalogue), split.cut, future.rows(rows), "time")


def judged(split: Split, seed: int) -> tuple[dict[str, np.ndarray], str]:
    """NDCG@10 of each customer by each way, and what auto took; nothing where nobody can be asked."""
    task = Task.of(split, max_users=20_000)
    if not len(task.users):
        return {}, ""
    floor = Popular.fit(split.train, PopularConfig())
    won = pick(split.train, seed=seed)
    cls = registry.get(won.name)
    config = won.final.whole if won.final else won.config
    models = {"popular": floor, "auto": cls.fit(split.train, cls.Config.from_values(config), seed=seed)}
    lists = {way: recommend(model, floor, task, 20).items for way, model in models.items()}
    return {way: per_user(items, task)["ndcg@10"] for way, items in lists.items()}, won.name


def curve(split: Split, sizes: Sequence[int], asked: int, seed: int) -> Iterator[Row]:
    """A row for each size, the last of all there is where more is asked for."""
    most = split.train.interactions.histories.n_events
    for size in sorted({min(size, most) for size in sizes if size < 0.9 * most or size >= most}):
        rng = np.random.default_rng(seed)
        found: list[dict[str, np.ndarray]] = []
        took: Counter[str] = Counter()
        draws, events = 0, 0
        while draws < MOST_DRAWS and sum(len(one["auto"]) for one in found) < asked and not (draws and size == most):
            one = small(split, size, rng)
            events += one.train.interactions.histories.n_events
            draws += 1
            values, name = judged(one, seed)
            if values:
                found.append(values)
                took[name] += 1
        if found:
            auto, popular = (np.concatenate([one[way] for one in found]) for way in ("auto", "popular"))
            lead = Bootstrap(len(auto), seed).interval(auto - popular)
            yield Row(events // draws, draws, len(auto), float(popular.mean()), float(auto.mean()), lead, took)


@dataclass(frozen=True)
class Row:
    """What was found for shops of one size."""

    events: int
    draws: int
    customers: int
    popular: float
    auto: float
    lead: Interval
    took: Counter[str]

    def __str__(self) -> str:
        floor = max(self.popular, 1e-9)
        lead = f"{self.lead.value / floor:+.0%} ({self.lead.low / floor:+.0%} to {self.lead.high / floor:+.0%})"
        took = ", ".join(f"{name} {n}" for name, n in self.took.most_common())
        figures = f"{self.events:,} | {self.customers:,} in {self.draws} | {self.popular:.4f} | {self.auto:.4f}"
        return f"| {figures} | {lead} | {took} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--shops", default=",".join(SHOPS))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="Events before the cut.")
    parser.add_argument("--asked", type=int, default=400, help="Customers asked at each size, at least.")
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    for name in given.shops.split(","):
        print(f"\n**{name}**\n\n| events | customers asked | bestsellers | auto | lead of auto | chosen |")
        print("|---|---|---|---|---|---|", flush=True)
        sizes = [int(size) for size in given.sizes.split(",")]
        for row in curve(SHOPS[name](given.data), sizes, given.asked, given.seed):
            print(row, flush=True)


if __name__ == "__main__":
    main()
