"""Features of a customer and an item together: own purchases, how due they are, tastes, prices and titles."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import Float32, Int32, Int64
from .feature import declare
from .people import Family, People, Profile, find

Column = NDArray[Any]


class Pairs:
    """Pairs of a history and an item, as pair features see them.

    Parameters
    ----------
    people
        The histories.
    row, item
        Shape (pairs,): the pairs; rows of `people` and item codes.
    """

    def __init__(self, people: People, row: Int64, item: Int32) -> None:
        self.people = people
        self.table = people.table
        self.row = row
        self.item = item
        self.key = row * people.n_items + item
        self._columns: dict[str, NDArray[np.float64]] = {}

    def items(self, name: str) -> Float32:
        """An item feature, for each pair."""
        return np.asarray(self.table.values[self.item, self.table.column[name]])

    @cached_property
    def _owned(self) -> tuple[Int64, NDArray[np.bool_]]:
        return find(self.people.owned.key, self.key)

    @property
    def own(self) -> NDArray[np.bool_]:
        """Which items the customer has bought."""
        return self._owned[1]

    def owned(self, name: str) -> NDArray[np.float64]:
        """A column of `Owned`, NaN for what was never bought."""
        if name not in self._columns:
            at, there = self._owned
            column = getattr(self.people.owned, name)
            self._columns[name] = np.full(len(at), np.nan)
            self._columns[name][there] = column[at[there]]
        return self._columns[name]

    @cached_property
    def days_since_own(self) -> NDArray[np.float64]:
        """Days since the customer last bought the item."""
        return np.asarray(np.maximum(self.people.now - self.owned("last"), 0) / 86_400)

    @cached_property
    def own_interval(self) -> NDArray[np.float64]:
        """Mean days between the customer's purchases of it; NaN below two."""
        days = self.owned("days")
        span = (self.owned("last") - self.owned("first")) / 86_400
        return np.where(days > 1, span / np.maximum(days - 1, 1), np.nan)

    @cached_property
    def touched(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Days since the last view, click or cart of it, NaN for none; and how many there were."""
        key, last, count = self.people.touched
        age, number = np.full(len(self.key), np.nan), np.zeros(len(self.key))
        if len(key):
            at, there = find(key, self.key)
            age[there], number[there] = self.people.ages(last[at[there]]), count[at[there]]
        return age, number

    def of_family(self, family: Family, group: Int32) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Share of the customer's purchases in the item's category or brand, and days since the last; NaN for none."""
        code = group[self.item].astype(np.int64)
        width = int(group.max(initial=-1)) + 1
        share, age = np.zeros(len(code)), np.full(len(code), np.nan)
        if len(family.key):
            at, there = find(family.key, self.row * width + code)
            there &= code >= 0
            share[there], age[there] = family.share[at[there]], self.people.ages(family.last[at[there]])
        share[code < 0] = np.nan
        return share, age

    @cached_property
    def category(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `of_family`."""
        return self.of_family(self.people.categories, self.table.category)

    @cached_property
    def brand(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `of_family`."""
        return self.of_family(self.people.brands, self.table.brand)

    @cached_property
    def _words(self) -> tuple[Int64, Float32]:
        """Of each pair, where the words of the title are in a profile, and their weights."""
        titles = self.table.titles
        place = titles.word.take(self.item, axis=0) + self.row[:, None] * titles.size
        return place, titles.weight.take(self.item, axis=0)

    def like(self, profile: Profile) -> Column:
        """Cosine of the item's title and what a customer bought."""
        place, weight = self._words
        total = np.einsum("ij->i", profile.words.take(place) * weight)
        return np.asarray(total / profile.length[self.row])


@declare("pair", "own_days", "count", "ever", "Days on which the customer bought it, log(1 + n); 0 for never.")
def own_days(pairs: Pairs) -> Column:
    return np.log1p(np.where(pairs.own, pairs.owned("days"), 0))


@declare("pair", "own_since_last", "days", "ever", "Days since the customer last bought it, log; NaN for never.")
def own_since_last(pairs: Pairs) -> Column:
    return np.log1p(pairs.days_since_own)


@declare("pair", "own_since_first", "days", "ever", "Days since the customer first bought it, log; NaN for never.")
def own_since_first(pairs: Pairs) -> Column:
    return np.log1p(np.maximum(pairs.people.now - pairs.owned("first"), 0) / 86_400)


@declare(
    "pair", "own_share", "share", "ever", "Share of the order days since the first with it on which it was bought."
)
def own_share(pairs: Pairs) -> Column:
    return pairs.owned("days") / pairs.owned("nth")


@declare("pair", "own_interval", "days", "ever", "Mean days between the customer's purchases of it, log.")
def own_interval(pairs: Pairs) -> Column:
    return np.log1p(pairs.own_interval)


@declare("pair", "own_due", "number", "ever", "Days since the customer last bought it over their own interval, log.")
def own_due(pairs: Pairs) -> Column:
    return np.log((pairs.days_since_own + 1) / (pairs.own_interval + 1))


@declare(
    "pair", "usual_due", "number", "ever", "Days since the customer last bought it over everybody's interval, log."
)
def usual_due(pairs: Pairs) -> Column:
    return np.log1p(pairs.days_since_own) - pairs.items("rebuy_interval")


@declare("pair", "own_pieces", "count", "ever", "Pieces of it that the customer bought, log(1 + n).")
def own_pieces(pairs: Pairs) -> Column:
    return np.log1p(pairs.owned("qty"))


@declare("pair", "own_orders_since", "count", "ever", "Order days since the one on which it was first bought, log.")
def own_orders_since(pairs: Pairs) -> Column:
    return np.log(pairs.owned("nth"))


@declare("pair", "touches", "count", "ever", "The customer's views, clicks and carts of it, log(1 + n).")
def touches(pairs: Pairs) -> Column:
    return np.log1p(pairs.touched[1])


@declare("pair", "days_since_touch", "days", "ever", "Days since the last of them, log; NaN for never.")
def days_since_touch(pairs: Pairs) -> Column:
    return np.log1p(pairs.touched[0])


@declare("pair", "category_share", "share", "ever", "Share of the customer's purchases in its category.")
def category_share(pairs: Pairs) -> Column:
    return pairs.category[0]


@declare("pair", "days_since_category", "days", "ever", "Days since the customer bought in its category, log.")
def days_since_category(pairs: Pairs) -> Column:
    return np.log1p(pairs.category[1])


@declare("pair", "brand_share", "share", "ever", "Share of the customer's purchases of its brand.")
def brand_share(pairs: Pairs) -> Column:
    return pairs.brand[0]


@declare("pair", "days_since_brand", "days", "ever", "Days since the customer bought its brand, log.")
def days_since_brand(pairs: Pairs) -> Column:
    return np.log1p(pairs.brand[1])


@declare("pair", "price_ratio", "number", "ever", "Its price against the customer's mean, log.", as_of="catalogue")
def price_ratio(pairs: Pairs) -> Column:
    return pairs.table.price[pairs.item] - pairs.people.price[0][pairs.row]


@declare(
    "pair", "price_distance", "number", "ever", "The same, in spreads of the customer's prices.", as_of="catalogue"
)
def price_distance(pairs: Pairs) -> Column:
    mean, spread = pairs.people.price
    return (pairs.table.price[pairs.item] - mean[pairs.row]) / spread[pairs.row]


@declare("pair", "title_likeness", "share", "ever", "Likeness of its title to all the customer bought, 0 to 1.")
def title_likeness(pairs: Pairs) -> Column:
    return pairs.like(pairs.people.words)


@declare(
    "pair", "title_likeness_lately", "share", "3 order days", "Likeness of its title to the last order days', 0 to 1."
)
def title_likeness_lately(pairs: Pairs) -> Column:
    return pairs.like(pairs.people.words_lately)
