"""The server's log arrives in the store once, line for line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recsys_cli.artifacts import Spool, SpoolWriter
from recsys_cli.identity import load_secret, pseudonym
from recsys_cli.store import Store
from recsys_cli.store.batches import close_batch, open_batch
from recsys_cli.store.imports import undo
from recsys_cli.store.merge import merge_items
from recsys_cli.store.reading import spool_position, watermark
from recsys_cli.store.spool_import import Taken, take_lines
from recsys_cli.updates.drain import drain, remove_old_segments


@pytest.fixture
def writer(tmp_path: Path) -> SpoolWriter:
    return SpoolWriter(tmp_path / "artifacts" / "spool")


def event(**values: object) -> bytes:
    return json.dumps({"t": "event", "user_id": "u", "item_id": "i", "ts": 1_700_000_000} | values).encode()


def rows(store: Store, query: str) -> list[tuple[object, ...]]:
    with store.reading() as con:
        return con.execute(query).fetchall()


def test_each_line_arrives_once(store: Store, writer: SpoolWriter) -> None:
    spool = Spool(writer.path)
    writer.append([event(user_id=f"u{i}", ts=1_700_000_000 + i, event_type="view") for i in range(100)])
    assert drain(store, spool).events == 100
    assert drain(store, spool).events == 0
    writer.append([event(user_id="late", qty=3, event_id="sent-by-the-shop")])
    assert drain(store, spool).events == 1
    assert rows(store, "SELECT count(*), sum(qty) FROM events") == [(101, 103)]
    assert rows(store, "SELECT event_id FROM events WHERE user_id = 'late'") == [("sent-by-the-shop",)]


def test_it_ends_while_customers_go_on_clicking(
    store: Store, writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody clicks whenever a batch is written: what comes after the beginning is for the next pass."""

    def and_a_click(*args: Any, **options: Any) -> Taken:
        taken = take_lines(*args, **options)
        assert spool.backlog({}) < 10_000, "the drain follows the clicks"
        writer.append([event(user_id="another")])
        return taken

    spool = Spool(writer.path)
    monkeypatch.setattr("recsys_cli.updates.drain.take_lines", and_a_click)
    writer.append([event(user_id="first")] * 3)
    assert [drain(store, spool).events for _ in range(3)] == [3, 1, 1]


def test_the_same_click_twice_is_two_clicks_but_the_same_event_id_is_one(store: Store, writer: SpoolWriter) -> None:
    spool = Spool(writer.path)
    for _ in range(2):
        writer.append([event(), event(), event(event_id="x")])
        drain(store, spool)
    assert rows(store, "SELECT count(*) FROM events") == [(5,)]


def test_a_line_of_an_order_that_an_export_brought_is_known(store: Store, writer: SpoolWriter) -> None:
    with store.writing() as con:
        con.execute(
            "INSERT INTO events (user_id, item_id, ts, qty, event_type, order_id) "
            "VALUES ('u', 'i', 1700000000, 1, 'purchase', 'o1')"
        )
    writer.append([event(order_id="o1"), event(order_id="o2")])
    taken = drain(store, Spool(writer.path))
    assert (taken.events, taken.known_events) == (1, 1)


def test_nonsense_is_kept_with_its_reason(store: Store, writer: SpoolWriter) -> None:
    bad = [b"{half", b"[1]", b'{"t":"what"}', event(ts="soon"), event(item_id=None), event(user_id=None)]
    writer.append([*bad, event()])
    taken = drain(store, Spool(writer.path))
    assert (taken.events, taken.rejected) == (1, 6)
    kept = rows(store, "SELECT reason, detail, raw FROM rejected ORDER BY row_number")
    assert [detail for _, detail, _ in kept] == [None, None, "what", "ts", "item_id", "user_id"]
    assert kept[0] == ("not an event or item", None, "{half")


def test_a_guest_becomes_the_customer_who_logs_in(store: Store, writer: SpoolWriter, tmp_path: Path) -> None:
    other = SpoolWriter(writer.path)  # another server process
    merge = json.dumps({"t": "merge", "session_id": "s", "user_id": "ann@example.org", "ts": 20}).encode()
    writer.append([merge])
    other.append([event(user_id=None, session_id=s, ts=ts) for s, ts in (("s", 10), ("s", 30), ("else", 10))])
    taken = drain(store, Spool(writer.path))
    assert (taken.events, taken.guests, taken.merged) == (3, 3, 1)
    ann = pseudonym(load_secret(store.path), "ann@example.org")
    found = rows(store, "SELECT user_id, session_id, ts FROM events ORDER BY ALL")
    assert found == [(ann, "s", 10), (None, "else", 10), (None, "s", 30)]


def test_a_session_belongs_to_whom_it_was_given_first(store: Store, writer: SpoolWriter) -> None:
    def merge(user_id: str, ts: int) -> bytes:
        return json.dumps({"t": "merge", "session_id": "s", "user_id": user_id, "ts": ts}).encode()

    guest = [event(user_id=None, session_id="s", ts=ts) for ts in (10, 20, 25)]
    # A till on which two people logged in, and a page that said it twice within the second.
    writer.append([*guest, merge("ann", 20), merge("eve", 20), merge("bert", 30), merge("carl", 40)])
    assert drain(store, Spool(writer.path)).merged == 3
    writer.append([merge("dora", 50)])  # by a later drain
    assert drain(store, Spool(writer.path)).merged == 0
    assert rows(store, "SELECT user_id, ts FROM events ORDER BY ts") == [("ann", 10), ("ann", 20), ("bert", 25)]


