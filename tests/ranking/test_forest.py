"""Trees asked by bit vectors: what LightGBM says, to the last bits of a sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys_cli.ranking.forest import Forest
from recsys_cli.ranking.trees import Trees, grow

pytest.importorskip("lightgbm")
PARAMS = {"objective": "regression", "min_data_in_leaf": 5, "num_threads": 1, "deterministic": True}
COLUMNS = 6


def made(rows: int, seed: int, unknown: float) -> tuple[Any, Any]:
    """Features of few and of many values, some of them whole numbers and zeros, of which some are not known."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, COLUMNS)).astype(np.float32)
    values[:, :2] = np.round(2 * values[:, :2])
    label = values[:, 0] + values[:, 2] * values[:, 3] + rng.normal(size=rows) / 4
    values[rng.random(values.shape) < unknown] = np.nan
    values[rng.random(rows) < 2 * unknown, 5] = np.nan
    return values, label


def texts(unknown: float, leaves: int = 31) -> list[tuple[str, float]]:
    """Two models and their weights."""
    params = PARAMS | {"num_leaves": leaves}
    return [(grow(*made(2000, seed, unknown), params, rounds=12), weight) for seed, weight in ((0, 1.0), (1, 0.25))]


@pytest.mark.parametrize("unknown", [0.0, 0.2, 0.45])
@pytest.mark.parametrize("leaves", [2, 31, 32])
def test_it_answers_as_lightgbm(unknown: float, leaves: int) -> None:
    held = texts(unknown, leaves)
    for asked in (0.0, 0.3, 0.45):  # also NaN where the trees never saw one
        values, _ = made(1300, 2, asked)
        expected = sum(weight * Trees(text).predict(values) for text, weight in held)
        assert Forest(held).predict(values) == pytest.approx(expected, abs=1e-12)


def test_values_on_a_threshold_go_to_the_left() -> None:
    text = grow(np.arange(40, dtype=np.float32)[:, None], np.arange(40) > 19, PARAMS, rounds=1)
    values = np.arange(0, 40, 0.5, dtype=np.float32)[:, None]
    assert np.array_equal(Forest([(text, 1.0)]).predict(values), Trees(text).predict(values))


def test_a_tree_without_a_test() -> None:
    text = grow(np.ones((40, 1), np.float32), np.full(40, 3.0), PARAMS, rounds=2)
    values = np.array([[0.0], [np.nan]], np.float32)
    assert Forest([(text, 2.0)]).predict(values) == pytest.approx(2 * Trees(text).predict(values))


def test_one_row_is_answered_as_among_many() -> None:
    forest, (values, _) = Forest(texts(0.3)), made(1300, 3, 0.3)
    together = forest.predict(values)
    alone = np.concatenate([forest.predict(values[at : at + 1]) for at in range(0, 1300, 13)])
    assert np.array_equal(together[::13], alone)
    assert len(forest.predict(values[:0])) == 0


def test_what_is_known_already_need_not_be_asked() -> None:
    forest, (values, _) = Forest(texts(0.3)), made(1300, 4, 0.3)
    values[:, 1] = values[:, 1][np.arange(1300) // 650 * 650]  # of two customers
    rows = np.arange(1300)
    items, customers = forest.masks(values[:, [0, 3]], (0, 3)), forest.masks(values[[0, 650]][:, [1]], (1,))
    rest = forest.predict(values[:, [2, 4, 5]], (2, 4, 5), [(items, rows), (customers, rows // 650)])
    assert np.array_equal(rest, forest.predict(values))


def test_trees_that_are_too_large_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves"):
        Forest(texts(0.0, leaves=33))
