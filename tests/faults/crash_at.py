"""Run a command that is killed by SIGKILL at its n-th operation on files; with n = 0, print how many there were.

python crash_at.py N ROOT COMMAND…
"""

from __future__ import annotations

import os
import signal
import sys

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "subprocess.Popen"}
COUNTED = "operations on files: "


def main(point: int, root: str, arguments: list[str]) -> None:
    """Count operations below `root`, and end at one of them as a power cut would."""
    from recsys_cli.__main__ import main as recsys

    state, seen = os.fsencode(root), 0

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in OPERATIONS:
            return
        first = args[0] if args else ""
        where = os.fsencode(first) if isinstance(first, str | os.PathLike) else first
        if event == "subprocess.Popen" or (isinstance(where, bytes) and where.startswith(state)):
            seen += 1
            if seen == point:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(count)
    sys.argv = ["recsys", *arguments]
    try:
        recsys()
    finally:
        if not point:
            print(f"{COUNTED}{seen}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
