"""Run an erasure that is killed by SIGKILL at its n-th operation on files; with n = 0, print how many there are.

python killed.py N DB ARTIFACTS PERSON
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "subprocess.Popen"}


def main(point: int, db: Path, artifacts: Path, person: str) -> None:
    from recsys_cli.artifacts import Artifacts
    from recsys_cli.gdpr import erase
    from recsys_cli.settings_sources import load
    from recsys_cli.store import Store

    state, seen = os.fsencode(str(db.parent)), 0

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in OPERATIONS:
            return
        first = args[0] if args else ""
        where = os.fsencode(first) if isinstance(first, str | os.PathLike) else first
        ours = event == "subprocess.Popen" or (isinstance(where, bytes) and where.startswith(state))
        if ours:
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)

    settings = load({"db": db, "artifacts": artifacts, "store.threads": 2, "store.lock_timeout": 30.0}, environ={})
    store = Store(db, settings.store)
    sys.addaudithook(count)
    erase(store, Artifacts(artifacts), settings, [person])
    print(seen)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
