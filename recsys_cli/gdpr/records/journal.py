"""What an erasure that has begun still has to do, so that the next run finishes it whatever became of this one.

One journal for each person: one who cannot be shown to be gone keeps nobody else waiting. They are the one place that
names a person until everything else has forgotten them; they are private, and go last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...durable_files import locked, private_dir, sweep_writes
from ...errors import RecsysError, StoreBusy
from ...identity import state_dir
from ...state_file import StateFile

FILE = "erasing.json"

# Seconds between tries of an erasure that cannot be finished. Each rewrites the database and reads every file: done
# again by every pass of the worker, one note of a customer in the wrong folder would keep the machine busy for good.
PAUSES = (60, 300, 1800, 21_600)


@dataclass(frozen=True)
class Journal:
    """One person's erasure."""

    request: str  # id of the request, in the log and on the receipt
    asked: tuple[str, ...]  # what they were asked for by
    started_at: int  # epoch seconds
    ids: tuple[str, ...] = ()  # what was found to name them: once the rows are gone, nothing else tells
    sessions: tuple[str, ...] = ()
    guest: bool = False  # whether the session is meant, though a customer may be called the same
    known: bool = False  # whether anything was held of them
    begun: bool = False  # whether anything may have been removed
    removed: dict[str, int] = field(default_factory=dict)  # what has been removed so far, by kind; a count
    failures: int = 0  # how often they were still found at the end
    next_at: int = 0  # epoch seconds before which it is not tried again by itself; 0 for at once
    left: tuple[str, ...] = ()  # where they were found the last time

    def with_removed(self, counts: Mapping[str, int]) -> Journal:
        """What was removed, as counted before it was; a run that goes on after a killed one finds less or nothing."""
        merged = {k: max(self.removed.get(k, 0), counts.get(k, 0)) for k in {**self.removed, **counts}}
        return replace(self, removed={k: n for k, n in merged.items() if n})

    def with_failure(self, now: float, left: Sequence[str]) -> Journal:
        """Tried in vain: again after a while, and later every time."""
        pause = PAUSES[min(self.failures, len(PAUSES) - 1)]
        return replace(self, failures=self.failures + 1, next_at=int(now) + pause, left=tuple(left))


def unfinished(db: Path) -> list[Journal]:
    """The erasures that were begun and not finished, oldest first.

    Raises
    ------
    DamagedState
    """
    return sorted(_file(db).read(), key=lambda j: (j.started_at, j.request))


def keep(db: Path, journals: Sequence[Journal], done: Sequence[Journal] = ()) -> None:
    """Write journals, on disk, and forget those that are done. Inside `alone`."""
    gone = {journal.request for journal in (*journals, *done)}
    held = [journal for journal in _file(db).read() if journal.request not in gone]
    _file(db).write([*held, *journals])


def _file(db: Path) -> StateFile[list[Journal]]:
    return StateFile(state_dir(db) / FILE, list[Journal], list, "Erase the people again whose erasure was unfinished.")


@contextmanager
def alone(db: Path, timeout: float) -> Iterator[None]:
    """One request at a time; others wait their turn."""

    def busy(who: str) -> RecsysError:
        return StoreBusy(f"Another request about people is being carried out by {who}.", "Run this again when it ends.")

    with locked(private_dir(state_dir(db)) / "lock", timeout=timeout, busy=busy):
        sweep_writes(state_dir(db))  # of killed ones, which may name people
        yield
