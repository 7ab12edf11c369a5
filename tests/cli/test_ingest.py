"""The command itself: what it prints, its exit codes, and its manners."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from recsys_cli.settings import StoreSettings
from recsys_cli.store import Store

ROOT = Path(__file__).resolve().parents[2]
Recsys = Callable[..., "subprocess.CompletedProcess[str]"]
EVENTS = "user_id,item_id,ts,qty\nu1,a,1700000000,1\nu2,b,1700000001,two\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_text(EVENTS)
    return path


def test_the_report_says_counts_and_examples(recsys: Recsys, file: Path) -> None:
    plain = recsys("ingest", "orders.csv")
    assert plain.returncode == 0
    assert "2 rows read = 1 new + 0 known + 1 rejected" in plain.stdout
    assert "row 3: two" in plain.stdout
    as_json = json.loads(recsys("ingest", "orders.csv", "--json").stdout)
    assert as_json["total"] == {"read": 2, "new": 0, "known": 1, "rejected": 1}
    assert as_json["files"][0]["already"] is True
    listed = recsys("ingest", "rejected")
    assert "bad_qty" in listed.stdout
    assert "1 row is in rejected.csv. Fix it there" in recsys("ingest", "rejected", "--export", "rejected.csv").stdout
    assert "thrown away" in recsys("ingest", "rejected", "--clear").stdout


def test_what_was_understood_is_shown_before_the_file_is_read(recsys: Recsys, file: Path) -> None:
    done = recsys("ingest", "orders.csv", "--dry-run", "--json")
    assert "orders.csv: events, CSV, comma: user_id from user_id" in done.stderr
    assert json.loads(done.stdout)["files"][0]["stored"] is False


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["ingest"], 2, "No file was named"),
        (["ingest", "nowhere.csv"], 3, "There is no file nowhere.csv"),
        (["ingest", "no*.csv"], 3, "No file matches no*.csv"),
        (["ingest", "."], 3, "is a directory"),
        (["ingest", ""], 2, "An empty file name"),
        (["ingest", "orders.csv", "nowhere.csv"], 3, "nowhere.csv. Check the name; nothing was changed"),
        (["ingest", "rejected", "--limit", "-1"], 2, "--limit"),
        (["ingest", "orders.csv", "--type", "orders"], 2, "--type must be one of events, items, users, got 'orders'"),
        (["ingest", "orders.csv", "--map", "user_id"], 2, "--map user_id='Customer ID'"),
        (["ingest", "orders.csv", "--map", "item_id=Nothing"], 3, "no column 'Nothing'"),
        (["ingest", "orders.csv", "--strict"], 3, "1 of 2 rows are wrong"),
        (["ingest", "orders.csv", "--preset", "ebay"], 2, "no preset 'ebay'"),
        (["ingest", "orders.csv", "--timezone", "Mars/Base"], 2, "'Mars/Base'. Write it like Europe/Berlin."),
        (["ingest", "orders.csv", "--timezone", "Europe/Berln"], 2, "Did you mean Europe/Berlin?"),
        (["ingest", "orders.csv", "--decimal", "dot"], 2, "dot"),
        (["ingest", "--watch", "nowhere"], 2, "no folder nowhere"),
        (["ingest", "rejected"], 4, "no database"),
        (["ingest", "-", "-"], 2, "Standard input can be read once."),
        (["ingest", "-", "orders.csv"], 2, "Standard input cannot be read together with files."),
        (["ingest", "orders.csv", "--nonsense"], 2, "--nonsense"),
    ],
)
def test_mistakes_get_a_sentence_and_change_nothing(
    recsys: Recsys, file: Path, tmp_path: Path, args: list[str], code: int, says: str
) -> None:
    done = recsys(*args)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    database = tmp_path / "recsys.duckdb"
    if database.exists():  # made, and nothing in it
        with duckdb.connect(str(database), read_only=True) as con:
            assert con.execute("SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM batches)").fetchall() == [
                (0,)
            ]


def test_a_later_file_that_cannot_be_taken_does_not_deny_those_before_it(
    recsys: Recsys, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.csv").write_text("")
    done = recsys("ingest", "orders.csv", "empty.csv")
    assert done.returncode == 3
    assert "empty.csv is empty" in done.stderr
    assert "nothing was changed" not in done.stderr
    assert "Taken before it: orders.csv." in done.stderr


@pytest.mark.parametrize("state", [[], ["--db", "state/shop.duckdb"]])
def test_a_trial_where_there_is_no_database_leaves_none(
    recsys: Recsys, file: Path, tmp_path: Path, state: list[str]
) -> None:
    done = recsys("ingest", "orders.csv", "--dry-run", *state)
    assert done.returncode == 0, done.stderr
    assert "1 new" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["orders.csv"]


@pytest.mark.parametrize("trial", [(), ("--dry-run",)])
def test_a_file_of_which_no_row_can_be_taken_is_told_by_the_exit_code(
    recsys: Recsys, file: Path, tmp_path: Path, trial: tuple[str, ...]
) -> None:
    (tmp_path / "wrong.csv").write_text("user_id,item_id,ts\nu1,a,never\nu2,b,\n")
    done = recsys("ingest", "wrong.csv", "orders.csv", *trial)
    assert done.returncode == 3
    assert "2 rows read = 0 new + 0 known + 2 rejected" in done.stdout
    assert "orders.csv: events, CSV, comma. 2 rows read = 1 new" in done.stdout
    assert done.stderr.splitlines()[-1] == "No row of wrong.csv could be taken."
    if not trial:
        assert "bad_time" in recsys("ingest", "rejected").stdout
        assert recsys("ingest", "wrong.csv").returncode == 3  # already taken, as it was
        assert recsys("ingest", "orders.csv").returncode == 0
    (tmp_path / "left-out.csv").write_text("user_id,item_id,ts\nu1,POSTAGE,1700000000\n")
    assert recsys("ingest", "left-out.csv", *trial).returncode == 0


@pytest.mark.parametrize(
    ("header", "values"),
    [("user_id,item_id,ts", "123"), ("user_id,item_id,timestamp", "123"), ("user_id,item_id,ts", "7777")],
)
def test_numbers_of_rows_are_no_times_and_the_column_is_named(
    recsys: Recsys, tmp_path: Path, header: str, values: str
) -> None:
    rows = "".join(f"u{n},a,{n}\n" for n in (range(1, 9) if values == "123" else (7, 7, 7)))
    (tmp_path / "numbered.csv").write_text(f"{header}\n{rows}")
    done = recsys("ingest", "numbered.csv")
    assert done.returncode == 3
    said, name = done.stdout + done.stderr, header.split(",")[2]
    shown = "1, 2, 3 …" if values == "123" else "7"
    assert f"{name} holds {shown}, which are " in said
    assert "--date" in said
    done = recsys("ingest", "numbered.csv", "--date", "2025-01-31")
    assert done.returncode == 0
    assert f"{len(rows.splitlines())} new" in done.stdout


def test_rows_without_times_are_given_a_date(recsys: Recsys, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("user_id,item_id,qty\nu1,a,1\nu1,b,two\nu2,a,1\n")
    said = recsys("ingest", "pairs.csv").stderr
    assert said.rstrip().endswith("say one date for all rows: --date 2025-01-31)")
    done = recsys("ingest", "pairs.csv", "--date", "2025-01-31")
    assert "3 rows read = 2 new + 0 known + 1 rejected" in done.stdout
    assert "Every row is dated 2025-01-31, as said; no time is read from the file." in done.stdout
    with duckdb.connect(str(tmp_path / "recsys.duckdb"), read_only=True) as con:
        assert con.execute("SELECT DISTINCT ts FROM events").fetchall() == [(1738281600,)]
    assert recsys("ingest", "rejected", "--export", "bad.csv").returncode == 0
    fixed = tmp_path / "bad.csv"
    fixed.write_text(fixed.read_text().replace("two", "2"))
    assert "1 row read = 1 new" in recsys("ingest", "bad.csv").stdout  # of the date that was said for the others
    (tmp_path / "items.csv").write_text("item_id,price\na,1\n")  # has no times, and needs none
    (tmp_path / "late.csv").write_text("user_id,item_id,ts\nu4,a,\n")
    assert recsys("ingest", "late.csv", "items.csv", "--date", "2025-02-28").returncode == 0
    longer = tmp_path / "more.csv"
    longer.write_text("user_id,item_id,qty\nu1,a,1\nu3,a,1\n")
    assert "2 rows read = 1 new + 1 known" in recsys("ingest", "more.csv", "--date", "2025-01-31").stdout


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("pairs.csv", ["--date", "2025-02-30"], "--date must be a date, got '2025-02-30'."),
        ("pairs.csv", ["--date", "1970-01-01"], "Use a day from 1995-01-01 to today."),
        ("pairs.csv", ["--date", "2999-01-01"], "Use a day from 1995-01-01 to today."),
        ("pairs.csv", ["--date", "2025-01-31", "--map", "ts=item_id"], "Give one of them."),
    ],
)
def test_a_date_that_cannot_be_is_refused(
    recsys: Recsys, tmp_path: Path, name: str, words: list[str], says: str
) -> None:
    (tmp_path / "pairs.csv").write_text("user_id,item_id\nu1,a\n")
    done = recsys("ingest", name, *words)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "recsys.duckdb").exists()


def test_one_wrong_time_among_good_ones_is_not_called_numbering(recsys: Recsys, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("user_id,item_id,ts\nu1,a,1700000000\nu1,b,3\n")
    done = recsys("ingest", "orders.csv")
    assert done.returncode == 0
    assert "1 rejected" in done.stdout
    assert "no times" not in done.stdout


def test_event_types_without_a_weight_are_named(recsys: Recsys, tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text(
        "user_id,item_id,ts,event_type\nu1,a,1700000000,zzz\nu1,b,1700000000,view\nu2,b,1700000000,quiz\n"
        "u3,b,1700000000,quiz\n"
    )
    told = recsys("ingest", "clicks.csv", "--dry-run").stdout
    assert "Event type 'zzz' has no weight: 1 event counts for nothing; set one under [events.weights]" in told
    assert "Event type 'quiz' has no weight: 2 events count for nothing" in told
    assert "'view'" not in told
    assert "'zzz'" not in recsys("ingest", "clicks.csv", "--dry-run", RECSYS_EVENTS_WEIGHTS="zzz=0.2").stdout


def test_a_file_cannot_speak_to_the_terminal(recsys: Recsys, tmp_path: Path) -> None:
    nasty = "\x1b]0;owned\x07\x1b[31mred\x9b"
    rows = f"user_id,item_id,ts,{nasty}\nu1,a,1700000000,x\n,b{nasty},1700000000,x\n"
    (tmp_path / "nasty.csv").write_text(rows)
    (tmp_path / f"{nasty}.csv").write_text("nothing,here\n1,2\n")
    for args in (["nasty.csv"], [f"{nasty}.csv"], ["rejected"], ["nasty.csv", "--map", "qty=" + nasty]):
        done = recsys("ingest", *args)
        assert not {"\x1b", "\x07", "\x9b"} & set(done.stdout + done.stderr), args


def test_binary_content_is_no_columns(recsys: Recsys, tmp_path: Path) -> None:
    junk = bytes(n * 37 % 256 for n in range(4096))
    said = {"junk.csv": "junk.csv is not a text table", "junk.parquet": "junk.parquet is not a Parquet file"}
    for name, says in said.items():
        (tmp_path / name).write_bytes(junk)
        done = recsys("ingest", name)
        assert done.returncode == 3
        assert says in done.stderr
        assert done.stderr.count("\n") == 1


def test_standard_input_and_patterns(recsys: Recsys, file: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recsys_cli", "ingest", "-", "--json"],
        input=EVENTS.encode(),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["files"][0]["file"] == "standard input"
    assert not list(tmp_path.glob(".stdin-*"))
    (tmp_path / "more.csv").write_text(EVENTS + "u3,c,1700000002,1\n")
    total = json.loads(recsys("ingest", "*.csv", "orders.csv", "--json").stdout)["total"]
    assert total == {"read": 5, "new": 1, "known": 2, "rejected": 2}


def test_standard_input_is_called_so_and_a_trial_of_it_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recsys_cli", "ingest", "-", "--dry-run", "--db", "state/shop.duckdb"],
        input=b"",
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith(b"recsys: standard input is empty.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("junk", [b"\x00\x01garbage", b"a,b\x00\n\x00\x01garbage"])
def test_a_few_bytes_of_no_text_are_no_row_of_many_megabytes(tmp_path: Path, junk: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recsys_cli", "ingest", "-"],
        input=junk,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert b"MB" not in done.stderr
    if junk.startswith(b"\x00"):
        assert b"standard input is not a text table or another format that recsys reads." in done.stderr


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("user_id,item_id,ts\n", "The file has column names and no rows."),
        ("user_id,item_id,ts,user_id\nu,a,1700000000,v\n", "several columns called 'user_id'; the first is read"),
    ],
)
def test_what_is_odd_about_the_columns_is_noted(recsys: Recsys, tmp_path: Path, text: str, note: str) -> None:
    (tmp_path / "odd.csv").write_text(text)
    assert note in recsys("ingest", "odd.csv").stdout


def test_a_second_writer_waits_with_a_message(recsys: Recsys, file: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "recsys.duckdb", StoreSettings())
    with store.writing():
        hasty = recsys("ingest", "orders.csv", RECSYS_STORE_LOCK_TIMEOUT="0.2")
        assert hasty.returncode == 5
        assert "Waiting for process" in hasty.stderr
        assert "Wait for that command to end" in hasty.stderr
    free = threading.Event()

    def hold() -> None:
        with store.writing():
            free.set()
            time.sleep(2.5)

    holder = threading.Thread(target=hold)
    holder.start()
    free.wait()
    patient = recsys("ingest", "orders.csv")
    holder.join()
    assert patient.returncode == 0
    assert "1 new" in patient.stdout


def test_a_long_value_does_not_hide_which_row_and_why(recsys: Recsys, tmp_path: Path) -> None:
    bad = "u1," + "x" * 257 + ",1700000000\n,i1,1700000000\nu1,i1,yesterday\n"
    name = "orders_of_the_whole_last_year_with_a_long_name.csv"
    (tmp_path / name).write_text("user_id,item_id,ts\nu1,i1,1700000000\n" + bad)
    recsys("ingest", name)
    shown = recsys("ingest", "rejected", COLUMNS="80").stdout
    for row, why in ((3, "long_id"), (4, "no_user"), (5, "bad_time")):
        assert re.search(rf" {row} +{why} ", shown), shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_dry_run_looks_at_every_file(tmp_path: Path, recsys: Recsys) -> None:
    two_ways = "user_id,item_id,ts\nu1,a,01/02/2025\nu2,a,03/04/2025\n"
    for name, text in (("one.csv", "a\n1\n"), ("two.csv", "x,y\n1,2\n"), ("empty.csv", ""), ("dates.csv", two_ways)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    good = tmp_path / "good.csv"
    good.write_text("user_id,item_id,ts\nu1,a,1700000000\n", encoding="utf-8")
    done = recsys("ingest", "empty.csv", "one.csv", "dates.csv", "two.csv", str(good), "--dry-run")
    assert done.returncode == 3
    assert "good.csv: events" in done.stdout
    assert "recsys: empty.csv" in done.stderr.replace(str(tmp_path) + "/", "")
    assert "dates.csv" in done.stderr
    assert "one.csv has no column recognised" in done.stderr
    assert "two.csv has no column recognised" in done.stderr
