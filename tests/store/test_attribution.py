"""Attribution against a ledger that was kept while things happened, to the cent; and its corners one by one."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from recsys_cli.schema import DAY, EVENT_COLUMNS
from recsys_cli.store import Store
from recsys_cli.store.attribution import Windows, attribute
from recsys_cli.store.merge import merge_events, merge_items
from tests.experiments.shop import START, Shop, cents, put_served

_NUMBERS = {"ts": pa.int64(), "qty": pa.int32(), "position": pa.int32(), "price": pa.float64()}
WHERE = {"route": "/recommend", "placement": "home", "version": "v000001", "experiment": "", "arm": "a"}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("windows", [(7, 1), (1, 1), (3, 0), (0, 0)])
def test_every_cent_is_where_the_ledger_has_it(store: Store, seed: int, windows: tuple[int, int]) -> None:
    clicked, seen = windows
    shop = Shop(seed, visitors=150, clicked_days=clicked or -1, seen_days=seen or -1)
    shop.fill(store)
    with store.reading() as con:
        attribute(con, START, START + 400 * DAY, Windows(clicked, seen))
        rows = con.execute(
            f"""SELECT s.placement, s.arm, (o.ts - {START}) // {DAY}, sum(o.amount) FROM touch_outcomes o
                JOIN touch_seen s USING (seen_id) WHERE o.kind <> 'cart' GROUP BY ALL"""
        ).fetchall()
        found = {(place, arm, day): cents(amount) for place, arm, day, amount in rows}
        assert found == {k: v for k, v in shop.ledger.owed.items() if k in found or v}
        total = con.execute("SELECT sum(amount) FROM touch_outcomes WHERE kind <> 'cart'").fetchone()
        assert cents(total[0]) == shop.ledger.total
        credited = con.execute("SELECT count(seen_id), count(*) FROM touch_outcomes WHERE kind = 'purchase'").fetchone()
        assert credited[0] == shop.ledger.credited
        assert credited[1] == sum(e["event_type"] == "purchase" for e in shop.events)  # each there once


class Till:
    """A store, told of single events."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows: list[dict[str, Any]] = []
        self.lists: list[dict[str, Any]] = []

    def answered(self, request: str, *items: str, ts: int = START) -> None:
        more = {"items": list(items), "sources": ["als"] * len(items), "fallbacks": 0, "share": 1.0, "seconds": 0.0}
        self.lists.append({"request_id": request, "ts": ts, **WHERE, **more})

    def event(self, kind: str, item: str, ts: int, **more: Any) -> None:
        self.rows.append({"event_type": kind, "item_id": item, "ts": START + ts, "qty": 1, **more})

    def outcomes(self, **given: Any) -> list[tuple[Any, ...]]:
        with self.store.writing() as con:
            columns = {n: [r.get(n) for r in self.rows] for n in EVENT_COLUMNS}
            merge_events(con, pa.table({n: pa.array(v, _NUMBERS.get(n, pa.string())) for n, v in columns.items()}))
            put_served(con, self.lists)
            attribute(con, START, START + 100 * DAY, Windows(), **given)
            return con.execute(
                """SELECT o.kind, o.item_id, o.amount::DOUBLE, s.request_id, o.how FROM touch_outcomes o
                   LEFT JOIN touch_seen s USING (seen_id) ORDER BY o.outcome_id"""
            ).fetchall()


@pytest.fixture
def till(store: Store) -> Till:
    return Till(store)


def test_what_was_not_seen_is_credited_nothing(till: Till) -> None:
    till.answered("r1", "p", "q")
    till.event("click", "p", 10, user_id="u", request_id="r1")  # a click of a script, say
    till.event("purchase", "p", 20, user_id="u", price=5.0, request_id="r1")
    till.event("impression", "q", 25, user_id="u", request_id="r1")
    till.event("purchase", "q", 20, user_id="u", price=5.0)  # before it was seen
    assert [row[3] for row in till.outcomes()] == [None, None]


def test_an_answer_that_many_see_is_credited_to_each_for_their_own(till: Till) -> None:
    till.answered("r1", "p")
    for user in ("u", "v"):
        till.event("impression", "p", 1, user_id=user, request_id="r1")
    till.event("purchase", "p", 9, user_id="v", price=5.0)
    till.event("purchase", "p", 9, user_id="w", price=5.0, request_id="r1")  # whoever that is
    assert [row[3:] for row in till.outcomes()] == [("r1", "seen"), (None, None)]


