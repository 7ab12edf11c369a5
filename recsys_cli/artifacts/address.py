"""Where the server of an artifacts directory answers, for commands that print a link to it.

The file is locked by the server for as long as it runs, so that nobody is sent to one that has ended.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ..durable_files import open_private, write_all

FILE = "serving"
_LONGEST = 300


def announce(root: Path, url: str) -> None:
    """Note the address for as long as this process, or the one that takes its place, runs.

    Where another server of the same directory has noted its own, or the note cannot be written, nothing happens: a
    server must not fail for the sake of a link.
    """
    with suppress(OSError):
        fd = open_private(root / FILE, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            write_all(fd, url.encode())
        except OSError:
            os.close(fd)
            raise
        os.set_inheritable(fd, True)  # held until the process ends, also when it starts itself again


def running_at(root: Path) -> str:
    """The address of the running server; empty when none runs."""
    try:
        with (root / FILE).open("rb") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return f.read(_LONGEST).decode("ascii", "replace")
    except OSError:
        pass
    return ""
