"""Private, durable files, and locks between processes: whatever kills us, a file is the old one or the new one.

`StateFile` keeps one small document, `append_lines` adds to a log, `draft_dir` makes a folder that is there whole or
not at all, `locked` gives processes their turns. Nothing here knows what the files are about.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from .errors import DamagedState, RecsysError, StoreError

T = TypeVar("T")

PRIVATE_FILE, PRIVATE_DIR = 0o600, 0o700
_FEW = 16  # files that are written one by one


def private_dir(path: Path) -> Path:
    """Make the directory (and its parents) if need be; the directory itself is only for its owner."""
    try:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIR)
            # mkdir's mode is cut by the umask but never widened; an inherited ACL could still widen it.
            path.chmod(PRIVATE_DIR)
    except OSError as e:
        raise explain_os(e, path) from None
    return path


def open_private(path: Path, flags: int) -> int:
    """`os.open` with mode 0600."""
    return os.open(path, flags | os.O_CLOEXEC, PRIVATE_FILE)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace the file's content whole: after a crash it is the old or the new, on disk, never a part."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        fd = open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        draft.replace(path)
        fsync_dir(path.parent)
    except OSError as e:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise explain_os(e, path) from None


def write_many(files: Mapping[Path, bytes]) -> None:
    """`write_atomic` of several files; many are put on disk together, where one by one takes seconds."""
    if len(files) < _FEW:
        for path, data in files.items():
            write_atomic(path, data)
        return
    drafts: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            drafts[path] = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            with os.fdopen(open_private(drafts[path], os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as f:
                f.write(data)
        os.sync()
        for path, draft in drafts.items():
            draft.replace(path)
        for folder in {path.parent for path in files}:
            fsync_dir(folder)
    except OSError as e:
        for draft in drafts.values():
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        raise explain_os(e, next(iter(files))) from None


def fsync_dir(path: Path) -> None:
    """Make renames and new names in the directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_file(path: Path) -> None:
    """Make the file's content survive a power cut, whoever wrote it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def being_written(path: Path) -> bool:
    """Whether another process may still write to the file: the kernel grants no read lease on such a one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False  # the reader will say what is wrong
    try:
        # Somebody may begin to write before the lease is given back: of the signal that tells its holder, SIGIO unless
        # another is named, this process would die.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as e:
        return e.errno == errno.EAGAIN  # other errors: leases do not exist here, or are not ours to take
    finally:
        os.close(fd)
    return False


# What an operating system says of a file that is not there or not whole. Everything else (no permission, descriptors or
# memory used up) says something about us, and must never make a file pass for damaged.
_DAMAGED = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO)


def is_damage(error: Exception) -> bool:
    """Whether an error of reading a file that should be there says that the file is not whole."""
    return not isinstance(error, MemoryError) and not (
        isinstance(error, OSError) and error.errno is not None and error.errno not in _DAMAGED
    )


