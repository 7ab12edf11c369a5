"""Training a `dlrm` network on what the trees of a ranker are grown from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..features import ItemTable
from ..models.support.gradients import Adam, Tracked
from ..schema import Float32, Int64
from . import heads
from .dlrm import ITEM, Inputs, Network, Output, forward
from .heads import Lessons
from .ranker import Head, Ranker

_HIDDEN, _VECTOR, _TOP = 64, 16, 32
_EPOCHS, _RATE, _DROPOUT = 2, 0.002, 0.1  # twice the epochs learn the past by heart (Online Retail)
_ROWS, _STEPS = 4096, 600  # at most in a step, and steps at least
_DECAY = 1e-5  # of vectors, each step


@dataclass(frozen=True)
class _Part:
    """Rows that one or several heads learn from.

    Parameters
    ----------
    values
        float32, shape (rows, features).
    groups
        int64: rows of each group, which stay together in a step.
    labels
        Head -> labels and weights of the rows; `heads.ORDER` compares the rows of a group.
    """

    values: Float32
    groups: Int64
    labels: Mapping[str, tuple[Float32, Float32]]

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[tuple[Int64, Int64]]:
        """All groups once, in random order, about `size` rows at a time: rows, and the number of each one's group."""
        begin = np.cumsum(self.groups) - self.groups
        order = rng.permutation(len(self.groups))
        step = np.cumsum(self.groups[order]) // size
        for part in np.split(order, np.flatnonzero(np.diff(step)) + 1):
            length = self.groups[part]
            group = np.repeat(np.arange(len(part)), length)
            start = np.cumsum(length) - length
            yield np.arange(len(group)) + np.repeat(begin[part] - start, length), group


def grow(lessons: Lessons, mix: Mapping[str, float], seed: int, table: ItemTable) -> Ranker:
    """A ranker that is a network, with the heads that have a weight in the mix."""
    wanted = {name: weight for name, weight in mix.items() if weight > 0}
    telling = heads.telling_columns(lessons)
    names = tuple(lessons.names[column] for column in telling)
    parts = _parts(lessons, wanted, telling)
    known = tuple(name for name in wanted if any(name in part.labels for part in parts))
    notes = heads.counted(lessons)
    if not known:
        return Ranker(names, {}, notes=notes)
    with threadpool_limits(1, "blas"):  # so that a seed repeats itself
        network = _trained(names, parts, known, table, np.random.default_rng(seed))
        made = network.predict(parts[0].values[: 1 << 17])
    held = {
        name: Head(Output(network, at), spread, wanted[name])
        for at, name in enumerate(known)
        if (spread := float(made[:, at].std())) > 0
    }
    return Ranker(names, held, notes=notes)


def _parts(lessons: Lessons, wanted: Mapping[str, float], telling: Sequence[int]) -> list[_Part]:
    """What is ordered, with all heads that learn from it; and what was seen."""
    orders = lessons.orders
    labels: dict[str, tuple[Float32, Float32]] = {}
    even = np.ones(len(orders.label), np.float32)
    worth = lessons.worth() if heads.REVENUE in wanted else None
    for name, weight in ((heads.ORDER, even), (heads.PURCHASE, even), (heads.REVENUE, worth)):
        if name in wanted and weight is not None:
            labels[name] = orders.label, weight
    parts = [_Part(_columns(orders.values, telling), orders.groups, labels)] if labels and len(even) else []
    if heads.ORDER in wanted and lessons.told is not None:
        rows = lessons.told.rows
        compared = {heads.ORDER: (rows.label, lessons.told.weight)}
        parts.append(_Part(_columns(rows.values, telling), rows.groups, compared))
    if heads.CLICK in wanted and lessons.cards is not None and len(lessons.cards.values):
        cards = lessons.cards
        alone = np.ones(len(cards.clicked), np.int64)
        clicked = {heads.CLICK: (cards.clicked.astype(np.float32), cards.weight)}
        parts.append(_Part(_columns(cards.values, telling), alone, clicked))
    return parts


def _columns(values: Float32, telling: Sequence[int]) -> Float32:
    return np.ascontiguousarray(values[:, telling])


