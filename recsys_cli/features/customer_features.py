"""Features of customers: how often, how lately, at what prices, and how much of it is the same again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import DAY
from .feature import declare
from .people import People

Column = NDArray[Any]


@declare("customer", "orders", "count", "ever", "Days on which something was bought, log(1 + n).")
def orders(people: People) -> Column:
    return np.log1p(people.orders)


def _orders_within(days: int) -> None:
    @declare("customer", f"orders_{days}d", "count", f"{days} days", f"Order days of the last {days} days, log(1 + n).")
    def orders_within(people: People) -> Column:
        row, ts = people.order_days
        return np.log1p(np.bincount(row[people.now - ts < days * DAY], minlength=people.rows))


for _days in (28, 90):
    _orders_within(_days)


@declare("customer", "items_bought", "count", "ever", "Different items bought, log(1 + n).")
def items_bought(people: People) -> Column:
    return np.log1p(people.different)


@declare("customer", "order_size", "number", "ever", "Mean lines of an order day, log(1 + n).")
def order_size(people: People) -> Column:
    return np.asarray(np.log1p(people.lines / np.maximum(people.orders, 1)))


@declare("customer", "days_since_order", "days", "ever", "Days since the last purchase, log(1 + days).")
def days_since_order(people: People) -> Column:
    return np.log1p(people.span[1])


@declare("customer", "customer_age", "days", "ever", "Days since the first purchase, log(1 + days).")
def customer_age(people: People) -> Column:
    return np.log1p(people.span[0])


@declare("customer", "order_interval", "days", "ever", "Mean days between order days, log; NaN with one.")
def order_interval(people: People) -> Column:
    return np.log1p(people.interval)


@declare("customer", "order_due", "number", "ever", "Days since the last purchase over the mean interval, log.")
def order_due(people: People) -> Column:
    return np.asarray(np.log((people.span[1] + 1) / (people.interval + 1)))


@declare("customer", "repeat_share", "share", "ever", "Share of purchases that are of something bought before.")
def repeat_share(people: People) -> Column:
    days = np.bincount(people.owned.row, weights=people.owned.days, minlength=people.rows)
    return 1 - people.different / np.where(days > 0, days, np.nan)


@declare("customer", "price_level", "number", "ever", "Mean log price of what was bought.", as_of="catalogue")
def price_level(people: People) -> Column:
    return people.price[0]


@declare("customer", "price_spread", "number", "ever", "Spread of those log prices.", as_of="catalogue")
def price_spread(people: People) -> Column:
    return people.price[1]


@declare("customer", "pieces", "number", "ever", "Mean pieces of a purchase, log.")
def pieces(people: People) -> Column:
    total = np.bincount(people.row, weights=people.qty, minlength=people.rows)
    return np.log(total / np.where(people.lines > 0, people.lines, np.nan))


@declare("customer", "touches_7d", "count", "7 days", "Views, clicks and carts of the last 7 days, log(1 + n).")
def touches_7d(people: People) -> Column:
    key, last, count = people.touched
    if not len(key):
        return np.zeros(people.rows)
    late = people.now - last < 7 * DAY
    return np.log1p(np.bincount(key[late] // people.n_items, weights=count[late], minlength=people.rows))
