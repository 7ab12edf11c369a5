"""Private and durable files, and the lock between processes."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recsys_cli.durable_files import locked, private_dir, sha256_of, write_atomic
from recsys_cli.errors import RecsysError, StoreBusy, StoreError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def busy(who: str) -> RecsysError:
    return StoreBusy(f"in use by {who}")


HOLD = """
import sys, time
from pathlib import Path
from recsys_cli.durable_files import locked
with locked(Path(sys.argv[1]), shared=sys.argv[2] == "shared", timeout=60, busy=RuntimeError):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path, kind: str = "alone") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


class TestLock:
    def test_the_second_waits_says_for_whom_and_gives_up(self, tmp_path: Path) -> None:
        path, told = tmp_path / "x.lock", []
        with holder(path) as other:
            started = time.monotonic()
            with (
                pytest.raises(StoreBusy, match=f"in use by process {other.pid}$"),
                locked(path, timeout=0.3, busy=busy, waiting=told.append),
            ):
                pass
            assert 0.3 <= time.monotonic() - started < 30, "when it was told to, give or take a busy machine"
        assert told == [f"process {other.pid}"]

    def test_it_gets_its_turn(self, tmp_path: Path) -> None:
        path = tmp_path / "x.lock"
        with holder(path) as other:
            assert other.stdin is not None

            def leave(who: str) -> None:
                other.stdin.close()

            with locked(path, timeout=60, busy=busy, waiting=leave):
                other.wait(60)

    def test_killed_holders_hold_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "x.lock"
        with holder(path) as other:
            other.send_signal(signal.SIGKILL)
            other.wait(60)
            with locked(path, timeout=0, busy=busy):
                pass

    def test_readers_together_writers_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "x.lock"
        with holder(path, "shared"):
            with locked(path, shared=True, timeout=0, busy=busy):
                pass
            with pytest.raises(StoreBusy), locked(path, timeout=0, busy=busy):
                pass

    def test_nobody_is_blamed_who_has_left(self, tmp_path: Path) -> None:
        """A reader leaves no name in the lock file; the last writer's must not stand there for it."""
        path = tmp_path / "x.lock"
        with holder(path) as writer:
            writer.send_signal(signal.SIGKILL)
            writer.wait(60)
        with locked(path, timeout=0, busy=busy):
            pass
        with (
            holder(path, "shared"),
            pytest.raises(StoreBusy, match=r"in use by another process$"),
            locked(path, timeout=0, busy=busy),
        ):
            pass

    def test_private_and_never_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "x.lock"
        with locked(path, timeout=0, busy=busy):
            assert mode(path) == 0o600
        assert path.exists()

    def test_nowhere_to_put_it(self, tmp_path: Path) -> None:
        nowhere = locked(tmp_path / "none" / "x.lock", timeout=0, busy=busy)
        with pytest.raises(StoreError, match="cannot be used: No such file"), nowhere:
            pass


class TestBeingWritten:
    def test_who_begins_to_write_while_it_is_looked_at_ends_nobody(self, tmp_path: Path) -> None:
        """The kernel tells the holder of a lease by a signal, of which a process dies that did not ask for another."""
        path = tmp_path / "orders.csv"
        path.write_text("x")
        code = (
            "import subprocess, sys; from pathlib import Path; from recsys_cli import durable_files as files\n"
            "real, path = files.fcntl.fcntl, Path(sys.argv[1])\n"
            "write = 'import os, sys; os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)'\n"
            "def slow(fd, what, how=0):\n"
            "    done = real(fd, what, how)\n"
            "    if (what, how) == (files.fcntl.F_SETLEASE, files.fcntl.F_RDLCK):\n"
            "        subprocess.run([sys.executable, '-c', write, path], stderr=subprocess.DEVNULL)\n"
            "    return done\n"
            "files.fcntl.fcntl = slow\n"
            "files.being_written(path)\n"
            "files.fcntl.fcntl = real\n"
            "print(files.being_written(path))\n"
            "with path.open('a'):\n"
            "    print(files.being_written(path))\n"
        )
        run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        assert (run.returncode, run.stdout) == (0, "False\nTrue\n"), run.stderr


class TestPrivateDir:
    def test_made_with_its_parents(self, tmp_path: Path) -> None:
        assert mode(private_dir(tmp_path / "a" / "b")) == 0o700

    def test_one_that_is_there_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "theirs").mkdir(mode=0o755)
        assert mode(private_dir(tmp_path / "theirs")) == 0o755

    @pytest.mark.parametrize("name", ["file", "file/below", "n" * 300])
    def test_what_cannot_be_made_is_one_sentence(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match="cannot be used: "):
            private_dir(tmp_path / name)


class TestWriteAtomic:
    def test_new_and_over(self, tmp_path: Path) -> None:
        path = tmp_path / "f"
        write_atomic(path, b"one")
        assert mode(path) == 0o600
        write_atomic(path, b"two")
        assert path.read_bytes() == b"two"
        assert [p.name for p in tmp_path.iterdir()] == ["f"]
        assert sha256_of(path).startswith("3fc4ccfe")

    def test_a_failure_leaves_the_old_and_no_draft(self, tmp_path: Path) -> None:
        """A file system that is full, as far as this process is concerned: no file may grow beyond 1 kB."""
        path = tmp_path / "f"
        write_atomic(path, b"old")
        code = (
            "import resource, signal, sys; from pathlib import Path\n"
            "from recsys_cli.durable_files import write_atomic\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
            "write_atomic(Path(sys.argv[1]), b'new' * 1000)"
        )
        run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        assert "StoreError" in run.stderr
        assert "File too large" in run.stderr
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["f"]

    @pytest.mark.parametrize("name", ["none/f", "file/f", "n" * 300])
    def test_nowhere_to_put_it(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match="cannot be used"):
            write_atomic(tmp_path / name, b"x")
