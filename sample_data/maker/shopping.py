"""Visits to the shop: who comes when, what ends up in the basket, and what is only looked at.

Customers are simulated side by side, everybody's first visit, then everybody's second, because what one buys
next depends on what one has at home: a grinder is bought once, coffee again when the bag is empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maker.catalogue import Catalogue
from maker.clock import BUSY, DAY, DAYS, HOURS, MONTH
from maker.customers import COUNT, Customers
from maker.dice import Dice

MOST_VISITS, MOST_LINES = 110, 8
LONG_AGO = -10_000.0
CLOSED = -60.0  # log weight of what cannot be bought

Int = NDArray[np.int64]
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Visits:
    """Visits as columns, by customer and then by time.

    Parameters
    ----------
    user, day, second, number
        int64: customer, day, second of the day, and how many visits the customer made before.
    buys
        bool: ends with an order.
    bought, looked
        int64: products put into the order, and products only looked at (0 unless measured).
    """

    user: Int
    day: Int
    second: Int
    number: Int
    buys: NDArray[np.bool_]
    bought: Int
    looked: Int


@dataclass(frozen=True)
class Picks:
    """Products touched in visits, as columns: `bought` ones are order lines, the others were looked at."""

    visit: Int
    item: Int
    bought: NDArray[np.bool_]


@dataclass
class _Memory:
    """What each customer bought and looked at last, in days; float64 (COUNT, products or kinds)."""

    items: int
    kinds: int
    bought: Float = field(init=False)
    kind: Float = field(init=False)
    seen: Float = field(init=False)

    def __post_init__(self) -> None:
        self.bought = np.full((COUNT, self.items), LONG_AGO)
        self.kind = np.full((COUNT, self.kinds), LONG_AGO)
        self.seen = np.full((COUNT, self.items), LONG_AGO)


def plan(customers: Customers, dice: Dice) -> Visits:
    """Draw when each customer comes, busier days first in mind, and how much they take."""
    business = np.concatenate([[0.0], np.cumsum(BUSY / BUSY.mean())])
    start, end = business[np.maximum(customers.joined, 0)], business[customers.left + 1]
    orders = np.maximum(dice.poisson(customers.orders_a_day * (end - start), MOST_VISITS // 2), 1)
    browses = dice.poisson(np.where(customers.measured, 1.1 * orders + 0.6, 0.0), MOST_VISITS // 2)
    user = np.repeat(np.arange(COUNT), orders + browses)
    before = np.cumsum(orders + browses) - orders - browses
    number = np.arange(len(user)) - before[user]
    buys = number < orders[user]
    at = start[user] + dice.uniform(len(user)) * (end - start)[user]
    day = np.clip(np.searchsorted(business, at, side="right") - 1, 0, DAYS - 1).astype(np.int64)
    second = dice.weighted(HOURS, len(user)) * 3600 + dice.below(3000, len(user))
    by_time = np.lexsort((second, day, user))
    user, day, second, buys = user[by_time], day[by_time], second[by_time], buys[by_time]
    bought = np.where(buys, 1 + dice.poisson(customers.lines[user], MOST_LINES - 1), 0)
    looked = np.where(customers.measured[user], dice.poisson(np.where(buys, 1.8, 3.6), 9) + ~buys, 0)
    return Visits(user, day, second, number, buys, bought, looked)


def shop(visits: Visits, customers: Customers, catalogue: Catalogue, dice: Dice) -> Picks:
    """Fill every visit, one round for everybody's n-th, one product at a time."""
    memory = _Memory(len(catalogue), int(catalogue.kind.max()) + 1)
    rounds = [
        _one_round(np.flatnonzero(visits.number == number), visits, customers, catalogue, memory, dice)
        for number in range(int(visits.number.max()) + 1)
    ]
    picks = [pick for one in rounds for pick in one]
    return Picks(
        np.concatenate([pick.visit for pick in picks]),
        np.concatenate([pick.item for pick in picks]),
        np.concatenate([pick.bought for pick in picks]),
    )


def _one_round(
    now: Int, visits: Visits, customers: Customers, catalogue: Catalogue, memory: _Memory, dice: Dice
) -> list[Picks]:
    user, day = visits.user[now], visits.day[now]
    weight = customers.taste[user] + _of_the_day(day, catalogue) + _of_habit(user, day, catalogue, memory)
    wanted = np.zeros(weight.shape)
    picks = []
    for slot in range(int((visits.bought + visits.looked)[now].max())):
        here = np.flatnonzero(slot < (visits.bought + visits.looked)[now])
        score = weight[here] + wanted[here] + dice.gumbel(len(here), len(catalogue))
        item = score.argmax(axis=1)
        bought = slot < visits.bought[now[here]]
        weight[here, item] = CLOSED
        alike = catalogue.category[item][:, None] == catalogue.category[None, :]
        wanted[here] = np.maximum(wanted[here], np.maximum(2.6 * catalogue.complement[item], 0.9 * alike))
        _remember(user[here], item, day[here], bought, catalogue, memory)
        picks.append(Picks(now[here], item.astype(np.int64), bought))
    return picks


def _of_the_day(day: Int, catalogue: Catalogue) -> Float:
    """Season, what is on sale that day, and the pull of the new; float64 (visits, products)."""
    weight = np.log(catalogue.season.T)[MONTH[day]]
    age = day[:, None] - catalogue.since[None, :]
    weight = weight + 0.6 * ((age >= 0) & (age < 45))
    return np.where((age < 0) | (day[:, None] >= catalogue.gone[None, :]), CLOSED, weight)


def _of_habit(user: Int, day: Int, catalogue: Catalogue, memory: _Memory) -> Float:
    """What the customer has at home, needs again, or looked at lately; float64 (visits, products)."""
    since = day[:, None] - memory.bought[user]
    since_kind = (day[:, None] - memory.kind[user])[:, catalogue.kind]
    runs_out, had = catalogue.every > 0, since < 1000
    used = since / np.maximum(catalogue.every, 1.0)
    again = np.select([used < 0.45, used < 0.75, used < 1.8, had], [-3.0, -0.5, 2.3, 1.0], 0.0)
    stocked = np.where(~had & (since_kind < 0.5 * catalogue.every), -1.2, 0.0)
    owned = np.where(had, -5.0, np.where(since_kind < 1000, -0.5, 0.0))
    recent = (since < 75).astype(np.float64) @ catalogue.complement.astype(np.float64) > 0
    looked_at = day[:, None] - memory.seen[user] < 30
    return np.asarray(np.where(runs_out, again + stocked, owned) + 0.7 * recent + 0.9 * looked_at)


def _remember(
    user: Int, item: Int, day: Int, bought: NDArray[np.bool_], catalogue: Catalogue, memory: _Memory
) -> None:
    memory.bought[user[bought], item[bought]] = day[bought]
    memory.kind[user[bought], catalogue.kind[item[bought]]] = day[bought]
    memory.seen[user[~bought], item[~bought]] = day[~bought]


def line_quantity(picks: Picks, catalogue: Catalogue, dice: Dice) -> Int:
    """How many of each: mostly one, more of cheap things that run out."""
    several = np.where((catalogue.every > 0) & (catalogue.price < 15), 0.32, 0.08)[picks.item]
    draw = dice.uniform(len(picks.item))
    return 1 + (draw < several).astype(np.int64) + (draw < several / 3) + (draw < several / 12)


def start_of(visits: Visits) -> Int:
    """Seconds from the shop's first midnight to the start of each visit."""
    return visits.day * DAY + visits.second
