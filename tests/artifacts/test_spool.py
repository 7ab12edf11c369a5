"""The spool: what was acknowledged is there, once, whoever is killed when."""

from __future__ import annotations

import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recsys_cli.artifacts import Position, Spool, SpoolWriter, spool
from recsys_cli.errors import StoreError

FOREVER = time.time() + 10**9


def read(log: Spool, position: Position) -> list[bytes]:
    """All lines after `position`, which is moved on."""
    lines: list[bytes] = []
    for chunk in log.read(position):
        assert chunk.start == position.get(chunk.segment, 0)
        assert chunk.end - chunk.start == len(chunk.data)
        position[chunk.segment] = chunk.end
        lines += chunk.lines()
    return lines


class TestAppend:
    def test_lines_come_back_in_order(self, tmp_path: Path) -> None:
        writer, log = SpoolWriter(tmp_path / "a" / "spool"), Spool(tmp_path / "a" / "spool")
        writer.append([b'{"n":1}', b'{"n":2}'])
        position: Position = {}
        assert read(log, position) == [b'{"n":1}', b'{"n":2}']
        assert read(log, position) == []
        assert log.backlog(position) == 0
        writer.append([b'{"n":3}'])
        assert log.backlog(position) == 8
        assert read(log, position) == [b'{"n":3}']
        assert len(log.segments()) == 1

    def test_private(self, tmp_path: Path) -> None:
        SpoolWriter(tmp_path / "spool").append([b"x"])
        Spool(tmp_path / "spool").new_epoch()
        assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
        assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "spool").iterdir()} == {0o600}

    def test_reading_makes_nothing(self, tmp_path: Path) -> None:
        log = Spool(tmp_path / "spool")
        assert (log.segments(), log.backlog({}), log.epoch(), read(log, {})) == ({}, 0, "", [])
        assert log.blank(lambda line: True) == 0
        assert log.remove_drained({}, FOREVER) == []
        assert not log.path.exists()

    def test_many_threads_one_order_each(self, tmp_path: Path) -> None:
        writer, start = SpoolWriter(tmp_path / "spool"), threading.Barrier(8)

        def run(thread: int) -> None:
            start.wait()
            for n in range(50):
                writer.append([b"%d %d a" % (thread, n), b"%d %d b" % (thread, n)])

        threads = [threading.Thread(target=run, args=(t,)) for t in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        lines = [line.split() for line in read(Spool(tmp_path / "spool"), {})]
        for t in range(8):
            own = [(int(n), part) for thread, n, part in lines if int(thread) == t]
            assert own == [(n, part) for n in range(50) for part in (b"a", b"b")]
        assert len(lines) == 800

    def test_a_full_segment_is_left_for_a_new_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spool, "ROTATE_BYTES", 100)
        writer, log = SpoolWriter(tmp_path / "spool"), Spool(tmp_path / "spool")
        lines = [b"%030d" % n for n in range(20)]
        for line in lines:
            writer.append([line])
        assert len(log.segments()) > 3
        assert sorted(read(log, {})) == lines

    def test_a_line_longer_than_a_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spool, "_READ_BYTES", 10)
        writer, log = SpoolWriter(tmp_path / "spool"), Spool(tmp_path / "spool")
        lines = [b"short", b"l" * 95, b"", b"m" * 10, b"e"]
        writer.append(lines)
        assert read(log, {}) == [line for line in lines if line]
        assert log.blank(lambda line: line.startswith(b"l")) == 1
        assert read(log, {}) == [b"short", b"m" * 10, b"e"]

    def test_half_a_line_is_not_there_yet(self, tmp_path: Path) -> None:
        writer, log = SpoolWriter(tmp_path / "spool"), Spool(tmp_path / "spool")
        writer.append([b"whole"])
        (name,) = log.segments()
        with (log.path / name).open("ab") as f:
            f.write(b"ha")
        position: Position = {}
        assert read(log, position) == [b"whole"]
        with (log.path / name).open("ab") as f:
            f.write(b"lf\n")
        assert read(log, position) == [b"half"]


