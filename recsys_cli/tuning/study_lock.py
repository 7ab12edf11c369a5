"""A lock on the log of a study that ends with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from optuna.storages.journal import JournalFileOpenLock

from ..durable_files import cut_torn_tail, explain_os, open_private


class Turn(JournalFileOpenLock):
    """A lock on the log itself, which the kernel releases whatever becomes of its holder.

    Optuna's own are files that a killed run leaves behind: the next one would wait for them for half a minute, and for
    ever, on a whole core, where the log is named by a relative path.
    """

    def __init__(self, log: Path) -> None:
        super().__init__(str(log))
        self._log = log
        self._held = -1  # only its holder touches it

    def acquire(self) -> bool:
        """Wait for the turn, of other processes and of other threads of this one."""
        try:
            fd = open_private(self._log, os.O_RDWR | os.O_CREAT)
        except OSError as e:
            raise explain_os(e, self._log) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except BaseException:
            os.close(fd)
            raise
        self._held = fd
        return True

    def release(self) -> None:
        """Let the next one have it."""
        fd, self._held = self._held, -1
        os.close(fd)

    def fix(self) -> None:
        """Cut off the part of a line that a killed run left: the next line would be glued to it, and both be lost."""
        self.acquire()
        try:
            cut_torn_tail(self._held)
        except OSError as e:
            raise explain_os(e, self._log) from None
        finally:
            self.release()
