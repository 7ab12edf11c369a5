"""Heads and their mix: what each learns, and how well it is said to foretell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from known import checkerboard

from recsys_cli.features import ItemTable
from recsys_cli.ranking import dlrm_learning, heads
from recsys_cli.ranking.calibration import auc, foretold
from recsys_cli.ranking.past import Lesson
from recsys_cli.ranking.ranker import Ranker

pytest.importorskip("lightgbm")
CUSTOMERS, EACH = 300, 20
NAMES = ("price", "own_share")


def bought(seed: int) -> heads.Lessons:
    """Half of what fits is bought, and a tenth of the rest, whatever it costs; a tenth of what is seen is clicked,
    and of what is dear half."""
    rng = np.random.default_rng(seed)
    rows = CUSTOMERS * EACH
    fits, price = rng.random(rows) < 0.3, rng.choice([1.0, 20.0], rows)
    label = rng.random(rows) < np.where(fits, 0.5, 0.1)
    clicked = rng.random(rows) < np.where(price > 1, 0.5, 0.1)
    values = np.column_stack([np.log(price), fits]).astype(np.float32)
    orders = Lesson(values, label.astype(np.float32), np.full(CUSTOMERS, EACH))
    cards = heads.Cards(values, clicked, np.ones(rows, np.float32))
    return heads.Lessons(NAMES, orders, cards=cards)


@pytest.mark.parametrize(
    ("mix", "best"),
    [
        ({"purchase": 1.0}, {(1.0, True), (20.0, True)}),
        ({"revenue": 1.0}, {(20.0, True)}),
        ({"click": 1.0}, {(20.0, False), (20.0, True)}),
        ({"order": 1.0, "click": 0.0}, {(1.0, True), (20.0, True)}),
    ],
)
def test_each_head_puts_its_own_first(mix: dict[str, float], best: set[tuple[float, bool]]) -> None:
    ranker = heads.grow(bought(0), mix, seed=1)
    asked = [(price, fits) for price in (1.0, 20.0) for fits in (False, True)]
    columns = [NAMES.index(name) for name in ranker.names]
    values = np.array([[np.log(price), fits] for price, fits in asked], dtype=np.float32)[:, columns]
    score = dict(zip(asked, ranker.scores(values), strict=True))
    assert min(score[one] for one in best) > max(score[one] for one in asked if one not in best)


def test_heads_of_a_network_put_their_own_first() -> None:
    """All at once, as it learns them."""
    mix = {"order": 1.0, "purchase": 1.0, "click": 1.0, "revenue": 1.0}
    ranker = dlrm_learning.grow(bought(0), mix, 1, ItemTable.of(checkerboard(8)))
    asked = np.array([[np.log(price), fits] for price in (1.0, 20.0) for fits in (False, True)], dtype=np.float32)
    cheap, cheap_fits, dear, dear_fits = range(4)
    fits = {cheap_fits, dear_fits}
    for name, best in (("order", fits), ("purchase", fits), ("click", {dear, dear_fits})):
        score = ranker.heads[name].trees.predict(asked)
        assert set(np.argsort(-score)[:2].tolist()) == best, name
    assert np.argmax(ranker.heads["revenue"].trees.predict(asked)) == dear_fits
    found = heads.quality(ranker, bought(1))
    assert found["purchase"]["ece"] < 0.06
    assert found["click"]["log_loss"] < 0.95 * found["click"]["constant"]
    assert cheap not in {int(np.argmax(ranker.heads[name].trees.predict(asked))) for name in mix}


def test_a_mix_is_a_weighted_sum_and_is_kept(tmp_path: Path) -> None:
    lessons = bought(0)
    both = heads.grow(lessons, {"purchase": 1.0, "revenue": 0.25}, seed=1)
    alone = {name: replace(both, heads={name: replace(head, weight=1.0)}) for name, head in both.heads.items()}
    values = lessons.orders.values[:50, [NAMES.index(name) for name in both.names]]
    expected = alone["purchase"].scores(values) + 0.25 * alone["revenue"].scores(values)
    assert both.scores(values) == pytest.approx(expected)
    assert both.contributions(values)[1].shape == values.shape
    both.save(tmp_path / "ranker")
    assert np.array_equal(Ranker.load(tmp_path / "ranker").scores(values), both.scores(values))


def test_chances_are_what_they_say() -> None:
    """On rows it did not see; and of the order, which tells no chances, only whether it is right."""
    ranker = heads.grow(bought(0), {"order": 1.0, "purchase": 1.0, "click": 1.0, "revenue": 1.0}, seed=1)
    found = heads.quality(ranker, bought(1))
    assert found.keys() == {"order", "purchase", "click", "revenue"}
    for name in ("purchase", "click"):
        # Half of the trees see each of two features, so they stop short; one chance for all is off by .16.
        assert found[name]["ece"] < 0.06
        assert found[name]["log_loss"] < 0.95 * found[name]["constant"]
        assert found[name]["auc"] > 0.65
        for one in found[name]["reliability"]:
            assert one["rate"] == pytest.approx(one["chance"], abs=0.12)  # and four standard errors of a bin
    assert found["order"].keys() == {"rows", "positives", "auc"}


def test_known_answers() -> None:
    label = np.array([False, True, False, True])
    assert auc(np.array([0.1, 0.4, 0.35, 0.8]), label) == 1.0
    assert auc(np.array([0.5, 0.5, 0.5, 0.5]), label) == 0.5
    assert auc(np.array([0.1, 0.3, 0.4, 0.8]), label) == 0.75
    always = foretold(np.full(4, np.log(3.0)), label)  # a chance of .75 where it is .5
    assert always["ece"] == pytest.approx(0.25, abs=1e-4)
    assert always["log_loss"] == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 2, abs=1e-4)
    assert always["constant"] == pytest.approx(np.log(2), abs=1e-4)
