"""Chances of places, from logs in which they are known."""

from __future__ import annotations

import os

import numpy as np
import pytest
from position_bias import PLACES, Log, curve, simulated

from recsys_cli.ranking import trees
from recsys_cli.ranking.past import Weighed
from recsys_cli.ranking.propensities import (
    EM,
    HARVEST,
    MOST_WEIGHT,
    NONE,
    SWAPS,
    Propensities,
    effective,
    propensities,
)
from recsys_cli.ranking.seen import BOUGHT, CLICKED, RETURNED, SEEN, lesson_of
from recsys_cli.ranking.trees import Trees

pytest.importorskip("lightgbm")
CURVES = pytest.mark.parametrize("power", [1.0, 1.5])  # 1 / place, and steeper
SEEDS = 20 if os.environ.get("RECSYS_SIMULATIONS") else 4


@CURVES
def test_items_shown_at_several_places_tell_the_chances(power: float) -> None:
    """Within 10 % of the truth, though the first stage puts first what is liked a little more."""
    log = simulated(power, lists=20_000)
    found = propensities(log.seen)
    assert found.ways["home"] == HARVEST
    assert found.curves["home"][:PLACES] == pytest.approx(curve(power), rel=0.1)


@CURVES
def test_swaps_tell_the_chances_where_the_order_is_always_the_same(power: float) -> None:
    log = simulated(power, lists=300_000 if power == 1 else 400_000, visits=1, swap_share=1.0, jitter=0.0, seed=3)
    found = propensities(log.seen)
    assert found.ways["home"] == SWAPS
    assert found.curves["home"][:PLACES] == pytest.approx(curve(power), rel=0.1)


def test_clicks_alone_would_get_it_wrong() -> None:
    """What the test above can tell: click rates by place are of a first stage that is right as well."""
    log = simulated(lists=30_000)
    rates = np.bincount(log.seen.place, weights=log.seen.clicked)[1:] / np.bincount(log.seen.place)[1:]
    assert np.abs(rates / rates[0] / curve(1.0) - 1).max() > 0.1


def test_em_tells_them_from_features() -> None:
    """Roughly: trees take some of what is due to places for interest."""
    log = simulated(lists=6000, visits=1)
    found = propensities(log.seen, log.looked, ("a", "b", "c", "d"))
    assert found.ways["home"] == EM
    assert found.curves["home"][:PLACES] == pytest.approx(curve(1.0), rel=0.35)


def test_few_clicks_tell_nothing() -> None:
    log = simulated(lists=30, visits=1)
    found = propensities(log.seen, log.looked, ("a", "b", "c", "d"))
    assert found.ways["home"] == NONE
    assert (found.weights(log.seen) == 1).all()


def test_weights_are_clipped() -> None:
    log = simulated(1.5, lists=5000)
    weight = propensities(log.seen).weights(log.seen)
    assert weight.max() == MOST_WEIGHT
    assert weight[log.seen.place == 1] == pytest.approx(1.0)
    assert effective(np.ones(7)) == pytest.approx(7)
    assert effective(weight) < len(weight)


def lesson(log: Log, weights: np.ndarray) -> Weighed:
    return lesson_of(log.looked, weights)


def test_each_card_that_came_to_something_is_compared_with_what_came_to_less() -> None:
    log = simulated(lists=1, visits=1)
    log.seen.outcome[:] = [SEEN, CLICKED, BOUGHT, RETURNED, SEEN, SEEN, SEEN, SEEN, SEEN, SEEN]
    weight = np.ones(PLACES)
    weight[2] = 3.0
    found = lesson(log, weight)
    # The click against all but what was bought, the purchase against all.
    assert found.rows.groups.tolist() == [9, 10]
    assert found.rows.label.tolist() == [0, 1, *[0] * 7, 0, 0, 1, *[0] * 7]
    assert found.weight[0] * 15 == pytest.approx(found.weight[-1])  # three times the weight, five times the worth
    assert found.rows.values[1] == pytest.approx(log.looked.values[1])


def truth(log: Log, score: np.ndarray) -> float:
    """NDCG of an order by what is truly liked, over all ten."""
    shape = (-1, PLACES)
    gain, place = log.interest.reshape(shape), np.argsort(np.argsort(-score.reshape(shape), axis=1), axis=1)
    best = np.argsort(np.argsort(-gain, axis=1), axis=1)
    value = (gain / np.log2(place + 2)).sum(axis=1) / (gain / np.log2(best + 2)).sum(axis=1)
    return float(value.mean())


def learned(log: Log, weights: np.ndarray, seed: int) -> Trees:
    found = lesson(log, weights)
    params = {"objective": "lambdarank", "num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 50, "seed": seed,
              "num_threads": 1, "deterministic": True}  # fmt: skip
    rows = found.rows
    text = trees.grow(rows.values, rows.label, params, rounds=40, groups=rows.groups, weights=found.weight)
    return Trees(text)


def test_weighted_by_places_it_learns_what_is_liked() -> None:
    """Against the same trees from clicks as they are: what the first stage put first is clicked more.

    Beyond noise: better by more than three standard errors of the paired gain. RECSYS_SIMULATIONS=1 takes 20 seeds.
    """
    gains = []
    for seed in range(SEEDS):
        log, new = simulated(lists=1500, seed=seed), simulated(lists=1500, visits=1, seed=1000 + seed)
        found = propensities(log.seen)
        weighed = learned(log, found.weights(log.seen), seed).predict(new.looked.values)
        naive = learned(log, Propensities().weights(log.seen), seed).predict(new.looked.values)
        gains.append(truth(new, weighed) - truth(new, naive))
    gain = np.array(gains)
    assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(len(gain))
    assert gain.mean() > 0.01
