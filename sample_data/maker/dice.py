"""Random numbers that come out the same on every machine.

Only the stream of uniform doubles is drawn from NumPy, and everything else is made from it here: NumPy keeps
the bit stream of PCG64 for ever but reserves the right to change how `normal` or `choice` use it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class Dice:
    """A seeded source of numbers; every method takes a shape and returns a float64 or int64 array of it."""

    def __init__(self, seed: int) -> None:
        self._source = np.random.Generator(np.random.PCG64(seed))

    def uniform(self, *shape: int) -> Float:
        """Numbers from [0, 1)."""
        return self._source.random(shape)

    def normal(self, *shape: int) -> Float:
        """Standard normal numbers, by Box and Muller."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(*shape)))
        return radius * np.cos(2.0 * np.pi * self.uniform(*shape))

    def gumbel(self, *shape: int) -> Float:
        """Standard Gumbel numbers: the place of the largest of `log(w) + gumbel` is drawn with weight w."""
        return -np.log(-np.log1p(-np.maximum(self.uniform(*shape), 1e-300)))

    def below(self, high: int, *shape: int) -> Int:
        """Whole numbers from 0 to high - 1."""
        return np.floor(self.uniform(*shape) * high).astype(np.int64)

    def weighted(self, weights: Float, *shape: int) -> Int:
        """Places in `weights` (1-D), drawn with those weights."""
        total = np.cumsum(weights)
        places = np.searchsorted(total, self.uniform(*shape) * total[-1], side="right")
        return np.asarray(places, dtype=np.int64)

    def poisson(self, mean: Float, limit: int) -> Int:
        """Poisson counts of each `mean`, cut at `limit`: how many exponential steps fit into it."""
        steps = -np.log1p(-self.uniform(limit, *mean.shape))
        return np.asarray((np.cumsum(steps, axis=0) < mean).sum(axis=0), dtype=np.int64)
