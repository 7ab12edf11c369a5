"""What servers on other machines received, copied into this machine's log, which the worker then takes in as its own.

A segment is only ever appended to, and its name is given once in the world. So the copy is the beginning of the
original, and copying goes on where it ended, whoever was killed and whatever the network did meanwhile. Everything else
stays as it is with one machine: lines are taken by segment and place, exactly once, and a person's are blanked in the
copy. Lines of erased people that are copied later, the original being what it was, arrive blanked.

The folders may be mounted or kept in step by whatever program: they are only read. Each server deletes its own segments
when a version that it serves says that they were taken in; see `serving.reloader`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from ..artifacts import Artifacts, Spool
from ..durable_files import cut_torn_tail, explain_os, fsync_dir, open_private, private_dir, write_all
from ..errors import InputError, RecsysError
from ..gdpr.received import without_erased
from ..state_file import StateFile

FILE = "collected.json"
_BYTES = 4 << 20


def collect(artifacts: Artifacts, servers: Sequence[Path], db: Path) -> list[RecsysError]:
    """Copy what is new in the spools and the logs of answered lists of other servers.

    Parameters
    ----------
    servers
        Their artifacts directories, as seen from here.
    db
        The database, beside which it says who was erased.

    Returns
    -------
    Why some could not be read; what the others have was copied all the same.
    """
    failed: list[RecsysError] = []
    state = _state(artifacts.root)
    known = state.read()
    found: dict[str, int] = {}
    reachable = True
    for root in servers:
        try:
            if root.resolve() == artifacts.root.resolve():
                continue
            if not (root / "versions").exists():
                raise InputError(
                    f"{root}, a server's artifacts directory of update.servers, cannot be reached.",
                    "What it received is taken in when it can.",
                )
            for theirs, ours in ((root / "spool", artifacts.spool_dir), (root / "served", artifacts.served_dir)):
                for name, size in Spool(theirs).segments().items():
                    found[name] = _copy(theirs / name, ours / name, size, known.get(name, 0), db)
        except OSError as e:
            reachable = False
            failed.append(explain_os(e, root))
        except RecsysError as e:
            reachable = False
            failed.append(e)
    # Segments that their servers have deleted; while a server cannot be reached nothing is known of its own.
    held = found if reachable else {**known, **found}
    if held != known:
        state.write(held)
    return failed


def collected(artifacts: Artifacts) -> list[str]:
    """Segments that other servers still have: how far they were taken is not forgotten when their copies go."""
    return list(_state(artifacts.root).read())


def _state(root: Path) -> StateFile[dict[str, int]]:
    return StateFile(root / FILE, dict[str, int], dict, "Segments of other servers are then copied once more.")


def _copy(theirs: Path, ours: Path, size: int, copied: int, db: Path) -> int:
    """Append to our copy the whole lines that it lacks, without those of erased people; the bytes that were ever seen.

    A copy that is shorter than what was copied was deleted after it was taken in, with nothing left to take from it.
    """
    have = ours.stat().st_size if ours.exists() else 0
    if size <= max(have, copied if not have else 0):
        return max(copied, have)
    private_dir(ours.parent)
    with theirs.open("rb") as source:
        target = open_private(ours, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            fcntl.flock(target, fcntl.LOCK_SH)  # as writers do: whoever blanks lines cuts no half line off meanwhile
            cut_torn_tail(target)
            seen = os.fstat(target).st_size
            source.seek(seen)
            rest = b""
            while seen < size and (data := source.read(min(_BYTES, size - seen))):
                seen += len(data)
                whole, newline, rest = (rest + data).rpartition(b"\n")
                write_all(target, without_erased(db, whole + newline))
            os.utime(target, ns=(theirs.stat().st_mtime_ns,) * 2)  # its age says when nothing more comes
            os.fsync(target)
        finally:
            os.close(target)
    fsync_dir(ours.parent)
    return seen
