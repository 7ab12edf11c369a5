"""What comes next, by a state that every item of the history changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..schema import Float32
from .base import ModelConfig
from .support.gradients import Elsewhere, Tracked, normalised, sigmoid
from .support.sequence_model import Drop, Parameters, SequenceConfig, SequenceModel


@dataclass(frozen=True)
class GRU4RecConfig(SequenceConfig):
    """Hyperparameters of `GRU4Rec`."""


class GRU4Rec(SequenceModel):
    """A gated recurrent unit over the history (Hidasi and Karatzoglou 2018), trained with sampled softmax.

    Items are found by the vectors that they are read by ("constrained embedding" in the paper), and the state is
    normalised before it is matched with them.
    """

    name: ClassVar[str] = "gru4rec"
    Config: ClassVar[type[ModelConfig]] = GRU4RecConfig

    @classmethod
    def encode(cls, network: Parameters, vectors: Any, config: GRU4RecConfig, drop: Drop) -> Any:
        inputs = drop(vectors * np.float32(math.sqrt(vectors.shape[2]))) @ network["inputs"] + network["bias"]
        return drop(normalised(recurrent(inputs, network["state"]), network["scale"], network["shift"]))

    @classmethod
    def begin(cls, config: GRU4RecConfig, rng: np.random.Generator, features: int) -> dict[str, Float32]:
        d = config.factors
        inputs, state = (rng.standard_normal((d, 3 * d)).astype(np.float32) / math.sqrt(d) for _ in range(2))
        bias, scale, shift = (np.full(n, value, np.float32) for n, value in ((3 * d, 0), (d, 1), (d, 0)))
        return {"inputs": inputs, "state": state, "bias": bias, "scale": scale, "shift": shift}

    @classmethod
    def multiplications(cls, config: GRU4RecConfig, length: float) -> float:
        return 6 * config.factors**2


def recurrent(inputs: Any, state: Any) -> Any:
    """States of a gated recurrent unit (Cho et al. 2014) after each place.

    Parameters
    ----------
    inputs
        Shape (rows, length, 3 d): what each item adds to the update gate, the reset gate and the candidate.
    state
        Shape (d, 3 d): what the state before adds to them.

    Returns
    -------
    Shape (rows, length, d).
    """
    if isinstance(inputs, Elsewhere):
        return inputs.call("recurrent", state)
    if not isinstance(inputs, Tracked):
        return _states(inputs, state)
    given: Float32 = inputs.value
    matrix: Float32 = state.value if isinstance(state, Tracked) else state
    (rows, length), d = given.shape[:2], matrix.shape[0]
    states = np.zeros((length + 1, rows, d), dtype=given.dtype)
    gates: list[Any] = []
    for at in range(length):
        added = states[at] @ matrix
        both = sigmoid(given[:, at, : 2 * d] + added[:, : 2 * d])
        keep, reset, said = both[:, :d], both[:, d:], added[:, 2 * d :]
        candidate = np.tanh(given[:, at, 2 * d :] + reset * said)
        states[at + 1] = candidate + keep * (states[at] - candidate)
        gates.append((keep, reset, said, candidate))
    made = states[1:].swapaxes(0, 1)
    found: list[tuple[Float32, Float32]] = []

    def back(gradient: Float32) -> tuple[Float32, Float32]:
        if not found:
            found.append(_through_time(gradient, matrix, states, gates))
        return found[0]

    return Tracked(made, (inputs, lambda g: back(g)[0]), (state, lambda g: back(g)[1]))


def _states(given: Float32, matrix: Float32) -> Float32:
    """As `recurrent`, with half of the work: nothing is kept for a gradient, and nothing allocated on the way."""
    (rows, length), d = given.shape[:2], matrix.shape[0]
    # A gate is half of (1 + tanh of half of what it is given); the half that the candidate's gate lacks is in `halved`.
    half, one = np.array([0.5, 1], dtype=given.dtype)
    steps, halved = given.swapaxes(0, 1).copy(), matrix * half
    steps[..., : 2 * d] *= half
    if rows == 1:  # a product of a vector and a matrix takes half as long as of a matrix with one row
        steps = steps[:, 0]
    out = np.empty((*steps.shape[:-1], d), dtype=given.dtype)
    added, state = np.empty(steps.shape[1:], dtype=given.dtype), np.zeros(out.shape[1:], dtype=given.dtype)
    gates, candidate = added[..., : 2 * d], added[..., 2 * d :]
    keep, reset = gates[..., :d], gates[..., d:]
    for told, said, made in zip(list(steps[..., : 2 * d]), list(steps[..., 2 * d :]), list(out), strict=True):
        np.dot(state, halved, added)
        np.add(gates, told, gates)
        np.tanh(gates, gates)
        np.add(gates, one, gates)
        np.multiply(candidate, reset, candidate)
        np.add(candidate, said, candidate)
        np.tanh(candidate, candidate)
        np.subtract(state, candidate, made)
        np.multiply(keep, half, keep)
        np.multiply(made, keep, made)
        np.add(made, candidate, made)
        state = made
    return out.reshape(length, rows, d).swapaxes(0, 1)


def _through_time(gradient: Float32, matrix: Float32, states: Float32, gates: list[Any]) -> tuple[Float32, Float32]:
    """Gradients of `recurrent` with respect to its inputs and its matrix."""
    rows, length, d = gradient.shape
    to_inputs = np.empty((rows, length, 3 * d), dtype=gradient.dtype)
    to_matrix, later = np.zeros_like(matrix), np.zeros((rows, d), dtype=gradient.dtype)
    for at in range(length - 1, -1, -1):
        keep, reset, said, candidate = gates[at]
        own = gradient[:, at] + later
        to_candidate = own * (1 - keep) * (1 - candidate * candidate)
        part = to_inputs[:, at]
        part[:, :d] = own * (states[at] - candidate) * keep * (1 - keep)
        part[:, d : 2 * d] = to_candidate * said * reset * (1 - reset)
        part[:, 2 * d :] = to_candidate
        added = part.copy()
        added[:, 2 * d :] *= reset
        to_matrix += states[at].T @ added
        later = own * keep + added @ matrix.T
    return to_inputs, to_matrix
