"""What a process asks of the system for itself."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(by: signal.Signals, parent: int = 0) -> None:
    """Have the kernel send this process a signal when its parent dies, however that happens; on Linux only.

    Parameters
    ----------
    parent
        The parent's number, if it is known: it may have died before this was asked for, and nothing would come of it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
        if parent and os.getppid() != parent:
            os.kill(os.getpid(), by)
