"""What an erasure that has begun still has to do, so that the next run finishes it whatever became of this one.

One journal for each person: one who cannot be shown to be gone keeps nobody else waiting. It is the one place that
names the person until everything else has forgotten them; it is private, and goes last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from ...durable_files import fsync_dir, locked, private_dir, write_many
from ...errors import RecsysError, StoreBusy, StoreError
from ...identity import state_dir

_FILES = "erasing*.json"

# Seconds between tries of an erasure that cannot be finished. Each rewrites the database and reads every file: done
# again by every pass of the worker, one note of a customer in the wrong folder would keep the machine busy for good.
PAUSES = (60, 300, 1800, 21_600)


@dataclass(frozen=True)
class Journal:
    """One person's erasure.

    Parameters
    ----------
    request
        Id of the request, in the log and on the receipt.
    asked
        What they were asked for by.
    started_at
        Epoch seconds.
    ids, sessions
        What was found to name them: once the rows are gone, nothing else tells.
    guest
        Whether the session is meant, though a customer may be called the same.
    known
        Whether anything was held of them.
    begun
        Whether anything may have been removed.
    removed
        What has been removed so far, by kind; a count.
    failures
        How often they were still found at the end.
    next_at
        Epoch seconds before which it is not tried again by itself; 0 for at once.
    left
        Where they were found the last time.
    """

    request: str
    asked: tuple[str, ...]
    started_at: int
    ids: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    guest: bool = False
    known: bool = False
    begun: bool = False
    removed: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    next_at: int = 0
    left: tuple[str, ...] = ()

    def with_removed(self, counts: Mapping[str, int]) -> Journal:
        """What was removed, as counted before it was; a run that goes on after a killed one finds less or nothing."""
        merged = {k: max(self.removed.get(k, 0), counts.get(k, 0)) for k in {**self.removed, **counts}}
        return replace(self, removed={k: n for k, n in merged.items() if n})

    def with_failure(self, now: float, left: Sequence[str]) -> Journal:
        """Tried in vain: again after a while, and later every time."""
        pause = PAUSES[min(self.failures, len(PAUSES) - 1)]
        return replace(self, failures=self.failures + 1, next_at=int(now) + pause, left=tuple(left))


def paths(db: Path) -> list[Path]:
    """Files of the erasures that were begun and not finished."""
    return sorted(state_dir(db).glob(_FILES))


def unfinished(db: Path) -> list[Journal]:
    """The erasures that were begun and not finished, oldest first.

    Raises
    ------
    StoreError
        A journal is damaged.
    """
    held = [_read(path) for path in paths(db)]
    return sorted((j for j in held if j is not None), key=lambda j: (j.started_at, j.request))


def _read(path: Path) -> Journal | None:
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        return None  # finished since we listed it
    if not written.strip():
        return None  # finished, and killed before the file went
    try:
        found = json.loads(written)
        known = {f.name: found[f.name] for f in fields(Journal) if f.name in found}
        lists = {name: tuple(found.get(name, ())) for name in ("asked", "ids", "sessions", "left")}
        return Journal(**{**known, **lists})
    except (ValueError, TypeError):
        hint = "Restore it from a backup, or remove it and erase the person again."
        raise StoreError(f"The journal {path} of an erasure is damaged.", hint) from None


def keep(db: Path, journals: Sequence[Journal]) -> None:
    """Write journals, on disk."""
    private_dir(state_dir(db))
    write_many({_path(db, journal): json.dumps(asdict(journal)).encode() for journal in journals})


def drop(db: Path, journals: Sequence[Journal]) -> None:
    """Forget the journals: their bytes are overwritten before the files go."""
    held = [path for journal in journals if (path := _path(db, journal)).exists()]
    for path in held:
        with path.open("r+b") as f:
            f.write(b" " * path.stat().st_size)
            f.flush()
            if len(held) == 1:
                os.fsync(f.fileno())
    if len(held) > 1:
        os.sync()
    for path in held:
        path.unlink()
    if held:
        fsync_dir(state_dir(db))


def _path(db: Path, journal: Journal) -> Path:
    return state_dir(db) / f"erasing-{journal.request}.json"


@contextmanager
def alone(db: Path, timeout: float) -> Iterator[None]:
    """One request at a time; others wait their turn. What a killed one left half written goes first."""

    def busy(who: str) -> RecsysError:
        return StoreBusy(f"Another request about people is being carried out by {who}.", "Run this again when it ends.")

    with locked(private_dir(state_dir(db)) / "lock", timeout=timeout, busy=busy):
        for draft in state_dir(db).glob(".*.tmp"):
            draft.unlink(missing_ok=True)
        for path in paths(db):
            if not path.read_bytes().strip():
                path.unlink()
            elif (held := _read(path)) is not None and path != _path(db, held):
                path.rename(_path(db, held))  # as an older version named it
        yield
