"""Experiments from the answer to the verdict, many times over; `python -m pytest FILE -s`.

A shop with known relevance, a known position curve and a known lift. Visitors are assigned by the server's own hash,
lists are mixed by its own code; what was seen, clicked and bought goes through the store's tables and SQL, and every
verdict is asked for each day.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys_cli.artifacts import Artifacts
from recsys_cli.artifacts.running import INTERLEAVED, SPLIT, Experiment, arm_of
from recsys_cli.experiments import statistics as s
from recsys_cli.experiments.sales_report import prepare
from recsys_cli.experiments.verdicts import judged
from recsys_cli.schema import DAY, SERVED_COLUMNS
from recsys_cli.serving.arms import team_draft
from recsys_cli.settings import Settings, StoreSettings
from recsys_cli.store import Store
from recsys_cli.store.attribution import Windows, attribute
from recsys_cli.store.merge import merge_events
from tests.experiments.shop import START, Shop, cents
from tests.experiments.test_verdicts import CANDIDATES, K, answer, clicks, ranked

DAYS = 14
EXPERIMENTS = 200
BOUGHT_OF_CLICKED = 1 / 15
PRECISE, VAGUE = 0.05, 0.25  # noise of a better and of a worse ranker


@pytest.fixture
def roomy(tmp_path: Path) -> Store:
    return Store(tmp_path / "shop" / "shop.duckdb", StoreSettings(lock_timeout=5, threads=2))


@contextmanager
def told(what: str) -> Iterator[None]:
    began = time.process_time()
    yield
    print(f"{what}: {time.process_time() - began:.0f} s of CPU")


# -- columns of what happened


def events(kind: str, who: Any, items: Any, ts: Any, *, requests: Any = None, prices: Any = None) -> pa.Table:
    return pa.table({
        "session_id": pa.array(who, pa.string()), "item_id": pa.array(items, pa.string()),
        "ts": pa.array(ts, pa.int64()), "event_type": pa.array([kind] * len(ts), pa.string()),
        "request_id": pa.array([None] * len(ts) if requests is None else requests, pa.string()),
        "price": pa.array([None] * len(ts) if prices is None else prices, pa.float64()),
    })  # fmt: skip


def lists(one: Experiment, requests: Any, ts: Any, arms: Any, items: Any, teams: Any = None) -> pa.Table:
    n = len(requests)
    given = {
        "request_id": requests, "ts": ts, "route": ["/recommend"] * n, "placement": [""] * n, "version": ["v1"] * n,
        "experiment": [one.name] * n, "arm": arms, "items": items, "sources": [["m"] * len(i) for i in items],
        "teams": [""] * n if teams is None else teams, "fallbacks": [0] * n, "seconds": [0.001] * n, "share": [1.0] * n,
        "swap": [0] * n,
    }  # fmt: skip
    return pa.table({name: given[name] for name in SERVED_COLUMNS})


def fill(store: Store, served: Sequence[pa.Table], happened: Sequence[pa.Table]) -> None:
    names = ", ".join(SERVED_COLUMNS)
    with store.writing() as con:
        merge_events(con, pa.concat_tables(happened))
        con.register("rows", pa.concat_tables(served))
        con.execute(f"INSERT INTO served ({names}) SELECT {names} FROM rows")
        con.unregister("rows")


def trial(name: str, kind: str = SPLIT) -> Experiment:
    return Experiment(name, kind, ("served", "rules:diversity=0.5"), f"salt of {name}", started_at=START)


def named(one: Experiment, numbers: Any, turn: int = 0) -> list[str]:
    return [f"{one.name}-{n}-{turn}" for n in np.asarray(numbers).tolist()]


def shopping(one: Experiment, visitors: int, lift: float, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Visitors who come over DAYS days, three in ten twice; b's buyers spend `1 + lift` times as much.

    Returns
    -------
    The lists, the events, and how many visitors each arm has.
    """
    keys = rng.integers(0, 2**62, (visitors, 2)).tolist()
    arm = np.array([arm_of(one, (a, b)) for a, b in keys])
    taste = rng.lognormal(3.2, 0.6, visitors)
    served, happened = [], []
    for turn, share in enumerate((1.0, 0.3)):
        came = np.flatnonzero(rng.random(visitors) < share)
        at = START + rng.integers(0, DAYS * DAY, len(came))
        who, requests = np.array(named(one, came)), np.array(named(one, came, turn + 1))
        product = np.full(len(came), "p")
        served.append(lists(one, requests, at, np.array(["a", "b"])[arm[came]], [["p", "q"]] * len(came)))
        happened.append(events("impression", who, product, at, requests=requests))
        pressed, buys = rng.random(len(came)) < 0.2, rng.random(len(came)) < 0.15
        happened.append(events("click", who[pressed], product[pressed], at[pressed] + 5, requests=requests[pressed]))
        worth = np.round(taste[came] * rng.lognormal(0, 0.3, len(came)) * (1 + lift * arm[came]), 2)
        happened.append(events("purchase", who[buys], product[buys], at[buys] + 60, prices=worth[buys]))
    return pa.concat_tables(served), pa.concat_tables(happened), np.bincount(arm, minlength=2)


