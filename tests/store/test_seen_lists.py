"""What was seen of lists and what each card led to, from events as pages and tills send them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from recsys_cli.schema import DAY, EVENT_COLUMNS, SERVED_COLUMNS
from recsys_cli.store import Store
from recsys_cli.store.attribution import Windows, attribute
from recsys_cli.store.merge import merge_events
from recsys_cli.store.seen_lists import any_seen, clicked_lists, seen_lists

T = 1_760_000_000


def told(store: Store, events: list[dict[str, Any]], served: list[dict[str, Any]]) -> list[dict[str, Any]]:
    numbers = {"ts": pa.int64(), "qty": pa.int32(), "position": pa.int32(), "price": pa.float64()}
    rows = [{"user_id": "u", "qty": 1, **event} for event in events]
    columns = {n: pa.array([row.get(n) for row in rows], numbers.get(n, pa.string())) for n in EVENT_COLUMNS}
    with store.writing() as con:
        merge_events(con, pa.table(columns))
        con.register("rows", pa.Table.from_pylist([{n: r.get(n) for n in SERVED_COLUMNS} for r in served]))
        con.execute(f"INSERT INTO served ({', '.join(SERVED_COLUMNS)}) SELECT * FROM rows")
        con.unregister("rows")
    with store.reading() as con:
        assert not any_seen(con, T + 5 * DAY)
        assert any_seen(con, T)  # last: an answer not read to its end would keep the connection from what follows
        assert clicked_lists(con) == len({e["request_id"] for e in events if e["event_type"] == "click"} - {None})
        attribute(con, T, T + 4 * DAY, Windows())
        return seen_lists(con).to_pylist()


def event(kind: str, item: str, ts: int, request: str | None = None, **more: Any) -> dict[str, Any]:
    return {"event_type": kind, "item_id": item, "ts": T + ts, "request_id": request, **more}


def served(request: str, items: str, **more: Any) -> dict[str, Any]:
    return {"request_id": request, "ts": T, "route": "/recommend", "items": list(items), "share": 1.0,
            "sources": ["als"] * len(items), **more}  # fmt: skip


def test_cards_with_what_they_led_to(store: Store) -> None:
    looks = [event("impression", item, 5, "r1") for item in "abcde"]
    found = told(
        store,
        [
            *looks,
            event("click", "b", 9, "r1"),
            event("click", "c", 10, "r1"),
            event("cart", "c", 11),
            event("purchase", "d", 20, order_id="o1", price=3.0),
            event("purchase", "e", 21, order_id="o2", price=3.0),
            event("refund", "e", DAY, order_id="o2"),
        ],
        [served("r1", "abcdef", placement="home", swap=-3)],
    )
    assert [(row["item_id"], row["place"], row["clicked"], row["outcome"]) for row in found] == [
        ("a", 1, False, 0),
        ("b", 2, True, 1),
        ("c", 3, True, 2),
        ("d", 4, True, 3),
        ("e", 5, True, -1),
    ]
    assert {(row["placement"], row["swap"], row["owner"], row["listed"]) for row in found} == {("home", -3, "u", 0)}


def test_the_page_knows_where_a_further_page_of_a_list_stands(store: Store) -> None:
    """The second ten of an endless list are places 11 to 20; pages that count from zero are put right by the log."""
    found = told(
        store,
        [
            event("impression", "a", 1, "r2", position=11),
            event("impression", "b", 1, "r2", position=0),
            event("impression", "z", 1, "unlogged", position=4),
            event("impression", "y", 1, "unlogged"),
        ],
        [served("r2", "ab")],
    )
    places = {row["item_id"]: (row["place"], row["placement"]) for row in found}
    assert places == {"a": (11, "/recommend"), "b": (2, "/recommend"), "z": (4, "unknown"), "y": (None, "unknown")}
