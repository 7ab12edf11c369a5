"""Private, durable files and a lock between processes; nothing here knows what is in them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import RecsysError, StoreError

PRIVATE_FILE, PRIVATE_DIR = 0o600, 0o700


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


def explain_os(error: OSError, path: Path) -> RecsysError:
    """An operating system's refusal as one of our sentences."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    hints = {
        errno.ENOSPC: "Free some disk space and run the command again; nothing was changed.",
        errno.EACCES: "Run the command as the owner of that path, or choose another with --db or --artifacts.",
        errno.EROFS: "Choose a path that can be written with --db or --artifacts.",
    }
    return StoreError(f"{path} cannot be used: {reason}.", hints.get(error.errno or 0, "Check the path."))


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
