"""The event log: views, carts, purchases and refunds with their sessions and orders, in the order of time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maker.catalogue import Catalogue
from maker.clock import DAY, DAYS, EPOCH, SALE
from maker.customers import Customers
from maker.dice import Dice
from maker.shopping import Picks, Visits, line_quantity, start_of

KINDS = ("view", "cart", "purchase", "refund")
VIEW, CART, PURCHASE, REFUND = range(4)

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Log:
    """Events as columns; `ts` in epoch seconds, `order` and `session` running numbers, -1 for none."""

    user: Int
    item: Int
    ts: Int
    qty: Int
    kind: Int
    order: Int
    session: Int
    price: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Log:
        """These rows only, in this order."""
        return Log(**{name: column[rows] for name, column in vars(self).items()})


def write_down(visits: Visits, picks: Picks, customers: Customers, catalogue: Catalogue, dice: Dice) -> Log:
    """Turn what happened into events. Only measured customers leave views, carts and sessions behind."""
    # Stable, so that the picks of a visit stay in their order and the files in their bytes.
    by_visit = np.argsort(picks.visit, kind="stable")
    picks = Picks(picks.visit[by_visit], picks.item[by_visit], picks.bought[by_visit])
    count = len(picks.visit)
    visit, user = picks.visit, visits.user[picks.visit]
    measured = customers.measured[user]
    begun = EPOCH + start_of(visits)[visit]
    seen_at = begun + 35 * dice.below(26, count)
    start = Log(
        user=user,
        item=picks.item,
        ts=seen_at,
        qty=line_quantity(picks, catalogue, dice),
        kind=np.full(count, VIEW),
        order=np.where(picks.bought, _running_number(visits, visits.buys)[visit], -1),
        session=np.where(measured, _running_number(visits, customers.measured[visits.user])[visit], -1),
        price=_price_paid(picks.item, visits.day[visit], catalogue),
    )
    none, one = np.full(count, -1), np.ones(count, dtype=np.int64)
    viewed = measured & (dice.uniform(count) < 0.96)
    views = replace(start, qty=one, order=none).take(viewed)
    carted = measured & (dice.uniform(count) < np.where(picks.bought, 0.95, 0.07))
    carts = replace(start, ts=seen_at + 20, kind=np.full(count, CART), order=none).take(carted)
    lines = replace(start, ts=begun + 1000, kind=np.full(count, PURCHASE)).take(picks.bought)
    return _in_time([views, carts, lines, _refunds(lines, catalogue, dice)])


def _running_number(visits: Visits, counts: NDArray[np.bool_]) -> Int:
    """The how-manieth of its sort each visit is by time; int64 (visits,), meaningful where `counts`."""
    by_time = np.lexsort((visits.user, start_of(visits)))
    number = np.empty(len(by_time), dtype=np.int64)
    number[by_time] = np.cumsum(counts[by_time]) - 1
    return number


def _price_paid(item: Int, day: Int, catalogue: Catalogue) -> NDArray[np.float64]:
    """Today's price; 3 % less before it was raised in 2026, 15 % less in the week of the sale."""
    sale = (day >= SALE[0]) & (day <= SALE[1])
    return np.round(catalogue.price[item] * np.where(day < 245, 0.97, 1.0) * np.where(sale, 0.85, 1.0), 2)


def _refunds(lines: Log, catalogue: Catalogue, dice: Dice) -> Log:
    """One line in seventy comes back, what lasts more often, some days later and in full."""
    chance = np.where(catalogue.every[lines.item] > 0, 0.008, 0.028)
    back = lines.take(dice.uniform(len(lines.ts)) < chance)
    late = (3 + dice.below(18, len(back.ts))) * DAY + dice.below(20_000, len(back.ts))
    back = replace(
        back, ts=back.ts + late, kind=np.full(len(back.ts), REFUND), session=np.full(len(back.ts), -1)
    )
    return back.take(back.ts < EPOCH + DAYS * DAY)


def _in_time(parts: list[Log]) -> Log:
    whole = Log(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})
    return whole.take(np.lexsort((whole.item, whole.kind, whole.user, whole.ts)))
