"""Opening the database: taking turns, other people's files, damage, and no way out of the machine."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_cli.errors import StoreBusy, StoreError, StoreMissing
from recsys_cli.settings import StoreSettings
from recsys_cli.store import Store, migrations
from recsys_cli.store.merge import merge_events


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def beside(store: Store) -> set[str]:
    """What stands in the store's directory."""
    return {p.name for p in store.path.parent.iterdir()}


def events(store: Store) -> int:
    with store.reading() as con:
        return con.sql("SELECT count(*) FROM events").fetchall()[0][0]


def add(store: Store, n: int) -> None:
    with store.writing() as con:
        con.execute("INSERT INTO events (user_id, item_id, ts, qty) SELECT 'u', 'i', range, 1 FROM range(?)", [n])


@contextmanager
def process(code: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """Another process that prints `in` when it holds what it holds, until its standard input is closed."""
    command = [sys.executable, "-c", code, *map(str, args)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "in\n"
        yield other
    finally:
        other.stdin.close()
        other.wait(60)
        other.stdout.close()


OURS = """
import sys
from pathlib import Path
from recsys_cli.settings import StoreSettings
from recsys_cli.store import Store
with getattr(Store(Path(sys.argv[1]), StoreSettings()), sys.argv[2])() as con:
    print("in", flush=True)
    sys.stdin.read()
"""
# Says that it begins, makes the database, and ends.
MAKES = "import sys; sys.stdin.close(); print('in', flush=True)\n" + OURS.replace("sys.stdin.read()", "")
THEIRS = """
import sys, duckdb
con = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reading")
print("in", flush=True)
sys.stdin.read()
con.close()
"""


class TestTakingTurns:
    def test_a_second_writer_waits_and_gives_up(self, store: Store) -> None:
        add(store, 1)
        told: list[str] = []
        patient = Store(store.path, store.settings, waiting=told.append)
        with process(OURS, store.path, "writing") as other:
            for way in (patient.writing, patient.reading):
                with pytest.raises(StoreBusy, match=f"is in use by process {other.pid}, still after 0.5 s") as e, way():
                    pass
                assert e.value.exit_code == 5
        assert len(told) == 2
        assert f"Waiting for process {other.pid}, which is using {store.path}" in told[0]

    def test_it_goes_on_when_the_other_has_ended(self, store: Store) -> None:
        add(store, 1)
        with process(OURS, store.path, "writing") as other:
            assert other.stdin is not None
            patient = Store(store.path, StoreSettings(lock_timeout=60), waiting=lambda text: other.stdin.close())
            add(patient, 2)
        assert events(store) == 3

    def test_readers_do_not_wait_for_readers(self, store: Store) -> None:
        add(store, 1)
        with process(OURS, store.path, "reading"):
            assert events(store) == 1
            with pytest.raises(StoreBusy, match="in use by another process"), store.writing():
                pass

    @pytest.mark.parametrize("mode", ["writing", "reading"])
    def test_programs_that_do_not_know_our_lock_are_waited_for_as_well(self, store: Store, mode: str) -> None:
        add(store, 1)
        told: list[str] = []
        patient = Store(store.path, store.settings, waiting=told.append)
        says = r"is held open by another program\. Close it"
        with process(THEIRS, store.path, mode), pytest.raises(StoreBusy, match=says), patient.writing():
            pass
        assert told == [f"Waiting for another program to close {store.path} …"]
        add(store, 1)
        assert events(store) == 2

    def test_nothing_is_kept_of_a_killed_writer_but_what_it_committed(self, store: Store) -> None:
        add(store, 3)
        code = OURS.replace(
            "    print(",
            "    con.execute(\"INSERT INTO events (user_id) SELECT 'done' FROM range(1000)\")\n"
            "    con.execute('BEGIN')\n"
            "    con.execute(\"INSERT INTO events (user_id) SELECT 'undone' FROM range(1000)\")\n"
            "    print(",
        )
        with process(code, store.path, "writing") as other:
            other.send_signal(signal.SIGKILL)
            other.wait()
        before = sha(store.path)
        assert events(store) == 1003, "readers see what is only in the log yet"
        assert sha(store.path) == before
        add(store, 1)
        assert events(store) == 1004
        assert beside(store) == {"shop.duckdb", "shop.duckdb.key", "shop.duckdb.lock"}

    def test_it_is_whole_from_its_first_moment(self, store: Store) -> None:
        """DuckDB writes a new file in pieces; a kill between them must not leave one that nothing can open."""
        sizes = set()
        for _ in range(5):
            other = subprocess.Popen([sys.executable, "-c", MAKES, str(store.path), "writing"], stdout=subprocess.PIPE)
            assert other.stdout is not None
            other.stdout.readline()
            while other.poll() is None:
                with suppress(FileNotFoundError):
                    sizes.add(store.path.stat().st_size)
            other.stdout.close()
            for name in beside(store):
                (store.path.parent / name).unlink()
        assert sizes
        assert min(sizes) >= 3 * 4096, "its three headers"

    def test_killed_while_making_it(self, store: Store) -> None:
        """At every moment of a first start the next one finds nothing, or a database; never a broken one."""
        for attempt in range(4):
            other = subprocess.Popen([sys.executable, "-c", MAKES, str(store.path), "writing"], stdout=subprocess.PIPE)
            assert other.stdout is not None
            other.stdout.readline()
            deadline = time.monotonic() + 60
            while not store.path.exists() and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.004 * attempt)
            other.kill()
            other.wait()
            other.stdout.close()
            with suppress(StoreMissing):
                assert events(store) == 0
            add(store, 1)
            assert events(store) == 1
            for name in beside(store):
                (store.path.parent / name).unlink()


class TestWhatIsThere:
    def test_nothing(self, store: Store) -> None:
        with pytest.raises(StoreMissing, match=r"There is no database .*shop.duckdb yet. Run recsys ingest"):
            events(store)
        assert not store.path.parent.exists(), "reading makes nothing"

    def test_an_empty_file_is_nothing(self, store: Store) -> None:
        store.path.parent.mkdir()
        store.path.touch()
        with pytest.raises(StoreMissing):
            events(store)
        add(store, 1)
        assert events(store) == 1

    def test_an_empty_database_is_nothing(self, store: Store) -> None:
        store.path.parent.mkdir()
        duckdb.connect(str(store.path)).close()
        with pytest.raises(StoreMissing):
            events(store)
        add(store, 1)
        assert events(store) == 1

    @pytest.mark.parametrize("path", [".", "..", "/", "", "n" * 300, "file/x.duckdb"])
    def test_what_can_be_no_database(self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").touch()
        odd = Store(Path(path), StoreSettings(lock_timeout=0))
        with pytest.raises(StoreError), odd.writing():
            pass
        with pytest.raises(StoreError), odd.reading():
            pass
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    def test_private_whatever_the_umask(self, store: Store) -> None:
        os.umask(0)
        with store.writing():
            inside = {p.name: stat.S_IMODE(p.stat().st_mode) for p in store.path.parent.iterdir() if p.is_dir()}
            assert inside == {"shop.duckdb.tmp": 0o700}
        assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(p.stat().st_mode) for p in store.path.parent.iterdir()} == {0o600}

    def test_a_directory_of_other_things_keeps_its_mode(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        with Store(tmp_path / "x.duckdb", StoreSettings()).writing():
            pass
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755

    @pytest.mark.parametrize(
        "content",
        [
            "CREATE TABLE t AS SELECT 1 AS a",
            "CREATE VIEW v AS SELECT 1 AS a",
            "CREATE SEQUENCE s",
            "CREATE SCHEMA other",
            "CREATE MACRO m(a) AS a + 1",
            "CREATE TABLE migrations (name VARCHAR)",
            "CREATE TABLE migrations (id INTEGER)",
            "CREATE TABLE migrations (name VARCHAR); INSERT INTO migrations VALUES ('0001_initial')",
        ],
    )
    def test_somebody_elses_database_is_refused_untouched(self, store: Store, content: str) -> None:
        store.path.parent.mkdir()
        with duckdb.connect(str(store.path)) as con:
            con.execute(content)
        store.path.chmod(0o640)
        before = sha(store.path)
        for way in (store.reading, store.writing):
            with pytest.raises(StoreError, match="is a DuckDB file, but not one of recsys"), way():
                pass
        assert sha(store.path) == before
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o640

    def test_also_where_ours_was_a_moment_ago(self, store: Store) -> None:
        """What we left as it is now is not looked at again before it is opened for writing; anything else is."""
        add(store, 1)
        stranger = store.path.with_name("stranger.duckdb")
        with duckdb.connect(str(stranger)) as con:
            con.execute("CREATE TABLE t AS SELECT 1 AS a")
        stranger.replace(store.path)
        before = sha(store.path)
        with pytest.raises(StoreError, match="not one of recsys"), store.writing():
            pass
        assert sha(store.path) == before

    def test_nor_is_its_log(self, store: Store) -> None:
        """Opened for writing, DuckDB would fold the log of its crashed owner into the file, and remove it."""
        store.path.parent.mkdir()
        code = (
            "import duckdb, os, sys; con = duckdb.connect(sys.argv[1])\n"
            "con.execute('CREATE TABLE t (a INTEGER)'); con.execute('CHECKPOINT')\n"
            "con.execute('INSERT INTO t SELECT * FROM range(100)'); os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", code, str(store.path)], check=True)
        log = store.path.with_name("shop.duckdb.wal")
        before = sha(store.path), sha(log)
        with pytest.raises(StoreError, match="not one of recsys"), store.writing():
            pass
        assert (sha(store.path), sha(log)) == before

    def test_a_newer_format_is_refused_also_where_the_file_does_not_have_it_yet(self, store: Store) -> None:
        """A newer program that was killed after it committed left the file as it was, and a log beside it."""
        add(store, 1)
        newer = (
            "import duckdb, os, sys\ncon = duckdb.connect(sys.argv[1])\n"
            "con.execute(\"INSERT INTO migrations VALUES ('step_of_the_future', 0)\")\nos._exit(0)"
        )
        subprocess.run([sys.executable, "-c", newer, str(store.path)], check=True)
        log = store.path.with_name(store.path.name + ".wal")
        before = sha(store.path), sha(log)
        with pytest.raises(StoreError, match="step_of_the_future"), store.writing():
            pass
        assert (sha(store.path), sha(log)) == before

    def test_a_newer_format_is_refused_untouched(self, store: Store) -> None:
        add(store, 1)
        with duckdb.connect(str(store.path)) as con:
            con.execute("INSERT INTO migrations VALUES ('step_of_the_future', 0)")
        before = sha(store.path)
        for way in (store.reading, store.writing):
            with pytest.raises(StoreError, match=r"written by a newer recsys \(it knows 'step_of_the_future'\)"), way():
                pass
        assert sha(store.path) == before

    def test_an_older_format_takes_the_steps_it_lacks_also_for_readers(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(store, 5)

        def one_more_table(con: duckdb.DuckDBPyConnection) -> None:
            con.execute("CREATE TABLE added (a INTEGER)")

        monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, one_more_table))
        with store.reading() as con:
            assert con.sql("SELECT count(*) FROM added").fetchall() == [(0,)]
            with pytest.raises(duckdb.InvalidInputException, match="read-only"):
                con.execute("INSERT INTO added VALUES (1)")
        assert events(store) == 5

    def test_a_database_from_before_durations(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        columns = {name: kind for name, kind in migrations.EVENT_COLUMNS.items() if name != "duration_ms"}
        with monkeypatch.context() as then:
            then.setattr(migrations, "EVENT_COLUMNS", columns)
            then.setattr(migrations, "STEPS", migrations.STEPS[: migrations.STEPS.index(migrations.durations_of_views)])
            add(store, 2)
        more = {"user_id": ["u"], "item_id": ["i"], "ts": [9], "event_type": ["view"], "duration_ms": [1500]}
        with store.writing() as con:
            assert merge_events(con, pa.table(more)).new == 1
        with store.reading() as con:
            found = con.execute("SELECT ts, duration_ms FROM events ORDER BY ts").fetchall()
            assert con.execute("SELECT duration_ms FROM replaced_events").fetchall() == []
        assert found == [(0, None), (1, None), (9, 1500)]

    def test_a_step_that_fails_is_not_taken_in_part(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        add(store, 5)

        def fails(con: duckdb.DuckDBPyConnection) -> None:
            con.execute("DELETE FROM events")
            con.execute("SELECT no_such_column FROM events")

        steps = migrations.STEPS
        monkeypatch.setattr(migrations, "STEPS", (*steps, fails))
        with pytest.raises(duckdb.BinderException), store.writing():
            pass
        monkeypatch.setattr(migrations, "STEPS", steps)
        assert events(store) == 5


class TestDamage:
    @pytest.mark.parametrize("content", [b"hello\n", b"PK\x03\x04" + b"\0" * 9000, b"SQLite format 3\0" * 1000])
    def test_no_database_at_all(self, tmp_path: Path, content: bytes) -> None:
        """In a directory with "lock" in its name, which must not be taken for a lock to wait for."""
        waited: list[str] = []
        path = tmp_path / "clock-shop" / "x.duckdb"
        store = Store(path, StoreSettings(lock_timeout=60), waiting=waited.append)
        store.path.parent.mkdir()
        store.path.write_bytes(content)
        for way in (store.reading, store.writing):
            with pytest.raises(StoreError, match=r"is not a DuckDB database, or is damaged\. Restore"), way():
                pass
        assert waited == []
        assert store.path.read_bytes() == content

    def test_bits_and_ends_that_are_lost(self, store: Store) -> None:
        """Whatever part is damaged: a sentence, or the right answer; in a process of its own, lest DuckDB dies."""
        add(store, 200_000)
        whole = store.path.read_bytes()
        chance = random.Random(1)
        damaged = [whole[:cut] for cut in (1, 4096, 12_288, len(whole) // 2, len(whole) - 1)]
        for place in [*(chance.randrange(16_384) for _ in range(6)), *(chance.randrange(len(whole)) for _ in range(6))]:
            copy = bytearray(whole)
            copy[place] ^= 1 << chance.randrange(8)
            damaged.append(bytes(copy))
        code = (
            "import sys; from pathlib import Path; from recsys_cli.errors import StoreError\n"
            "from recsys_cli.settings import StoreSettings; from recsys_cli.store import Store\n"
            "for path in sys.argv[1:]:\n"
            "    try:\n"
            "        with Store(Path(path), StoreSettings(lock_timeout=1)).reading() as con:\n"
            "            print(con.sql('SELECT count(*), sum(ts), min(user_id) FROM events').fetchall(), flush=True)\n"
            "    except StoreError as e:\n"
            "        print(e, flush=True)\n"
        )
        paths = []
        for n, content in enumerate(damaged):
            paths.append(store.path.with_name(f"{n}.duckdb"))
            paths[-1].write_bytes(content)
        run = subprocess.run(
            [sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=False
        )
        assert run.stderr == ""
        lines = run.stdout.splitlines()
        assert len(lines) == len(damaged)
        fine = f"[(200000, {sum(range(200_000))}, 'u')]"
        assert [line for line in lines if line != fine and "is not a DuckDB database, or is damaged" not in line] == []

    def test_an_export_that_is_damaged_is_not_blamed_on_the_database(self, store: Store, tmp_path: Path) -> None:
        export = tmp_path / "export.parquet"
        pq.write_table(pa.table({"a": list(range(10_000))}), export)
        export.write_bytes(export.read_bytes()[:-10])
        with pytest.raises(duckdb.Error, match=r"export.parquet"), store.writing([export]) as con:
            con.execute("SELECT * FROM read_parquet(?)", [str(export)]).fetchall()

    def test_too_little_memory(self, store: Store) -> None:
        small = Store(store.path, StoreSettings(memory_limit="10MB", threads=1))
        with pytest.raises(StoreError, match=r"needs more memory than 10MB"), small.writing() as con:
            con.execute("SELECT list(range) FROM range(10000000)").fetchall()


class TestReadOnly:
    def test_reading_never_changes_a_byte(self, store: Store) -> None:
        add(store, 1000)
        before = sha(store.path), store.path.stat().st_mtime_ns, beside(store)
        with store.reading() as con:
            con.execute("CREATE TEMP TABLE t AS SELECT * FROM events")
            for statement in ("DELETE FROM events", "CREATE TABLE x (a INTEGER)", "DROP TABLE events"):
                with pytest.raises(duckdb.Error):
                    con.execute(statement)
            con.execute("CHECKPOINT")
        assert (sha(store.path), store.path.stat().st_mtime_ns, beside(store)) == before

    def test_what_spills_is_private_apart_and_gone_afterwards(self, store: Store) -> None:
        add(store, 1)
        tight = Store(store.path, StoreSettings(memory_limit="60MB", threads=1))
        with store.lock(shared=True), tight.reading() as con:
            con.execute("CREATE TEMP TABLE t AS SELECT sha256(range::VARCHAR) AS a FROM range(1000000)")
            (own,) = store.spill_path.iterdir()
            assert own.name.startswith(f"{os.getpid()}-")
            assert list(own.iterdir())
            assert {stat.S_IMODE(p.stat().st_mode) for p in (store.spill_path, own)} == {0o700}
        assert beside(store) == {"shop.duckdb", "shop.duckdb.key", "shop.duckdb.lock"}

    def test_many_who_come_and_go_are_in_nobodys_way(self, store: Store) -> None:
        """The last one out removes the directory that the next one is just going to use."""
        add(store, 1)
        wrong: list[Exception] = []
        before = sys.getswitchinterval()

        def come_and_go() -> None:
            try:
                for _ in range(300):
                    own = store._new_spill()
                    assert own.is_dir()
                    own.rmdir()
                    with suppress(OSError):
                        store.spill_path.rmdir()
            except Exception as e:  # noqa: BLE001
                wrong.append(e)

        threads = [threading.Thread(target=come_and_go) for _ in range(6)]
        sys.setswitchinterval(1e-5)
        try:
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        finally:
            sys.setswitchinterval(before)
        assert wrong == []

    def test_what_a_killed_command_spilled_is_swept_by_the_next_writer(self, store: Store) -> None:
        left = store.spill_path / "1-ab" / "duckdb_temp_storage-0.tmp"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"somebody's orders")
        add(store, 1)
        assert beside(store) == {"shop.duckdb", "shop.duckdb.key", "shop.duckdb.lock"}


SECRET = "contents of a file that is none of its business"


WAYS_OUT = [
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('{other}')",
    "SELECT * FROM read_csv('{other}')",
    "SELECT * FROM read_parquet('{other}')",
    "SELECT * FROM '{other}'",
    "SELECT * FROM glob('/etc/*')",
    "ATTACH '{dir}/new.duckdb'",
    "ATTACH '{dir}/other.duckdb' (READ_ONLY)",
    "COPY (SELECT 1) TO '{dir}/out.csv'",
    "COPY (SELECT 1) TO '{db}.csv'",
    "COPY t FROM '{other}'",
    "EXPORT DATABASE '{dir}/export'",
    "IMPORT DATABASE '{dir}'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{dir}/x.duckdb_extension'",
    "SELECT * FROM read_csv('https://example.com/x.csv')",
    "CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET allowed_paths = ['/etc/passwd']",
    "SET allowed_directories = ['/']",
    "SET temp_directory = '{dir}'",
    "SET autoinstall_known_extensions = true",
    "SELECT getenv('HOME')",
]


class TestNoWayOut:
    @pytest.mark.parametrize("mode", ["reading", "writing"])
    def test_is_refused(self, store: Store, tmp_path: Path, mode: str) -> None:
        add(store, 1)
        other = tmp_path / "other.csv"
        other.write_text(SECRET)
        duckdb.connect(str(tmp_path / "other.duckdb")).close()
        before = set(tmp_path.iterdir())
        answers: dict[str, object] = {}
        errors: list[str] = []
        with getattr(store, mode)() as con:
            con.execute("CREATE TEMP TABLE t (a VARCHAR)")
            for statement in WAYS_OUT:
                try:
                    text = statement.format(other=other, dir=tmp_path, db=store.path)
                    answers[statement] = con.execute(text).fetchall()
                except duckdb.Error as e:
                    errors.append(str(e))
        assert SECRET not in " ".join(errors)
        assert answers == {}
        assert set(tmp_path.iterdir()) == before

    def test_a_path_is_never_an_address(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """DuckDB takes `md:shop` for a service on the internet; for us it is a file of that name."""
        monkeypatch.chdir(tmp_path)
        add(Store(Path("md:shop"), StoreSettings()), 1)
        assert (tmp_path / "md:shop").is_file()

    def test_named_files_and_only_these_can_be_read(self, store: Store, tmp_path: Path) -> None:
        names = ["plain.csv", 'it\'s "odd", [really] ünï.csv', "other.csv"]
        paths = [tmp_path / name for name in names]
        for path in paths:
            path.write_text("a\n1\n")
        with store.writing(paths[:2]) as con:
            for path in paths[:2]:
                assert con.execute("SELECT a FROM read_csv(?)", [str(path)]).fetchall() == [(1,)]
            with pytest.raises(duckdb.PermissionException):
                con.execute("SELECT a FROM read_csv(?)", [str(paths[2])])

    def test_named_by_relative_path(self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "x.csv").write_text("a\n1\n")
        monkeypatch.chdir(tmp_path)
        with store.writing([Path("x.csv")]) as con:
            assert con.execute("SELECT a FROM read_csv(?)", ["x.csv"]).fetchall() == [(1,)]

    def test_nothing_is_kept_in_the_home_directory(self, store: Store, tmp_path: Path) -> None:
        home = tmp_path / "home"
        home.mkdir()
        code = OURS.replace("sys.stdin.read()", "con.sql('SELECT count(*) FROM events').fetchall()")
        for mode in ("writing", "reading"):
            command = [sys.executable, "-c", code, str(store.path), mode]
            subprocess.run(command, env={**os.environ, "HOME": str(home)}, check=True, capture_output=True)
        assert list(home.iterdir()) == []

    def test_times_are_utc_wherever_the_box_stands(self, store: Store) -> None:
        code = OURS.replace(
            'print("in", flush=True)', 'print(con.sql("SELECT to_timestamp(0)::VARCHAR").fetchall()[0][0])'
        ).replace("sys.stdin.read()", "")
        command = [sys.executable, "-c", code, str(store.path), "writing"]
        env = {**os.environ, "TZ": "America/New_York"}
        run = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        assert run.stdout == "1970-01-01 00:00:00+00\n"


def test_writers_in_many_threads_take_turns(store: Store) -> None:
    patient = Store(store.path, StoreSettings(lock_timeout=300, threads=1))
    threads = [threading.Thread(target=add, args=(patient, 10)) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert events(store) == 60
