"""Exactly once, with multiplicity: the store after any sequence of files is what counting by hand gives."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_cli.settings import StoreSettings
from recsys_cli.store import Store, batches, merge

Row = tuple[str, str, int, int, str | None]


def table(rows: list[Row]) -> pa.Table:
    names = ("user_id", "item_id", "ts", "qty", "event_id")
    types = (pa.string(), pa.string(), pa.int64(), pa.int32(), pa.string())
    columns = [pa.array([r[i] for r in rows], t) for i, t in enumerate(types)]
    return pa.table(columns, names=names)


rows = st.tuples(
    st.sampled_from(["u1", "u2"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([-4_000, 100, 200, 9_000]),  # in three hours, by which merges are cut
    st.integers(1, 2),
    st.one_of(st.none(), st.none(), st.sampled_from(["e1", "e2", "e3"])),
)
files = st.lists(st.lists(rows, max_size=8), max_size=5)


@given(files=files, chunk=st.sampled_from([1, 3, 1000]))
@settings(max_examples=25)
def test_any_sequence_of_files_leaves_what_counting_by_hand_gives(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[Row]], chunk: int
) -> None:
    store = Store(tmp_path_factory.mktemp("merge") / "t.duckdb", StoreSettings(threads=1))
    known: Counter[Row] = Counter()
    ids: set[str] = set()
    before, merge.CHUNK_EVENTS = merge.CHUNK_EVENTS, chunk
    try:
        with store.writing() as con:
            for file in files:
                expected_new = 0
                plain = Counter(r for r in file if r[4] is None)
                for r, n in plain.items():
                    expected_new += max(0, n - known[r])
                    known[r] = max(known[r], n)
                for r in file:
                    if r[4] is not None and r[4] not in ids:
                        ids.add(r[4])
                        known[r] += 1
                        expected_new += 1
                with merge.transaction(con):
                    got = merge.merge_events(con, table(file), batch_id=1)
                assert (got.read, got.new, got.known) == (len(file), expected_new, len(file) - expected_new)
            stored = con.execute("SELECT user_id, item_id, ts, qty, event_id FROM events").fetchall()
    finally:
        merge.CHUNK_EVENTS = before
    assert Counter(stored) == +known


def test_a_named_table_keeps_the_order_of_its_rows(store: Store) -> None:
    with store.writing() as con, merge.transaction(con):
        con.execute(
            "CREATE TEMP TABLE x AS SELECT 'u' AS user_id, i::VARCHAR AS item_id, 5 AS ts, i AS row_number "
            "FROM range(5) t(i)"
        )
        merge.merge_events(con, "x")
        kept = con.execute("SELECT item_id FROM events ORDER BY rowid").fetchall()
        assert kept == [(str(i),) for i in range(5)]
        assert con.execute("SELECT DISTINCT qty, event_type FROM events").fetchall() == [(1, "purchase")]


def test_a_failure_takes_everything_back(store: Store) -> None:
    with store.writing() as con:

        def fails_halfway() -> None:
            with merge.transaction(con):
                merge.merge_events(con, table([("u", "a", 1, 1, None)]))
                con.execute("SELECT * FROM nowhere")

        with pytest.raises(duckdb.CatalogException):
            fails_halfway()
        assert con.execute("SELECT count(*) FROM events").fetchall() == [(0,)]


def items(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


def test_items_are_upserts_and_nulls_change_nothing(store: Store) -> None:
    a = {"item_id": "a", "price": 2.0, "title": "A", "attributes": '{"x":1}'}
    b = {"item_id": "b", "price": 1.0, "title": "B", "attributes": None}
    c = {"item_id": "c", "price": None, "title": "C", "attributes": None}
    dearer = {"item_id": "a", "price": 3.0, "title": None, "attributes": '{"y":2}'}
    with store.writing() as con, merge.transaction(con):
        first = merge.merge_items(con, items(a, b), now=10)
        again = merge.merge_items(con, items(a), now=20)
        third = merge.merge_items(con, items(dearer, c), now=30)
        assert (first.new, again.new, again.known, third.new, third.changed) == (2, 0, 1, 2, 1)
        assert con.execute("SELECT item_id, price, title, attributes FROM items ORDER BY 1").fetchall() == [
            ("a", 3.0, "A", '{"x":1,"y":2}'),
            ("b", 1.0, "B", None),
            ("c", None, "C", None),
        ]
        assert con.execute("SELECT item_id, ts, price FROM item_history ORDER BY ALL").fetchall() == [
            ("a", 10, 2.0),
            ("a", 30, 3.0),
            ("b", 10, 1.0),
            ("c", 30, None),  # it came then
        ]


def test_of_two_rows_of_one_item_the_last_counts(store: Store) -> None:
    with store.writing() as con, merge.transaction(con):
        got = merge.merge_items(con, items(*({"item_id": "a", "title": t} for t in ("old", "new"))))
        assert (got.read, got.new, got.known) == (2, 1, 1)
        assert con.execute("SELECT title FROM items").fetchall() == [("new",)]


def test_a_full_catalogue_retires_what_it_lacks_and_brings_back_what_returns(store: Store) -> None:
    with store.writing() as con, merge.transaction(con):
        merge.merge_items(con, items({"item_id": "a"}, {"item_id": "b"}), now=1)
        assert merge.merge_items(con, items({"item_id": "a"}), replace=True, now=2).retired == 1
        assert con.execute("SELECT retired_at FROM items ORDER BY item_id").fetchall() == [(None,), (2,)]
        back = merge.merge_items(con, items({"item_id": "a"}, {"item_id": "b"}), replace=True, now=3)
        assert (back.changed, back.retired) == (1, 0)
        assert con.execute("SELECT count(*) FROM items WHERE retired_at IS NULL").fetchall() == [(2,)]


def test_users_are_upserts(store: Store) -> None:
    with store.writing() as con, merge.transaction(con):
        merge.merge_users(con, items({"user_id": "u", "consent": "full", "attributes": '{"city":"Ulm"}'}))
        got = merge.merge_users(con, items({"user_id": "u", "consent": "none", "attributes": None}))
        assert (got.new, got.changed) == (1, 1)
        assert con.execute("SELECT consent, attributes FROM users").fetchall() == [("none", '{"city":"Ulm"}')]


def test_a_batch_is_found_again_by_its_content(store: Store) -> None:
    with store.writing() as con, merge.transaction(con):
        number = batches.open_batch(con, "f.csv", "events", "abc", 7)
        assert batches.find_batch(con, "abc") is None  # not complete yet
        batches.close_batch(con, number, merge.Merged(3, 2, 1), 4)
        found = batches.find_batch(con, "abc")
        assert found is not None
        assert (found["read"], found["new"], found["known"], found["rejected"]) == (7, 2, 1, 4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "t.duckdb", StoreSettings(threads=1))


def events_of(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


def before_of(con: duckdb.DuckDBPyConnection, table: str, batch: int) -> dict[str, dict[str, object] | None]:
    """What rows were before a batch changed them; None of those that it brought."""
    found = con.execute(f"SELECT * EXCLUDE (batch_id) FROM changed_{table} WHERE batch_id = {batch}").fetchall()
    assert len({key for key, _ in found}) == len(found), "once each"
    return {key: before and json.loads(before) for key, before in found}


def test_a_batch_keeps_what_items_were_before_it(store: Store) -> None:
    with store.writing() as con, merge.transaction(con):
        merge.merge_items(
            con, items({"item_id": "a", "price": 2.0}, {"item_id": "b", "price": 1.0}), now=10, batch_id=1
        )
        assert before_of(con, "items", 1) == {"a": None, "b": None}
        offered = items({"item_id": "a", "price": 3.0}, {"item_id": "c", "price": 4.0})
        merged = merge.merge_items(con, offered, replace=True, now=20, batch_id=2)
        assert (merged.new, merged.changed, merged.retired) == (2, 1, 1)
        before = before_of(con, "items", 2)
        assert before.keys() == {"a", "b", "c"}
        assert before["c"] is None
        assert [(row["price"], row["retired_at"]) for row in (before["a"], before["b"]) if row] == [
            (2.0, None),
            (1.0, None),
        ]
        assert merge.merge_items(con, items({"item_id": "a"}), now=30).retired == 0, "only a whole catalogue retires"


def test_a_batch_keeps_what_users_were_before_it(store: Store) -> None:
    with store.writing() as con, merge.transaction(con):
        merge.merge_users(con, items({"user_id": "u", "consent": "full"}), batch_id=1)
        merge.merge_users(
            con, items({"user_id": "u", "consent": "none"}, {"user_id": "v", "consent": "full"}), batch_id=2
        )
        assert before_of(con, "users", 1) == {"u": None}
        before = before_of(con, "users", 2)
        assert before["v"] is None
        assert (before["u"] or {})["consent"] == "full"


def test_what_was_rejected_is_in_the_catalogue_all_the_same(store: Store) -> None:
    with store.writing() as con, merge.transaction(con):
        merge.merge_items(con, items({"item_id": "a"}, {"item_id": "b"}, {"item_id": "c"}), now=10)
        con.execute("CREATE TEMP TABLE read AS SELECT unnest(['a', 'b', NULL]) AS item_id")
        assert merge.merge_items(con, items({"item_id": "a"}), replace=True, present="read", now=20).retired == 1
        assert con.execute("SELECT item_id FROM items WHERE retired_at = 20").fetchall() == [("c",)]


def test_prices_and_stock_have_a_history(store: Store) -> None:
    steps = [(2.0, True), (2.0, True), (3.0, True), (3.0, False), (None, None), (4.0, True)]
    with store.writing() as con, merge.transaction(con):
        for n, (price, there) in enumerate(steps):
            merge.merge_items(con, items({"item_id": "a", "price": price, "availability": there}), now=n)
        merge.merge_items(con, items({"item_id": "b", "availability": False}), now=9)
        kept = con.execute("SELECT item_id, ts, price, availability FROM item_history ORDER BY 1, 2").fetchall()
    changes = [0, 2, 3, 5]
    assert kept == [*(("a", n, *steps[n]) for n in changes), ("b", 9, None, False)]


LINE = {
    "user_id": "u",
    "item_id": "a",
    "ts": 1_000_000,
    "qty": 1,
    "price": 5.0,
    "order_id": "7",
    "event_type": "purchase",
}


def test_an_order_that_is_exported_again_is_as_it_is_now(store: Store) -> None:
    """What the export does not know stays as the shop's pages told it; what was replaced is kept."""
    seen = {**LINE, "session_id": "s", "request_id": "r", "position": 3, "currency": "EUR"}
    others = [
        {**LINE, "order_id": "8"}, {**LINE, "item_id": "b"}, {**LINE, "event_type": "refund"},
        {**LINE, "ts": LINE["ts"] + merge.SAME_ORDER + 2},
    ]  # fmt: skip
    with store.writing() as con, merge.transaction(con):
        merge.merge_events(con, events_of(seen, *others), batch_id=1)
        again = {**LINE, "qty": 2, "ts": LINE["ts"] + 1}
        merged = merge.merge_events(con, events_of(again), batch_id=2, replace_orders=True)
        assert (merged.read, merged.new, merged.known, merged.changed) == (1, 1, 0, 1)
        picked = "ts, qty, session_id, request_id, position, currency, batch_id"
        assert con.execute(f"SELECT {picked} FROM events WHERE order_id = '7' AND qty = 2").fetchall() == [
            (again["ts"], 2, "s", "r", 3, None, 2)
        ]
        assert con.execute("SELECT count(*) FROM events").fetchall() == [(1 + len(others),)]
        replaced = con.execute("SELECT ts, qty, session_id, batch_id, replaced_by FROM replaced_events").fetchall()
        assert replaced == [(LINE["ts"], 1, "s", 1, 2)]
        assert merge.merge_events(con, events_of(again), batch_id=3, replace_orders=True).new == 0


