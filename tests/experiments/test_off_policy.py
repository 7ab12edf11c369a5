"""Other lists judged by a log with a known truth: who looks where, and who likes what."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_cli.experiments.off_policy import curves_of, estimate, logged
from recsys_cli.ranking.propensities import propensities
from tests.support.position_bias import PLACES, Log, curve, simulated

VISITS = 4


def interests(log: Log) -> np.ndarray:
    """How each visitor likes each of their ten items; shape (visitors, PLACES), by item."""
    n = int(log.seen.visitor.max()) + 1
    table = np.zeros((n, PLACES))
    table[log.seen.visitor, log.seen.item] = log.interest
    return table


def truth(log: Log, codes: np.ndarray) -> float:
    """Clicks in a list, had each visitor been shown these items."""
    liked = np.take_along_axis(interests(log), codes, axis=1)
    return float((liked * curve(1.0)[: codes.shape[1]]).sum(axis=1).mean())


@pytest.fixture(scope="module")
def log() -> Log:
    return simulated(1.0, lists=6_000, visits=VISITS, swap_share=0.5, jitter=0.5, seed=3)


def by_taste(log: Log) -> np.ndarray:
    return np.argsort(-interests(log), axis=1)[:, :PLACES].astype(np.int32)


def within(one: dict[str, float], value: float, widen: float = 1.5) -> bool:
    """The interval is of 95 %, and chances of places are told from the log, too: widened, so that no seed matters."""
    middle, half = one["value"], (one["high"] - one["low"]) / 2 * widen
    return abs(middle - value) <= half


def test_a_better_order_is_told_from_clicks_on_a_worse_one(log: Log) -> None:
    best = by_taste(log)
    told = logged(log.seen, propensities(log.seen)).estimates(best)
    assert told is not None
    wanted = truth(log, best)
    clicked = float(log.seen.clicked.sum()) / (6_000 * VISITS)
    assert wanted > 1.2 * clicked
    for name in ("ips", "self_normalised", "doubly_robust"):
        assert within(told[name], wanted), (name, told[name], wanted)
        assert told[name]["low"] > clicked
    assert told["shown_share"] == pytest.approx(1.0, abs=0.05)


def test_the_reverse_is_worse_than_what_was_shown(log: Log) -> None:
    worst = by_taste(log)[:, ::-1].copy()
    told = logged(log.seen, propensities(log.seen)).estimates(worst)
    assert told is not None
    for name in ("ips", "self_normalised", "doubly_robust"):
        assert within(told[name], truth(log, worst)), name


def test_what_was_never_shown_is_told_by_ips_as_nothing_and_by_the_others_as_the_like(log: Log) -> None:
    strange = by_taste(log)
    strange[:, 1::2] = 500 + np.arange(PLACES // 2)  # items that nobody saw
    told = logged(log.seen, propensities(log.seen)).estimates(strange)
    assert told is not None
    liked = np.take_along_axis(interests(log), by_taste(log), axis=1) * curve(1.0)
    assert within(told["ips"], float(liked[:, ::2].sum(axis=1).mean()))
    assert told["shown_share"] < 0.8
    assert told["self_normalised"]["value"] > told["ips"]["value"]
    assert told["doubly_robust"]["value"] > told["ips"]["value"]


def test_places_that_chance_did_not_exchange_are_not_causal() -> None:
    always = simulated(1.0, lists=3_000, visits=2, swap_share=0.0, jitter=1.0, seed=1)
    found = logged(always.seen, propensities(always.seen))
    assert found.estimates(by_taste(always)) is not None
    assert not found.causal
    assert "swap_share" in found.reason
    swapped = simulated(1.0, lists=3_000, visits=2, swap_share=0.6, jitter=0.0, seed=1)
    assert logged(swapped.seen, propensities(swapped.seen)).causal


def test_places_that_are_seldom_reached_count_as_such() -> None:
    whole = simulated(1.0, lists=4_000, visits=3, swap_share=0.5, jitter=0.5, seed=5)
    rng = np.random.default_rng(5)
    depth = np.repeat(rng.choice([3, 10], int(whole.seen.listed.max()) + 1), PLACES)  # half go no further than three
    seen = whole.seen.where(whole.seen.place <= depth)
    best = by_taste(whole)
    found = logged(seen, propensities(seen))
    reach, looks = curves_of(seen, found.chances)
    assert reach[0, 3:PLACES] / looks[0, 3:PLACES] == pytest.approx(0.5, abs=0.05)
    liked = np.take_along_axis(interests(whole), best, axis=1)
    reached = np.where(np.arange(PLACES) < 3, 1.0, 0.5)
    wanted = float((liked * curve(1.0) * reached).sum(axis=1).mean())
    told = found.estimates(best)
    assert told is not None
    assert within(told["ips"], wanted)
    assert within(told["doubly_robust"], wanted)


def test_short_lists_and_visitors_without_any(log: Log) -> None:
    some = log.seen.where(log.seen.visitor < 400)
    found = logged(some, propensities(log.seen))
    assert found.seen is not None
    short = np.full((400, PLACES), -1, dtype=np.int32)
    told = estimate(found.seen, short, curves_of(found.seen, found.chances))
    assert told["ips"]["value"] == told["doubly_robust"]["value"] == 0
    assert told["self_normalised"] is None
    short[:, 0] = by_taste(log)[:400, 0]
    told = estimate(found.seen, short, curves_of(found.seen, found.chances))
    liked = np.take_along_axis(interests(log)[:400], by_taste(log)[:400, :1], axis=1)
    assert within(told["ips"], float(liked.mean()), 2.0)