def comparing(one: Experiment, sessions: int, noise: Sequence[float], rng: np.random.Generator) -> tuple[Any, Any]:
    """Each visitor sees both rankers' lists in one, looks down it, and clicks what is relevant."""
    relevance = rng.beta(0.4, 4.0, (sessions, CANDIDATES))
    at = np.sort(START + rng.integers(0, DAYS * DAY, sessions))
    items, teams, hits = [], [], []
    for n, truth in enumerate(relevance):
        pair = [answer(ranked(truth, vague, rng)) for vague in noise]
        mixed, letters = team_draft(pair[0], pair[1], K, f"{one.name} {n}")
        items.append(mixed.item_ids)
        teams.append(letters)
        hits.append(clicks([int(i) for i in mixed.item_ids], truth, rng))
    who, requests = np.array(named(one, range(sessions))), np.array(named(one, range(sessions), 1))
    each = np.repeat(np.arange(sessions), [len(i) for i in items])
    product, hit = np.concatenate([np.array(i) for i in items]), np.concatenate(hits)
    seen = events("impression", who[each], product, at[each], requests=requests[each])
    which = each[hit]
    pressed = events("click", who[which], product[hit], at[which] + 5, requests=requests[which])
    return lists(one, requests, at, [""] * sessions, items, teams), pa.concat_tables([seen, pressed])


# -- what is found


def watched(store: Store, settings: Settings, trials: Sequence[Experiment]) -> dict[str, tuple[str, int]]:
    """Trials that any of the daily looks gave a winner, with the first one and its day."""
    artifacts, won = Artifacts(settings.artifacts), dict[str, tuple[str, int]]()
    for day in range(1, DAYS + 1):
        until = START + day * DAY
        with store.reading() as con:
            prepare(con, store, artifacts, settings, START, until)
            for one in trials:
                if winner := judged(con, one, until).winner:
                    won.setdefault(one.name, (winner, day))
    return won


def test_experiments_without_a_difference_watched_every_day(roomy: Store, values: Settings) -> None:
    rng = np.random.default_rng(17)
    trials = [trial(f"t{n}") for n in range(EXPERIMENTS)]
    with told("\nmade"):
        made = [shopping(one, 400, 0.0, rng) for one in trials]
        fill(roomy, [one[0] for one in made], [one[1] for one in made])
    with told("watched"):
        won = watched(roomy, values, trials)
    arms = np.array([one[2] for one in made])
    share = arms[:, 0].sum() / arms.sum()
    print(f"{EXPERIMENTS} A/A of 400 visitors, looked at on {DAYS} days: {len(won)} ever showed a winner")
    print(f"arms: {arms[:, 0].sum():,} and {arms[:, 1].sum():,} visitors, {share:.2%}; of one, "
          f"{arms[:, 0].min()} to {arms[:, 0].max()} of 400")  # fmt: skip
    assert len(won) <= EXPERIMENTS * 0.05
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(arms.sum())


def test_interleaving_without_a_difference_watched_every_day(roomy: Store, values: Settings) -> None:
    rng = np.random.default_rng(18)
    trials = [trial(f"i{n}", INTERLEAVED) for n in range(EXPERIMENTS)]
    with told("\nmade"):
        made = [comparing(one, 300, (0.1, 0.1), rng) for one in trials]
        fill(roomy, [one[0] for one in made], [one[1] for one in made])
    with told("watched"):
        won = watched(roomy, values, trials)
    print(f"{EXPERIMENTS} interleaved A/A of 300 lists, looked at on {DAYS} days: {len(won)} ever showed a winner")
    assert len(won) <= EXPERIMENTS * 0.05


def test_a_tenth_more_is_found(roomy: Store, values: Settings) -> None:
    rng = np.random.default_rng(19)
    trials = [trial(f"t{n}") for n in range(3)]
    with told("\nmade"):
        made = [shopping(one, 100_000, 0.10, rng) for one in trials]
        fill(roomy, [one[0] for one in made], [one[1] for one in made])
    with told("watched"):
        won = watched(roomy, values, trials)
    print(f"{len(trials)} experiments with a true +10 % among 100,000 visitors: {won or 'none found'}")
    assert len(won) == len(trials)
    assert all(winner == "b" for winner, _ in won.values())


