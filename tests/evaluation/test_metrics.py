"""Metrics against scikit-learn, and against what they are said to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.evaluation import metrics as m
from recsys_cli.evaluation.report import Bootstrap
from recsys_cli.models.support.top_n import contains, top_k

RNG = np.random.default_rng(5)
USERS, ITEMS = 300, 40
# No ties, which each library breaks in its own way.
SCORES = RNG.permutation(USERS * ITEMS).reshape(USERS, ITEMS).astype(np.float32)
WANTED = RNG.random((USERS, ITEMS)) < 0.08
WANTED[np.arange(USERS), RNG.integers(0, ITEMS, USERS)] = True
ONE = np.zeros((USERS, ITEMS), dtype=bool)
ONE[np.arange(USERS), RNG.integers(0, ITEMS, USERS)] = True


def judge() -> Any:
    """scikit-learn, loaded by the worker that needs it and not by each that collects tests."""
    from sklearn import metrics

    return metrics


def hits_of(wanted: np.ndarray, n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    items, _ = top_k(SCORES, n)
    return contains(sp.csr_matrix(wanted.astype(np.float32)), items), wanted.sum(axis=1)


@pytest.mark.parametrize("n", [1, 10, 20])
class TestAgainstScikitLearn:
    def test_ndcg(self, n: int) -> None:
        hits, relevant = hits_of(WANTED)
        theirs = judge().ndcg_score(WANTED, SCORES, k=n)
        assert m.ndcg(hits, relevant, n).mean() == pytest.approx(theirs, rel=1e-9)

    def test_hit_rate_of_one_wanted_item(self, n: int) -> None:
        hits, _ = hits_of(ONE)
        theirs = judge().top_k_accuracy_score(ONE.argmax(axis=1), SCORES, k=n, labels=np.arange(ITEMS))
        assert m.hit_rate(hits, n).mean() == pytest.approx(theirs)

    def test_recall_of_one_wanted_item(self, n: int) -> None:
        hits, relevant = hits_of(ONE)
        theirs = judge().top_k_accuracy_score(ONE.argmax(axis=1), SCORES, k=n, labels=np.arange(ITEMS))
        assert m.recall(hits, relevant, n).mean() == pytest.approx(theirs)


def test_reciprocal_rank_of_whole_lists() -> None:
    hits, _ = hits_of(ONE, ITEMS)
    theirs = judge().label_ranking_average_precision_score(ONE, SCORES)
    assert m.reciprocal_rank(hits, ITEMS).mean() == pytest.approx(theirs)


class TestByHand:
    ITEMS = np.array([[4, 2, -1], [2, 2, 2]], dtype=np.int32)

    def test_padding_is_never_a_hit(self) -> None:
        wanted = sp.csr_matrix(np.ones((2, 5), np.float32))
        assert contains(wanted, self.ITEMS).tolist() == [[True, True, False], [True, True, True]]

    def test_recall_is_over_all_that_was_wanted(self) -> None:
        assert m.recall(np.array([[True, False]]), np.array([4]), 2).tolist() == [0.25]

    def test_ndcg_of_a_perfect_short_list_is_one(self) -> None:
        assert m.ndcg(np.array([[True, True, False]]), np.array([2]), 10).tolist() == [1.0]

    def test_coverage_and_gini(self) -> None:
        assert m.coverage(self.ITEMS, 5) == 0.4
        assert m.gini(np.array([[0, 1, 2, 3]], dtype=np.int32), 4) == pytest.approx(0)
        assert m.gini(np.array([[0, 0], [0, 0]], dtype=np.int32), 4) == pytest.approx(1)

    def test_novelty_is_information(self) -> None:
        share = np.array([0.5, 0.25, 1.0])
        assert m.novelty(np.array([[0, 1], [2, -1]], dtype=np.int32), share).tolist() == [1.5, 0.0]

    def test_diversity_is_one_less_the_mean_cosine(self) -> None:
        unit = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
        lists = np.array([[0, 1], [0, 2], [0, -1]], dtype=np.int32)
        assert m.diversity(lists, unit).tolist() == [1.0, 0.0, 0.0]


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=20))
def test_values_lie_between_nothing_and_all(rows: list[list[bool]]) -> None:
    hits = np.array(rows)
    relevant = hits.sum(axis=1) + 1
    of_all = (m.ndcg(hits, relevant, 5), m.recall(hits, relevant, 5))
    for values in (m.hit_rate(hits, 5), m.reciprocal_rank(hits, 5), *of_all):
        assert ((values >= 0) & (values <= 1)).all()


class TestBootstrap:
    def test_covers_the_mean_about_as_often_as_it_says(self) -> None:
        rng = np.random.default_rng(0)
        covered = 0
        for trial in range(100):
            found = Bootstrap(80, trial).interval(rng.exponential(1.0, 80))
            covered += found.low <= 1.0 <= found.high
        assert 0.88 <= covered / 100 <= 1.0

    def test_many_users_get_about_the_same_interval(self) -> None:
        values = np.random.default_rng(1).random(5_000)
        exact, normal = Bootstrap(5_000, 0).interval(values), Bootstrap(5_001, 0).interval(np.append(values, 0.5))
        assert exact.high - exact.low == pytest.approx(normal.high - normal.low, rel=0.1)
