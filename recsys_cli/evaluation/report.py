"""What an evaluation found: values with intervals, differences in pairs, segments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DRAWS = 1000


@dataclass(frozen=True)
class Interval:
    """A mean over users with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Report:
    """Everything found about the models of one evaluation.

    Parameters
    ----------
    split
        How the future was hidden: by, cut (epoch seconds), window_days, users, repeat, note.
    metrics
        model -> name@n -> interval.
    differences
        model -> other model -> name@n -> interval of the mean difference over the same users.
    segments
        model -> segment -> {"users", "ndcg@10", "hr@10"}.
    lists
        model -> figures of the lists as a whole: coverage@10, gini@10, novelty@10, diversity@10, fallback share.
    cost
        model -> fit_seconds, score_seconds, memory_mb.
    """

    split: dict[str, Any]
    metrics: dict[str, dict[str, Interval]]
    differences: dict[str, dict[str, dict[str, Interval]]] = field(default_factory=dict)
    segments: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    lists: dict[str, dict[str, float]] = field(default_factory=dict)
    cost: dict[str, dict[str, float]] = field(default_factory=dict)

    def best(self, metric: str = "ndcg@10") -> str:
        """The model with the highest value."""
        return max(self.metrics, key=lambda name: self.metrics[name][metric].value)

    def as_dict(self) -> dict[str, Any]:
        """JSON values all through."""
        return {
            "split": self.split,
            "metrics": _plain(self.metrics),
            "differences": _plain(self.differences),
            "segments": self.segments,
            "lists": self.lists,
            "cost": self.cost,
        }


def _plain(tree: Any) -> Any:
    if isinstance(tree, Interval):
        return tree.as_dict()
    return {key: _plain(value) for key, value in tree.items()}


class Bootstrap:
    """Intervals by resampling users (Efron 1979): the same draws for all metrics and models, so that pairs pair.

    Parameters
    ----------
    users
        How many there are.
    """

    def __init__(self, users: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._exact = users <= 5_000
        # Counts of how often each user was drawn; for many users their means are normal enough.
        self._draws = rng.multinomial(users, np.full(users, 1 / users), size=_DRAWS) / users if self._exact else None

    def interval(self, values: NDArray[np.float64]) -> Interval:
        """Mean and interval of values of shape (users,)."""
        mean = float(values.mean())
        if self._draws is None:
            half = 1.96 * float(values.std()) / np.sqrt(len(values))
            return Interval(mean, mean - half, mean + half)
        low, high = np.quantile(self._draws @ values, [0.025, 0.975])
        return Interval(mean, float(low), float(high))