def explain_os(error: OSError, path: Path) -> RecsysError:
    """An operating system's refusal as one of our sentences."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    hints = {
        errno.ENOSPC: "Free some disk space and run the command again; nothing was changed.",
        errno.EACCES: "Run the command as the owner of that path, or choose another with --db or --artifacts.",
        errno.EROFS: "Choose a path that can be written with --db or --artifacts.",
    }
    return StoreError(f"{path} cannot be used: {reason}.", hints.get(error.errno or 0, "Check the path."))


# -- small documents -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StateFile(Generic[T]):
    """One small JSON document with a version and a checksum: written whole, read as a type, one error when damaged.

    On disk: `{"version": 1, "sha256": …, "data": …}`. Documents of the time before this class are the bare data.

    Parameters
    ----------
    path
        The file; its folder is made, 0700, by the first `write`.
    kind
        What `data` is: a dataclass, a `msgspec.Struct`, or `dict[str, X]`, `list[X]` of such. Fields that the type
        does not know are left out, fields that the document lacks take their defaults.
    empty
        Makes what is read where there is no file.
    without
        One sentence for the hint of the error: what is lost by removing the file.
    version
        Of the type; a document of a higher one is refused.
    """

    path: Path
    kind: Any
    empty: Callable[[], T]
    without: str = ""
    version: int = 1

    def read(self) -> T:
        """The document; `empty()` when there is none.

        Raises
        ------
        DamagedState
            It is not what was written: half a document, another type, a flipped bit.
        StoreError
            It cannot be read (permissions, descriptors used up), or a newer recsys wrote it. That is no damage.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return self.empty()
        except OSError as e:
            raise explain_os(e, self.path) from None
        try:
            value: T = msgspec.convert(self._data(content), self.kind)
        except (ValueError, RecursionError):  # which JSON's, UTF-8's and msgspec's own errors are
            raise DamagedState(self.path, self.without) from None
        return value

    def read_or_empty(self) -> T:
        """As `read`, for what the next writer writes again whole: damage counts as nothing there."""
        try:
            return self.read()
        except DamagedState:
            return self.empty()

    def write(self, value: T) -> None:
        """Replace the document, on disk."""
        data = msgspec.to_builtins(value)
        private_dir(self.path.parent)
        text = json.dumps({"version": self.version, "sha256": _digest(data), "data": data}, indent=1)
        write_atomic(self.path, text.encode())

    def exists(self) -> bool:
        """Whether it was ever written, and not removed since."""
        return self.path.exists()

    def _data(self, content: bytes) -> Any:
        document = json.loads(content)
        if not isinstance(document, dict) or document.keys() != {"version", "sha256", "data"}:
            return document
        if isinstance(document["version"], int) and document["version"] > self.version:
            raise StoreError(f"{self.path} was written by a newer recsys.", "Upgrade recsys.")
        if document["sha256"] != _digest(document["data"]):
            raise ValueError
        return document["data"]


@dataclass
class Watched(Generic[T]):
    """A `StateFile` as a server follows it: read again when it has changed, and the last good content kept meanwhile.

    Parameters
    ----------
    file
        Read at once; a server without any good content must not start.

    Attributes
    ----------
    value
        The last content that could be read.
    error
        Why the present content cannot be; None when all is well.
    """

    file: StateFile[T]
    value: T = field(init=False)
    error: RecsysError | None = field(init=False, default=None)
    _seen: tuple[int, int, int] | None = field(init=False, default=None)
    _spare: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        self._seen = self._stamp()
        self.value = self.file.read()
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)

    def refresh(self) -> bool:
        """Look again, at the price of one `stat` when nothing has changed; whether `value` is new. Never raises."""
        try:
            seen = self._stamp()
            if seen == self._seen:
                return False
            value = self._read()
        except DamagedState as e:
            self._seen, self.error = seen, e  # it stays damaged until it is written again
            return False
        except (RecsysError, OSError) as e:
            self.error = explain_os(e, self.file.path) if isinstance(e, OSError) else e
            return False  # descriptors used up, perhaps: the next look tries again
        self._seen, self.error, self.value = seen, None, value
        return True

    def _read(self) -> T:
        """Read with a descriptor kept for it: who has used up the others must not keep a revoked key alive."""
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)
        try:
            return self.file.read()
        finally:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.file.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size  # a replaced file has another inode


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


# -- logs ------------------------------------------------------------------------------------------------------------


def append_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Add lines to a log, on disk; one process at a time, after what a killed one left of its last line is cut off."""
    try:
        fd = open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            cut_torn_tail(fd)
            write_all(fd, b"".join(line + b"\n" for line in lines))
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as e:
        raise explain_os(e, path) from None


def cut_torn_tail(fd: int) -> None:
    """Cut off the part of a line that a killed writer left at the end of a log: the next would be glued to it.

    Hold the log's lock.
    """
    size = end = os.fstat(fd).st_size
    while end:
        start = max(end - 65_536, 0)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)


def write_all(fd: int, data: bytes) -> None:
    """`os.write` until everything is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


