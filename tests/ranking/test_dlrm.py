"""The network as second stage: what it can tell, that its gradient is one, and how it is kept."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from known import dataset

from recsys_cli.errors import CorruptArtifact
from recsys_cli.features import ItemTable
from recsys_cli.models.support.gradients import Tracked
from recsys_cli.ranking import dlrm_learning
from recsys_cli.ranking.dlrm import ITEM, LAST, agreement
from recsys_cli.ranking.heads import Lessons
from recsys_cli.ranking.outcome import DLRM
from recsys_cli.ranking.past import Lesson
from recsys_cli.ranking.ranker import Ranker
from recsys_cli.schema import DAY

ITEMS, CUSTOMERS, EACH = 24, 300, 20
NAMES = ("price", "own_share", ITEM, LAST)


def table() -> ItemTable:
    """Items of four categories."""
    rows = [[(n % ITEMS, (1 + n) * DAY)] for n in range(50)]
    return ItemTable.of(dataset(rows, ITEMS, category=[f"c{n // 6}" for n in range(ITEMS)]))


def follows(seed: int) -> Lessons:
    """What is bought is of the category after that of the item before; prices say nothing, and are missing at times."""
    rng = np.random.default_rng(seed)
    rows = CUSTOMERS * EACH
    last = np.repeat(rng.integers(0, ITEMS, CUSTOMERS), EACH)
    item = rng.integers(0, ITEMS, rows)
    label = rng.random(rows) < np.where(item // 6 == (last // 6 + 1) % 4, 0.8, 0.05)
    price = np.where(rng.random(rows) < 0.2, np.nan, rng.random(rows))
    values = np.column_stack([price, rng.random(rows), item, last]).astype(np.float32)
    return Lessons(NAMES, Lesson(values, label.astype(np.float32), np.full(CUSTOMERS, EACH)))


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return dlrm_learning.grow(follows(0), {"order": 1.0, "purchase": 1.0, "revenue": 0.5}, 1, table())


def test_it_learns_what_goes_with_what(ranker: Ranker) -> None:
    """Which no sum over features of their own can tell."""
    lessons = follows(1)
    score = ranker.scores(lessons.orders.values[:, [NAMES.index(name) for name in ranker.names]])
    wanted = lessons.orders.label > 0
    assert (score[wanted][:, None] > score[~wanted][None, :1000]).mean() > 0.85
    assert ranker.heads.keys() == {"order", "purchase", "revenue"}


def test_a_seed_gives_the_same_network(ranker: Ranker) -> None:
    again = dlrm_learning.grow(follows(0), {"order": 1.0, "purchase": 1.0, "revenue": 0.5}, 1, table())
    for name, weight in ranker.forest.network.weights.items():
        np.testing.assert_array_equal(again.forest.network.weights[name], weight)


def test_unknown_items_and_values_have_scores(ranker: Ranker) -> None:
    values = np.full((4, len(NAMES)), np.nan, np.float32)
    values[1:, 2:] = [[-1, -1], [1e6, 3], [3, 1e6]]
    assert np.isfinite(ranker.scores(values)).all()


def test_one_at_a_time_scores_are_the_same(ranker: Ranker) -> None:
    values = follows(2).orders.values[:40]
    alone = [ranker.scores(values[n : n + 1])[0] for n in range(40)]
    np.testing.assert_allclose(ranker.scores(values), alone, rtol=1e-4, atol=1e-5)


def test_explanations_name_what_moved_it(ranker: Ranker) -> None:
    values = follows(3).orders.values[:200]
    names, parts = ranker.contributions(values)
    strength = dict(zip(names, np.abs(parts - parts.mean(axis=0)).mean(axis=0), strict=True))
    assert min(strength[ITEM], strength[LAST]) > 3 * max(strength["price"], strength["own_share"])


def test_it_is_kept_and_a_damaged_one_is_refused(ranker: Ranker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "ranker")
    again, values = Ranker.load(tmp_path / "ranker"), follows(4).orders.values[:50]
    assert again.kind == DLRM
    np.testing.assert_array_equal(again.scores(values), ranker.scores(values))
    file = tmp_path / "ranker" / "dlrm" / "4.npy"
    for damage in (lambda: np.save(file, np.array([{}]), allow_pickle=True), lambda: file.write_bytes(b"x")):
        damage()
        with pytest.raises(CorruptArtifact):
            Ranker.load(tmp_path / "ranker")


def test_the_gradient_of_agreement_is_its_slope() -> None:
    rng = np.random.default_rng(0)
    held = [rng.standard_normal((3, 2)).astype(np.float32) for _ in range(3)]
    weight = rng.standard_normal((3, 2 + 3)).astype(np.float32)
    tracked = {str(n): Tracked(one) for n, one in enumerate(held)}
    made = agreement(list(tracked.values())) * weight
    total = Tracked(made.value.sum(), (made, lambda g: g * np.ones_like(made.value)))
    slopes = total.gradients(tracked)
    for n, one in enumerate(held):
        for place in np.ndindex(one.shape):
            moved = [two.copy() for two in held]
            moved[n][place] += 1e-2
            found = ((agreement(moved) * weight).sum() - (agreement(held) * weight).sum()) / 1e-2
            assert slopes[str(n)][place] == pytest.approx(found, abs=2e-2)


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_as_onnx_it_scores_alike(ranker: Ranker, tmp_path: Path) -> None:
    import onnxruntime

    from recsys_cli.publishing.onnx_ranker import ranker_graph

    graph, told = ranker_graph(ranker)
    (tmp_path / "rank.onnx").write_bytes(graph.model().SerializeToString())
    session = onnxruntime.InferenceSession(str(tmp_path / "rank.onnx"))
    ours = told["ours"]
    np.testing.assert_allclose(session.run(None, told["given"])[0], ours, atol=1e-5 * float(np.abs(ours).max()))
