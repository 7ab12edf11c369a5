"""Guests, known by their sessions alone: erased for good, and found again however short the session's name is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_cli.gdpr import erase, exporting, suppression, verify
from recsys_cli.gdpr.returning import reapply
from recsys_cli.ingest import Request, ingest
from recsys_cli.store.spool_import import Taken
from recsys_cli.updates.drain import drain

from .conftest import Shop

HEADER = "user_id,session_id,item_id,event_type,timestamp\n"
KIM = "kim-77,,p1,purchase,2026-02-31T00:00:00\nkim-77,,p1,purchase,2026-02-03T00:00:00\n"
GUEST_ROW, DAVE = ",guest-9,p1,view,2026-02-03T00:00:00\n", "dave,,p2,purchase,2026-02-03T00:00:00\n"
EVE = "eve,,p2,view,2026-02-04T00:00:00\n"


def take(shop: Shop, text: str, name: str = "a.csv") -> dict[str, int]:
    """Ingest a file of this text; gives what was new, known and rejected."""
    path = shop.root.parent / name
    path.write_text(text)
    (report,) = ingest(shop.settings, [path], Request()).files
    return {"new": report.new, "known": report.known, "rejected": report.rejected}


def test_neither_a_guest_nor_a_customer_comes_back_with_a_longer_export(empty: Shop) -> None:
    take(empty, HEADER + KIM + GUEST_ROW + DAVE)
    assert erase(empty.store, empty.artifacts, empty.settings, ["kim-77", "guest-9"]).erased == 2
    assert take(empty, HEADER + KIM + GUEST_ROW + DAVE + EVE) == {"new": 1, "known": 1, "rejected": 3}
    assert empty.count("events", "session_id = 'guest-9' OR user_id = 'kim-77'") == 0
    # The row whose time cannot be read is counted, and says nothing of whom it was about.
    assert empty.count("rejected", "reason = 'erased' AND raw IS NULL AND detail IS NULL") == 3
    assert empty.count("rejected") == 3
    assert verify(empty.store, empty.artifacts, empty.settings, ["kim-77", "guest-9"]).clean


def test_a_file_of_sessions_alone(empty: Shop) -> None:
    rows = "session_id,item_id,event_type,timestamp\nguest-9,p1,view,2026-02-03T00:00:00\n"
    take(empty, rows)
    erase(empty.store, empty.artifacts, empty.settings, ["guest-9"])
    more = rows + "guest-8,p1,view,2026-02-03T00:00:00\n"
    assert take(empty, more) == {"new": 1, "known": 0, "rejected": 1}


@pytest.mark.parametrize(
    "row",
    [
        "kim-77,,p1,purchase,2999-01-01T00:00:00\n",
        "kim-77,,p1,purchase,1970-01-02T00:00:00\n",
        "kim-77,,p1,purchase,\n",
        ",guest-9,p1,view,soon\n",
        "kim-77,p1\n",
        "guest-9;p1\n",
    ],
)
def test_what_is_rejected_for_another_reason_names_nobody_erased(empty: Shop, row: str) -> None:
    take(empty, HEADER + KIM + GUEST_ROW + DAVE)
    erase(empty.store, empty.artifacts, empty.settings, ["kim-77", "guest-9"])
    good = "".join(EVE.replace("eve", f"eve-{n}") for n in range(5))
    assert take(empty, HEADER + good + row + "dave,,p2,purchase,never\ndave,p2\n", "b.csv")["rejected"] == 3
    assert empty.count("rejected", "concat(raw, detail) LIKE '%kim-77%' OR concat(raw, detail) LIKE '%guest-9%'") == 0
    assert empty.count("rejected", "raw LIKE '%dave%'") == 2  # others can be mended


def test_whoever_comes_back_after_their_erasure_has_rows_to_mend(empty: Shop) -> None:
    take(empty, HEADER + KIM + DAVE)
    done = erase(empty.store, empty.artifacts, empty.settings, ["kim-77"])
    assert done.erased == 1
    later = suppression.entries(empty.settings.db)[-1].at + 60
    text = f"user_id,item_id,ts,qty\nkim-77,p1,{later},two\nkim-77,p1,{later},1\n"
    assert take(empty, text, "new.csv") == {"new": 1, "known": 0, "rejected": 1}
    assert empty.count("rejected", "reason = 'bad_qty' AND raw LIKE '%kim-77%'") == 1


def test_the_session_of_a_customer_who_was_erased_stays_gone(empty: Shop) -> None:
    rows = "kim-77,s1,p1,purchase,2026-02-03T00:00:00\n,s1,p2,view,2026-02-02T00:00:00\n"
    take(empty, HEADER + rows + DAVE)
    erase(empty.store, empty.artifacts, empty.settings, ["kim-77"])
    assert empty.count("events") == 1
    assert take(empty, HEADER + rows + DAVE + EVE) == {"new": 1, "known": 1, "rejected": 2}


def test_late_lines_of_an_erased_guest_are_left_out(empty: Shop) -> None:
    take(empty, HEADER + GUEST_ROW + DAVE + "kim-77,,p1,view,2026-02-03T00:00:00\n")
    erase(empty.store, empty.artifacts, empty.settings, ["kim-77", "guest-9"])
    empty.receive(
        {"session_id": "guest-9", "item_id": "p3", "ts": 1_700_000_000},
        {"session_id": "guest-8", "item_id": "p3", "ts": 1_700_000_000},
        {"session_id": "guest-9", "item_id": "p3"},
        {"user_id": "kim-77", "item_id": "", "ts": 1_700_000_000},
        {"t": "merge", "session_id": "guest-8", "user_id": "kim-77", "ts": 1_700_000_100},
    )
    taken = drain(empty.store, empty.spool)
    assert taken == Taken(events=1, guests=3, rejected=2)
    assert empty.count("events", "session_id = 'guest-8' AND user_id IS NULL") == 1
    assert empty.count("rejected", "raw IS NOT NULL") == 0


def test_a_backup_with_the_guest_in_it_is_cleaned_and_a_customer_of_that_name_stays(empty: Shop) -> None:
    take(empty, HEADER + GUEST_ROW + DAVE)
    backup = empty.root.parent / "backup.duckdb"
    shutil.copy(empty.settings.db, backup)
    erase(empty.store, empty.artifacts, empty.settings, ["guest-9"])
    shutil.copy(backup, empty.settings.db)
    with empty.store.writing() as con:  # somebody new, who is called like the guest was
        con.execute(
            "INSERT INTO events (user_id, item_id, ts, qty, event_type) VALUES ('guest-9', 'p1', 2e9, 1, 'view')"
        )
    empty.receive({"session_id": "guest-9", "item_id": "p3", "ts": 1_700_000_000})
    assert reapply(empty.store, empty.artifacts, empty.settings) == 1
    assert empty.count("events", "session_id = 'guest-9'") == 0
    assert empty.count("events", "user_id = 'guest-9'") == 1
    assert not any(b"guest-9" in line for chunk in empty.spool.read({}) for line in chunk.lines())
    assert reapply(empty.store, empty.artifacts, empty.settings) == 0


@pytest.mark.parametrize("one", ["guest-9", "g9", "7"])
def test_a_short_session_is_found_where_it_says_whose_the_row_is(empty: Shop, one: str) -> None:
    take(empty, HEADER + GUEST_ROW.replace("guest-9", one) + DAVE)
    found = verify(empty.store, empty.artifacts, empty.settings, [one])
    assert [f.encoding for f in found.findings] == ["a guest's session"]
    empty.receive({"session_id": one, "item_id": "p3", "ts": 1_700_000_000})
    assert len(verify(empty.store, empty.artifacts, empty.settings, [one]).findings) == 2
    assert erase(empty.store, empty.artifacts, empty.settings, [one]).erased == 1
    assert verify(empty.store, empty.artifacts, empty.settings, [one]).clean


def test_a_long_session_is_one_trace(empty: Shop) -> None:
    take(empty, HEADER + GUEST_ROW.replace("guest-9", "guest-0815") + DAVE)
    found = verify(empty.store, empty.artifacts, empty.settings, ["guest-0815"])
    assert len({(f.inside, f.encoding, f.offset) for f in found.findings}) == len(found.findings)


def test_the_same_word_elsewhere_is_no_trace_of_the_guest(empty: Shop) -> None:
    others = "order_id,user_id,session_id,item_id,event_type,timestamp\nguest-9,dave,,p2,purchase,2026-02-03T00:00:00\n"
    take(empty, HEADER + GUEST_ROW)
    take(empty, others + "o2,dave,guest-9,p2,view,2026-02-05T00:00:00\n", "others.csv")
    take(empty, HEADER + ",13-guest-9,p1,view,2026-02-03T00:00:00\n", "like.csv")
    done = erase(empty.store, empty.artifacts, empty.settings, ["guest-9"])
    assert done.removed == {"guest_events": 1, "visit_numbers": 1}
    assert done.scanned.coincidences
    assert empty.count("events") == 3
    assert empty.count("events", "session_id = 'guest-9'") == 0
    assert verify(empty.store, empty.artifacts, empty.settings, ["guest-9"]).clean


def test_a_customer_is_erased_though_somebody_elses_visit_is_called_the_same(empty: Shop) -> None:
    take(empty, HEADER + "kim,,p1,purchase,2026-02-03T00:00:00\n,kim,p1,view,2026-02-03T00:00:00\n")
    assert erase(empty.store, empty.artifacts, empty.settings, ["kim"]).erased == 1
    assert empty.count("events", "session_id = 'kim'") == 1
    assert verify(empty.store, empty.artifacts, empty.settings, ["kim"]).clean


def test_a_guest_whose_row_was_rejected_is_no_customer(empty: Shop) -> None:
    take(empty, HEADER + GUEST_ROW + ",guest-9,p1,view,soon\n")
    assert len(exporting.export(empty.store, empty.artifacts, empty.settings, ["guest-9"])["events"]) == 1
    done = erase(empty.store, empty.artifacts, empty.settings, ["guest-9"])
    assert done.removed == {"guest_events": 1, "rejected": 1}


@pytest.mark.parametrize("one", ["guest-9", "guest-0815", "7"])
def test_the_number_of_the_visit_does_not_come_back_with_somebody_elses_row(empty: Shop, one: str) -> None:
    mine = GUEST_ROW.replace("guest-9", one)
    shared = f"dave,{one},p2,purchase,2026-02-03T00:00:00\nerin,s5,p2,purchase,2026-02-03T00:00:00\n"
    take(empty, HEADER + mine + shared)
    erase(empty.store, empty.artifacts, empty.settings, [one])
    # The rows are known, though Dave's is in the store without the visit by now.
    assert take(empty, HEADER + mine + shared + EVE) == {"new": 1, "known": 2, "rejected": 1}
    bad = "".join(f"dave,{one},p{n},purchase,never\n" for n in range(2)) + "erin,s5,p2,purchase,never\n"
    assert take(empty, HEADER + EVE + bad + shared.replace("p2", "p3"), "b.csv") == {
        "new": 2, "known": 1, "rejected": 3,
    }  # fmt: skip
    assert empty.count("events", "user_id = 'dave' AND session_id IS NULL") == 2
    assert empty.count("events", "session_id = 's5'") == 2
    assert empty.count("rejected", f"concat(raw, detail) LIKE '%\"{one}\"%'") == 0
    assert empty.count("rejected", "raw LIKE '%dave%'") == 2
    assert empty.count("rejected", "raw LIKE '%s5%'") == 1
    assert verify(empty.store, empty.artifacts, empty.settings, [one]).clean


def test_acknowledged_events_of_others_in_the_visit_are_kept_without_its_number(empty: Shop) -> None:
    one = "guest-0815"
    take(empty, HEADER + GUEST_ROW.replace("guest-9", one) + DAVE)
    line = {"user_id": "dave", "session_id": one, "ts": 1_700_000_000}
    empty.receive(
        line | {"item_id": "p3"},
        line | {"item_id": "p4", "order_id": one},  # names them elsewhere, too
        {"t": "merge", "session_id": one, "user_id": "erin", "ts": 1_700_000_100},
        {"session_id": one, "item_id": "p5", "ts": 1_700_000_000},
    )
    assert exporting.export(empty.store, empty.artifacts, empty.settings, [one])["received"] == [
        {"t": "event", "event_type": "view", **line, "item_id": "p4", "order_id": one},
        {"t": "merge", "event_type": "view", "session_id": one, "user_id": "erin", "ts": 1_700_000_100},
        {"t": "event", "event_type": "view", "session_id": one, "item_id": "p5", "ts": 1_700_000_000},
    ]
    assert erase(empty.store, empty.artifacts, empty.settings, [one]).removed["spool_lines"] == 3
    assert drain(empty.store, empty.spool) == Taken(events=1)
    assert empty.count("events", "user_id = 'dave' AND item_id = 'p3' AND session_id IS NULL") == 1


def test_what_others_do_in_the_visit_after_the_erasure_is_new(empty: Shop) -> None:
    take(empty, HEADER + GUEST_ROW + DAVE)
    erase(empty.store, empty.artifacts, empty.settings, ["guest-9"])
    later = suppression.entries(empty.settings.db)[-1].at + 60
    take(empty, f"user_id,session_id,item_id,ts\ndave,guest-9,p1,{later}\n", "new.csv")
    empty.receive({"user_id": "dave", "session_id": "guest-9", "item_id": "p5", "ts": later})
    drain(empty.store, empty.spool)
    assert empty.count("events", "session_id = 'guest-9'") == 2


def test_late_lines_of_others_are_taken_without_the_number_of_the_visit(empty: Shop) -> None:
    take(empty, HEADER + GUEST_ROW + DAVE)
    erase(empty.store, empty.artifacts, empty.settings, ["guest-9"])
    line = {"user_id": "dave", "session_id": "guest-9", "ts": 1_700_000_000}
    empty.receive(line | {"item_id": "p3"}, line | {"item_id": ""}, line | {"item_id": "p4", "session_id": "s5"})
    assert drain(empty.store, empty.spool) == Taken(events=2, rejected=1)
    assert empty.count("events", "user_id = 'dave' AND session_id = 's5'") == 1
    assert empty.count("events", "session_id = 'guest-9'") == 0
    assert empty.count("rejected", "raw LIKE '%guest-9%'") == 0


def test_a_backup_in_which_only_others_have_the_number_is_cleaned(empty: Shop) -> None:
    take(empty, HEADER + GUEST_ROW + DAVE)
    erase(empty.store, empty.artifacts, empty.settings, ["guest-9"])
    with empty.store.writing() as con:
        con.execute(
            "INSERT INTO events (user_id, session_id, item_id, ts, qty, event_type) "
            "VALUES ('dave', 'guest-9', 'p1', 1700000000, 1, 'view')"
        )
    assert reapply(empty.store, empty.artifacts, empty.settings) == 0  # nobody was there
    assert empty.count("events", "session_id = 'guest-9'") == 0
    assert empty.count("events", "user_id = 'dave'") == 2


@pytest.mark.parametrize(
    ("column", "kind", "one"),
    [
        *(("session_id", kind, one) for kind in (pa.int64(), pa.float64()) for one in (130, 1_308_512_345)),
        ("session_id", pa.decimal128(21, 1), 1_308_512_345),
        ("user_id", pa.float64(), 13085),
        ("user_id", pa.decimal128(21, 1), 1_308_512_345),
    ],
    ids=str,
)
def test_a_number_in_a_parquet_file_of_the_watched_folder(
    empty: Shop, column: str, kind: pa.DataType, one: int
) -> None:
    folder = empty.root.parent / "in"
    folder.mkdir()
    settings = replace(
        empty.settings,
        ingest=replace(empty.settings.ingest, folder=str(folder)),
        gdpr=replace(empty.settings.gdpr, originals="rewrite"),
    )
    ids = pa.array([one, one + 1, None], pa.int64())
    rows = {name: ids if name == column else pa.nulls(3, pa.int64()) for name in ("user_id", "session_id")}
    rows |= {"item_id": ["p1", "p2", "p3"], "event_type": ["view"] * 3}
    rows |= {"timestamp": [f"2026-02-0{n}T00:00:00" for n in (1, 2, 3)]}
    table = pa.table(rows)
    column_at = table.column_names.index(column)
    table = table.set_column(column_at, column, ids.cast(kind))
    path = folder / "a.parquet"
    pq.write_table(table, path)
    ingest(settings, [path], Request())
    (named,) = verify(empty.store, empty.artifacts, settings, [str(one)]).originals
    assert (named.path, named.why) == (path, "")
    done = erase(empty.store, empty.artifacts, settings, [str(one)])
    assert (done.erased, done.removed["rows_of_originals"], done.originals) == (1, 1, ())
    assert pq.read_table(path)["item_id"].to_pylist() == ["p2", "p3"]
    assert verify(empty.store, empty.artifacts, settings, [str(one)]).clean


def test_a_session_that_a_spreadsheet_has_made_a_fraction_of(empty: Shop) -> None:
    folder = empty.root.parent / "in"
    folder.mkdir()
    settings = replace(
        empty.settings,
        ingest=replace(empty.settings.ingest, folder=str(folder)),
        gdpr=replace(empty.settings.gdpr, originals="rewrite"),
    )
    path = folder / "a.csv"
    path.write_text(HEADER + "".join(GUEST_ROW.replace("guest-9", f"{n}.0") for n in (13085, 13086)))
    ingest(settings, [path], Request())
    erase(empty.store, empty.artifacts, settings, ["13085"])
    assert path.read_text() == HEADER + GUEST_ROW.replace("guest-9", "13086.0")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_short_session_in_the_watched_folder(empty: Shop, suffix: str) -> None:
    folder = empty.root.parent / "in"
    folder.mkdir()
    settings = replace(
        empty.settings,
        ingest=replace(empty.settings.ingest, folder=str(folder)),
        gdpr=replace(empty.settings.gdpr, originals="rewrite"),
    )
    path = folder / f"a.{suffix}"
    write(path)
    ingest(settings, [path], Request())
    (named,) = verify(empty.store, empty.artifacts, settings, ["guest-9"]).originals
    assert (named.path, named.why) == (path, "")
    done = erase(empty.store, empty.artifacts, settings, ["guest-9"])
    assert (done.removed["rows_of_originals"], done.originals) == (1, ())
    assert b"dave" in path.read_bytes()
    assert verify(empty.store, empty.artifacts, settings, ["guest-9"]).originals == []


def write(path: Path) -> None:
    """The guest's event, and one of Dave's in a visit and with an order of that name."""
    row = {"user_id": None, "session_id": "guest-9", "order_id": None, "item_id": "p1", "event_type": "view"}
    rows = [row, row | {"user_id": "dave", "order_id": "guest-9"}]
    rows = [r | {"timestamp": f"2026-02-0{n}T00:00:00"} for n, r in enumerate(rows, 1)]
    if path.suffix == ".csv":
        path.write_text("".join(",".join(v or "" for v in r) + "\n" for r in [[*rows[0]], *(r.values() for r in rows)]))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)


def test_the_sentence_of_the_command(empty: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    take(empty, HEADER + GUEST_ROW + DAVE)
    found = recsys("gdpr", "verify", "guest-9", *empty.flags())
    assert (found.returncode, "session_id of guests (a guest's session" in found.stdout) == (10, True)
    assert "1 traces" in found.stdout
    assert "something else" not in found.stdout
