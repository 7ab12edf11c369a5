"""Opening the database: one at a time, privately, and with no way out of the machine.

DuckDB lets in one writing process or several readers. Our own lock file beside the database makes commands take
turns before DuckDB would refuse them: writers alone, readers together.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import duckdb

from ..durable_files import PRIVATE_DIR, explain_os, fsync_dir, fsync_file, locked, private_dir
from ..errors import RecsysError, StoreBusy, StoreError, StoreMissing
from ..identity import load_secret
from ..settings import StoreSettings
from .migrations import check_format, lacking, migrate
from .sql import literals

# How DuckDB says that another process holds the file, and that it is not whole. Not just "lock": paths have that
# word in them, and so has "block", which is what a damaged one is.
_HELD = ("Could not set lock on file", "Conflicting lock")
_DAMAGED = ("not a valid DuckDB", "Corrupt database file", "Could not read enough bytes", "Failed to deserialize")
_MAGIC, _MAGIC_AT = b"DUCK", 8  # where every database of DuckDB has it
_ABORTED = "Current transaction is aborted"
_SQLITE = "sqlite_scanner"  # the extension that DuckDB looks for when it meets a file of SQLite


class Store:
    """The database at `path`; nothing is opened until `reading` or `writing`.

    Parameters
    ----------
    path
        The DuckDB file; made by the first `writing`.
    settings
        Lock time limit, memory and threads.
    waiting
        Told once when the database is in use and this process waits, with a sentence to show.
    """

    def __init__(self, path: Path, settings: StoreSettings, *, waiting: Callable[[str], None] | None = None) -> None:
        self.path = path
        self.settings = settings
        self._waiting = waiting
        self._left: tuple[int, int, int] | None = None  # the file as our last `writing` left it

    @property
    def lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    @property
    def spill_path(self) -> Path:
        """Where DuckDB puts what does not fit in memory; gone when no connection is open."""
        return self.path.with_name(self.path.name + ".tmp")

    def exists(self) -> bool:
        """Whether there is a database. An empty file is not one: a first command was killed before it wrote anything.

        Raises
        ------
        StoreError
            The path is a directory, or cannot be looked at.
        """
        try:
            if self.path.is_dir():
                raise StoreError(f"{self.path} is a directory, not a database.", "Name a file with --db.")
            return self.path.is_file() and self.path.stat().st_size > 0
        except OSError as e:
            raise explain_os(e, self.path) from None

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that cannot change the database; other readers may be in at the same time.

        Raises
        ------
        StoreMissing, StoreBusy, StoreError
        """
        while True:
            if not self.exists():
                raise self._missing()
            self._refuse_other_files()
            with self.lock(shared=True), self._connection(read_only=True) as con:
                taken = check_format(con, self.path)
                if not taken:
                    raise self._missing()
                if not lacking(taken):
                    yield con
                    return
            with self.writing():
                pass  # an older recsys wrote it: it takes the steps it lacks, and then we read

    def impatient(self) -> Store:
        """The same database for a look that must not wait: `StoreBusy` at once when somebody writes."""
        return Store(self.path, replace(self.settings, lock_timeout=0.0))

    @contextmanager
    def writing(self, files: Sequence[Path] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
        """The only connection to the database, which is made or brought up to this version's format if need be.

        Parameters
        ----------
        files
            What SQL may read besides the database itself (exports being ingested, say).

        Raises
        ------
        StoreBusy, StoreError
        """
        if not self.exists():
            private_dir(self.path.parent)
        self._refuse_other_files()
        with self.lock():
            shutil.rmtree(self.spill_path, ignore_errors=True)  # left behind by a killed process
            new = not self.exists()
            if new:
                # Made with the database and never later: a new key would find nobody in the versions that are there.
                load_secret(self.path, create=True)
                self._make()
            elif self._left is None or self._left != self._stamp():
                # Only looked at first: opening for writing would change a file that turns out to be somebody else's.
                with self._connection(read_only=True) as con:
                    taken = check_format(con, self.path)
                self._keep_copy(bool(taken and lacking(taken)))
            with self._connection(read_only=False, files=files) as con:
                migrate(con, self.path, new=new)
                self.path.chmod(0o600)
                # Kept until here, and no longer: it holds what will be forgotten in the database.
                self._keep_copy(False)
                yield con
            self._left = self._stamp()

    def _stamp(self) -> tuple[int, int, int] | None:
        """What differs between two states of the file, and between two files; none where there is no file, or where
        what somebody who was killed has written is not in it yet."""
        if self.path.with_name(self.path.name + ".wal").exists():
            return None
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _make(self) -> None:
        """An empty database, there in one step.

        DuckDB writes the first bytes of a file in several, and killed between them leaves one that nothing can open.
        """
        new = Store(self.path.with_name(self.path.name + ".new"), self.settings)
        new.path.unlink(missing_ok=True)
        with new._connection(read_only=False):
            pass
        try:
            new.path.chmod(0o600)
            fsync_file(new.path)
            new.path.replace(self.path)
            fsync_dir(self.path.parent)
        except OSError as e:
            raise explain_os(e, self.path) from None

    def _refuse_other_files(self) -> None:
        """Refuse a file that was never a database, before a lock is put beside it, which must stay there for good.

        Where a lock is, one of our commands has worked, and may be writing the first bytes right now.
        """
        if not self.path.is_file():
            return
        try:
            with self.path.open("rb") as f:
                begins = f.read(len(_MAGIC) + _MAGIC_AT)
        except OSError:
            return  # the connection will say what is wrong
        if begins and begins[_MAGIC_AT:] != _MAGIC and not self.lock_path.exists():
            raise self._no_database()

    def _no_database(self) -> StoreError:
        return StoreError(f"{self.path} is not a DuckDB database, or is damaged.", "Restore it from a backup.")

    def _keep_copy(self, wanted: bool) -> None:
        """The database as it is before it is brought up to this version's format, or no such copy any more."""
        copy = self.path.with_name(self.path.name + ".before-upgrade")
        if not wanted:
            copy.unlink(missing_ok=True)
            return
        try:
            shutil.copyfile(self.path, copy)
            copy.chmod(0o600)
            fsync_file(copy)
        except OSError as e:
            copy.unlink(missing_ok=True)
            raise explain_os(e, copy) from None

    def _missing(self) -> StoreMissing:
        return StoreMissing(f"There is no database {self.path} yet.", "Run recsys ingest FILE, or name it with --db.")

    @contextmanager
    def lock(self, *, shared: bool = False) -> Iterator[None]:
        """Our turn at the database, without opening it (for swapping the file)."""

        def busy(who: str) -> RecsysError:
            seconds = self.settings.lock_timeout
            waited = f", still after {seconds:g} s" if seconds else ""
            return StoreBusy(
                f"The database {self.path} is in use by {who}{waited}.",
                "Wait for that command to end and run this again, or raise store.lock_timeout.",
            )

        def waiting(who: str) -> None:
            if self._waiting:
                self._waiting(f"Waiting for {who}, which is using {self.path} …")

        with locked(self.lock_path, shared=shared, timeout=self.settings.lock_timeout, busy=busy, waiting=waiting):
            yield

    @contextmanager
    def _connection(self, *, read_only: bool, files: Sequence[Path] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
        spill = self._new_spill()
        try:
            con = self._connect(read_only, spill)
            try:
                _lock_down(con, files)
                yield con
            finally:
                con.close()
        except duckdb.Error as e:
            explained = self._explain(e, files)
            if explained is None:
                raise
            raise explained from e
        finally:
            shutil.rmtree(spill, ignore_errors=True)
            with suppress(OSError):  # not empty: another reader has its own in there
                self.spill_path.rmdir()

    def _new_spill(self) -> Path:
        """A directory of this connection's own: DuckDB gives its files the same names in every process."""
        path = self.spill_path / f"{os.getpid()}-{secrets.token_hex(4)}"
        for attempt in range(1000):
            try:
                self.spill_path.mkdir(mode=PRIVATE_DIR, exist_ok=True)
                self.spill_path.chmod(PRIVATE_DIR)
                path.mkdir(mode=PRIVATE_DIR)
                break
            except OSError as e:
                # Another reader may remove the parent before each of these steps, or between the two of `exist_ok`.
                if not isinstance(e, FileNotFoundError | FileExistsError) or attempt == 999:
                    raise explain_os(e, self.spill_path) from None
        return path

    def _connect(self, read_only: bool, spill: Path) -> duckdb.DuckDBPyConnection:
        """Connect; when a program that knows nothing of our lock file is in, wait for it as well."""
        config: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "memory_limit": self.settings.memory_limit,
            "temp_directory": str(spill),
        }
        if self.settings.threads:
            config["threads"] = str(self.settings.threads)
        deadline, told = time.monotonic() + self.settings.lock_timeout, False
        while True:
            try:
                # Absolute, because "md:shop" and the like would name a service on the internet.
                return duckdb.connect(str(self.path.absolute()), read_only=read_only, config=config)
            except duckdb.IOException as e:
                if not any(text in str(e) for text in _HELD):
                    raise
                if time.monotonic() >= deadline:
                    raise StoreBusy(
                        f"The database {self.path} is held open by another program.",
                        "Close it (a DuckDB shell or notebook, perhaps) and run this again.",
                    ) from None
                if self._waiting and not told:
                    self._waiting(f"Waiting for another program to close {self.path} …")
                    told = True
                time.sleep(0.2)

    def _explain(self, e: duckdb.Error, files: Sequence[Path]) -> StoreError | None:
        """What happened to the database; None when that is not what went wrong."""
        text = str(e)
        if any(str(file) in text for file in files):
            return None  # an export being read
        if isinstance(e, duckdb.OutOfMemoryException):
            return StoreError(
                f"DuckDB needs more memory than {self.settings.memory_limit}: {_first_line(e)}.",
                "Raise store.memory_limit, or free disk space for it to spill to.",
            )
        if "No space left" in text:
            return StoreError(f"The disk of {self.path} is full.", "Free some space and run this again.")
        if any(sign in text for sign in (*_DAMAGED, _SQLITE)):
            return self._no_database()
        if isinstance(e, duckdb.InternalException) or _ABORTED in text:
            # The second is all that is said of the damage that the statement before ran into.
            return StoreError(f"The database {self.path} is damaged: {_first_line(e)}.", "Restore it from a backup.")
        if isinstance(e, (duckdb.IOException, duckdb.FatalException, duckdb.SerializationException)):
            reason = _first_line(e)
            return StoreError(f"The database {self.path} cannot be used: {reason}.", "Check the path and its disk.")
        return None


def _lock_down(con: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """From here on SQL reaches the database, the named files and nothing else, and cannot undo that."""
    if files:
        con.execute(f"SET allowed_paths = [{literals(map(str, files))}]")
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def _first_line(e: Exception) -> str:
    return str(e).strip().splitlines()[0].rstrip(".") if str(e).strip() else type(e).__name__
