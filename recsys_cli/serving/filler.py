"""What fills a list up: popular items, then the rest of the catalogue."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..artifacts.bundle import Bundle
from ..schema import Int32
from .catalogue import Allowed
from .rules import Picker

FILLERS = ("popular", "catalogue")


class Filler:
    """A version's items in the order in which they fill lists.

    Attributes
    ----------
    popular
        How much each item sells, by code.
    order
        All codes: those that sell, best first, then the others, newest first.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.popular = bundle.shelves["popular"]
        self.order = _everything(bundle)

    @cached_property
    def unsold(self) -> Int32:
        """Items without a sale, newest first."""
        return self.order[self.popular[self.order] <= 0]

    def best(self, allowed: Allowed, n: int) -> Int32:
        """The first `n` that are allowed."""
        return self.order[allowed.mask[self.order]][:n]

    def fill(self, picker: Picker, allowed: Allowed, *, fallback: bool = True) -> None:
        """Popular items, then the rest of the catalogue, newest first."""
        step = 4 * (picker.want + len(picker.skip)) + 64
        start = 0
        while start < len(self.order) and not picker.full:
            block = self.order[start : start + step]
            start += step
            step *= 4
            block = block[allowed.mask[block]]
            scores = self.popular[block].tolist()
            for code, score in zip(block.tolist(), scores, strict=True):
                picker.add(code, score, FILLERS[score <= 0], fallback)


def _everything(bundle: Bundle) -> Int32:
    order = bundle.shelves["popular_order"]
    rest = np.ones(len(bundle.catalogue), dtype=np.bool_)
    rest[order] = False
    codes = np.flatnonzero(rest)
    codes = codes[np.argsort(-bundle.shelves["first_seen"][codes], kind="stable")]
    return np.concatenate([order, codes]).astype(np.int32)
