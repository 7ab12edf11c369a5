"""What an erasure that has begun still has to do, so that the next run finishes it whatever became of this one.

The journal is the one place that names the person until everything else has forgotten them; it is private, and goes
last. While it exists, commands say that an erasure is unfinished. Each erasure has a file of its own: one that cannot
prove itself must not keep anybody else from being erased.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..durable_files import fsync_dir, locked, private_dir, write_atomic
from ..errors import RecsysError, StoreBusy

_FILES = "erasing*.json"

# Seconds between tries of an erasure whose proof fails. Each writes the database anew and reads every file: done again
# by every pass of the worker, one note of a customer in the wrong folder would keep the machine busy for good.
PAUSES = (60, 300, 1800, 21_600)


def state_dir(db: Path) -> Path:
    """Where everything about requests of people is kept: beside the database, only for its owner."""
    return db.with_name(db.name + ".gdpr")


@dataclass(frozen=True)
class Journal:
    """An erasure under way.

    Parameters
    ----------
    request
        Random id of the request.
    asked
        Whom it is about, as they were asked for.
    started_at
        Epoch seconds.
    removed
        What has been removed so far, by kind; a count.
    unknown
        Places in `asked` of those of whom nothing was held.
    sessions
        Sessions that were theirs alone: once the rows are gone, nothing else tells.
    spelled
        Ids that were held of them and are their e-mail in another case.
    begun
        Whether anything may have been removed.
    originals
        Files of the watched folder that were rewritten, or were about to be: path -> SHA-256 before and after, rows
        taken out, and new size.
    failures
        How often the proof has failed.
    next_at
        Epoch seconds before which it is not tried again by itself; 0 for at once.
    """

    request: str
    asked: tuple[str, ...]
    started_at: int
    removed: dict[str, int] = field(default_factory=dict)
    unknown: tuple[int, ...] = ()
    sessions: tuple[str, ...] = ()
    begun: bool = False
    originals: dict[str, tuple[str, str, int, int]] = field(default_factory=dict)
    failures: int = 0
    next_at: int = 0
    spelled: tuple[str, ...] = ()

    def with_removed(self, counts: dict[str, int]) -> Journal:
        """What was removed, as counted before it was; a run that goes on after a killed one finds less or nothing."""
        merged = {k: max(self.removed.get(k, 0), counts.get(k, 0)) for k in {**self.removed, **counts}}
        return replace(self, removed={k: n for k, n in merged.items() if n})

    def with_unknown(self, unknown: Sequence[int]) -> Journal:
        return replace(self, unknown=tuple(unknown))

    def with_sessions(self, sessions: Sequence[str]) -> Journal:
        return replace(self, sessions=tuple(dict.fromkeys((*self.sessions, *sessions))))

    def with_spelled(self, spelled: Sequence[str]) -> Journal:
        return replace(self, spelled=tuple(dict.fromkeys((*self.spelled, *spelled))))

    def with_original(self, path: str, before: str, after: str, rows: int, size: int) -> Journal:
        return replace(self, originals=self.originals | {path: (before, after, rows, size)})

    def with_failure(self, now: float) -> Journal:
        """Tried in vain: again after a while, and later every time."""
        pause = PAUSES[min(self.failures, len(PAUSES) - 1)]
        return replace(self, failures=self.failures + 1, next_at=int(now) + pause)

    def with_begun(self) -> Journal:
        return replace(self, begun=True)


def paths(db: Path) -> list[Path]:
    """Files of the erasures that were begun and not finished."""
    return sorted(state_dir(db).glob(_FILES))


def unfinished(db: Path) -> list[Journal]:
    """The erasures that were begun and not finished, oldest first."""
    held = [_read(path) for path in paths(db)]
    return sorted((j for j in held if j is not None), key=lambda j: (j.started_at, j.request))


def pending(db: Path) -> Journal | None:
    """The oldest of them, if there is one."""
    return next(iter(unfinished(db)), None)


def _read(path: Path) -> Journal | None:
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        return None  # finished since we listed it
    if not written.strip():
        return None  # finished, and killed before the file went
    found = json.loads(written)
    lists = {name: tuple(found.get(name, ())) for name in ("asked", "unknown", "sessions", "spelled")}
    originals = {path: tuple(entry) for path, entry in found.get("originals", {}).items()}
    return Journal(**{**found, **lists, "originals": originals})


def keep(db: Path, journal: Journal) -> None:
    """Write the journal, on disk."""
    private_dir(state_dir(db))
    write_atomic(_path(db, journal), json.dumps(asdict(journal)).encode())


def drop(db: Path, journal: Journal) -> None:
    """Forget the journal: its bytes are overwritten before the file goes."""
    path = _path(db, journal)
    try:
        with path.open("r+b") as f:
            f.write(b" " * path.stat().st_size)
            f.flush()
            os.fsync(f.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    fsync_dir(path.parent)


def _path(db: Path, journal: Journal) -> Path:
    return state_dir(db) / f"erasing-{journal.request}.json"


def sweep_drafts(db: Path) -> None:
    """Remove what a killed write of one of our files left behind. Inside `alone`."""
    for draft in state_dir(db).glob(".*.tmp"):
        draft.unlink(missing_ok=True)


def _sort_out(db: Path) -> None:
    """Remove a journal of blanks, which a kill left while it was dropped; the file of older versions gets its name."""
    for path in paths(db):
        if not path.read_bytes().strip():
            path.unlink()
        elif (held := _read(path)) is not None and path != _path(db, held):
            path.rename(_path(db, held))


@contextmanager
def alone(db: Path, timeout: float) -> Iterator[None]:
    """One request at a time; others wait their turn."""

    def busy(who: str) -> RecsysError:
        return StoreBusy(f"Another request about people is being carried out by {who}.", "Run this again when it ends.")

    with locked(private_dir(state_dir(db)) / "lock", timeout=timeout, busy=busy):
        sweep_drafts(db)
        _sort_out(db)
        yield
