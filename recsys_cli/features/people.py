"""Histories as features see them: what each customer bought, when, and at what prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..schema import CART, CLICK, DAY, PURCHASE, VIEW, Float32, Histories, Int32, Int64
from .feature import FEATURES
from .item_table import ItemTable

_RECENT_MOMENTS = 3  # the last order days that count as "lately"


class Owned(NamedTuple):
    """One row for each (history, item) that met, ordered by `key`.

    Parameters
    ----------
    key
        int64: history * n_items + item.
    row, item
        The same apart.
    days
        Different days on which it was bought.
    first, last
        Epoch seconds of the first and the last purchase.
    qty
        Pieces.
    nth
        Order days of the customer from the first purchase of it on, that one included.
    ago
        Order days of the customer after the last purchase of it.
    """

    key: Int64
    row: Int64
    item: Int32
    days: Int64
    first: Int64
    last: Int64
    qty: NDArray[np.float64]
    nth: Int64
    ago: Int64


class Family(NamedTuple):
    """Of history r and group g, a category or brand, at r * width + g: share of the purchases, and epoch seconds of the
    last one, -1 for none."""

    width: int
    share: NDArray[np.float64]
    last: Int64


class Profile(NamedTuple):
    """Weights of the title words of what histories bought.

    Parameters
    ----------
    words
        float64, flat: of word w and history r at r * size + w.
    length
        float64, shape (rows,): that of each history's weights, 1 where there are none.
    """

    words: NDArray[np.float64]
    length: NDArray[np.float64]


class People:
    """Views of some histories; each is worked out when a feature first asks.

    Sums go over one history at a time and in the order of its events, so that a customer alone and the same one among
    thousands come out equal, bit for bit.

    Parameters
    ----------
    histories
        Nothing in them may be later than the moment, but for what was heard since the version.
    table
        Of the same moment.
    now
        Epoch seconds that ages are counted from.
    groups
        What is told of the customers: attribute to int16 of shape (rows,), the place of each one's value in the
        table's, -1 for none.
    """

    def __init__(
        self, histories: Histories, table: ItemTable, now: int, groups: Mapping[str, NDArray[np.int16]] | None = None
    ) -> None:
        self.histories = histories
        self.table = table
        self.now = now
        self.n_items = len(table)
        self.groups = groups or {}
        self.rows = len(histories)
        self._families: dict[str, Family] = {}

    @cached_property
    def _bought(self) -> NDArray[np.bool_]:
        h = self.histories
        if self.table.purchases:
            return h.is_kind(PURCHASE)
        return np.asarray(h.kind_weight[h.kind] > 0) if h.n_events else np.zeros(0, np.bool_)

    @cached_property
    def row(self) -> Int64:
        """Of each purchase, the history."""
        return self.histories.row_of_event[self._bought].astype(np.int64)

    @cached_property
    def item(self) -> Int32:
        """Of each purchase, the item."""
        return self.histories.item[self._bought]

    @cached_property
    def ts(self) -> Int64:
        """Of each purchase, epoch seconds."""
        return self.histories.ts[self._bought]

    @cached_property
    def qty(self) -> Float32:
        """Of each purchase, the pieces."""
        return self.histories.qty[self._bought]

    @cached_property
    def new_day(self) -> NDArray[np.bool_]:
        """Which purchases are the first of an order day of their customer."""
        day = self.ts // DAY
        new = np.ones(len(day), np.bool_)
        new[1:] = (day[1:] != day[:-1]) | (self.row[1:] != self.row[:-1])
        return new

    @cached_property
    def day_number(self) -> Int64:
        """Of each purchase, which order day of the customer it was on, from 0."""
        count = np.cumsum(self.new_day.astype(np.int64))
        start = np.concatenate([[0], np.cumsum(self.orders.astype(np.int64))])
        return np.asarray(count - 1 - start[self.row], dtype=np.int64)

    @cached_property
    def order_days(self) -> tuple[Int64, Int64]:
        """The history and the epoch seconds of the first purchase of each order day."""
        return self.row[self.new_day], self.ts[self.new_day]

    @cached_property
    def orders(self) -> NDArray[np.float64]:
        """Order days of each history; shape (rows,)."""
        return np.bincount(self.order_days[0], minlength=self.rows).astype(np.float64)

    def values(self, names: Sequence[str]) -> Float32:
        """Features of customers: float32, shape (rows, len(names)), NaN where not known."""
        out = np.empty((self.rows, len(names)), dtype=np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for place, name in enumerate(names):
                out[:, place] = FEATURES[name].compute(self)
        return out

    @cached_property
    def lines(self) -> NDArray[np.float64]:
        """Purchases of each history; shape (rows,)."""
        return np.bincount(self.row, minlength=self.rows).astype(np.float64)

    def ages(self, ts: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
        """Days from `ts` to the moment, not below 0."""
        return np.asarray(np.maximum(self.now - ts, 0) / DAY, dtype=np.float64)

    @cached_property
    def span(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Days since the first and the last purchase of each history; NaN where there is none."""
        first, last = np.full(self.rows, np.nan), np.full(self.rows, np.nan)
        if len(self.row):
            begin = _begins(self.row)
            end = _ends(begin, len(self.row)) - 1
            who = self.row[begin]
            first[who], last[who] = self.ages(self.ts[begin]), self.ages(self.ts[end])
        return first, last

    @cached_property
    def owned(self) -> Owned:
        """What each history has bought, item by item."""
        key = self.row * self.n_items + self.item
        order = np.argsort(key, kind="stable")  # a history is oldest first already
        key = key[order]
        begin = _begins(key)
        if not len(begin):
            none = np.zeros(0, np.int64)
            return Owned(none, none, self.item[:0], none, none, none, np.zeros(0), none, none)
        first, last = order[begin], order[_ends(begin, len(key)) - 1]
        fresh = np.ones(len(key), np.int64)
        by_day = self.day_number[order]
        np.logical_or(key[1:] != key[:-1], by_day[1:] != by_day[:-1], out=fresh[1:])
        days = np.add.reduceat(fresh, begin)
        pieces = np.add.reduceat(self.qty[order].astype(np.float64), begin)
        row = self.row[first]
        orders = self.orders[row].astype(np.int64)
        nth, ago = orders - self.day_number[first], orders - 1 - self.day_number[last]
        return Owned(key[begin], row, self.item[first], days, self.ts[first], self.ts[last], pieces, nth, ago)

    @cached_property
    def different(self) -> NDArray[np.float64]:
        """Different items that each history has bought; shape (rows,)."""
        return np.bincount(self.owned.row, minlength=self.rows).astype(np.float64)

    @cached_property
    def interval(self) -> NDArray[np.float64]:
        """Mean days between the order days of each history, NaN with one; shape (rows,)."""
        first, last = self.span
        return np.where(self.orders > 1, (first - last) / np.maximum(self.orders - 1, 1), np.nan)

    @cached_property
    def touched(self) -> tuple[Int64, Int64, NDArray[np.float64]]:
        """Key, last time and number of views, clicks and carts of each (history, item), ordered by key."""
        h = self.histories
        some = h.is_kind(VIEW, CLICK, CART)
        if not some.any():
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        key = h.row_of_event[some].astype(np.int64) * self.n_items + h.item[some]
        order = np.argsort(key, kind="stable")
        key, ts = key[order], h.ts[some][order]
        begin = _begins(key)
        end = _ends(begin, len(key))
        return key[begin], ts[end - 1], (end - begin).astype(np.float64)

    @cached_property
    def price(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and spread of the log prices of what each history bought; NaN where there is none."""
        price = self.table.price[self.item].astype(np.float64)
        known = ~np.isnan(price)
        row, price = self.row[known], price[known]
        count = np.bincount(row, minlength=self.rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(row, weights=price, minlength=self.rows) / np.where(count > 0, count, np.nan)
            around = (price - mean[row]) ** 2
            # One purchase has no spread: all are drawn to half a unit, about what shops' customers have.
            spread = np.sqrt((np.bincount(row, weights=around, minlength=self.rows) + 0.25) / (count + 1))
        return mean, spread

    def family(self, name: str) -> Family:
        """Shares of the groups of items that the table knows by this name, see `ItemTable.group`."""
        if name not in self._families:
            group, width = self.table.group(name)
            code = group[self.item]
            known = code >= 0
            place = self.row[known] * width + code[known]
            count = np.bincount(place, minlength=self.rows * width).reshape(self.rows, width)
            share = count / np.maximum(self.lines, 1)[:, None]
            last = np.full(self.rows * width, -1, dtype=np.int64)
            last[place] = self.ts[known]  # a history is oldest first, so that the last one stays
            self._families[name] = Family(width, share.ravel(), last)
        return self._families[name]

    @cached_property
    def words(self) -> Profile:
        """Title words of all different items bought."""
        return self._profile(self.owned.row, self.owned.item)

    @cached_property
    def words_lately(self) -> Profile:
        """As `words`, of the last order days."""
        late = self.owned.ago < _RECENT_MOMENTS
        return self._profile(self.owned.row[late], self.owned.item[late])

    def _profile(self, row: Int64, item: Int32) -> Profile:
        size, titles = self.table.titles.size, self.table.titles
        place = (titles.word.take(item, axis=0) + (row * size)[:, None]).ravel()
        weight = titles.weight.take(item, axis=0).ravel()
        total = np.bincount(place, weights=weight, minlength=self.rows * size).astype(np.float64, copy=False)
        # Along a row, for the sums of many to be those of one.
        by_row = total.reshape(self.rows, size)
        length = np.sqrt(np.vecdot(by_row, by_row))
        return Profile(total, np.where(length > 0, length, 1))


def _begins(sorted_keys: NDArray[np.integer]) -> Int64:
    """Where equal keys begin."""
    new = np.ones(len(sorted_keys), np.bool_)
    np.not_equal(sorted_keys[1:], sorted_keys[:-1], out=new[1:])
    return np.flatnonzero(new)


def _ends(begin: Int64, total: int) -> Int64:
    """Where the stretches that begin at `begin` end, in an array of `total`."""
    end = np.empty_like(begin)
    end[:-1], end[-1:] = begin[1:], total
    return end


def find(keys: Int64, wanted: Int64) -> tuple[Int64, NDArray[np.bool_]]:
    """Places of `wanted` in the sorted `keys`, and which are there at all (the others' places mean nothing)."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted
