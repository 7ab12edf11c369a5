"""What a version holds ready for the engine besides the model: popularity, trends, pairs, and items as JSON.

Pure functions of a `Dataset`; training and updates call `build_shelves` when they publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.base import Model
from ..models.support.demand import WEEK, busy_weeks, customers, different, drawn, popularity
from ..schema import DAY, FEW, PURCHASE, Dataset, Float32, Histories, Int32, Int64, Interactions, clock, parts
from .items_json import render_items
from .pairs import together

Shelves = dict[str, NDArray[Any]]

TAUS_DAYS = (2.0, 4.0, 8.0, 15.0, 30.0, 90.0, 365.0)
TREND_DAYS = 7.0
NEW_DAYS = 60.0  # for which an item is new, counted back from the shop's clock
_TRENDING = 3  # different customers in a week, below which nothing is on the rise
_WEEKS_BACK = 26  # in which weeks are looked for that were not a pause
_TAU_EVENTS = 1_000_000
_REPEATERS = 5  # customers who bought an item again, from which on it has a usual interval


def build_shelves(
    data: Dataset,
    model: Model,
    *,
    least: int,
    previous: Mapping[str, NDArray[Any]] | None = None,
    counts: Counts | None = None,
) -> Shelves:
    """All shelves of a version.

    Parameters
    ----------
    data
        What the version is made of; item codes as in its catalogue.
    model
        The version's model.
    least
        Different customers whom a pair, a trend or a count must come from; see `settings.PrivacySettings`.
    previous
        Shelves of the version that this one grows from: what a day's events cannot change is taken from there, the
        window of popularity and the intervals between purchases.
    counts
        Counts over all of `data` when another engine makes them.

    Returns
    -------
    dict
        item_json uint8, item_json_at int64 (n_items + 1,)
            Items as comma-separated JSON members without braces, see `items_json`.
        popular float32 (n_items,), popular_order int32, popular_tau float64 (1,)
            See `models.support.demand.popularity`; codes with a share above 0, best first; tau in days.
        trending float32 (n_items,), trending_order int32
            See `on_the_rise`; codes above 0, best first.
        first_seen int64 (n_items,), new_order int32
            Epoch seconds of first offer (or first event), 0 unknown; codes of the last `NEW_DAYS` days, newest first.
        sold_lately, sold_week, sold_usual float32 (n_items,)
            Different customers in the last 30 days, in the last 7, and in an average week of the four before; `FEW`
            where there are fewer than `least`, and 0 for the average.
        sold_until int64 (2,)
            Epoch seconds at which those windows end, and whether they count purchases (1) or, in a shop that has
            none, whatever else is liked (0).
        interval_days float32 (n_items,)
            Days after which customers usually buy the item again; 0 when they do not.
        together_item int32, together_count int32, together_lift float32, each (n_items, 30)
            What was in the same orders, by shrunk lift, best first, substitutes left out; -1, 0, 0 where there
            are fewer.
    """
    blob, offsets = render_items(data.catalogue)
    tau = _known_tau(previous) or choose_tau(data.interactions)
    counts = counts or Counts(data)
    popular = counts.popularity(tau).astype(np.float32)
    sales = counts.sales
    week, usual = sales.weekly()
    trending = on_the_rise(sales, popular, max(least, _TRENDING))
    first = first_offered(data)
    return {
        "item_json": blob,
        "item_json_at": offsets,
        "popular": popular,
        "popular_order": _order(popular, popular > 0),
        "popular_tau": np.array([tau]),
        "trending": trending,
        "trending_order": _order(trending, trending > 0),
        "first_seen": first,
        "new_order": _order(first, first > data.interactions.end - NEW_DAYS * DAY),
        "sold_lately": _told(sales.customers(30, 0), least),
        "sold_week": _told(week, least),
        "sold_usual": np.where(sales.customers(5 * TREND_DAYS, TREND_DAYS) < least, 0, usual).astype(np.float32),
        "sold_until": np.array([sales.until, sales.purchases], dtype=np.int64),
        "interval_days": _known_intervals(counts, data.interactions.n_items, previous),
        **counts.together(least),
    }


class Counts:
    """What shelves count over all events, in this process; `publishing.spark_counts` has the same by Spark SQL."""

    def __init__(self, data: Dataset) -> None:
        self.data = data

    @cached_property
    def sales(self) -> Sales:
        """The shop's."""
        return Sales.of(self.data.interactions)

    def popularity(self, tau_days: float) -> NDArray[np.float64]:
        """See `models.support.demand.popularity`."""
        return popularity(self.data.interactions, tau_days)

    def intervals(self) -> Float32:
        """See `intervals`."""
        return intervals(self.data.interactions)

    def together(self, least: int) -> dict[str, NDArray[Any]]:
        """See `pairs.together`."""
        return together(self.data, least)