# -- drafts ----------------------------------------------------------------------------------------------------------


@contextmanager
def draft_dir(parent: Path, prefix: str) -> Iterator[Path]:
    """A new private folder under `parent` to be renamed when it is whole; removed at the end if it was not.

    It is locked while this process lives, which tells `sweep_drafts` in any other process or container to leave it.

    Parameters
    ----------
    prefix
        What the name begins with; nothing else may be called like that.
    """
    path, lock = _new_draft(private_dir(parent), prefix)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _new_draft(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        path = parent / f"{prefix}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            path.mkdir(mode=PRIVATE_DIR)
            path.chmod(PRIVATE_DIR)
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            if isinstance(e, FileNotFoundError) and parent.is_dir():
                continue  # swept before it was locked
            raise explain_os(e, path) from None
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.is_dir():
            return path, lock
        os.close(lock)


def sweep_drafts(parent: Path, prefix: str) -> None:
    """Remove the drafts of processes that were killed."""
    for path in parent.glob(f"{prefix}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # renamed or removed since it was listed, or not ours to read
        try:
            if os.fstat(lock).st_uid != os.geteuid():
                continue  # anybody may make a folder of that name in a place that is everybody's
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue  # its writer lives
        finally:
            os.close(lock)


def scratch(db: Path) -> tuple[Path, str]:
    """Where commands put what goes again with them, beside the database: folder and prefix for `draft_dir`.

    It may hold customers' data: erasures sweep and search it.
    """
    return db.parent, f".{db.name}.scratch-"


def scratch_elsewhere() -> tuple[Path, str]:
    """The same for trials, which leave nothing beside a database, not even a folder."""
    return Path(tempfile.gettempdir()), f"recsys-scratch-{os.getuid()}-"


def sweep_writes(folder: Path, name: str = "*") -> None:
    """Remove what killed calls of `write_atomic` for files called like `name` left in `folder`.

    Only while no other process writes such a file.
    """
    for draft in folder.glob(f".{name}.????????.tmp"):
        draft.unlink(missing_ok=True)


# -- turns -----------------------------------------------------------------------------------------------------------


@contextmanager
def locked(
    path: Path,
    *,
    shared: bool = False,
    timeout: float,
    busy: Callable[[str], RecsysError],
    waiting: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold a lock between processes, released by the kernel whatever becomes of the holder.

    Parameters
    ----------
    path
        The lock file; made if missing, never removed (removing one lets two processes hold "the" lock).
    timeout
        Seconds to wait for the present holder.
    busy
        Makes the error raised when time is up, from a description of the holder.
    waiting
        Told once, when waiting begins, who holds the lock.
    """
    try:
        fd = open_private(path, os.O_RDWR | os.O_CREAT)
    except OSError as e:
        raise explain_os(e, path) from None
    try:
        _wait(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, timeout, busy, waiting)
        if not shared:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
        if not shared:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def alive(pid: int) -> bool:
    """Whether there is such a process here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _holder(fd: int) -> str:
    """Who holds the lock. Readers leave no name, and the name of the last writer must not stand for theirs."""
    name = os.pread(fd, 32, 0).decode(errors="replace").strip()
    return f"process {name}" if name.isdecimal() and alive(int(name)) else "another process"


def _wait(
    fd: int,
    mode: int,
    timeout: float,
    busy: Callable[[str], RecsysError],
    waiting: Callable[[str], None] | None,
) -> None:
    deadline, pause, told = time.monotonic() + timeout, 0.01, False
    while True:
        try:
            fcntl.flock(fd, mode | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            who = _holder(fd)
            if time.monotonic() >= deadline:
                raise busy(who) from None
            if waiting and not told:
                waiting(who)
                told = True
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)
