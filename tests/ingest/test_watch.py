"""A watched folder: whole files, each once, the bad ones set aside, whatever is killed when."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from recsys_cli.errors import StoreBusy, UsageError
from recsys_cli.ingest import FileReport, Request
from recsys_cli.ingest.watch import Folder, SetAside, take_ready
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store

from .conftest import FIXTURES, Rows

ROOT = Path(__file__).resolve().parents[2]
EVENTS = "user_id,item_id,ts\nu1,a,1700000000\nu2,b,1700000001\n"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "in").mkdir()
    return Folder(tmp_path / "in")


def put(folder: Folder, name: str, text: str, *, age: float = 60.0) -> Path:
    path = folder.path / name
    path.write_text(text)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_each_file_is_taken_once_and_again_when_it_grew(folder: Folder, settings: Settings) -> None:
    put(folder, "a.csv", EVENTS)
    assert [r.new for r in take_ready(settings, folder) if isinstance(r, FileReport)] == [2]
    assert list(take_ready(settings, folder)) == []
    assert list(take_ready(settings, Folder(folder.path))) == []  # after a restart the ledger knows it
    put(folder, "a.csv", EVENTS + "u3,c,1700000002\n")
    assert [r.new for r in take_ready(settings, folder) if isinstance(r, FileReport)] == [1]


def test_files_that_are_still_being_written_are_left_alone(folder: Folder, settings: Settings) -> None:
    put(folder, "young.csv", EVENTS, age=-3600)  # younger than it can get while this runs
    for name in (".hidden.csv", "x.csv.part", "y.tmp", "~$orders.xlsx"):
        put(folder, name, EVENTS)
    held = put(folder, "held.csv", EVENTS)
    (folder.path / "deeper").mkdir()
    with held.open("a"):
        os.utime(held, (1, 1))
        assert list(take_ready(settings, folder)) == []
    assert [r.file for r in take_ready(settings, folder) if isinstance(r, FileReport)] == ["held.csv"]


def test_a_bad_file_is_set_aside_with_its_report_and_the_rest_is_taken(folder: Folder, settings: Settings) -> None:
    put(folder, "a-bad.csv", "colour\nred\n")
    put(folder, "b-good.csv", EVENTS)
    outcomes = list(take_ready(settings, folder))
    aside = [o for o in outcomes if isinstance(o, SetAside)]
    assert [o.new for o in outcomes if isinstance(o, FileReport)] == [2]
    assert [o.moved_to for o in aside] == [folder.path / "set-aside" / "a-bad.csv"]
    report = json.loads((folder.path / "set-aside" / "a-bad.csv.report.json").read_text())
    assert "no column recognised as a customer or a product" in report["error"]["message"]
    put(folder, "a-bad.csv", "colour\nblue\n")
    assert [o.moved_to.name for o in take_ready(settings, folder) if isinstance(o, SetAside)] == ["a-bad-2.csv"]


def test_strictness_sets_aside_with_the_whole_report(folder: Folder, settings: Settings, rows: Rows) -> None:
    put(folder, "w.csv", EVENTS + "u,a,never\n")
    assert [type(o) for o in take_ready(settings, folder, Request(strict=True))] == [SetAside]
    report = json.loads((folder.path / "set-aside" / "w.csv.report.json").read_text())
    assert report["report"]["reasons"][0]["examples"] == [{"row": 4, "value": "never"}]
    assert rows("SELECT count(*) FROM events") == [(0,)]


def test_a_busy_database_sets_nothing_aside(folder: Folder, settings: Settings) -> None:
    put(folder, "a.csv", EVENTS)
    hurried = load({"db": settings.db, "store.lock_timeout": 0.1}, environ={})
    with Store(settings.db, settings.store).lock(), pytest.raises(StoreBusy):
        list(take_ready(hurried, folder))
    assert [o.new for o in take_ready(settings, folder) if isinstance(o, FileReport)] == [2]


def test_a_missing_folder_is_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        list(take_ready(settings, Folder(tmp_path / "nowhere")))


def start(tmp_path: Path, *args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "recsys_cli", "ingest", *args, "--db", str(tmp_path / "k.duckdb")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RECSYS_INGEST_QUIET_SECONDS": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def count(db: Path) -> tuple[int, int]:
    with duckdb.connect(str(db), read_only=True) as con:
        if not con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'events'").fetchall():
            return 0, 0  # killed while the tables were being made
        return con.execute("SELECT count(*), count(DISTINCT (user_id, item_id, ts)) FROM events").fetchall()[0]


KILLS = int(os.environ.get("RECSYS_TEST_KILLS", "2"))


@pytest.mark.parametrize("watched", [False, True])
def test_killed_at_any_moment_every_row_is_there_once(tmp_path: Path, watched: bool) -> None:
    """RECSYS_TEST_KILLS=50 for the long run."""
    chance = random.Random(11)
    (tmp_path / "in").mkdir()
    names = [f"in/{n}.csv" for n in range(3)]
    for n, name in enumerate(names):
        lines = [f"u{i % 997},i{i % 89},{1700000000 + n * 6_000 + i}\n" for i in range(6_000)]
        (tmp_path / name).write_text("user_id,item_id,ts\n" + "".join(lines) + "u,broken\n")
    args = ["--watch", "in", "--interval", "0.1"] if watched else names
    db, whole = tmp_path / "k.duckdb", 18_000
    began = time.monotonic()
    if not watched:
        assert start(tmp_path, *args).wait(300) == 0
        db.unlink()
    longest = max(time.monotonic() - began, 1.5) if not watched else 2.5
    for _ in range(KILLS):
        process = start(tmp_path, *args)
        time.sleep(0.3 + chance.random() * longest)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if db.exists() and db.stat().st_size:  # killed before the first byte, it is no database yet
            there, different = count(db)
            assert there == different
            assert there % 6_000 == 0
        if chance.random() < 0.3:
            db.unlink(missing_ok=True)
            db.with_name(db.name + ".wal").unlink(missing_ok=True)
    assert start(tmp_path, *names).wait(300) == 0
    assert count(db) == (whole, whole)
    assert not list(tmp_path.glob(".stdin-*"))


def test_the_fixtures_stand_for_a_day_at_the_shop(folder: Folder, settings: Settings) -> None:
    for file in FIXTURES.glob("*.csv"):
        path = folder.path / file.name
        path.write_bytes(file.read_bytes())
        os.utime(path, (1, 1))
    outcomes = list(take_ready(settings, folder))
    assert [o.file for o in outcomes if isinstance(o, SetAside)] == ["prestashop_order_list.csv"]
    assert sum(o.new for o in outcomes if isinstance(o, FileReport)) > 30
