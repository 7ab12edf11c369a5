"""Trees through LightGBM's C interface."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from recsys_cli.errors import CorruptArtifact, MissingLibrary
from recsys_cli.ranking import trees
from recsys_cli.ranking.trees import Trees, grow, importance

lightgbm = pytest.importorskip("lightgbm")
PARAMS = {"objective": "binary", "num_leaves": 7, "min_data_in_leaf": 5, "num_threads": 1, "deterministic": True}


def made(rows: int = 400, seed: int = 0) -> tuple[Any, Any]:
    """Three features, of which only the second says anything; some are not known."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 3)).astype(np.float32)
    label = (values[:, 1] > 0).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    return values, label


@pytest.fixture(scope="module")
def text() -> str:
    return grow(*made(), PARAMS, rounds=10)


def test_they_answer_as_lightgbm_itself(text: str) -> None:
    values, _ = made(seed=1)
    theirs = lightgbm.Booster(model_str=text).predict(values, raw_score=True)
    assert np.array_equal(Trees(text).predict(values), theirs)


def test_one_row_is_answered_as_among_many(text: str) -> None:
    values, _ = made(seed=1)
    grown = Trees(text)
    assert grown.predict(values)[7] == grown.predict(values[7:8])[0]
    assert len(grown.predict(values[:0])) == 0


def test_contributions_add_up(text: str) -> None:
    values, _ = made(seed=1)
    parts = Trees(text).contributions(values)
    assert parts.shape == (len(values), 4)
    assert parts.sum(axis=1) == pytest.approx(Trees(text).predict(values))
    assert np.abs(parts[:, 1]).mean() > 10 * np.abs(parts[:, [0, 2]]).mean()


def test_gain_is_told_by_feature(text: str) -> None:
    assert next(iter(importance(text))) == 1
    assert sum(importance(text).values()) == pytest.approx(1)


def test_the_same_rows_give_the_same_text() -> None:
    assert grow(*made(), PARAMS, rounds=5) == grow(*made(), PARAMS, rounds=5)


def test_nothing_of_where_it_was_grown_is_in_it(text: str) -> None:
    assert "parameters:" not in text
    assert "[data" not in text


@pytest.mark.parametrize("damage", [lambda t: "", lambda t: t[: len(t) // 2], lambda t: "x" + t])
def test_a_damaged_text_is_refused(text: str, damage: Any) -> None:
    with pytest.raises(CorruptArtifact, match="damaged"):
        Trees(damage(text))


def test_without_lightgbm_it_says_what_to_install(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lightgbm" else real(name))
    trees._library.cache_clear()
    try:
        for use in (lambda: Trees(text), lambda: grow(*made(), PARAMS, rounds=1)):
            with pytest.raises(MissingLibrary, match="pip install lightgbm"):
                use()
    finally:
        trees._library.cache_clear()
