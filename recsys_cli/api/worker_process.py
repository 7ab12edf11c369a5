"""A server process, started with the arguments SOCKET alone|watched and its plan on standard input."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from ..errors import RecsysError
from ..processes import die_with_parent
from .server import ServePlan, run_worker


def main() -> None:
    """Answer until stopped, or until the process that started this one is gone."""
    os.umask(0o077)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Ctrl-C ends a server that has not begun to answer at once; `run_worker` takes the signal over then.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    plan = ServePlan.load(sys.stdin.buffer.readline())
    if sys.argv[2] == "watched":
        die_with_parent(signal.SIGTERM)
        threading.Thread(target=_watch_parent, daemon=True).start()
    try:
        run_worker(plan, socket.socket(fileno=int(sys.argv[1])))
    except RecsysError as e:
        sys.stderr.write(f"recsys: {e}\n")
        sys.exit(e.exit_code)


def _watch_parent() -> None:
    while os.read(0, 4096):  # not sys.stdin: a thread that waits in it ends the interpreter's own end as a fatal error
        pass
    os.kill(os.getpid(), signal.SIGTERM)
