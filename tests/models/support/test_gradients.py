"""Gradients against differences of the function itself, operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from recsys_cli.models.gru4rec import recurrent
from recsys_cli.models.support import gradients as g
from recsys_cli.models.support.gradients import Adam, Tracked
from recsys_cli.models.support.sequence_training import sampled_softmax

CODES = np.array([[0, 2], [2, 1], [1, 1]])
LATER = np.array([1, 3]), np.array([0, 1, 1, 2])  # what came next, and what was drawn

SPARSE = sp.csr_matrix([[0, 2.0, 0, 1], [0, 0, 0, 0], [3, 0, 0, 0]])
WIDE = np.random.default_rng(5).standard_normal((4, 12))

# x (3, 2, 4) and w (4, 4), v (4,), as arrays or tracked; each gives an array.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda x, w, v: x + v + (x + x),
    "subtract": lambda x, w, v: (1.0 - x) - v,
    "multiply": lambda x, w, v: x * v * x * 2.0,
    "product with one matrix": lambda x, w, v: x @ w,
    "product of many": lambda x, w, v: (x @ w) @ x.swapaxes(1, 2),
    "reshape": lambda x, w, v: x.reshape(6, 4) @ w * v,
    "rows": lambda x, w, v: g.rows(w, CODES) * x,
    "relu": lambda x, w, v: g.relu(x @ w),
    "sigmoid": lambda x, w, v: g.sigmoid(x * v),
    "softmax": lambda x, w, v: g.softmax(x * v),
    "unit": lambda x, w, v: g.unit(x * v),
    "sparse product": lambda x, w, v: g.sparse_product(SPARSE, w),
    "recurrent": lambda x, w, v: recurrent(x @ (w @ WIDE), w @ WIDE),
    "normalised": lambda x, w, v: g.normalised(x, v, v * v),
}


def given() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {n: rng.standard_normal(s) for n, s in {"x": (3, 2, 4), "w": (4, 4), "v": (4,)}.items()}


def differences(function: Callable[..., float], of: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Numeric gradients in float64."""
    found = {name: np.zeros_like(array) for name, array in of.items()}
    for name, array in of.items():
        for place in np.ndindex(array.shape):
            up, down = array.copy(), array.copy()
            up[place] += 1e-5
            down[place] -= 1e-5
            found[name][place] = (function(**{**of, name: up}) - function(**{**of, name: down})) / 2e-5
    return found


@pytest.mark.parametrize("name", OPERATIONS)
def test_is_the_slope(name: str) -> None:
    operation, arrays = OPERATIONS[name], given()
    weights = np.random.default_rng(4).standard_normal(operation(**arrays).shape)
    tracked = {n: Tracked(a) for n, a in arrays.items()}
    made = operation(**tracked)
    np.testing.assert_allclose(made.value, operation(**arrays), rtol=1e-6)
    loss = Tracked(np.asarray((made.value * weights).sum()), (made, lambda up: up * weights))
    found = loss.gradients(tracked)
    for n, slope in differences(lambda **of: float((operation(**of) * weights).sum()), arrays).items():
        np.testing.assert_allclose(found[n], slope, rtol=1e-4, atol=1e-5, err_msg=n)


def test_sampled_softmax_is_the_slope() -> None:
    rng = np.random.default_rng(1)
    arrays = {"hidden": rng.standard_normal((2, 3)), "items": rng.standard_normal((4, 3))}
    expected = np.log(np.array([0.5, 1.0, 1.0, 2.0]))

    def loss(hidden: Any, items: Any) -> Tracked:
        return sampled_softmax(hidden, items, *LATER, expected)

    tracked = {n: Tracked(a) for n, a in arrays.items()}
    found = loss(**tracked).gradients(tracked)
    slopes = differences(lambda **of: float(loss(**{n: Tracked(a) for n, a in of.items()}).value), arrays)
    for n, slope in slopes.items():
        np.testing.assert_allclose(found[n], slope, rtol=1e-3, atol=1e-5)


def test_all_items_drawn_once_are_the_full_softmax() -> None:
    rng = np.random.default_rng(2)
    hidden, items = rng.standard_normal((5, 3)), rng.standard_normal((7, 3))
    after = np.array([0, 6, 3, 3, 1])
    scores = hidden @ items.T
    exact = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(5), after]
    found = sampled_softmax(Tracked(hidden), Tracked(items), after, np.arange(7), np.zeros(7))
    np.testing.assert_allclose(found.value, exact.mean(), rtol=1e-6)


def test_a_step_changes_the_rows_that_it_names_alone() -> None:
    table = np.zeros((4, 2), dtype=np.float32)
    adam = Adam({"table": table}, rate=0.1)
    kept = adam.copy()
    adam.step({"table": np.ones((2, 2), dtype=np.float32)}, {"table": np.array([1, 3])})
    np.testing.assert_allclose(adam.parameters["table"], [[0, 0], [-0.1, -0.1], [0, 0], [-0.1, -0.1]], rtol=1e-4)
    assert not kept.parameters["table"].any()
