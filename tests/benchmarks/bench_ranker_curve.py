"""From how many customers, and how many clicks, on a ranker pays: what it gains where the gate is not asked.

    python tests/benchmarks/bench_ranker_curve.py [--data ../shared/data] [--parts retail,clicks] [--draws 6]

retail, sample: small shops are made of Online Retail, at several cuts in time, and of the sample shop: customers drawn
at random, until so many of them came back in the newest days. A ranker learns from what was known before the cut, and
its order of the candidates is held against that of its first stage by what the same customers bought after the cut.
clicks: a made-up shop of few orders whose visitors look at prices and stock; so many lists with a click are logged, and
the orders are judged by what visitors truly like (NDCG@10).
Beside the mean gain, in how many draws it lost, and in how many the gate would have let it order lists. Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_curve import sample_shop, small
from bench_models import retail

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ranking"))
from test_learning_from_clicks import CUSTOMERS, Shop, _ndcg, first_stage

from recsys_cli.features import ItemTable
from recsys_cli.models.base import Model
from recsys_cli.models.blend import Blend, BlendConfig
from recsys_cli.ranking import learning
from recsys_cli.ranking.judging import Verdict, judge
from recsys_cli.ranking.outcome import NEW, REPEAT
from recsys_cli.ranking.past import Candidates, blocks
from recsys_cli.ranking.proposals import FirstStage
from recsys_cli.ranking.ranker import Ranker
from recsys_cli.schema import DAY
from recsys_cli.splitting.holdout import Split, holdout, time_split

MEMBERS = {
    "rp3beta": {"model": "rp3beta", "config": {}, "weight": 0.5},
    "next-item": {"model": "next-item", "config": {}, "weight": 0.2},
    "popular-10d": {"model": "popular", "config": {"tau_days": 10.0}, "weight": 0.3},
}
BUYERS = (40, 80, 150, 300, 600)
CLICKS = (60, 120, 250, 500, 1_000)
CUTS_BACK = (0, 40, 80)  # days before Online Retail's cut
MOST_EVENTS = 10**9


@dataclass(frozen=True)
class Drawn:
    """One small shop: how large it was, what the gate said, and what came about afterwards."""

    size: int
    gate: Mapping[str, bool]
    truth: Mapping[str, Verdict]


def ungated(*args: Any, **kwargs: Any) -> tuple[learning.Outcome, Mapping[str, bool]]:
    """As `learn`, with a ranker whatever the gate says, and what it would have said."""
    said: dict[str, bool] = {}
    judging, judging_seen, least = learning.judge, learning.judge_seen, (learning.LEAST_BUYERS, learning.LEAST_CLICKS)
    both = learning._both

    def on(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
        said.update({kind: verdict.on for kind, verdict in verdicts.items()})
        return {kind: replace(verdict, on=True) for kind, verdict in verdicts.items()}

    if kwargs.get("seen") is None:
        learning.judge = lambda *a, **k: on(judging(*a, **k))  # type: ignore[assignment]
        learning.LEAST_BUYERS = 1  # type: ignore[misc]
    else:
        learning._both = lambda *a, **k: on(both(*a, **k))  # type: ignore[assignment]
        learning.LEAST_CLICKS = 1  # type: ignore[misc]
    try:
        return learning.learn(*args, **kwargs), said
    finally:
        learning.judge, learning.judge_seen, learning._both = judging, judging_seen, both
        learning.LEAST_BUYERS, learning.LEAST_CLICKS = least  # type: ignore[misc]


def came_back(split: Split) -> int:
    """Customers who can be asked."""
    return len(split.judged(split.wanted(repeat=True), MOST_EVENTS, 0))


def with_buyers(whole: Split, buyers: int, rng: np.random.Generator) -> tuple[Split, Split] | None:
    """A small shop of which so many came back in the newest days before the cut, and that window; None if too large."""
    inner = holdout(whole.train)
    if inner is None or inner.by != "time" or came_back(inner) < 0.9 * buyers:
        return None
    share = buyers / came_back(inner)
    events = int(share * whole.train.interactions.histories.n_events)
    shop = small(whole, events, rng) if share < 0.9 else whole
    newest = holdout(shop.train)
    return None if newest is None or newest.by != "time" else (shop, newest)


def by_orders(whole: Sequence[Split], draws: int, seed: int) -> Iterator[tuple[int, list[Drawn]]]:
    for buyers in BUYERS:
        found: list[Drawn] = []
        for number in range(draws):
            made = with_buyers(whole[number % len(whole)], buyers, np.random.default_rng([seed, buyers, number]))
            if made is None or not came_back(made[0]):
                continue
            shop, newest = made
            config = BlendConfig(members=MEMBERS)
            past, now = (Blend.fit(part.train, config, seed=seed, threads=1) for part in (newest, shop))
            found_out, said = ungated(newest, past, now, seed=seed, threads=1)
            if found_out.ranker is not None:
                truth = judge(
                    found_out.ranker, Candidates.of(FirstStage.of(now), shop, max_users=4000, seed=seed), seed
                )
                found.append(Drawn(came_back(newest), said, truth))
        if found:
            yield buyers, found


def by_clicks(draws: int, seed: int) -> Iterator[tuple[int, list[Drawn]]]:
    for lists in CLICKS:
        found: list[Drawn] = []
        for number in range(draws):
            shop = Shop(seed + number)
            split = holdout(shop.data, 25)
            assert split is not None
            model, seen = first_stage(split), shop.seen(40)
            clicked = np.unique(seen.listed[seen.clicked])
            some = np.random.default_rng([seed, number]).permutation(clicked)[:lists]
            share = lists / len(clicked)
            others = np.setdiff1d(np.unique(seen.listed), clicked)
            others = others[np.random.default_rng(number).random(len(others)) < share]
            seen = seen.where(np.isin(seen.listed, np.concatenate([some, others])))
            learned, said = ungated(split, model, model, seen=seen, seed=seed, threads=1)
            if learned.ranker is not None:
                found.append(Drawn(lists, said, {NEW: _truly(shop, split, model, learned.ranker)}))
        if found:
            yield lists, found


def _truly(shop: Shop, split: Split, model: Model, ranker: Ranker) -> Verdict:
    """Both orders of the candidates by what visitors like."""
    values: list[list[float]] = []

    def take(block: Any, who: Any, few: Any) -> None:
        block = block.only(few)
        orders = ranker.order(block)[0], np.lexsort((block.item, -block.first, block.row))
        liked = shop.liked[who[block.row], block.item]
        values.append([_ndcg(liked[order], block.row[order]) for order in orders])

    blocks(FirstStage.of(model), split, np.arange(CUSTOMERS), ItemTable.of(split.train), take)
    ranked, first = np.array(values).mean(axis=0)
    return Verdict(True, "", first, ranked, ranked - first, users=CUSTOMERS)


def row_of(size: int, found: list[Drawn], kind: str) -> str:
    """One line of the table: means by customers asked, and draws."""
    asked = np.array([one.truth[kind].users for one in found], dtype=np.float64)
    if not asked.sum():
        return f"| {size:,} | nobody asked |"
    share = asked / asked.sum()
    first, ranked = (float(share @ [getattr(one.truth[kind], way) for one in found]) for way in ("first", "ranked"))
    error = np.array([(one.truth[kind].high - one.truth[kind].low) / 3.92 for one in found])
    draws = np.array([one.truth[kind].gain / max(one.truth[kind].first, 1e-9) for one in found])
    around = (
        1.96 * float(np.sqrt(np.sum((share * error) ** 2)))
        if error.any()
        else 1.96 * draws.std() / len(draws) ** 0.5 * first
    )
    gain, lost = ranked - first, sum(one.truth[kind].gain < 0 for one in found)
    let = [one for one in found if one.gate.get(kind)]
    lost_let = sum(one.truth[kind].gain < 0 for one in let)
    return (
        f"| {np.mean([one.size for one in found]):,.0f} | {len(found)} | {asked.sum():,.0f} "
        f"| {first:.4f} | {ranked:.4f} "
        f"| {gain / first:+.0%} ({(gain - around) / first:+.0%} to {(gain + around) / first:+.0%}) | {lost} "
        f"| {len(let)}, of which {lost_let} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--parts", default="retail,sample,clicks")
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    head = "draws | customers asked | first stage | ranker | gain | draws it lost | let by the gate |"
    for part in given.parts.split(","):
        if part == "clicks":
            print(f"\n**clicks**\n\n| lists with a click | {head}\n{'|---' * 8}|", flush=True)
            for size, found in by_clicks(given.draws, given.seed):
                print(row_of(size, found, NEW), flush=True)
            continue
        if part == "retail":
            last = retail(given.data)
            cuts = [last, *(time_split(last.train.before(last.cut - days * DAY), 35.0) for days in CUTS_BACK[1:])]
        else:
            cuts = [sample_shop(given.data)]
        lines: dict[str, list[str]] = {NEW: [], REPEAT: []}
        for size, found in by_orders(cuts, given.draws, given.seed):
            for kind, rows in lines.items():
                rows.append(row_of(size, found, kind))
                print(kind, rows[-1], flush=True)
        for kind, rows in lines.items():
            print(f"\n**{part}, {kind}**\n\n| came back | {head}\n{'|---' * 8}|", *rows, sep="\n", flush=True)


if __name__ == "__main__":
    main()
