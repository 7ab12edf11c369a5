"""What titles mean against their words, for items that nobody bought before.

    python tests/benchmarks/bench_text.py [--data ../shared/data] [--sets retail,beauty] [--meanings 0,0.5,1,2]

Of what customers bought after the cut, only items without any sale before it are asked for, and only such items may be
named: the model content alone, from the customer's history. Online Retail has titles, Amazon Beauty tags.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_models import SETS

from recsys_cli.evaluation import Split, metrics
from recsys_cli.evaluation.report import Bootstrap
from recsys_cli.models.content import Content, ContentConfig
from recsys_cli.models.support.top_n import contains


def cold(split: Split, meaning: float) -> tuple[np.ndarray, np.ndarray, int, float]:
    """NDCG@10 and hits of each customer who bought a new item, how many items are new, and CPU seconds of the fit."""
    histories, n_items = split.train.interactions.histories, split.train.interactions.n_items
    unsold = np.bincount(histories.item, minlength=n_items) == 0
    wanted = split.wanted()
    wanted.data *= unsold[wanted.indices]
    wanted.eliminate_zeros()
    users = split.judged(wanted, 1_000_000, 0)
    begin = time.process_time()
    model = Content.fit(split.train, replace(ContentConfig(), meaning=meaning), threads=1)
    spent = time.process_time() - begin
    items, _ = model.recommend(histories.rows(users), 10, split.now, allowed=unsold)
    hits = contains(wanted[users], items)
    relevant = np.diff(wanted[users].indptr).astype(np.int64)
    return metrics.ndcg(hits, relevant, 10), metrics.hit_rate(hits, 10), int(unsold.sum()), spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--sets", default="retail,beauty")
    parser.add_argument("--meanings", default="0,0.5,1,2")
    given = parser.parse_args()
    for name in given.sets.split(","):
        split, words = SETS[name](given.data), None
        print(f"\n**{name}**\n\n| meaning | NDCG@10 | HR@10 | more than words | CPU s |\n|---|---|---|---|---|")
        for meaning in map(float, given.meanings.split(",")):
            ndcg, hit, items, spent = cold(split, meaning)
            words = ndcg if words is None else words
            lead = Bootstrap(len(ndcg), 42).interval(ndcg - words)
            gain = f"{lead.value:+.4f} ({lead.low:+.4f} to {lead.high:+.4f})"
            print(f"| {meaning:g} | {ndcg.mean():.4f} | {hit.mean():.4f} | {gain} | {spent:.1f} |", flush=True)
        print(f"{len(ndcg):,} customers, {items:,} items without a sale before")


if __name__ == "__main__":
    main()
