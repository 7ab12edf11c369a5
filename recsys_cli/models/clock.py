"""Whether the times in a data set can be believed.

Some exports carry one date for everything, or number each customer's events from the same day on. Such times order
a history but say nothing of what was bought together with the rest of the shop: popularity of the last days, and a
split of past from future, would be made of noise.
"""

from __future__ import annotations

import numpy as np

from ..schema import DAY, Histories

_SAME_START = 0.5  # of the customers with several days: real shops stay far below, numbered sequences reach 1


def usable_time(histories: Histories) -> bool:
    """False when all events are of one day, or most customers' first events share one and the same day."""
    length = np.diff(histories.indptr)
    filled = length > 0
    if not filled.any():
        return False
    first = histories.ts[histories.indptr[:-1][filled]]
    last = histories.ts[histories.indptr[1:][filled] - 1]
    if last.max() - first.min() < DAY:
        return False
    spread = last > first
    if not spread.any():
        return True
    _, same = np.unique(first[spread] // DAY, return_counts=True)
    # With few customers, many may well have started on one day.
    return bool(spread.sum() < 20 or same.max() / spread.sum() < _SAME_START)
