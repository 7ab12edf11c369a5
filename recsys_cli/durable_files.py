"""Private, durable files, and locks between processes: whatever kills us, a file is the old one or the new one.

`write_atomic` replaces a file, `append_lines` adds to a log, `draft_dir` makes a folder that is there whole or
not at all, `locked` gives processes their turns. Nothing here knows what the files are about.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import RecsysError, StoreError

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
    """Make the file's content survive a power cut, even if another process wrote it."""
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
        errno.EACCES: "Run the command as the owner of that path, or name another path.",
        errno.EROFS: "Name a path that can be written.",
    }
    return StoreError(f"{path} cannot be used: {reason}.", hints.get(error.errno or 0, "Check the path."))


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


def last_line(path: Path) -> bytes:
    """The last whole line of a log, without its end; empty when there is none."""
    with path.open("rb") as f:
        end = f.seek(0, os.SEEK_END)
        size, data = 65_536, b""
        while len(data) < end and data.count(b"\n") < 2:
            f.seek(max(end - size, 0))
            data, size = f.read(min(size, end)), size * 4
    return b"\n".join(data.split(b"\n")[:-1]).rpartition(b"\n")[2]


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
        made = False
        try:
            path.mkdir(mode=PRIVATE_DIR)
            made = True
            path.chmod(PRIVATE_DIR)
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            if made and isinstance(e, FileNotFoundError):
                continue  # swept before it was locked; where nothing can be made, as in /proc, it would go on for ever
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


def draft_is_alive(path: Path) -> bool:
    """Whether a file is, or just was, in a draft whose process lives."""
    draft = next((p for p in path.parents if p.name.startswith(".draft-")), None)
    if draft is None:
        return False
    try:
        handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True  # published or gone since
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


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