class TestWhenWritingFails:
    @pytest.fixture
    def limit(self) -> object:
        """A disk that is full, as far as this process is concerned: files may grow to 100 bytes."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        def set_to(size: int) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

        yield set_to
        set_to(soft)
        signal.signal(signal.SIGXFSZ, handler)

    def test_it_is_said_and_nothing_is_glued_together(self, tmp_path: Path, limit: object) -> None:
        writer, log = SpoolWriter(tmp_path / "spool"), Spool(tmp_path / "spool")
        writer.append([b"a" * 59])
        limit(100)
        for _ in range(3):
            with pytest.raises(StoreError, match="cannot be used: File too large"):
                writer.append([b"b" * 119])
        limit(10**9)
        writer.append([b"c" * 59])
        assert read(log, {}) == [b"a" * 59, b"c" * 59]

    def test_nobody_who_waits_takes_it_for_done(self, tmp_path: Path, limit: object) -> None:
        """Threads that share a failed flush all hear of it, and each of them can try again."""
        writer, outcomes = SpoolWriter(tmp_path / "spool"), []
        limit(100)

        def run() -> None:
            try:
                writer.append([b"x" * 200])
                outcomes.append("kept")
            except StoreError:
                outcomes.append("refused")

        threads = [threading.Thread(target=run) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        limit(10**9)
        assert outcomes == ["refused"] * 8
        writer.append([b"later"])
        assert read(Spool(tmp_path / "spool"), {}) == [b"later"]

    def test_no_place_for_it(self, tmp_path: Path) -> None:
        (tmp_path / "spool").write_bytes(b"a file")
        with pytest.raises(StoreError, match="cannot be used"):
            SpoolWriter(tmp_path / "spool").append([b"x"])

    def test_a_directory_that_was_swapped_under_a_running_server(self, tmp_path: Path) -> None:
        """A backup put back in place must not leave the server writing to files that nobody reads."""
        path = tmp_path / "spool"
        writer = SpoolWriter(path)
        writer.append([b"before"])
        path.rename(tmp_path / "old")
        writer.append([b"after"])
        assert read(Spool(path), {}) == [b"after"]
        shutil.rmtree(path)
        writer.append([b"again"])
        assert read(Spool(path), {}) == [b"again"]


class TestBlank:
    def test_a_person_is_gone_from_the_bytes_and_positions_stay(self, tmp_path: Path) -> None:
        writer, log = SpoolWriter(tmp_path / "spool"), Spool(tmp_path / "spool")
        writer.append([b'{"u":"ann","n":1}', b'{"u":"bob"}'])
        position: Position = {}
        read(log, position)
        writer.append([b'{"u":"ann","n":2}', b'{"u":"eve"}'])
        sizes, epoch = log.segments(), log.epoch()
        assert log.blank(lambda line: b"ann" in line) == 2
        assert log.segments() == sizes
        assert log.epoch() != epoch
        assert b"ann" not in b"".join(p.read_bytes() for p in log.path.iterdir())
        assert read(log, position) == [b'{"u":"eve"}']
        assert read(log, {}) == [b'{"u":"bob"}', b'{"u":"eve"}']
        writer.append([b'{"u":"new"}'])
        assert read(log, position) == [b'{"u":"new"}']

    def test_servers_hear_of_it_even_if_the_first_run_was_killed(self, tmp_path: Path) -> None:
        """Killed after blanking and before the epoch, the run that is repeated finds nothing left to blank."""
        writer, log = SpoolWriter(tmp_path / "spool"), Spool(tmp_path / "spool")
        writer.append([b"ann"])
        assert log.blank(lambda line: line == b"ann") == 1
        epoch = log.epoch()
        assert log.blank(lambda line: line == b"ann") == 0
        assert log.epoch() != epoch

    def test_half_a_line_of_a_killed_server_goes_as_well(self, tmp_path: Path) -> None:
        writer, log = SpoolWriter(tmp_path / "spool"), Spool(tmp_path / "spool")
        writer.append([b"bob"])
        (name,) = log.segments()
        with (log.path / name).open("ab") as f:
            f.write(b"ann, torn off" * 10_000)
        log.blank(lambda line: line == b"ann")
        assert b"ann" in (log.path / name).read_bytes(), "its writer lives and may be in the middle of the line"
        writer.close()
        log.blank(lambda line: line == b"ann")
        assert (log.path / name).read_bytes() == b"bob\n"


class TestRemoveDrained:
    def test_only_what_was_read_has_no_writer_and_is_old(self, tmp_path: Path) -> None:
        writer, log = SpoolWriter(tmp_path / "spool"), Spool(tmp_path / "spool")
        writer.append([b"x"])
        position: Position = {}
        assert log.remove_drained(position, FOREVER) == []
        read(log, position)
        assert log.remove_drained(position, FOREVER) == [], "its writer lives"
        writer.close()
        assert log.remove_drained(position, time.time() - 60) == [], "too young"
        assert log.remove_drained(position, FOREVER) == list(position)
        assert log.segments() == {}

    def test_half_a_line_does_not_keep_a_segment_for_ever(self, tmp_path: Path) -> None:
        writer, log = SpoolWriter(tmp_path / "spool"), Spool(tmp_path / "spool")
        writer.append([b"x"])
        writer.close()
        (name,) = log.segments()
        with (log.path / name).open("ab") as f:
            f.write(b"torn")
        position: Position = {}
        read(log, position)
        assert log.remove_drained(position, FOREVER) == [name]

    def test_a_writer_whose_empty_segment_was_removed_begins_another(self, tmp_path: Path) -> None:
        writer, log = SpoolWriter(tmp_path / "spool"), Spool(tmp_path / "spool")
        stop = threading.Event()

        def sweep() -> None:
            while not stop.is_set():
                log.remove_drained({}, FOREVER)

        sweeper = threading.Thread(target=sweep)
        sweeper.start()
        for n in range(100):
            writer.append([b"%d" % n])
            writer.close()
        stop.set()
        sweeper.join()
        assert sorted(int(line) for line in read(log, {})) == list(range(100))


KILLED = """
import os, sys, threading
from pathlib import Path
from recsys_cli.artifacts import SpoolWriter, spool
spool.ROTATE_BYTES = 2000
writer = SpoolWriter(Path(sys.argv[1]))
def run(thread):
    n = 0
    while True:
        n += 1
        lines = [f"{sys.argv[2]} {thread} {n} {part} {'x' * (n % 50)}".encode() for part in "ab"]
        writer.append(lines)
        os.write(1, b"".join(line + b"\\n" for line in lines))
