"""Folding in and half steps by small systems, against the plain systems that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recsys_cli.models.als import ALS, ALSConfig
from recsys_cli.models.support import least_squares
from recsys_cli.models.support.cold_start import Buyers, half_step

WIDTH, ITEMS = 64, 300


def als(rank: int = WIDTH, ridge: float = 2.0) -> ALS:
    """Vectors in so many directions."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(ITEMS, rank)) @ rng.normal(size=(rank, WIDTH)) / rank
    return ALS(ALSConfig(factors=WIDTH, alpha=6.0, regularization=ridge), vectors.astype(np.float32))


def histories() -> sp.csr_matrix:
    """Of 0 to 70 items, some of which weigh next to nothing."""
    rng = np.random.default_rng(1)
    rows = [np.sort(rng.choice(ITEMS, n, replace=False)) for n in (0, 1, 2, 5, 31, 32, 33, 70, 0)]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    weights = rng.random(indptr[-1]).astype(np.float32) + np.float32(0.01)
    weights[::7] = np.exp(-60)
    return sp.csr_matrix((weights, np.concatenate(rows).astype(np.int32), indptr), shape=(len(rows), ITEMS))


def plainly(model: ALS, weights: sp.csr_matrix, seen: float) -> np.ndarray:
    y = model.item_factors.astype(np.float64)
    out = np.zeros((weights.shape[0], WIDTH))
    for row in range(weights.shape[0]):
        some = y[weights[row].indices]
        w = weights[row].data.astype(np.float64) * model.gain
        if len(w):
            left = y.T @ y + model.ridge * np.eye(WIDTH) + (some * w[:, None]).T @ some
            out[row] = np.linalg.solve(left, (w + seen) @ some)
    return out


@pytest.mark.parametrize("seen", [0.0, 1.0])
@pytest.mark.parametrize(("rank", "ridge"), [(WIDTH, 2.0), (12, 0.01)], ids=["usual", "few directions"])
def test_histories_of_any_length_are_folded_in_as_by_the_whole_system(rank: int, ridge: float, seen: float) -> None:
    model, weights = als(rank, ridge), histories()
    exact = plainly(model, weights, seen)
    # Of what the vectors are for: scores. Single precision leaves four digits where few directions carry the items.
    scores, wanted = (users @ model.item_factors.T for users in (model._fold_in(weights, seen=seen), exact))
    np.testing.assert_allclose(scores, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    alone = np.concatenate([model._fold_in(weights[row], seen=seen) for row in range(weights.shape[0])])
    np.testing.assert_allclose(alone @ model.item_factors.T, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_a_large_catalogue_is_folded_in_alike_and_not_held_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = als(), als()
    wanted = small._fold_in(histories())
    monkeypatch.setattr(least_squares, "_TABLED", ITEMS - 1)
    np.testing.assert_allclose(large._fold_in(histories()), wanted, rtol=1e-5, atol=1e-7)
    assert not any(np.shape(held) == (ITEMS, WIDTH) for name, held in vars(large).items() if name != "item_factors")


@pytest.mark.parametrize("ridge", [2.0, 1e-3])
def test_a_half_step_is_the_plain_solution_for_few_and_many_buyers(ridge: float) -> None:
    rng = np.random.default_rng(2)
    count = np.array([0, 1, 2, 7, 31, 32, 33, 90, 0, 3])
    indptr = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    users = rng.normal(size=(120, WIDTH)).astype(np.float32)
    weight = rng.random(indptr[-1]).astype(np.float32) + np.float32(0.1)
    buyers = Buyers(np.arange(120), indptr, rng.integers(0, 120, indptr[-1]), weight)
    gram = (users.T @ users).astype(np.float64)
    exposure = rng.uniform(1e-6, 1, len(count)).astype(np.float32)
    prior = rng.normal(size=(len(count), WIDTH)).astype(np.float32)
    found = half_step(users, buyers, gram, exposure, prior, 6.0, ridge)
    for i in range(len(count)):
        pairs = slice(indptr[i], indptr[i + 1])
        x, w = users[buyers.who[pairs]].astype(np.float64), 6.0 * weight[pairs].astype(np.float64)
        left = exposure[i] * gram + ridge * np.eye(WIDTH) + (x * w[:, None]).T @ x
        wanted = np.linalg.solve(left, (1 + w) @ x + ridge * prior[i])
        np.testing.assert_allclose(found[i], wanted, rtol=1e-4, atol=1e-5)
