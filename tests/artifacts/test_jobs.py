"""Jobs that a server starts: who only looks whether one lives does not keep the next from starting."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from recsys_cli.artifacts.jobs import _taken


def test_who_looks_at_the_lock_does_not_pass_for_a_job(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    looking = os.open(path, os.O_RDWR | os.O_CREAT)
    wanted = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not _taken(wanted), "it is held for good"
        timer = threading.Timer(0.03, fcntl.flock, (looking, fcntl.LOCK_UN))
        timer.start()
        assert _taken(wanted)
        timer.join()
    finally:
        os.close(looking)
        os.close(wanted)
