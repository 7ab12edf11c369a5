"""Whether the times in a data set can be believed.

Some exports carry one date for everything, number each customer's events from the same day on, or number the lines of
a file that has one customer after the other. Such times order a history at best, but say nothing of what was bought
together with the rest of the shop: popularity of the last days, and a split of past from future, would be made of
noise.
"""

from __future__ import annotations

import numpy as np

from ..schema import DAY, Histories

_SAME_START = 0.5  # of the customers with several days: real shops stay far below, numbered sequences reach 1
_ENOUGH = 300_000  # events to look at; sorting ten million takes seconds
_ALONE = 0.98  # of the customers with several times: in a shop that lives, most come back after somebody else came


def usable_time(histories: Histories) -> bool:
    """False when times cannot be those of a shop.

    That is when all events are of one day, when most customers' first events share one and the same day, or when
    nearly every customer's events lie together with nobody else's in between.
    """
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
    if spread.sum() < 20:  # with few customers, many may well have started on one day, and been alone
        return True
    return bool(same.max() / spread.sum() < _SAME_START and not _one_after_the_other(histories))


def _one_after_the_other(histories: Histories) -> bool:
    """Whether nearly all customers with three times or more were alone in the shop from their first to their last."""
    step = histories.n_events // _ENOUGH + 1
    histories = histories.rows(np.arange(0, len(histories), step))  # who was not alone among all is not among a few
    row, order = histories.row_of_event, np.argsort(histories.ts, kind="stable")
    visit = np.flatnonzero(np.diff(row[order], prepend=-1))  # where another customer begins
    visits = np.bincount(row[order][visit], minlength=len(histories))
    new_time = np.concatenate([[True], (np.diff(histories.ts) != 0) | (np.diff(row) != 0)]) if len(row) else row
    several = np.bincount(row, weights=new_time, minlength=len(histories)) >= 3
    return bool(several.sum() >= 20 and (visits[several] == 1).mean() >= _ALONE)