for t in range(4):
    threading.Thread(target=run, args=(t,)).start()
"""


def test_kill_9_while_appending(tmp_path: Path) -> None:
    """Every acknowledged line is there, none twice, none in part, whenever the server was killed."""
    log, acknowledged, position, seen = Spool(tmp_path / "spool"), [], {}, []
    for attempt in range(6):
        command = [sys.executable, "-c", KILLED, str(log.path), str(attempt)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert server.stdout is not None
        # By lines and not by seconds, in which a slow disk may take none.
        first = b"".join(server.stdout.readline() for _ in range(5 + 30 * attempt))
        seen += read(log, position)  # the worker drains meanwhile
        server.send_signal(signal.SIGKILL)
        rest = server.stdout.read()
        server.wait()
        server.stdout.close()
        acknowledged += (first + rest).split(b"\n")[:-1]
    seen += read(log, position)
    assert len(acknowledged) > 100
    assert len(seen) == len(set(seen))
    assert set(acknowledged) <= set(seen)
    assert all(re.fullmatch(rb"\d \d \d+ [ab] x*", line) for line in seen)
    assert sorted(seen) == sorted(read(log, {}))
    segments = set(log.segments())
    assert set(position) <= segments
    # A server killed before its first line was whole leaves a segment that no reader ever had a position in.
    assert set(log.remove_drained(position, FOREVER)) == segments
    assert list(log.path.iterdir()) == []


class Life(RuleBasedStateMachine):
    """Writers, readers, blanking and removal in any order, beside lists that say what must be there."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.log = Spool(Path(self.folder.name) / "spool")
        self.writers = [SpoolWriter(self.log.path) for _ in range(3)]
        self.appended: dict[str, list[bytes]] = {}  # segment -> its lines, None where blanked
        self.open: list[str | None] = [None] * 3
        self.torn: set[str] = set()
        self.position: Position = {}
        self.got: list[bytes] = []
        self.due: list[bytes] = []
        self.count = 0

    def teardown(self) -> None:
        for writer in self.writers:
            writer.close()
        self.folder.cleanup()

    @rule(w=st.integers(0, 2), people=st.lists(st.sampled_from(["ann", "bob", "eve"]), max_size=4))
    def append(self, w: int, people: list[str]) -> None:
        lines = []
        for person in people:
            self.count += 1
            lines.append(f"{person} {self.count}".encode())
        before = self.log.segments()
        self.writers[w].append(lines)
        new = [s for s in self.log.segments() if s not in before]
        assert len(new) == (self.open[w] is None)
        if new:
            self.open[w] = new[0]
        self.appended.setdefault(str(self.open[w]), []).extend(lines)
        self.due += lines

    @rule(w=st.integers(0, 2))
    def close(self, w: int) -> None:
        self.writers[w].close()
        self.open[w] = None

    @rule(data=st.data())
    @precondition(lambda self: set(self.appended) - set(self.open) - self.torn)
    def tear(self, data: st.DataObject) -> None:
        segment = data.draw(st.sampled_from(sorted(set(self.appended) - set(self.open) - self.torn)))
        with (self.log.path / segment).open("ab") as f:
            f.write(b"ann half a li")
        self.torn.add(segment)

    @rule()
    def drain(self) -> None:
        self.got += read(self.log, self.position)
        assert sorted(self.got) == sorted(self.due)
        self.got, self.due = [], []

    @rule(person=st.sampled_from([b"ann", b"bob"]))
    def blank(self, person: bytes) -> None:
        doomed = [line for lines in self.appended.values() for line in lines if line.startswith(person)]
        assert self.log.blank(lambda line: line.startswith(person)) == len(doomed)
        self.due = [line for line in self.due if not line.startswith(person)]
        for segment, lines in self.appended.items():
            self.appended[segment] = [line for line in lines if not line.startswith(person)]
        self.torn -= set(self.appended) - set(self.open)

    @rule()
    def remove(self) -> None:
        sizes = self.log.segments()
        gone = self.log.remove_drained(self.position, FOREVER)
        for segment in gone:
            assert segment not in self.open
            assert not any(line in self.due for line in self.appended[segment])
            del self.appended[segment]
        for segment in set(sizes) - set(gone) - set(self.open):
            assert self.position.get(segment, 0) < sizes[segment]
        self.torn -= set(sizes) - set(self.open)

    @invariant()
    def a_new_reader_finds_all_in_order(self) -> None:
        found: dict[str, list[bytes]] = {}
        for chunk in self.log.read({}):
            found.setdefault(chunk.segment, []).extend(chunk.lines())
        assert {s: lines for s, lines in found.items() if lines} == {s: x for s, x in self.appended.items() if x}


Life.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
TestLife = Life.TestCase