def _trained(
    names: tuple[str, ...], parts: Sequence[_Part], known: tuple[str, ...], table: ItemTable, rng: np.random.Generator
) -> Network:
    inputs = Inputs.of(names, np.concatenate([p.values for p in parts]), table, _bought(names, parts, len(table)))
    ready = [(inputs.numbers(part.values), inputs.words(part.values)) for part in parts]
    adam = Adam(_begun(inputs, ready[0][0].shape[1], len(known), rng), _RATE)
    known_rows = sum(len(part.values) for part in parts)
    size = int(np.clip(known_rows * _EPOCHS // _STEPS, 128, _ROWS))
    epochs = max(_EPOCHS, -(-_STEPS * size // max(known_rows, 1)))
    steps = epochs * (known_rows // size + len(parts))
    for _ in range(epochs):
        waiting = [(number, batch) for number, part in enumerate(parts) for batch in part.batches(size, rng)]
        for at in rng.permutation(len(waiting)):
            number, (row, group) = waiting[at]
            numbers, words = ready[number]
            adam.rate = _RATE * max(1 - adam.steps / max(steps, 1), 0.05)
            _step(adam, parts[number], numbers[row], {k: w[row] for k, w in words.items()}, (row, group), known, rng)
    return Network(inputs, known, adam.parameters)


def _bought(names: Sequence[str], parts: Sequence[_Part], n_items: int) -> Int64:
    """How often each item was what somebody wanted."""
    count = np.zeros(n_items, np.int64)
    if ITEM in names:
        for part in parts:
            label = next(iter(part.labels.values()))[0]
            code = part.values[label > 0, list(names).index(ITEM)].astype(np.int64)
            count += np.bincount(code[(code >= 0) & (code < n_items)], minlength=n_items)
    return count


def _begun(inputs: Inputs, width: int, outputs: int, rng: np.random.Generator) -> dict[str, Float32]:
    """Weights before training."""
    agreed = _VECTOR + (len(inputs.tables) + 1) * len(inputs.tables) // 2

    def layer(rows: int, columns: int) -> Float32:
        return np.asarray(rng.standard_normal((rows, columns)) * np.sqrt(2 / rows), dtype=np.float32)

    begun: dict[str, Float32] = {
        "in": layer(width, _HIDDEN), "in bias": np.zeros(_HIDDEN, np.float32),
        "bottom": layer(_HIDDEN, _VECTOR), "bottom bias": np.zeros(_VECTOR, np.float32),
        "wide": layer(_HIDDEN, _TOP), "top": layer(agreed, _TOP), "top bias": np.zeros(_TOP, np.float32),
        "out": layer(_TOP, outputs) / np.float32(4), "out bias": np.zeros(outputs, np.float32),
    }  # fmt: skip
    for kind, rows in inputs.tables.items():
        begun[f"vectors {kind}"] = (0.05 * rng.standard_normal((int(rows.max()) + 1, _VECTOR))).astype(np.float32)
    return begun


def _step(
    adam: Adam,
    part: _Part,
    numbers: Float32,
    words: dict[str, Int64],
    batch: tuple[Int64, Int64],
    known: Sequence[str],
    rng: np.random.Generator,
) -> None:
    """One step along the gradient; of vectors, only those that the rows have are changed."""
    row, group = batch
    at, tracked, short = {}, {}, {}
    for name, weight in adam.parameters.items():
        kind = name.removeprefix("vectors ")
        if kind in words:
            at[name], short[kind] = np.unique(words[kind], return_inverse=True)
            weight = weight[at[name]]
        tracked[name] = Tracked(weight)

    def drop(layer: Any) -> Any:
        kept = rng.random(layer.shape, dtype=np.float32) >= np.float32(_DROPOUT)
        return layer * (kept / np.float32(1 - _DROPOUT))

    scores = forward(tracked, numbers, short, drop)
    loss = _loss(scores, {n: tuple(a[row] for a in pair) for n, pair in part.labels.items()}, group, known)
    gradients = loss.gradients(tracked)
    for name in at:
        gradients[name] += np.float32(_DECAY) * tracked[name].value
    adam.step(gradients, at)


def _loss(scores: Tracked, labels: Mapping[str, Any], group: Int64, known: Sequence[str]) -> Tracked:
    """The heads' losses together: cross-entropy of what was wanted, within each group for the order."""
    gradient = np.zeros_like(scores.value)
    total = 0.0
    for name, (label, weight) in labels.items():
        column = known.index(name)
        of = _listwise if name == heads.ORDER else _binary
        value, gradient[:, column] = of(scores.value[:, column], label, weight, group)
        total += value
    return Tracked(np.asarray(total, np.float32), (scores, lambda g: g * gradient))


def _binary(score: Float32, label: Float32, weight: Float32, group: Int64) -> tuple[float, NDArray[np.floating]]:
    """Weighted log loss a row, and its gradient."""
    chance = 0.5 * (1 + np.tanh(0.5 * score))
    value = weight * (np.logaddexp(0, score) - label * score)
    return float(value.mean()), weight * (chance - label) / len(score)


def _listwise(score: Float32, label: Float32, weight: Float32, group: Int64) -> tuple[float, NDArray[np.floating]]:
    """Cross-entropy of what was wanted among the rows of each group (Cao et al. 2007), and its gradient."""
    n = int(group[-1]) + 1
    begin = np.searchsorted(group, np.arange(n))
    top = np.maximum.reduceat(score, begin)
    share = np.exp(score - top[group])
    whole = np.add.reduceat(share, begin)
    share /= whole[group]
    wanted = label / np.maximum(np.add.reduceat(label, begin), 1e-9)[group]
    counts = weight[begin]
    value = counts * (np.log(whole) + top - np.add.reduceat(wanted * score, begin))
    return float(value.mean()), counts[group] * (share - wanted) / n