def test_lines_of_one_product_are_replaced_in_their_order(store: Store) -> None:
    first = [{**LINE, "qty": 1, "request_id": "r1"}, {**LINE, "qty": 2, "request_id": "r2"}]
    with store.writing() as con, merge.transaction(con):
        merge.merge_events(con, events_of(*first), batch_id=1)
        merged = merge.merge_events(
            con, events_of({**LINE, "qty": 3}, {**LINE, "qty": 4}, {**LINE, "qty": 5}), batch_id=2, replace_orders=True
        )
        assert (merged.new, merged.changed) == (3, 2)
        kept = con.execute("SELECT qty, request_id FROM events ORDER BY rowid").fetchall()
        assert kept == [(3, "r1"), (4, "r2"), (5, None)]


@pytest.mark.parametrize("asked", [{"batch_id": 2}, {"replace_orders": True}])
def test_orders_are_replaced_only_by_a_batch_that_can_be_taken_back(store: Store, asked: dict[str, Any]) -> None:
    with store.writing() as con, merge.transaction(con):
        merge.merge_events(con, events_of(LINE), batch_id=1)
        merged = merge.merge_events(con, events_of({**LINE, "qty": 2}), **asked)
        assert (merged.new, merged.changed) == (1, 0)
        assert con.execute("SELECT count(*) FROM events").fetchall() == [(2,)]


def test_small_facts_are_remembered_by_name(store: Store) -> None:
    with store.writing() as con, merge.transaction(con):
        kept = con.execute("SELECT count(*) FROM state").fetchall()[0][0]
        merge.set_state(con, {"x": "1", "y": "2"})
        merge.set_state(con, {"x": "3"})
        assert con.execute("SELECT name, value FROM state WHERE name IN ('x', 'y') ORDER BY 1").fetchall() == [
            ("x", "3"),
            ("y", "2"),
        ]
        assert con.execute("SELECT count(*) FROM state").fetchall() == [(kept + 2,)]
