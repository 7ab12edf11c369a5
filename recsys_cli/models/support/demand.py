"""How much each item is wanted: different customers are counted, and short windows are drawn towards longer ones.

The hundredth event of one customer with one item says what the first said, so a customer (or a guest's session) counts
once for an item and a type of event, by the newest. And the last days alone say little when little happened: the few
sales after a pause, or of a quiet night, would be the whole of popularity. So the rate of each item in a window is
estimated by a gamma-Poisson model whose prior is the next longer window (empirical Bayes: Robbins, An empirical Bayes
approach to statistics, 1956).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...schema import DAY, Float32, Int64, Interactions, parts
from ...splitting.usable_time import usable_time

WEEK = 7 * DAY
LONGER_DAYS = (365.0, 90.0)  # the windows that a shorter one is drawn towards
# The gamma prior's shape: so many customers an item's longer past counts for. NDCG@10 of popularity on Online Retail,
# the last 38, 90 and 180 days asked for, for 2 and 14 days of ageing; plain is every sale by its age alone:
#
#              plain                          0.25   0.5    1      4
#      2 days  .083   .058   .089             .082   .081   .081   .076
#                                             .058   .058   .058   .061
#                                             .088   .088   .088   .088
#     14 days  .082   .059   .087             .080   .080   .079   .077
#                                             .061   .061   .061   .061
#                                             .088   .088   .087   .087
STEADINESS = 0.5
FEW = 30.0  # customers in a window, below which it says less of the shop than the longer one
_AT_ONCE = 8_000_000  # events that are aged at once: a year's of a large shop would take gigabytes
_QUIET = 0.25  # of the usual week's customers, below which a week is a pause

Shares = NDArray[np.float64]


def different(interactions: Interactions) -> Int64:
    """Each customer's newest event of each type with each item, as positions in the arrays of the histories."""
    h = interactions.histories
    named = np.array([h.kinds.index(name) for name in h.kinds], dtype=np.int64)  # views of all durations are one type
    kind = named[h.kind] if len(named) else h.kind
    found = [np.zeros(0, dtype=np.int64)]
    for part in parts(h.row_of_event):
        pair = h.row_of_event[part].astype(np.int64) * interactions.n_items + h.item[part]
        key = pair * max(len(h.kinds), 1) + kind[part]
        order = np.argsort(key, kind="stable")  # histories are oldest first, so the last of a group is the newest
        newest = np.ones(len(order), dtype=np.bool_)
        np.not_equal(key[order[1:]], key[order[:-1]], out=newest[:-1])
        found.append(order[newest] + part.start)
    return np.concatenate(found)


def popularity(interactions: Interactions, tau_days: float, qty_power: float = 0.0) -> Shares:
    """Share of each item in what is wanted, float64 of shape (n_items,), summing to 1 or all zeros.

    Parameters
    ----------
    tau_days
        Days after which a customer counts 1/e, from the newest event on, so that an old export is aged by its own
        clock; 0 for popularity of all time. Times that are not reliable (see `usable_time`) are not aged by.
    qty_power
        A customer counts by the quantity to this power.
    """
    h, n = interactions.histories, interactions.n_items
    pick, kind_weight = different(interactions), np.maximum(h.kind_weight, 0).astype(np.float64)

    def aged(days: float) -> Shares:
        share: Shares = np.zeros(n)
        for first in range(0, len(pick), _AT_ONCE):
            some = pick[first : first + _AT_ONCE]
            by = kind_weight[h.kind[some]]
            if qty_power:
                by = by * np.maximum(h.qty[some], 1) ** qty_power
            if days:
                age = np.clip((interactions.end - h.ts[some]) / DAY, 0, None)
                by = by * np.exp(-np.minimum(age / days, 700))
            share += np.bincount(h.item[some], by, minlength=n)
        return share

    return wanted(aged, tau_days if usable_time(h) else 0.0)


def wanted(aged: Callable[[float], Shares], tau_days: float) -> Shares:
    """As `popularity`, from what `aged(days)` gives: the weight of each item when a customer of so many days ago counts
    1/e; with 0, when all count the same."""
    share = aged(0.0)
    if not share.any():
        return share
    share /= share.sum()
    if not tau_days:
        return share
    for days in (*(days for days in LONGER_DAYS if days > tau_days), tau_days):
        share = drawn(aged(days), share)
    return share


def drawn(count: NDArray[np.floating], share: NDArray[np.floating]) -> Shares:
    """Shares in a window in which each item was counted so often, drawn towards its `share` of a longer time.

    For each item the posterior mean of a Poisson rate whose gamma prior, of shape `STEADINESS`, lies around what its
    share foretells; and of the whole only as much as `FEW` customers leave to it, so that one sale in an empty week
    moves nothing. Both of shape (n_items,), `share` summing to 1.
    """
    total = float(count.sum())
    foretold = share * total
    found = np.asarray(share * (count + STEADINESS) / (foretold + STEADINESS), dtype=np.float64)
    return np.asarray((total * found / found.sum() + FEW * share) / (total + FEW), dtype=np.float64)


def busy_weeks(volume: NDArray[np.number]) -> NDArray[np.bool_]:
    """Which weeks were not a pause: at least a quarter of the median week in which anything happened."""
    some = volume[volume > 0]
    return np.asarray(volume >= max(_QUIET * float(np.median(some)), 1e-9)) if len(some) else volume > 0


def customers(interactions: Interactions, keep: NDArray[np.bool_]) -> Float32:
    """Different customers of each item among the events that `keep` marks; shape (n_items,)."""
    h, n = interactions.histories, interactions.n_items
    count = np.zeros(n, dtype=np.int64)
    for part in parts(h.row_of_event):
        some = np.flatnonzero(keep[part]) + part.start
        pairs = np.unique(h.row_of_event[some].astype(np.int64) * n + h.item[some])
        count += np.bincount(pairs % n, minlength=n)
    return count.astype(np.float32)
