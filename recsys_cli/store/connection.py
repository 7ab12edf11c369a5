"""Opening the database: one at a time, privately, and with no way out of the machine.

DuckDB lets in one writing process or several readers. Our own lock file beside the database makes commands take
turns before DuckDB would refuse them: writers alone, readers together.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ..errors import RecsysError, StoreBusy, StoreError, StoreMissing
from ..files import locked, private_dir
from ..settings import StoreSettings
from .migrations import check_format, migrate


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

    def __init__(
        self, path: Path, settings: StoreSettings, *, waiting: Callable[[str], None] | None = None
    ) -> None:
        self.path = path
        self.settings = settings
        self._waiting = waiting

    @property
    def lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    @property
    def spill_path(self) -> Path:
        """Where DuckDB puts what does not fit in memory; removed when the connection closes."""
        return self.path.with_name(self.path.name + ".tmp")

    def exists(self) -> bool:
        return self.path.is_file()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that cannot change the database; other readers may be in at the same time.

        Raises
        ------
        StoreMissing, StoreBusy, StoreError
        """
        if not self.exists():
            raise StoreMissing(f"There is no database {self.path} yet.", "Run recsys ingest FILE, or name it with --db.")
        with self.lock(shared=True), self._connection(read_only=True) as con:
            check_format(con, self.path)
            yield con

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
        private_dir(self.path.parent)
        with self.lock(), self._connection(read_only=False, files=files) as con:
            migrate(con, self.path)
            self.path.chmod(0o600)
            yield con

    @contextmanager
    def lock(self, *, shared: bool = False) -> Iterator[None]:
        """Our turn at the database, without opening it (for swapping the file)."""

        def busy(who: str) -> RecsysError:
            return StoreBusy(
                f"The database {self.path} is in use by {who} since {self.settings.lock_timeout:g} s or more.",
                "Wait for that command to end and run this again, or raise store.lock_timeout.",
            )

        def waiting(who: str) -> None:
            if self._waiting:
                self._waiting(f"Waiting for {who}, which is using {self.path} …")

        with locked(
            self.lock_path, shared=shared, timeout=self.settings.lock_timeout, busy=busy, waiting=waiting
        ):
            yield

    @contextmanager
    def _connection(self, *, read_only: bool, files: Sequence[Path] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            con = self._connect(read_only)
            try:
                _lock_down(con, files)
                yield con
            finally:
                con.close()
                shutil.rmtree(self.spill_path, ignore_errors=True)
        except duckdb.OutOfMemoryException as e:
            raise StoreError(
                f"DuckDB needs more memory than {self.settings.memory_limit}: {_first_line(e)}.",
                "Raise store.memory_limit, or free disk space for it to spill to.",
            ) from e
        except (duckdb.IOException, duckdb.FatalException, duckdb.SerializationException) as e:
            raise self._explain(e) from e

    def _connect(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        """Connect; when a program that knows nothing of our lock file is in, wait for it as well."""
        config: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "memory_limit": self.settings.memory_limit,
            "temp_directory": str(self.spill_path),
        }
        if self.settings.threads:
            config["threads"] = str(self.settings.threads)
        deadline, told = time.monotonic() + self.settings.lock_timeout, False
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only, config=config)
            except duckdb.IOException as e:
                if "lock" not in str(e).lower():
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

    def _explain(self, e: duckdb.Error) -> StoreError:
        text = str(e)
        if "No space left" in text or "space" in text.lower() and "disk" in text.lower():
            return StoreError(f"The disk of {self.path} is full.", "Free some space and run this again.")
        if "not a valid DuckDB" in text or "corrupt" in text.lower() or "checksum" in text.lower():
            return StoreError(f"{self.path} is no DuckDB database, or it is damaged.", "Restore it from a backup.")
        return StoreError(f"The database {self.path} cannot be used: {_first_line(e)}.", "Check the path and its disk.")


def _lock_down(con: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """From here on SQL reaches the database, the named files and nothing else, and cannot undo that."""
    if files:
        paths = ", ".join("'" + str(p).replace("'", "''") + "'" for p in files)
        con.execute(f"SET allowed_paths = [{paths}]")
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def _first_line(e: Exception) -> str:
    return str(e).strip().splitlines()[0].rstrip(".") if str(e).strip() else type(e).__name__
