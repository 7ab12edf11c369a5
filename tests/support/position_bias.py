"""Visitors who look at a place with a known chance, and click on what is to their taste: a log with a known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys_cli.ranking.seen import Looked, Seen
from recsys_cli.schema import Histories

PLACES = 10


def curve(power: float) -> np.ndarray:
    """1 / place to a power."""
    return 1 / np.arange(1, PLACES + 1) ** power


@dataclass(frozen=True)
class Log:
    """A log, and what is true of it: the chance that each card would be clicked in the first place."""

    looked: Looked
    interest: np.ndarray

    @property
    def seen(self) -> Seen:
        return self.looked.seen


def simulated(
    power: float = 1.0,
    *,
    lists: int = 20_000,
    visits: int = 4,
    swap_share: float = 0.0,
    jitter: float = 1.0,
    seed: int = 0,
) -> Log:
    """Lists of ten, in the order of a first stage that is wrong: it goes by a feature that nobody cares for.

    Parameters
    ----------
    lists
        Different lists; each has the same ten items every time that its visitor comes.
    visits
        Times that each visitor comes.
    swap_share
        Share of lists of which a place is drawn to be exchanged with the first, and exchanged in half of the cases.
    jitter
        How much the order changes from visit to visit; 0: it is always the same.
    """
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(lists, PLACES, 4)).astype(np.float32)
    taste = 1 / (1 + np.exp(-(1.2 * base[..., 0] - 0.8 * np.abs(base[..., 1]) + 0.3 * base[..., 2] - 0.7)))
    shown = np.repeat(np.arange(lists), visits)
    score = base[shown, :, 3] + 0.3 * base[shown, :, 0] + jitter * rng.normal(size=(len(shown), PLACES))
    order = np.argsort(-score, axis=1)
    drawn = rng.random(len(shown)) < swap_share
    at = rng.integers(1, PLACES, len(shown))
    done = drawn & (rng.random(len(shown)) < 0.5)
    rows = np.flatnonzero(done)
    order[rows, 0], order[rows, at[rows]] = order[rows, at[rows]], order[rows, 0].copy()
    swap = np.where(drawn, np.where(done, at + 1, -(at + 1)), 0)
    interest = np.take_along_axis(taste[shown], order, axis=1)
    clicked = rng.random(interest.shape) < curve(power) * interest
    n = interest.size
    seen = Seen(
        visitor=np.repeat(shown, PLACES),
        user=np.repeat(shown, PLACES).astype(np.int32),
        listed=np.repeat(np.arange(len(shown)), PLACES),
        item=order.ravel().astype(np.int32),
        ts=np.repeat(np.arange(len(shown)), PLACES).astype(np.int64),
        place=np.tile(np.arange(1, PLACES + 1), len(shown)).astype(np.int32),
        placement=np.zeros(n, np.int32),
        swap=np.repeat(swap, PLACES).astype(np.int32),
        clicked=clicked.ravel(),
        outcome=clicked.ravel().astype(np.int8),
        placements=("home",),
        histories=Histories.of([[]]),
    )
    values = np.take_along_axis(base[shown], order[..., None], axis=1).reshape(n, 4)
    first = np.take_along_axis(score, order, axis=1).ravel().astype(np.float32)
    return Log(Looked(seen, values, first), interest.ravel())
