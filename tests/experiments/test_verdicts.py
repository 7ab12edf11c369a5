"""Experiments of a simulated shop with a known position curve, known relevance and a known lift."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys_cli.artifacts import Artifacts, running
from recsys_cli.artifacts.running import INTERLEAVED, SPLIT, Experiment
from recsys_cli.experiments import statistics as s
from recsys_cli.experiments import verdicts
from recsys_cli.schema import DAY
from recsys_cli.serving import Answer
from recsys_cli.serving.arms import team_draft
from recsys_cli.settings import Settings
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events
from tests.experiments.shop import START, put_served

K, CANDIDATES = 8, 30
CURVE = 1 / np.arange(1, K + 1) ** 0.7  # how likely a place is looked at


def ranked(relevance: Any, noise: float, rng: np.random.Generator) -> list[int]:
    return np.argsort(-(relevance + rng.normal(0, noise, len(relevance))))[:K].tolist()  # type: ignore[no-any-return]


def answer(codes: list[int]) -> Answer:
    n = len(codes)
    return Answer(codes, [0.0] * n, ["m"] * n, [False] * n, True, "v", [str(c) for c in codes])


def clicks(codes: list[int], relevance: Any, rng: np.random.Generator) -> Any:
    look = rng.random(len(codes)) < CURVE[: len(codes)] * 0.5
    return look & (rng.random(len(codes)) < relevance[codes])


def test_interleaving_needs_less_than_a_twentieth_of_the_sessions() -> None:
    """Sessions until the better of two rankers is known, against the same shop split in two halves."""
    rng = np.random.default_rng(3)
    needed = []
    for _ in range(4):
        won = [0, 0]
        session = 0
        while session < 20_000:
            session += 1
            relevance = rng.beta(0.4, 4.0, CANDIDATES)
            worse, better = ranked(relevance, 0.25, rng), ranked(relevance, 0.05, rng)
            mixed, teams = team_draft(answer(worse), answer(better), K, str(rng.random()))
            hit = clicks([int(i) for i in mixed.item_ids], relevance, rng)
            score = [sum(hit[n] for n, team in enumerate(teams) if team == letter) for letter in "ab"]
            won[0] += score[0] > score[1]
            won[1] += score[1] > score[0]
            if s.rate(won[1], won[0]).low > 0.5:
                break
        assert won[1] > won[0]
        needed.append(session)
    n = 2_000
    rates = []
    for noise in (0.25, 0.05):
        found = [clicks(ranked(r, noise, rng), r, rng).any() for r in rng.beta(0.4, 4.0, (n, CANDIDATES))]
        rates.append(np.array(found, dtype=np.float64))
    effect = rates[1].mean() - rates[0].mean()
    assert effect > 0
    # What a split compares is purchases, which one click in fifteen leads to: a conversion of 2 %.
    bought, variance = effect / 15, rates[0].mean() / 15
    sessions = next(m for m in np.geomspace(100, 1e8, 2_000) if s.half_width(m, 4 * variance) < bought)
    assert np.mean(needed) < sessions / 20


def fill(
    store: Store, one: Experiment, rng: np.random.Generator, *, visitors: int, lift: float, odds: float = 0.5,
    buyers: float = 0.3,
) -> None:  # fmt: skip
    """Visitors of a split over ten days; every one in b spends `1 + lift` times as much."""
    keys = [(int(a), int(b)) for a, b in rng.integers(0, 2**62, (visitors, 2))]
    arm = np.array([int(rng.random() >= odds) for _ in keys])
    at = START + rng.integers(0, 10 * DAY, visitors)
    buys = rng.random(visitors) < buyers
    price = np.round(rng.lognormal(3.2, 0.4, visitors) * np.where(arm == 1, 1 + lift, 1.0), 2)
    looks = pa.table({
        "session_id": [f"s{n}" for n in range(visitors)], "item_id": ["p"] * visitors, "ts": at,
        "event_type": ["impression"] * visitors, "request_id": [f"r{n}" for n in range(visitors)],
    })  # fmt: skip
    which = np.flatnonzero(buys)
    orders = pa.table({
        "session_id": [f"s{n}" for n in which], "item_id": ["p"] * len(which), "ts": at[which] + 60,
        "event_type": ["purchase"] * len(which), "price": price[which],
    })  # fmt: skip
    with store.writing() as con:
        merge_events(con, looks)
        merge_events(con, orders)
        more = {"route": "/recommend", "placement": "", "version": "v1", "experiment": one.name, "items": ["p", "q"],
                "sources": ["m", "m"], "fallbacks": 0, "seconds": 0.001, "share": 1.0}  # fmt: skip
        put_served(
            con, [{"request_id": f"r{n}", "ts": int(at[n]), "arm": "ab"[arm[n]], **more} for n in range(visitors)]
        )


def split(**more: Any) -> Experiment:
    return replace(Experiment("t", SPLIT, ("served", "rules:diversity=0.5"), "salt", started_at=START), **more)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def judge(store: Store, artifacts: Artifacts, values: Settings, one: Experiment) -> verdicts.Verdict:
    return verdicts.judge(store, artifacts, values, one, now=START + 11 * DAY)


def test_a_lift_is_found_in_money(store: Store, artifacts: Artifacts, values: Settings, rng: Any) -> None:
    fill(store, split(), rng, visitors=6_000, lift=0.5)
    found = judge(store, artifacts, values, split())
    assert found.winner == "b"
    assert "sells" in found.sentence
    truth = found.figures["revenue_per_visitor"]["b"] - found.figures["revenue_per_visitor"]["a"]
    assert found.bounds.low < truth < found.bounds.high
    assert sum(found.figures["visitors"].values()) == 6_000
    assert found.alarm == ""


def test_no_lift_is_not_decided_and_says_so(store: Store, artifacts: Artifacts, values: Settings, rng: Any) -> None:
    fill(store, split(), rng, visitors=2_000, lift=0.0)
    found = judge(store, artifacts, values, split())
    assert found.winner == found.alarm == ""
    assert found.sentence.startswith("Not decided")


def test_visitors_of_whom_none_bought_are_not_called_too_few(
    store: Store, artifacts: Artifacts, values: Settings, rng: Any
) -> None:
    fill(store, split(), rng, visitors=400, lift=0.0, buyers=0.0)
    found = judge(store, artifacts, values, split())
    assert (found.winner, found.alarm) == ("", "")
    assert found.sentence == "None of 400 visitors has bought anything yet."


def test_guardrails_end_what_sells_less(store: Store, artifacts: Artifacts, values: Settings, rng: Any) -> None:
    one = split(started_at=START)
    fill(store, one, rng, visitors=6_000, lift=-0.5)
    artifacts.root.mkdir(mode=0o700)
    with artifacts.exclusive():
        running.write(artifacts.root, running.Running().with_one(one))
    told = verdicts.watch(store, artifacts, values, now=START + 11 * DAY)
    assert told == ["The experiment 't' was stopped: 'rules:diversity=0.5' sells less."]
    ended = running.read(artifacts.root).get("t")
    assert ended.state == "stopped"
    assert len(ended.history) == 1
    assert verdicts.watch(store, artifacts, values, now=START + 11 * DAY) == []


def test_a_broken_split_is_told_before_any_winner(
    store: Store, artifacts: Artifacts, values: Settings, rng: Any
) -> None:
    fill(store, split(), rng, visitors=3_000, lift=0.9, odds=0.35)
    found = judge(store, artifacts, values, split())
    assert "not split in halves" in found.alarm
    assert found.sentence.startswith("Broken")
    assert found.winner == "", "nothing can be concluded, and nothing promoted"


def test_an_arm_of_fallbacks_is_ended(store: Store, artifacts: Artifacts, values: Settings, rng: Any) -> None:
    fill(store, split(), rng, visitors=1_000, lift=0.0)
    with store.writing() as con:
        con.execute("UPDATE served SET fallbacks = 2 WHERE arm = 'b'")
    assert "only popular" in judge(store, artifacts, values, split()).alarm


def test_an_arm_that_takes_long_or_shows_little_is_ended(
    store: Store, artifacts: Artifacts, values: Settings, rng: Any
) -> None:
    fill(store, split(), rng, visitors=1_000, lift=0.0)
    with store.writing() as con:
        con.execute("UPDATE served SET seconds = CASE arm WHEN 'b' THEN 0.2 ELSE 0.04 END")
    assert judge(store, artifacts, values, split()).alarm == "'rules:diversity=0.5' takes 200 ms, the other 40"
    with store.writing() as con:
        con.execute("UPDATE served SET seconds = 0.001")
        con.execute("UPDATE served SET items = ['p', request_id] WHERE arm = 'a'")
    assert "shows 2 different items, the other" in judge(store, artifacts, values, split()).alarm


def test_the_share_grows_a_stage_a_day(store: Store, artifacts: Artifacts, values: Settings, rng: Any) -> None:
    one = split(share=0.05, ramp=True)
    fill(store, one, rng, visitors=300, lift=0.0)
    artifacts.root.mkdir(mode=0o700)
    with artifacts.exclusive():
        running.write(artifacts.root, running.Running().with_one(one))
    shares = []
    for day in range(5):
        verdicts.watch(store, artifacts, values, now=START + day * DAY + 60)
        shares.append(running.read(artifacts.root).get("t").share)
    assert shares == [0.05, 0.25, 0.5, 1.0, 1.0]


def test_interleaved_lists_are_won_by_what_is_clicked_or_bought(
    store: Store, artifacts: Artifacts, values: Settings
) -> None:
    one = Experiment("i", INTERLEAVED, ("served", "popular"), "salt", started_at=START)
    rows: list[dict[str, Any]] = []
    lists = []
    for n in range(120):
        who = {"session_id": f"s{n}", "request_id": f"r{n}"}
        rows += [{**who, "item_id": i, "ts": START + n, "event_type": "impression"} for i in ("p", "q")]
        if n < 100:
            rows.append({**who, "item_id": "q" if n < 80 else "p", "ts": START + n + 5, "event_type": "click"})
        elif n < 110:
            rows.append({"session_id": f"s{n}", "item_id": "q", "ts": START + n + 9, "event_type": "purchase"})
        lists.append({"request_id": f"r{n}", "ts": START, "route": "/recommend", "version": "v1", "experiment": "i",
                      "items": ["p", "q"], "sources": ["m", "m"], "teams": "ab", "fallbacks": 0,
                      "share": 1.0})  # fmt: skip
    names = ("session_id", "request_id", "item_id", "ts", "event_type")
    with store.writing() as con:
        merge_events(con, pa.table({name: [row.get(name) for row in rows] for name in names}))
        put_served(con, lists)
    found = judge(store, artifacts, values, one)
    assert found.figures["duels"] == {"a": 20, "b": 90, "tied": 0, "without": 10}
    assert found.winner == "b"
    assert "won 90 of 110" in found.sentence
