"""Histories as features see them: what each customer bought, when, and at what prices."""

from __future__ import annotations

from collections.abc import Sequence
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
    days: Int64
    first: Int64
    last: Int64
    qty: NDArray[np.float64]
    nth: Int64
    ago: Int64


class Family(NamedTuple):
    """One row for each (history, category or brand), ordered by `key`: share of the purchases, and the last one."""

    key: Int64
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
    """

    def __init__(self, histories: Histories, table: ItemTable, now: int) -> None:
        self.histories = histories
        self.table = table
        self.now = now
        self.n_items = len(table)
        self.rows = len(histories)
        self._own_families: dict[str, Family] = {}

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
    def orders(self) -> NDArray[np.float64]:
        """Order days of each history; shape (rows,)."""
        return np.bincount(self.row[self.new_day], minlength=self.rows).astype(np.float64)

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

    def ages(self, ts: NDArray[np.integer]) -> NDArray[np.float64]:
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
        key, ts, qty, number = key[order], self.ts[order], self.qty[order], self.day_number[order]
        begin = _begins(key)
        if not len(begin):
            none = np.zeros(0, np.int64)
            return Owned(none, none, none, none, np.zeros(0), none, none)
        end = _ends(begin, len(key)) - 1
        fresh = np.ones(len(key), np.int64)
        fresh[1:] = (key[1:] != key[:-1]) | (number[1:] != number[:-1])
        days = np.add.reduceat(fresh, begin)
        place = np.repeat(np.arange(len(begin)), end - begin + 1)
        pieces = np.bincount(place, weights=qty, minlength=len(begin)).astype(np.float64)
        orders = self.orders[key[begin] // self.n_items].astype(np.int64)
        nth, ago = orders - number[begin], orders - 1 - number[end]
        return Owned(key[begin], days, ts[begin], ts[end], pieces, nth, ago)

    @cached_property
    def touched(self) -> tuple[Int64, Int64, NDArray[np.float64]]:
        """Key, last time and number of views, clicks and carts of each (history, item), ordered by key."""
        h = self.histories
        some = h.is_kind(VIEW, CLICK, CART)
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

    def family(self, group: Int32) -> Family:
        """Shares of categories or brands; `group` is a column of the table."""
        code = group[self.item].astype(np.int64)
        known = code >= 0
        width = int(group.max(initial=-1)) + 1
        key = self.row[known] * width + code[known]
        order = np.argsort(key, kind="stable")
        key, ts = key[order], self.ts[known][order]
        begin = _begins(key)
        end = _ends(begin, len(key))
        total = np.maximum(self.lines, 1)
        share = (end - begin) / total[key[begin] // max(width, 1)]
        return Family(key[begin], share, ts[end - 1])

    @cached_property
    def categories(self) -> Family:
        """See `family`."""
        return self.family(self.table.category)

    @cached_property
    def brands(self) -> Family:
        """See `family`."""
        return self.family(self.table.brand)

    def own_family(self, attribute: str) -> Family:
        """See `family`, of an attribute of the shop's own."""
        if attribute not in self._own_families:
            self._own_families[attribute] = self.family(self.table.groups[attribute])
        return self._own_families[attribute]

    @cached_property
    def words(self) -> Profile:
        """Title words of all different items bought."""
        return self._profile(self.owned.key)

    @cached_property
    def words_lately(self) -> Profile:
        """As `words`, of the last order days."""
        return self._profile(self.owned.key[self.owned.ago < _RECENT_MOMENTS])

    def _profile(self, key: Int64) -> Profile:
        size, titles = self.table.titles.size, self.table.titles
        row, item = key // self.n_items, key % self.n_items
        place = (titles.word[item] + (row * size)[:, None]).ravel()
        weight = titles.weight[item].ravel()
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