def test_a_till_that_knows_the_answer_alone(till: Till) -> None:
    till.answered("r1", "p")
    till.event("impression", "p", 1, session_id="s", request_id="r1")
    till.event("purchase", "p", 40 * DAY, user_id="u", price=5.0, request_id="r1")
    assert till.outcomes()[0][3:] == ("r1", "request")


def test_the_session_joins_where_the_customer_logged_in_meanwhile(till: Till) -> None:
    till.answered("r1", "p")
    till.event("impression", "p", 1, session_id="s", request_id="r1")
    till.event("click", "p", 5, session_id="s", request_id="r1")
    till.event("purchase", "p", 2 * DAY, user_id="u", session_id="s", price=5.0)
    assert till.outcomes()[0][3:] == ("r1", "clicked")


def test_a_request_of_which_the_item_was_no_part_names_no_placement(till: Till) -> None:
    till.answered("r1", "p")
    till.event("impression", "other", 1, user_id="u", request_id="r1")
    till.event("purchase", "other", 9, user_id="u", price=5.0)
    till.outcomes()
    with till.store.writing() as con:
        attribute(con, START, START + DAY, Windows())
        assert con.execute("SELECT placement, position FROM touch_seen").fetchall() == [("unknown", None)]


def test_refunds_take_back_the_last_first_and_no_more_than_was_paid(till: Till) -> None:
    till.answered("r1", "p")
    till.event("purchase", "p", 0, user_id="u", price=4.0, qty=2)
    till.event("impression", "p", 5, user_id="u", request_id="r1")
    till.event("purchase", "p", 10, user_id="u", price=6.0, qty=2)
    till.event("refund", "p", 20, user_id="u", qty=3, price=99.0)
    till.event("refund", "p", 30, user_id="stranger", qty=1)
    back = {(row[2], row[3]) for row in till.outcomes() if row[0] == "refund"}
    assert back == {(-12.0, "r1"), (-4.0, None)}


def test_other_money_is_no_money_of_ours(till: Till) -> None:
    for n, currency in enumerate(("EUR", "EUR", "USD", None)):
        till.event("purchase", "p", n, user_id="u", price=5.0, currency=currency)
    assert [row[2] for row in till.outcomes()] == [5.0, 5.0, 0.0, 5.0]


def test_who_limits_the_use_of_their_data_is_not_joined(till: Till) -> None:
    from recsys_cli.artifacts.choices import hash_of
    from recsys_cli.identity import user_key

    till.answered("r1", "p")
    for user in ("free", "objects", "visit"):
        till.event("impression", "p", 1, user_id=user, session_id=f"s-{user}", request_id="r1")
        till.event("purchase", "p", 9, user_id=user, price=5.0)
    till.event("purchase", "p", 10, user_id="visit", session_id="s-visit", price=5.0)
    barred = {hash_of("key", user_key("key", u)): m for u, m in (("objects", "objected"), ("visit", "session"))}
    rows = till.outcomes(barred=barred, secret="key")
    assert [row[3:] for row in rows] == [("r1", "seen"), ("r1", "seen")]  # one each: free, and the visit's own


def test_sizes_of_a_product_are_one_product(till: Till) -> None:
    """The list named the size in stock, the page says the product was seen, and another size was bought."""
    with till.store.writing() as con:
        shirts = [{"item_id": i, "parent_id": "shirt"} for i in ("shirt-m", "shirt-l")]
        merge_items(con, pa.Table.from_pylist([*shirts, {"item_id": "mug", "parent_id": None}]))
    till.answered("r1", "mug", "shirt-m")
    till.event("impression", "shirt", 10, session_id="s", request_id="r1")
    till.event("click", "shirt-m", 20, session_id="s")
    till.event("purchase", "shirt-l", 30, session_id="s", price=9.0)
    till.event("purchase", "mug", 40, session_id="s", price=4.0)
    assert till.outcomes() == [
        ("purchase", "shirt-l", 9.0, "r1", "clicked"), ("purchase", "mug", 4.0, None, None),
    ]  # fmt: skip
    with till.store.writing() as con:
        attribute(con, START, START + DAY, Windows())
        assert con.execute("SELECT item_id, position, source FROM touch_seen").fetchall() == [("shirt", 2, "als")]
