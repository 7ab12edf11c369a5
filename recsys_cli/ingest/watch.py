"""A folder whose files are taken as they arrive, each once, by content; what cannot be taken is set aside.

Taken files stay where they are: the ledger in the store knows their content, so a restart takes nothing twice. The
store is opened for each file alone, and other commands have their turns between files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..durable_files import being_written, private_dir, write_atomic
from ..errors import InputError, RecsysError, UsageError
from ..progress import SILENT, Progress
from ..settings import Settings
from .import_report import FileReport
from .pipeline import Request, StrictRefusal, ingest

ASIDE = "set-aside"
UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart", ".swp", "~")


@dataclass(frozen=True)
class SetAside:
    """A file that could not be taken, where it was moved, and why."""

    file: str
    moved_to: Path
    error: RecsysError

    def as_dict(self) -> dict[str, Any]:
        """For `--json`, and beside the file."""
        found = {"file": self.file, "moved_to": str(self.moved_to), **self.error.body()}
        if isinstance(self.error, StrictRefusal):
            found["report"] = self.error.report.as_dict()
        return found


Outcome = FileReport | SetAside


@dataclass
class Folder:
    """A watched folder, and which of its files this process has dealt with.

    Parameters
    ----------
    path
        The folder; folders in it are not looked into.
    seen
        Name to size, time and inode of what was taken; a file that changed is looked at again.
    """

    path: Path
    seen: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def ready(self, quiet_seconds: float) -> list[Path]:
        """Files that are whole and not dealt with, oldest first.

        Raises
        ------
        UsageError
            When the folder is not there.
        """
        try:
            entries = sorted(os.scandir(self.path), key=lambda e: e.name)
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"There is no folder {self.path} to watch.", "Make it, or name another.") from None
        found: list[tuple[int, Path]] = []
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(UNFINISHED):
                continue
            try:
                if not entry.is_file():
                    continue
                stat = entry.stat()
            except FileNotFoundError:
                continue  # renamed or removed since it was listed
            mark = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
            quiet = time.time() - stat.st_mtime >= quiet_seconds
            if quiet and self.seen.get(entry.name) != mark and not being_written(Path(entry.path)):
                found.append((stat.st_mtime_ns, Path(entry.path)))
        return [path for _, path in sorted(found)]

    def done(self, path: Path) -> None:
        """Leave this file alone until it changes."""
        try:
            stat = path.stat()
        except FileNotFoundError:
            return
        self.seen[path.name] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)


def take_ready(
    settings: Settings,
    folder: Folder,
    request: Request | None = None,
    *,
    progress: Progress = SILENT,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[Outcome]:
    """Take every file that is whole; what cannot be taken goes to the folder `set-aside`, and the rest is taken.

    Raises
    ------
    StoreError
        When the database, not a file, is the trouble; nothing is set aside then.
    """
    for path in folder.ready(settings.ingest.quiet_seconds):
        try:
            report = ingest(settings, [path], request, progress=progress, waiting=waiting).files[0]
        except (InputError, UsageError) as e:
            if not path.exists():
                continue  # taken away meanwhile
            yield _set_aside(folder, path, e)
        else:
            folder.done(path)
            if not report.already:
                yield report


def watch(
    settings: Settings,
    folder: Folder,
    request: Request | None = None,
    *,
    interval: float,
    stop: Callable[[], bool],
    progress: Progress = SILENT,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[Outcome]:
    """`take_ready` again and again, until `stop` says so; a busy or full database is waited for.

    Parameters
    ----------
    interval
        Seconds between looks.
    """
    while not stop():
        try:
            yield from take_ready(settings, folder, request, progress=progress, waiting=waiting)
        except RecsysError as e:
            if isinstance(e, UsageError):
                raise
            progress.note(f"{e} Trying again.")
        deadline = time.monotonic() + interval
        while not stop() and time.monotonic() < deadline:
            time.sleep(min(0.2, interval))


def _set_aside(folder: Folder, path: Path, error: RecsysError) -> SetAside:
    aside = private_dir(folder.path / ASIDE)
    target = aside / path.name
    number = 1
    while target.exists():
        number += 1
        target = aside / f"{path.stem}-{number}{path.suffix}"
    outcome = SetAside(path.name, target, error)
    # The report first: a kill in between leaves a report without a file, and the file is looked at again.
    report = orjson.dumps({**outcome.as_dict(), "at": int(time.time())}, option=orjson.OPT_INDENT_2)
    write_atomic(target.with_name(f"{target.name}.report.json"), report)
    path.replace(target)
    return outcome