def visitors_of_a_split(rates: Sequence[float], rng: np.random.Generator) -> int:
    """Visitors until a split whose arms convert at these rates knows the better one, looked at every 1,000."""
    count, sold = 0, np.zeros(2)
    while count < 50_000_000:
        count += 1_000
        sold += rng.binomial(500, rates)
        mean = sold / (count / 2)
        if mean[1] - mean[0] > s.half_width(count, 2 * float((mean * (1 - mean)).sum())):
            return count
    raise AssertionError(f"not decided by {count:,} visitors at {rates}")


def test_interleaving_takes_a_twentieth_of_the_sessions(roomy: Store, values: Settings) -> None:
    """Lists until a better ranker is known by clicks, and visitors until a split of the same shop knows it by sales."""
    rng = np.random.default_rng(20)
    trials = [trial(f"i{n}", INTERLEAVED) for n in range(10)]
    sessions = 2_000
    made = [comparing(one, sessions, (VAGUE, PRECISE), rng) for one in trials]
    fill(roomy, [one[0] for one in made], [one[1] for one in made])
    needed = []
    with roomy.reading() as con:
        prepare(con, roomy, Artifacts(values.artifacts), values, START, START + DAYS * DAY + 10)
        for one in trials:
            verdict = judged(con, one, START + DAYS * DAY)
            assert verdict.winner == "b", verdict.sentence
            needed.append(_lists_needed(con, one))
    truth = rng.beta(0.4, 4.0, (20_000, CANDIDATES))
    rates = [
        float(np.mean([clicks(ranked(r, noise, rng), r, rng).any() for r in truth])) * BOUGHT_OF_CLICKED
        for noise in (VAGUE, PRECISE)
    ]
    split = [visitors_of_a_split(rates, rng) for _ in range(10)]
    print(f"\ninterleaving: {np.mean(needed):,.0f} lists ({min(needed):,} to {max(needed):,})")
    print(f"a split by conversion, {rates[0]:.2%} against {rates[1]:.2%}: {np.mean(split):,.0f} visitors "
          f"({min(split):,} to {max(split):,}), {np.mean(split) / np.mean(needed):,.0f} times as many")  # fmt: skip
    assert np.mean(needed) < np.mean(split) / 20


def _lists_needed(con: Any, one: Experiment) -> int:
    """Lists of the experiment in the order of time until its duels are decided for good."""
    won = con.execute(
        """WITH hits AS (SELECT request_id, any_value(ts) AS ts,
                    count(*) FILTER (team = 'b' AND seen_id IN (SELECT seen_id FROM touch_clicks))
                    - count(*) FILTER (team = 'a' AND seen_id IN (SELECT seen_id FROM touch_clicks)) AS lead
                  FROM touch_seen WHERE experiment = $1 GROUP BY request_id)
           SELECT sign(lead) FROM hits ORDER BY ts, request_id""",
        [one.name],
    ).fetchnumpy()
    lead = next(iter(won.values()))
    b, a = np.cumsum(lead > 0), np.cumsum(lead < 0)
    return next(n for n in range(10, len(lead)) if s.rate(int(b[n]), int(a[n])).low > 0.5) + 1


def test_every_cent_is_where_the_ledger_has_it(tmp_path: Path) -> None:
    """Of ten shops, by placement, arm and day, under nine pairs of windows after a click and after a look."""
    off: dict[tuple[int, int], int] = {}
    total = 0
    for seed in range(10):
        store = Store(tmp_path / f"{seed}" / "shop.duckdb", StoreSettings(lock_timeout=5, threads=2))
        Shop(100 + seed, visitors=500).fill(store)
        for clicked, seen in [(a, b) for a in (0, 1, 7) for b in (0, 1, 7)]:
            ledger = Shop(100 + seed, visitors=500, clicked_days=clicked or -1, seen_days=seen or -1).ledger
            with store.reading() as con:
                attribute(con, START - DAY, START + 400 * DAY, Windows(clicked, seen))
                rows = con.execute(
                    f"""SELECT s.placement, s.arm, (o.ts - {START}) // {DAY}, sum(o.amount) FROM touch_outcomes o
                        LEFT JOIN touch_seen s USING (seen_id) WHERE o.kind <> 'cart' GROUP BY ALL"""
                ).fetchall()
            found = {row[:3]: cents(row[3]) for row in rows if row[0] is not None}
            wrong = sum(abs(found.get(k, 0) - ledger.owed.get(k, 0)) for k in found.keys() | ledger.owed.keys())
            wrong += abs(sum(cents(row[3]) for row in rows) - ledger.total)
            off[clicked, seen] = off.get((clicked, seen), 0) + wrong
        total += ledger.total
    print(
        f"\n{total / 100:,.2f} sold in 10 shops of 500 visitors; cents off the ledger by windows (click, look): {off}"
    )
    assert not any(off.values())