def _told(count: Float32, least: int) -> Float32:
    """Counts of customers, `FEW` where they are too few to be told."""
    return np.where((count > 0) & (count < least), FEW, count).astype(np.float32)


def _known_tau(previous: Mapping[str, NDArray[Any]] | None) -> float:
    if previous is None or "popular_tau" not in previous:
        return 0.0
    return float(previous["popular_tau"][0])


def _known_intervals(counts: Counts, n_items: int, previous: Mapping[str, NDArray[Any]] | None) -> Float32:
    """The intervals of before, none yet for items that were not there; all again without them."""
    if previous is None or "interval_days" not in previous:
        return counts.intervals()
    known = previous["interval_days"]
    return np.concatenate([known, np.zeros(n_items - len(known), dtype=np.float32)])


def _order(score: NDArray[Any], keep: NDArray[np.bool_]) -> Int32:
    """Codes that `keep` marks, highest score first, ties by lower code."""
    codes = np.flatnonzero(keep)
    return codes[np.argsort(-score[codes], kind="stable")].astype(np.int32)


def _event_weight(histories: Histories) -> Float32:
    return histories.kind_weight[histories.kind] if len(histories.kind) else np.zeros(0, np.float32)


def choose_tau(data: Interactions, *, top: int = 50, windows: int = 3) -> float:
    """Days of ageing with which the bestsellers of then best foretold the weeks that followed.

    Each candidate is judged by the share of a week's events on its `top` items, over the last `windows` weeks.
    """
    h = data.histories
    step = max(1, h.n_events // _TAU_EVENTS)  # some of the events tell as much as all
    ts, item, weight = h.ts[::step], h.item[::step], np.maximum(_event_weight(h), 0)[::step]
    cuts = _busy_cuts(ts, data.end)[:windows]
    if not cuts:
        return 30.0
    share = np.zeros(len(TAUS_DAYS))
    for cut in cuts:
        before, after = ts <= cut, (ts > cut) & (ts <= cut + WEEK)
        sold = np.bincount(item[after], weights=weight[after], minlength=data.n_items)
        age, seen = (cut - ts[before]) / DAY, item[before]
        for i, tau in enumerate(TAUS_DAYS):
            aged = np.bincount(seen, weights=weight[before] * np.exp(-age / tau), minlength=data.n_items)
            best = np.argsort(-aged, kind="stable")[:top]
            share[i] += sold[best].sum() / max(sold.sum(), 1e-9)
    return TAUS_DAYS[int(np.argmax(share))]


def _busy_cuts(ts: Int64, end: int) -> list[int]:
    """Beginnings of weeks in which the shop was not quiet, and with a week before them, the latest first."""
    if not len(ts):
        return []
    back = np.maximum((end - ts) // WEEK, 0)
    busy = busy_weeks(np.bincount(back[back < _WEEKS_BACK], minlength=_WEEKS_BACK))
    cuts = [end - WEEK * (week + 1) for week in np.flatnonzero(busy).tolist()]
    return [cut for cut in cuts if cut - int(ts.min()) > WEEK]


@dataclass(frozen=True)
class Sales:
    """What counts as sold, and when: purchases or, in a shop without, whatever else is liked.

    Parameters
    ----------
    data
        Everything.
    counted
        Which of its events count; shape (n_events,).
    until
        Epoch seconds at which windows end: where the sales do. A robot that looks at one item all day, or orders that
        have not come in for a month while visitors look on, must not empty them.
    purchases
        Purchases are what counts.
    """

    data: Interactions
    counted: NDArray[np.bool_]
    until: int
    purchases: bool

    @staticmethod
    def of(data: Interactions) -> Sales:
        """The shop's."""
        h = data.histories
        bought = h.is_kind(PURCHASE)
        purchases = bool(bought.any())
        counted = bought if purchases else _event_weight(h) > 0
        newest = different(data)
        ts = h.ts[newest[counted[newest]]]
        return Sales(data, counted, clock(ts) if len(ts) else data.end, purchases)

    def customers(self, first_day: float, last_day: float) -> Float32:
        """Different customers of each item from `first_day` days before the end to `last_day` days before it."""
        age = self.until - self.data.histories.ts
        # What is later than the shop's clock happened today.
        inside = self.counted & (age < first_day * DAY) & (np.maximum(age, 0) >= last_day * DAY)
        return customers(self.data, inside)

    def weekly(self) -> tuple[Float32, Float32]:
        """Different customers of each item in the last week, and in an average week of the four before."""
        before = [self.customers((n + 2) * TREND_DAYS, (n + 1) * TREND_DAYS) for n in range(4)]
        return self.customers(TREND_DAYS, 0), np.mean(before, axis=0).astype(np.float32)


def on_the_rise(sales: Sales, popular: Float32, least: int = _TRENDING) -> Float32:
    """Customers of the last week beyond those that the weeks before foretell, in standard deviations; (n_items,).

    What is foretold is an item's share of the four weeks before, drawn towards its popularity, of the last week's
    customers: a shop that opens again after a pause has no item on the rise, and neither has the week before
    Christmas in which all sell more.
    """
    week, month = sales.customers(TREND_DAYS, 0), sales.customers(5 * TREND_DAYS, TREND_DAYS)
    if not popular.any():
        return np.zeros(len(week), dtype=np.float32)
    foretold = drawn(month, popular / popular.sum()) * week.sum()
    rise = (week - foretold - 1) / np.sqrt(foretold + 1)
    return np.where(week >= least, rise, 0).astype(np.float32)


def intervals(data: Interactions) -> Float32:
    """Median days from a purchase of an item to the same customer's next one; 0 where too few bought it again."""
    h = data.histories
    bought = h.is_kind(PURCHASE)
    out = np.zeros(data.n_items, dtype=np.float32)
    found = [_gaps(h, np.flatnonzero(bought[part]) + part.start, data.n_items) for part in parts(h.row_of_event)]
    if not found:
        return out
    item, gap = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    if not len(item):
        return out
    order = np.lexsort((gap, item))
    item, gap = item[order], gap[order]
    codes, start, count = np.unique(item, return_index=True, return_counts=True)
    usual = gap[start + (count - 1) // 2] / DAY
    keep = bought_again(count, np.bincount(h.item[bought], minlength=data.n_items)[codes])
    out[codes[keep]] = usual[keep]
    return out


def _gaps(histories: Histories, events: Int64, n_items: int) -> tuple[Int32, Int64]:
    """Items that their customer bought again after more than a day, and the seconds until then."""
    item, user, ts = histories.item[events], histories.row_of_event[events], histories.ts[events]
    # A history is oldest first already, so one stable sort keeps the times in order; sorting by three keys took 13 s
    # of 10 million events.
    order = np.argsort(user * np.int64(n_items) + item, kind="stable")
    item, user, ts = item[order], user[order], ts[order]
    gap = np.diff(ts)
    again = (item[1:] == item[:-1]) & (user[1:] == user[:-1]) & (gap > DAY)
    return item[1:][again], gap[again]


def bought_again(times: NDArray[np.integer], purchases: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which items have a usual interval: a tenth of the purchases being repetitions tells coffee from a kettle that was
    bought as a present once more."""
    return np.asarray((times >= _REPEATERS) & (times >= 0.1 * purchases), dtype=np.bool_)


def first_offered(data: Dataset) -> Int64:
    """Epoch seconds at which each item came to be: as the catalogue says, else when it came into the catalogue or its
    first event, whichever was earlier, else 0."""
    told, seen, came = (_times(data, name) for name in ("created_at", "first_seen", "arrived"))
    first = np.where((came > 0) & ((seen == 0) | (came < seen)), came, seen)
    return np.where(told > 0, told, first)


def _times(data: Dataset, name: str) -> Int64:
    """A column of times; 0 where it is not known."""
    if name not in data.catalogue.column_names:
        return np.zeros(data.catalogue.num_rows, dtype=np.int64)
    told: Int64 = data.catalogue[name].cast("int64").fill_null(0).to_numpy()
    return np.maximum(told, 0)
