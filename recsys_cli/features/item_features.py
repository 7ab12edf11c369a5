"""Features of items: how they sell, how that changes, what they cost and how customers take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import CART, CLICK, REFUND, VIEW
from .feature import declare
from .item_table import ItemView

Column = NDArray[Any]
_WINDOWS = (3, 7, 14, 28, 90)  # days
_YEAR = 364.0  # 52 weeks: the same days of the week
_SEASON = 35.0
_PRIOR = 10.0  # tries that a category's rate counts as, beside an item's own
_CALM = 5.0  # sales added on both sides of a change, so that one sale more is no trend


def _sold(days: float) -> None:
    @declare("item", f"sold_{days:g}d", "count", f"{days:g} days", f"Purchases of the last {days:g} days, log(1 + n).")
    def sold(view: ItemView) -> Column:
        return np.log1p(view.sold(0, days))


def _change(days: float) -> None:
    @declare(
        "item",
        f"change_{days:g}d",
        "number",
        f"{2 * days:g} days",
        f"Purchases of the last {days:g} days against the {days:g} before, log of the ratio.",
    )
    def change(view: ItemView) -> Column:
        before = view.sold(days, 2 * days) if view.days >= 2 * days else np.full(view.n_items, np.nan)
        return np.log((view.sold(0, days) + _CALM) / (before + _CALM))


for _days in _WINDOWS:
    _sold(_days)
    _change(_days)


@declare("item", "sold_ever", "count", "ever", "Purchases since the beginning, log(1 + n).")
def sold_ever(view: ItemView) -> Column:
    return np.log1p(view.sold(0, np.inf))


@declare(
    "item", "trend_28_90d", "number", "90 days", "Daily purchases of 28 days against those of 90, log of the ratio."
)
def trend_28_90d(view: ItemView) -> Column:
    return np.log((view.sold(0, 28) * 90 / 28 + _CALM) / (view.sold(0, 90) + _CALM))


@declare("item", "sold_year_ago", "count", "35 days a year ago", "Purchases a year ago in the weeks now ahead, log.")
def sold_year_ago(view: ItemView) -> Column:
    if view.days < _YEAR:
        return np.full(view.n_items, np.nan)
    return np.log1p(view.sold(_YEAR - _SEASON, _YEAR))


@declare("item", "change_year_ago", "number", "70 days a year ago", "How purchases changed then at this time of year.")
def change_year_ago(view: ItemView) -> Column:
    if view.days < _YEAR + _SEASON:
        return np.full(view.n_items, np.nan)
    after, before = view.sold(_YEAR - _SEASON, _YEAR), view.sold(_YEAR, _YEAR + _SEASON)
    return np.log((after + _CALM) / (before + _CALM))


@declare("item", "item_age", "days", "ever", "Days since the item first sold, log(1 + days).")
def item_age(view: ItemView) -> Column:
    return np.log1p(view.first_and_last[0])


@declare("item", "days_since_sold", "days", "ever", "Days since the item last sold, log(1 + days).")
def days_since_sold(view: ItemView) -> Column:
    return np.log1p(view.first_and_last[1])


@declare("item", "sold_per_day", "number", "ever", "Purchases a day since the item first sold, log.")
def sold_per_day(view: ItemView) -> Column:
    return np.log((view.sold(0, np.inf) + 1) / (view.first_and_last[0] + 30))


@declare("item", "buyers", "count", "ever", "Different customers who bought it, log(1 + n).")
def buyers(view: ItemView) -> Column:
    return np.log1p(np.bincount(view.by_customer[0], minlength=view.n_items))


@declare("item", "rebought_rate", "share", "ever", "Share of buyers who bought it again on another day, smoothed.")
def rebought_rate(view: ItemView) -> Column:
    item, days, _ = view.by_customer
    again = np.bincount(item[days > 1], minlength=view.n_items).astype(np.float64)
    return view.smoothed(again, np.bincount(item, minlength=view.n_items).astype(np.float64), _PRIOR)


@declare("item", "rebuy_interval", "days", "ever", "Mean days between a customer's purchases of it, log; NaN below 3.")
def rebuy_interval(view: ItemView) -> Column:
    item, days, span = view.by_customer
    gaps = np.bincount(item, weights=days - 1, minlength=view.n_items)
    total = np.bincount(item, weights=span, minlength=view.n_items)
    return np.log1p(np.where(gaps >= 3, total / np.maximum(gaps, 1), np.nan))


@declare("item", "usual_quantity", "number", "ever", "Mean pieces of it in one purchase, log.")
def usual_quantity(view: ItemView) -> Column:
    pieces = np.bincount(view.item, weights=view.qty, minlength=view.n_items)
    lines = view.sold(0, np.inf)
    return np.log(np.where(lines > 0, pieces / np.maximum(lines, 1), np.nan))


@declare("item", "return_rate", "share", "ever", "Share of purchases that came back, smoothed by category.")
def return_rate(view: ItemView) -> Column:
    if not view.has(REFUND):
        return np.full(view.n_items, np.nan)
    return view.smoothed(view.counted(REFUND, days=np.inf), view.sold(0, np.inf), _PRIOR)


@declare("item", "viewed_7d", "count", "7 days", "Views, clicks and carts of the last 7 days, log(1 + n).")
def viewed_7d(view: ItemView) -> Column:
    if not view.has(VIEW, CLICK, CART):
        return np.full(view.n_items, np.nan)
    return np.log1p(view.counted(VIEW, CLICK, CART, days=7))


@declare("item", "conversion_28d", "share", "28 days", "Purchases per view, click and cart, smoothed by category.")
def conversion_28d(view: ItemView) -> Column:
    if not view.has(VIEW, CLICK, CART) or not view.has_purchases:
        return np.full(view.n_items, np.nan)
    sold = view.sold(0, 28)
    return view.smoothed(sold, view.counted(VIEW, CLICK, CART, days=28) + sold, _PRIOR)


@declare("item", "price", "number", "now", "The price, log.", as_of="catalogue")
def price(view: ItemView) -> Column:
    return np.log(view.price)


@declare(
    "item", "price_in_category", "number", "now", "The price against the mean of its category's.", as_of="catalogue"
)
def price_in_category(view: ItemView) -> Column:
    log = np.log(view.price)
    known = ~np.isnan(log)
    total = view.group_sum(view.category, np.where(known, log, 0.0))
    return log - total / view.group_sum(view.category, known.astype(np.float64))


@declare("item", "margin", "number", "now", "The margin as the catalogue has it.", as_of="catalogue")
def margin(view: ItemView) -> Column:
    return view.numbers("margin")


@declare("item", "available", "flag", "now", "Whether it is in stock.", as_of="catalogue", learned=False)
def available(view: ItemView) -> Column:
    # Not learned from orders: what is sold out today says what did not sell lately, which is the future of then.
    return view.numbers("availability")


@declare("item", "title_words", "count", "now", "Words of the title that other items share.", as_of="catalogue")
def title_words(view: ItemView) -> Column:
    return np.asarray((view.titles.word > 0).sum(axis=1))


@declare("item", "category_sold_28d", "count", "28 days", "Purchases of its category in the last 28 days, log.")
def category_sold_28d(view: ItemView) -> Column:
    return np.log1p(view.group_sum(view.category, view.sold(0, 28)))


@declare("item", "category_change_28d", "number", "56 days", "Purchases of its category against the 28 days before.")
def category_change_28d(view: ItemView) -> Column:
    now, before = (view.group_sum(view.category, view.sold(a, b)) for a, b in ((0, 28), (28, 56)))
    return np.log((now + _CALM) / (before + _CALM))


@declare("item", "brand_sold_28d", "count", "28 days", "Purchases of its brand in the last 28 days, log.")
def brand_sold_28d(view: ItemView) -> Column:
    return np.log1p(view.group_sum(view.brand, view.sold(0, 28)))
