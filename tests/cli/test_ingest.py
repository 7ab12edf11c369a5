"""The command itself: what it prints, its exit codes, and its manners."""

from __future__ import annotations

import json
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
    assert "1 rows are in mend.csv" in recsys("ingest", "rejected", "--export", "mend.csv").stdout
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
        (["ingest", "orders.csv", "--type", "orders"], 2, "Use events, items, users"),
        (["ingest", "orders.csv", "--map", "user_id"], 2, "--map user_id='Customer ID'"),
        (["ingest", "orders.csv", "--map", "item_id=Nothing"], 3, "no column 'Nothing'"),
        (["ingest", "orders.csv", "--strict"], 3, "1 of 2 rows are wrong"),
        (["ingest", "orders.csv", "--preset", "ebay"], 2, "no preset 'ebay'"),
        (["ingest", "orders.csv", "--timezone", "Mars/Base"], 2, "'Mars/Base'. Write it like Europe/Berlin."),
        (["ingest", "orders.csv", "--timezone", "Europe/Berln"], 2, "Did you mean Europe/Berlin?"),
        (["ingest", "orders.csv", "--decimal", "dot"], 2, "dot"),
        (["ingest", "--watch", "nowhere"], 2, "no folder nowhere"),
        (["ingest", "rejected"], 4, "no database"),
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
    for name, says in (("junk.csv", "junk.csv is no text table"), ("junk.parquet", "junk.parquet is no Parquet file")):
        (tmp_path / name).write_bytes(junk)
        done = recsys("ingest", name)
        assert done.returncode == 3
        assert says in done.stderr
        assert done.stderr.count("\n") == 1


def test_standard_input_and_patterns(recsys: Recsys, file: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recsys_cli.cli.main", "ingest", "-", "--json"],
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
        [sys.executable, "-m", "recsys_cli.cli.main", "ingest", "-", "--dry-run", "--db", "state/shop.duckdb"],
        input=b"",
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith(b"recsys: standard input is empty.")
    assert list(tmp_path.iterdir()) == []


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
