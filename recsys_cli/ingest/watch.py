"""A folder whose files are taken as they arrive, each once, by content; what cannot be taken is set aside.

Taken files stay where they are: the ledger in the store knows their content, so a restart takes nothing twice. The
store is opened for each file alone, and other commands have their turns between files.

The folder is a stranger's: the sender of exports may write into it. So links in it are not followed, files that
belong to another user are only read, and what is set aside goes into a folder of our own that is held by its
descriptor: a link that is put in its place leads nowhere.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..durable_files import being_written, explain_os, write_all
from ..errors import InputError, RecsysError, StoreError, UsageError
from ..progress import SILENT, Progress
from ..settings import Settings
from ..supervisor import Supervisor, said_by
from .import_report import FileReport
from .pipeline import Request, StrictRefusal, ingest

ASIDE = "set-aside"
_MOST_LINKS = 100  # that are named: a stranger may put any number there
_OFFICE_LOCK = "~$"  # how Excel and Word begin the file that says that somebody has another one open
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
    links
        Names of the links that lie there, which are not followed; the first of many.
    """

    path: Path
    seen: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)

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
        links = (printable(e.name) for e in entries if e.is_symlink() and e.name != ASIDE)
        self.links = list(itertools.islice(links, _MOST_LINKS))
        for entry in entries:
            if entry.name.startswith((".", _OFFICE_LOCK)) or entry.name.endswith(UNFINISHED):
                continue
            try:
                if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
                    continue  # a link may lead to a file that its maker must not read
                stat = entry.stat(follow_symlinks=False)
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
            stat = path.stat(follow_symlinks=False)
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
    told = set(folder.links)
    files = folder.ready(settings.ingest.quiet_seconds)
    for name in folder.links:
        if name not in told:
            progress.note(f"{name} in {folder.path} is a link and is not followed. Put the file itself there.")
    for path in files:
        try:
            if not _is_text(path.name):
                raise InputError(f"The name of {printable(path.name)} is not UTF-8.", "Rename the file.")
            report = ingest(settings, [path], request, progress=progress, waiting=waiting).files[0]
        except (InputError, UsageError) as e:
            if not path.exists():
                continue  # taken away meanwhile
            if lack_of_space(e):
                raise StoreError(f"{printable(path.name)} was not taken for lack of space: {e.message}", e.hint) from e
            yield _set_aside(folder, path, e)
        except (MemoryError, OSError, RecsysError):
            raise  # about the machine or the database, not about this file
        except Exception as e:  # noqa: BLE001 - one file must not keep the others from being taken
            text = f"{printable(path.name)} could not be read: {said_by(e)}."
            yield _set_aside(folder, path, InputError(text, "Save it as CSV again, or report this as a bug."))
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
    folder.ready(0)  # a mistyped folder is told at once; one that goes away later is waited for
    supervisor = Supervisor("watcher", interval, longest=max(interval, 60.0))
    while not stop():
        with supervisor.turn():
            yield from take_ready(settings, folder, request, progress=progress, waiting=waiting)
        if supervisor.state.failures:
            progress.note(f"{supervisor.state.error} Trying again.")
        deadline = time.monotonic() + supervisor.pause()
        while not stop() and time.monotonic() < deadline:
            time.sleep(min(0.2, interval))


def printable(name: str) -> str:
    """A file's name as text, whatever bytes it is made of."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def lack_of_space(error: BaseException | None) -> bool:
    """Whether a full disk or quota is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _set_aside(folder: Folder, path: Path, error: RecsysError) -> SetAside:
    """Move a file to `set-aside`, with a report; one of another user stays, and is left alone until it changes."""
    with _aside(folder.path) as (here, aside):
        name = _free_name(aside, re.sub(r"[^\w. -]", "_", printable(path.name)).lstrip(".") or "file")
        stays = path.stat(follow_symlinks=False).st_uid != os.geteuid()
        outcome = SetAside(printable(path.name), path if stays else folder.path / ASIDE / name, error)
        # The report first: a kill in between leaves a report without a file, and the file is looked at again.
        report = orjson.dumps({**outcome.as_dict(), "at": int(time.time())}, option=orjson.OPT_INDENT_2)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(f"{name}.report.json", flags, 0o600, dir_fd=aside)
        try:
            write_all(fd, report)
            os.fsync(fd)
        finally:
            os.close(fd)
        if stays:
            folder.done(path)
        else:
            os.rename(path.name, name, src_dir_fd=here, dst_dir_fd=aside)
            os.fsync(aside)
    return outcome


@contextmanager
def _aside(folder: Path) -> Iterator[tuple[int, int]]:
    """Descriptors of the watched folder and of `set-aside` in it, which is made if need be and must be our own.

    Raises
    ------
    StoreError
        Something else has that name.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    here = aside = -1
    try:
        here = os.open(folder, flags)
        with suppress(FileExistsError):
            os.mkdir(ASIDE, 0o700, dir_fd=here)
        aside = os.open(ASIDE, flags | os.O_NOFOLLOW, dir_fd=here)
        if os.fstat(aside).st_uid != os.geteuid():
            raise StoreError(f"{folder / ASIDE} belongs to another user.", "Remove it; it is made again as ours.")
        yield here, aside
    except OSError as e:
        if e.errno in (errno.ENOTDIR, errno.ELOOP):
            raise StoreError(f"{folder / ASIDE} is a link or a file.", "Remove it; it is made again.") from None
        raise explain_os(e, folder / ASIDE) from None
    finally:
        for fd in (here, aside):
            if fd >= 0:
                os.close(fd)


def _free_name(aside: int, name: str) -> str:
    """The name, or the name with a number, under which nothing lies there yet."""
    taken, number = set(os.listdir(aside)), 1
    stem, dot, suffix = name.rpartition(".") if "." in name else (name, "", "")
    free = name
    while free in taken or f"{free}.report.json" in taken:
        number += 1
        free = f"{stem}-{number}{dot}{suffix}"
    return free
