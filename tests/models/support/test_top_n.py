"""The best of long rows, against a sort of them."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_cli.models.support.top_n import largest


def rows(kind: str, rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    if kind == "different":
        return rng.random((4, n), dtype=np.float32)
    if kind == "few values":
        return rng.integers(0, 3, (4, n)).astype(np.float32)
    some = np.zeros((4, n), np.float32)
    for row, filled in zip(some, rng.integers(0, 3 * k + 2, 4), strict=True):
        row[rng.integers(0, n, filled)] = rng.integers(-3, 4, filled)
    if kind == "excluded":
        some[:, rng.random(n) < 0.5] = -1e9
    return some


@pytest.mark.parametrize("kind", ["different", "few values", "mostly zero", "excluded"])
def test_the_largest_are_those_of_a_sort_ties_by_their_place(kind: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        n = int(rng.integers(200, 4000))
        k = int(rng.integers(1, max(2, n // 128)))
        dense = rows(kind, rng, n, k)
        assert np.array_equal(largest(dense, k), np.sort(np.argsort(-dense, axis=1, kind="stable")[:, :k], axis=1))


def test_a_nan_does_not_shorten_what_is_found() -> None:
    dense = np.zeros((3, 1000), np.float32)
    dense[:, 500] = np.nan
    with np.errstate(invalid="ignore"):
        assert largest(dense, 5).shape == (3, 5)
