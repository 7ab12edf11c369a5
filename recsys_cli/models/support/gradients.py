"""Gradients of small networks by NumPy: what is computed is noted down, and gone through backwards.

Three layers over a few hundred customers at a time are matrix products, which NumPy does as fast as the large libraries
do on a processor; those take 90 MB (jax) to 5 GB (torch) of disk, and jax 5 s to compile each shape of a batch. The
functions here take plain arrays as well, so that a network is written once, for training and for serving.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...schema import Float32

Pull = Callable[[Float32], Float32]  # gradient of a result -> gradient of one of what it was made from
_MOMENTS, _TINY = (0.9, 0.98), 1e-8
_TINIEST = np.float32(1e-6)


class Elsewhere(ABC):
    """An array of another library, which has operators of its own; the functions here are asked of it by name."""

    @abstractmethod
    def call(self, function: str, *arrays: Any) -> Any:
        """What `function` of this module makes of it, and of more arrays."""


class Tracked:
    """An array whose gradient is wanted, or that was made from such; immutable.

    Parameters
    ----------
    value
        float32.
    made_from
        Each of the arrays that it was made from, and what turns its gradient into theirs.
    """

    __slots__ = ("made_from", "value")
    __array_ufunc__ = None  # NumPy's operators leave it to ours

    def __init__(self, value: Float32, *made_from: tuple[Any, Pull]) -> None:
        self.value = value
        self.made_from = tuple((source, pull) for source, pull in made_from if isinstance(source, Tracked))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __add__(self, other: Any) -> Tracked:
        value = self.value + _value(other)
        return Tracked(value, (self, _fitted(self)), (other, _fitted(other)))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tracked:
        back = _fitted(other)
        return Tracked(self.value - _value(other), (self, _fitted(self)), (other, lambda g: back(-g)))

    def __rsub__(self, other: Any) -> Tracked:
        back = _fitted(self)
        return Tracked(other - self.value, (self, lambda g: back(-g)))

    def __mul__(self, other: Any) -> Tracked:
        mine, theirs, a, b = _fitted(self), _fitted(other), self.value, _value(other)
        return Tracked(a * b, (self, lambda g: mine(g * b)), (other, lambda g: theirs(g * a)))

    __rmul__ = __mul__

    def __matmul__(self, other: Any) -> Tracked:
        return _product(self, other)

    def __rmatmul__(self, other: Any) -> Tracked:
        return _product(other, self)

    def reshape(self, *shape: int) -> Tracked:
        return Tracked(self.value.reshape(shape), (self, lambda g: g.reshape(self.shape)))

    def swapaxes(self, one: int, other: int) -> Tracked:
        return Tracked(self.value.swapaxes(one, other), (self, lambda g: g.swapaxes(one, other)))

    def gradients(self, of: Mapping[str, Tracked]) -> dict[str, Float32]:
        """Gradients of this number with respect to each of these arrays; zeros where it does not depend on them."""
        order: list[Tracked] = []
        seen: set[int] = set()
        todo: list[tuple[Tracked, bool]] = [(self, False)]
        while todo:
            node, done = todo.pop()
            if done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                todo.append((node, True))
                todo += [(source, False) for source, _ in node.made_from]
        held: dict[int, Float32] = {id(self): np.ones_like(self.value)}
        wanted = {id(node) for node in of.values()}
        for node in reversed(order):
            gradient = held[id(node)] if id(node) in wanted else held.pop(id(node))
            for source, pull in node.made_from:
                part = pull(gradient)
                held[id(source)] = held[id(source)] + part if id(source) in held else part
        return {name: held.get(id(node), np.zeros_like(node.value)) for name, node in of.items()}


def rows(table: Any, codes: NDArray[np.integer]) -> Any:
    """Rows of a matrix by their numbers, of any shape: shape (*codes.shape, d)."""
    if not isinstance(table, Tracked):
        return table[codes]

    def pull(gradient: Float32) -> Float32:
        whole = np.zeros_like(table.value)
        add_rows(whole, codes.reshape(-1), gradient.reshape(-1, table.shape[1]))
        return whole

    return Tracked(table.value[codes], (table, pull))


def add_rows(table: Float32, codes: NDArray[np.integer], more: Float32) -> None:
    """Add each row of `more` to the row of `table` of its number, in place; `np.add.at` takes ten times as long."""
    if len(codes):
        order = np.argsort(codes, kind="stable")
        first = np.flatnonzero(np.diff(codes[order], prepend=-1))
        table[codes[order][first]] += np.add.reduceat(more[order], first)


def relu(x: Any) -> Any:
    """x where it is positive, else 0."""
    if isinstance(x, Elsewhere):
        return x.call("relu")
    value = np.maximum(_value(x), np.float32(0))
    return Tracked(value, (x, lambda g: g * (value > 0))) if isinstance(x, Tracked) else value


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    if isinstance(x, Elsewhere):
        return x.call("sigmoid")
    value = np.float32(0.5) * (np.tanh(np.float32(0.5) * _value(x)) + np.float32(1))
    return Tracked(value, (x, lambda g: g * value * (1 - value))) if isinstance(x, Tracked) else value


def softmax(x: Any) -> Any:
    """Shares of the last axis that sum to 1."""
    if isinstance(x, Elsewhere):
        return x.call("softmax")
    value = _value(x)
    share = np.exp(value - value.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    if not isinstance(x, Tracked):
        return share
    return Tracked(share, (x, lambda g: share * (g - (g * share).sum(axis=-1, keepdims=True))))


def normalised(x: Any, scale: Any, shift: Any) -> Any:
    """Each vector with mean 0 and variance 1, scaled and shifted (Ba et al. 2016)."""
    if isinstance(x, Elsewhere):
        return x.call("normalised", scale, shift)
    value = _value(x)
    share = np.float32(1 / value.shape[-1])
    # Twice as quick as `mean` where one history is read, whose vectors are few.
    even = value - np.add.reduce(value, axis=-1, keepdims=True) * share
    inverse = 1 / np.sqrt(np.add.reduce(even * even, axis=-1, keepdims=True) * share + _TINIEST)
    even *= inverse
    if not isinstance(x, Tracked):
        even *= scale
        even += shift
        return even

    def pull(gradient: Float32) -> Float32:
        g = gradient * _value(scale)
        mean = g.mean(axis=-1, keepdims=True)
        along = (g * even).mean(axis=-1, keepdims=True)
        return np.asarray(inverse * (g - mean - even * along), dtype=np.float32)

    to_scale, to_shift = _fitted(scale), _fitted(shift)
    made = even * _value(scale) + _value(shift)
    return Tracked(made, (x, pull), (scale, lambda g: to_scale(g * even)), (shift, to_shift))


def unit(x: Any) -> Any:
    """Each vector with length 1; zeros stay zeros."""
    if isinstance(x, Elsewhere):
        return x.call("unit")
    value = _value(x)
    length = np.sqrt((value * value).sum(axis=-1, keepdims=True))
    inverse = np.where(length > 0, 1 / np.maximum(length, _TINIEST), 0).astype(value.dtype)
    made = value * inverse
    if not isinstance(x, Tracked):
        return made
    return Tracked(made, (x, lambda g: inverse * (g - made * (g * made).sum(axis=-1, keepdims=True))))


def sparse_product(matrix: sp.csr_matrix, table: Any) -> Any:
    """A sparse matrix that no gradient is wanted of, times a dense one."""
    made = matrix @ _value(table)
    return Tracked(made, (table, lambda g: matrix.T @ g)) if isinstance(table, Tracked) else made


class Adam:
    """Steps along the gradient (Kingma and Ba 2015), of whole arrays or of some rows of one.

    Moments of rows that a step does not touch stay as they are: a catalogue is large, and a batch names few of it.
    """

    def __init__(self, parameters: Mapping[str, Float32], rate: float) -> None:
        self.parameters = dict(parameters)
        self.rate = rate
        self.first = {name: np.zeros_like(array) for name, array in parameters.items()}
        self.second = {name: np.zeros_like(array) for name, array in parameters.items()}
        self.steps = 0

    def copy(self) -> Adam:
        """As it is now."""
        return copy.deepcopy(self)

    def step(self, gradients: Mapping[str, Float32], at: Mapping[str, NDArray[np.integer]]) -> None:
        """Change the parameters in place; `at` names rows for those whose gradient is of some rows only."""
        self.steps += 1
        b1, b2 = _MOMENTS
        scale = np.float32(self.rate * np.sqrt(1 - b2**self.steps) / (1 - b1**self.steps))
        for name, g in gradients.items():
            place = at.get(name, slice(None))
            m = np.float32(b1) * self.first[name][place] + np.float32(1 - b1) * g
            v = np.float32(b2) * self.second[name][place] + np.float32(1 - b2) * g * g
            self.first[name][place], self.second[name][place] = m, v
            self.parameters[name][place] -= scale * m / (np.sqrt(v) + np.float32(_TINY))


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Tracked) else x


def _fitted(x: Any) -> Pull:
    """Sums a gradient over the axes along which `x` was repeated."""
    shape = np.shape(_value(x))

    def pull(gradient: Float32) -> Float32:
        if gradient.shape == shape:
            return gradient
        added = gradient.ndim - len(shape)
        kept = [n + added for n, size in enumerate(shape) if size == 1 and gradient.shape[n + added] != 1]
        return np.asarray(gradient.sum(axis=(*range(added), *kept)).reshape(shape), dtype=np.float32)

    return pull


def _product(a: Any, b: Any) -> Tracked:
    left, right = _value(a), _value(b)
    if right.ndim == 2:  # one matrix for all rows: one large product instead of many small ones
        flat = left.reshape(-1, left.shape[-1])
        made = (flat @ right).reshape(*left.shape[:-1], right.shape[1])
        return Tracked(
            made,
            (a, lambda g: (g.reshape(-1, g.shape[-1]) @ right.T).reshape(left.shape)),
            (b, lambda g: flat.T @ g.reshape(-1, g.shape[-1])),
        )
    return Tracked(left @ right, (a, lambda g: g @ right.swapaxes(-1, -2)), (b, lambda g: left.swapaxes(-1, -2) @ g))
