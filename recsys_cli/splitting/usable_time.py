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
_TO_THE_END = 0.5  # of them who were there in the last tenth of the time, too, where a longer time was cut
_ONE_STEP = 0.9  # of the steps from one moment of a customer to the next that are alike where they are numbers
_ENOUGH = 300_000  # events to look at; sorting ten million takes seconds
_ALONE = 0.98  # of the customers with several times: in a shop that lives, most come back after somebody else came


def usable_time(histories: Histories) -> bool:
    """False when times cannot be those of a shop.

    That is when all events are of one day, when most customers' first events share one and the same day (and it is
    not that the file begins where they had long been customers), or when nearly every customer's events lie together
    with nobody else's in between.
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
    day, same = np.unique(first[spread] // DAY, return_counts=True)
    if spread.sum() < 20:  # with few customers, many may well have started on one day, and been alone
        return True
    if same.max() / spread.sum() >= _SAME_START:
        together = np.flatnonzero(filled)[spread][first[spread] // DAY == day[same.argmax()]]
        if not _cut_out(histories.rows(together), int(first.min()), int(last.max())):
            return False
    return not _one_after_the_other(histories)


def _cut_out(histories: Histories, begin: int, end: int) -> bool:
    """Whether these customers, who all begin on one day, look like regulars of a time from which a stretch was cut.

    Who comes every day is there on the first day of a file and on its last. Numbered events, and days counted from
    each customer's own first one, end sooner for those who have fewer, or go by one and the same step.
    """
    if histories.ts[histories.indptr[:-1]].min() - begin >= DAY:
        return False
    last = histories.ts[histories.indptr[1:] - 1]
    if (last >= end - (end - begin) / 10).mean() < _TO_THE_END:
        return False
    step = np.diff(histories.ts)[np.diff(histories.row_of_event) == 0]
    _, alike = np.unique(step[step > 0], return_counts=True)
    return bool(alike.max() / alike.sum() < _ONE_STEP)


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
