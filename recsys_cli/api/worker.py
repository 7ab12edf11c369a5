"""One of several server processes: `python -m recsys_cli.api.worker SOCKET`, its plan on standard input."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from .server import ServePlan, die_with_parent, run_worker


def main() -> None:
    """Answer until stopped, or until the process that started this one is gone."""
    os.umask(0o077)
    die_with_parent()
    plan = ServePlan.load(sys.stdin.buffer.readline())
    threading.Thread(target=_watch_parent, daemon=True).start()
    run_worker(plan, socket.socket(fileno=int(sys.argv[1])))


def _watch_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