def test_items_change_in_the_order_they_were_sent(store: Store, writer: SpoolWriter) -> None:
    def item(ts: int, **values: object) -> bytes:
        return json.dumps({"t": "item", "ts": ts, **values}).encode()

    writer.append(
        [
            item(1, item_id="a", title="First", price=2.5, attributes={"colour": "red"}),
            item(2, item_id="a", title="Second"),
            item(3, item_id="b", title="Gone"),
            item(4, item_id="b", retired=True),
            item(5, item_id="c", retired=True),
            item(6, item_id="c", title="Back"),
        ]
    )
    drain(store, Spool(writer.path))
    found = rows(store, "SELECT item_id, title, price, retired_at IS NOT NULL FROM items ORDER BY item_id")
    assert found == [("a", "Second", 2.5, False), ("b", "Gone", None, True), ("c", "Back", None, False)]


def test_an_address_is_kept_under_the_same_pseudonym_as_by_ingest(store: Store, writer: SpoolWriter) -> None:
    writer.append([event(user_id="Ann@Example.org ")])
    drain(store, Spool(writer.path))
    expected = pseudonym(load_secret(store.path), "ann@example.org")
    assert expected.startswith("mail-")
    assert rows(store, "SELECT user_id FROM events") == [(expected,)]


def test_blanked_lines_and_broken_text_do_not_stop_the_drain(store: Store, writer: SpoolWriter) -> None:
    broken = b'{"t":"event","user_id":"\xff","item_id":"i","ts":1}'
    writer.append([event(user_id="gone"), broken, event(user_id="stays")])
    spool = Spool(writer.path)
    assert spool.blank(lambda line: b"gone" in line) == 1
    assert drain(store, spool).events == 2
    assert rows(store, "SELECT count(*) FROM events WHERE user_id = 'gone'") == [(0,)]


def test_position_and_lines_are_kept_or_lost_together(store: Store, writer: SpoolWriter, tmp_path: Path) -> None:
    writer.append([event()])
    with store.writing() as con:
        con.execute("DROP TABLE batches")  # the drain fails half way
    with pytest.raises(Exception, match="batches"):
        drain(store, Spool(writer.path))
    with store.writing() as con:
        assert con.execute("SELECT count(*) FROM events").fetchall() == [(0,)]
        assert spool_position(con) == {}


def test_drained_segments_are_removed_when_old_and_left_by_their_server(store: Store, writer: SpoolWriter) -> None:
    writer.append([event()])
    spool = Spool(writer.path)
    drain(store, spool)
    with store.reading() as con:
        position = spool_position(con)
    assert remove_old_segments(spool, position, keep_hours=0) == []  # its server still writes
    writer.close()
    assert remove_old_segments(spool, position, keep_hours=1) == []
    assert len(remove_old_segments(spool, position, keep_hours=0)) == 1
    drain(store, spool)
    with store.reading() as con:
        assert spool_position(con) == {}


def test_the_watermark_moves_with_what_changed_and_only_then(store: Store, writer: SpoolWriter) -> None:
    marks = []
    for lines in ([event(event_id="a")], [event(event_id="a")], [event(event_id="b")]):
        writer.append(lines)
        drain(store, Spool(writer.path))
        with store.reading() as con:
            marks.append(watermark(con))
    assert marks[0] == marks[1] != marks[2]


def test_what_was_heard_of_items_outlives_the_undoing_of_a_file(store: Store, writer: SpoolWriter) -> None:
    def file(source: str, rows: list[dict[str, object]]) -> int:
        with store.writing() as con:
            number = open_batch(con, source, "items", source, 0)
            close_batch(con, number, merge_items(con, pa.Table.from_pylist(rows), batch_id=number), 0)
        return number

    file(
        "old.csv", [{"item_id": "kept", "title": "Old", "price": 1.0}, {"item_id": "gone", "title": "G", "price": 1.0}]
    )
    number = file("new.csv", [
        {"item_id": "kept", "title": "New", "price": 2.0}, {"item_id": "gone", "title": "G", "price": 2.0},
        {"item_id": "brought", "title": "B", "price": 2.0}, {"item_id": "sent", "title": "S", "price": 2.0},
    ])  # fmt: skip
    heard = [
        {"item_id": "kept", "availability": False, "attributes": '{"colour": "red"}'},
        {"item_id": "gone", "retired": True}, {"item_id": "brought", "availability": False},
        {"item_id": "sent", "title": "Sent", "price": 3.0},
    ]  # fmt: skip
    writer.append([json.dumps({"t": "item", "ts": 1_700_000_000, **line}).encode() for line in heard])
    assert drain(store, Spool(writer.path)).items == 4
    with store.writing() as con:
        undo(con, number)
    left = rows(
        store, "SELECT item_id, title, price, availability, attributes, retired_at IS NULL FROM items ORDER BY 1"
    )
    assert left == [
        ("gone", "G", 1.0, None, None, False), ("kept", "Old", 1.0, False, '{"colour":"red"}', True),
        ("sent", "Sent", 3.0, None, None, True),
    ]  # fmt: skip
