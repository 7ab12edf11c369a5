"""A simulated shop with a ledger: what visitors see, click, buy and send back, and who is owed what for it.

The ledger is kept while things happen, visitor by visitor, by the rules as they are told to the owner. It shares
nothing with the SQL that has to find the same sums in the tables afterwards.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa

from recsys_cli.schema import DAY, EVENT_COLUMNS, SERVED_COLUMNS
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events, merge_items

START = 1_760_000_000 - 1_760_000_000 % DAY
ITEMS = 40


@dataclass
class Ledger:
    """Cents by placement, arm and day since the start, of what was bought less what came back."""

    owed: dict[tuple[str, str, int], int] = field(default_factory=lambda: defaultdict(int))
    total: int = 0
    orders: set[str] = field(default_factory=set)
    credited: int = 0


@dataclass
class _Touch:
    ts: int
    clicked: bool
    request: str
    where: tuple[str, str]


class Shop:
    """Makes events and served lists as Arrow tables, and the ledger.

    Parameters
    ----------
    clicked_days, seen_days
        The windows that the ledger goes by.
    """

    def __init__(self, seed: int = 1, visitors: int = 300, clicked_days: int = 7, seen_days: int = 1) -> None:
        self.dice = random.Random(seed)
        self.windows = clicked_days * DAY, seen_days * DAY
        self.prices = [self.dice.randrange(199, 9_999) for _ in range(ITEMS)]
        self.events: list[dict[str, Any]] = []
        self.served: list[dict[str, Any]] = []
        self.ledger = Ledger()
        for number in range(visitors):
            self._visitor(number)

    def _visitor(self, number: int) -> None:
        d = self.dice
        guest = number % 4 == 0
        who = {"session_id": f"s{number}"} if guest else {"user_id": f"u{number}"}
        touches: dict[int, list[_Touch]] = defaultdict(list)
        sold: dict[int, list[tuple[int, str, tuple[str, str, int] | None]]] = defaultdict(list)  # units, last on top
        ts = START + d.randrange(10 * DAY)
        for step in range(d.randrange(1, 12)):
            ts += d.choice((40, 900, 5 * 3600, DAY, 4 * DAY))
            at = ts
            if d.random() < 0.8:
                at = self._look(who, touches, f"{number}-{step}", at)
            if d.random() < 0.5:
                at = self._buy(who, touches, sold, f"o{number}-{step}", at + 30)
            if d.random() < 0.25 and any(sold.values()):
                at = self._return(who, sold, at + 60)
            ts = at

    def _look(self, who: dict[str, str], touches: dict[int, list[_Touch]], request: str, ts: int) -> int:
        d = self.dice
        logged, items = d.random() < 0.9, d.sample(range(ITEMS), 6)
        where = (d.choice(("home", "cart")), d.choice(("a", "b"))) if logged else ("unknown", "")
        if logged:
            self.served.append(_list(request, ts, where, [f"i{i}" for i in items]))
        for place, item in enumerate(items[: d.randrange(7)]):  # how far they scrolled
            self._say("impression", who, item, ts + 1, request_id=request, position=place + 1)
            touches[item].append(_Touch(ts + 1, False, request, where))
            if d.random() < 0.3:
                self._say("click", who, item, ts + 5 + place, request_id=request)
                touches[item].append(_Touch(ts + 5 + place, True, request, where))
        return ts + 20

    def _buy(self, who: Any, touches: dict[int, list[_Touch]], sold: Any, order: str, ts: int) -> int:
        d = self.dice
        likely = [i for i in touches if touches[i]] or list(range(ITEMS))
        for item in {d.choice(likely), d.randrange(ITEMS)}:
            qty, named = d.randrange(1, 4), {}
            touch = self._owed_to(touches[item], ts)
            if touches[item] and d.random() < 0.4:
                touch = max(touches[item], key=lambda t: (t.ts, t.clicked))
                if d.random() < 0.5:
                    touch = d.choice(touches[item])
                mates = [t for t in touches[item] if t.request == touch.request]
                touch, named = max(mates, key=lambda t: (t.ts, t.clicked)), {"request_id": touch.request}
            self._say("purchase", who, item, ts, qty=qty, order_id=order, price=self.prices[item] / 100, **named)
            self.ledger.total += qty * self.prices[item]
            self.ledger.orders.add(order)
            place = (*touch.where, (ts - START) // DAY) if touch else None
            if place is not None:
                self.ledger.owed[place] += qty * self.prices[item]
                self.ledger.credited += 1
            sold[item] += [(ts, order, place)] * qty
        return ts + 10

    def _owed_to(self, touches: list[_Touch], ts: int) -> _Touch | None:
        near = [t for t in touches if ts - t.ts <= self.windows[0 if t.clicked else 1]]
        return max(near, key=lambda t: (t.ts, t.clicked), default=None)

    def _return(self, who: dict[str, str], sold: Any, ts: int) -> int:
        d = self.dice
        item = d.choice([i for i in sold if sold[i]])
        stack = sold[item]
        order = stack[-1][1]
        named = d.random() < 0.5
        mates = [unit for unit in stack if unit[1] == order] if named else stack
        count = d.randrange(1, len(mates) + 1)
        half = d.random() < 0.2  # a refund may say that less is paid back
        each = self.prices[item] // 2 if half else self.prices[item]
        extra: dict[str, Any] = {"order_id": order} if named else {}
        if half:
            extra["price"] = each / 100
        self._say("refund", who, item, ts, qty=count, **extra)
        for _ in range(count):
            _, _, place = stack.pop()
            self.ledger.total -= each
            if place is not None:
                self.ledger.owed[place] -= each
        return ts + 10

    def _say(self, kind: str, who: dict[str, str], item: int, ts: int, **more: Any) -> None:
        self.events.append({**who, "item_id": f"i{item}", "ts": ts, "event_type": kind, "qty": 1, **more})

    def fill(self, store: Store) -> None:
        """Put it all into a store."""
        with store.writing() as con:
            columns = {name: [e.get(name) for e in self.events] for name in EVENT_COLUMNS}
            numbers = {"ts": pa.int64(), "qty": pa.int32(), "position": pa.int32(), "price": pa.float64()}
            merge_events(con, pa.table({n: pa.array(v, numbers.get(n, pa.string())) for n, v in columns.items()}))
            merge_items(con, pa.table({"item_id": [f"i{i}" for i in range(ITEMS)], "title": ["Mug"] * ITEMS}))
            put_served(con, self.served)


def _list(request: str, ts: int, where: tuple[str, str], items: list[str]) -> dict[str, Any]:
    return {
        "request_id": request, "ts": ts, "route": "/recommend", "placement": where[0], "version": "v000001",
        "experiment": "trial", "arm": where[1], "items": items, "sources": ["als"] * len(items), "fallbacks": 0,
        "seconds": 0.001, "share": 1.0,
    }  # fmt: skip


def put_served(con: Any, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    names = ", ".join(SERVED_COLUMNS)
    con.register("rows", pa.Table.from_pylist([{n: r.get(n) for n in SERVED_COLUMNS} for r in rows]))
    con.execute(f"INSERT INTO served ({names}) SELECT {names} FROM rows")
    con.unregister("rows")


def cents(amount: Decimal | None) -> int:
    return int((amount or Decimal()) * 100)
