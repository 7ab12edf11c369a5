"""Features of a customer and an item together: own purchases, how due they are, tastes, prices and titles."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import Float32, Int32, Int64
from .feature import declare
from .people import People, Profile, find

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
        self._lifts: dict[str, tuple[Float32, Float32]] = {}

    def items(self, name: str) -> Float32:
        """An item feature, for each pair."""
        return np.asarray(self.table.values[self.item, self.table.column[name]])

    @cached_property
    def own(self) -> NDArray[np.intp]:
        """The pairs whose item the customer has bought: mostly few, and the features of purchases are made of them."""
        return self._own[0]

    @cached_property
    def _own(self) -> tuple[NDArray[np.intp], Int64]:
        at, there = find(self.people.owned.key, self.key)
        own = np.flatnonzero(there)
        return own, at[own]

    def owned(self, name: str) -> NDArray[np.float64]:
        """A column of `Owned`, of the pairs `own`."""
        if name not in self._columns:
            self._columns[name] = getattr(self.people.owned, name)[self._own[1]].astype(np.float64)
        return self._columns[name]

    def of_all(self, own: Column, other: float = np.nan) -> Column:
        """These values of the pairs `own`, and `other` for what was never bought."""
        values = np.full(len(self.key), other)
        values[self.own] = own
        return values

    @cached_property
    def days_since_own(self) -> NDArray[np.float64]:
        """Days since the customer last bought the item; of the pairs `own`."""
        return self.people.ages(self.owned("last"))

    @cached_property
    def own_interval(self) -> NDArray[np.float64]:
        """Mean days between the customer's purchases of it, NaN below two; of the pairs `own`."""
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

    def of_family(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Share of the customer's purchases in the item's category or brand, and days since the last; NaN for none."""
        family, code = self.people.family(name), self.table.group(name)[0][self.item]
        if not family.width:
            return np.full(len(code), np.nan), np.full(len(code), np.nan)
        place = self.row * family.width + np.maximum(code, 0)
        share, last = family.share[place], family.last[place]
        share[code < 0] = np.nan
        return share, np.where((last >= 0) & (code >= 0), self.people.ages(last), np.nan)

    @cached_property
    def category(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `of_family`."""
        return self.of_family("category")

    @cached_property
    def brand(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See `of_family`."""
        return self.of_family("brand")

    def lift(self, attribute: str) -> tuple[Float32, Float32]:
        """Of an attribute of customers, see `customer_groups.Lift`; NaN where nothing is told of the customer."""
        held, codes = self.table.lifts.get(attribute), self.people.groups.get(attribute)
        if held is None or codes is None:
            unknown = np.full(len(self.item), np.nan, np.float32)
            return unknown, unknown
        if attribute not in self._lifts:
            self._lifts[attribute] = held.of(codes[self.row], self.item, self.table.category[self.item])
        return self._lifts[attribute]

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
    return pairs.of_all(np.log1p(pairs.owned("days")), 0.0)


@declare("pair", "own_since_last", "days", "ever", "Days since the customer last bought it, log; NaN for never.")
def own_since_last(pairs: Pairs) -> Column:
    return pairs.of_all(np.log1p(pairs.days_since_own))


@declare("pair", "own_since_first", "days", "ever", "Days since the customer first bought it, log; NaN for never.")
def own_since_first(pairs: Pairs) -> Column:
    return pairs.of_all(np.log1p(pairs.people.ages(pairs.owned("first"))))


@declare(
    "pair", "own_share", "share", "ever", "Share of the order days since the first with it on which it was bought."
)
def own_share(pairs: Pairs) -> Column:
    return pairs.of_all(pairs.owned("days") / pairs.owned("nth"))


@declare("pair", "own_interval", "days", "ever", "Mean days between the customer's purchases of it, log.")
def own_interval(pairs: Pairs) -> Column:
    return pairs.of_all(np.log1p(pairs.own_interval))


@declare("pair", "own_due", "number", "ever", "Days since the customer last bought it over their own interval, log.")
def own_due(pairs: Pairs) -> Column:
    return pairs.of_all(np.log((pairs.days_since_own + 1) / (pairs.own_interval + 1)))


@declare(
    "pair", "usual_due", "number", "ever", "Days since the customer last bought it over everybody's interval, log."
)
def usual_due(pairs: Pairs) -> Column:
    return pairs.of_all(np.log1p(pairs.days_since_own) - pairs.items("rebuy_interval")[pairs.own])


@declare("pair", "own_pieces", "count", "ever", "Pieces of it that the customer bought, log(1 + n).")
def own_pieces(pairs: Pairs) -> Column:
    return pairs.of_all(np.log1p(pairs.owned("qty")))


@declare("pair", "own_orders_since", "count", "ever", "Order days since the one on which it was first bought, log.")
def own_orders_since(pairs: Pairs) -> Column:
    return pairs.of_all(np.log(pairs.owned("nth")))


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
