"""Exports that were written: copies of people's data, deleted when they are old and when the person is erased."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..files import private_dir, write_atomic
from ..schema import DAY
from .folder import FILES
from .journal import state_dir

FILE = "exports.json"


@dataclass(frozen=True)
class Written:
    """One export.

    Parameters
    ----------
    path
        The file or folder.
    until
        Epoch seconds when it is deleted; 0 for never.
    about
        `suppression.hash_of` of each id of the person.
    """

    path: str
    until: int
    about: list[str]


def remember(db: Path, path: Path, days: float, about: Sequence[str]) -> None:
    """Note an export before it is written."""
    until = int(time.time() + days * DAY) if days else 0
    where = str(path.resolve())
    _write(db, [*(w for w in _read(db) if w.path != where), Written(where, until, list(about))])


def delete_expired(db: Path, at: float) -> int:
    """Delete exports whose time is over; returns how many."""
    return _delete(db, lambda w: bool(w.until) and w.until <= at)


def delete_about(db: Path, hashes: Sequence[str]) -> int:
    """Delete exports of these people; returns how many."""
    gone = set(hashes)
    return _delete(db, lambda w: bool(gone & set(w.about)))


def _delete(db: Path, doomed: Callable[[Written], bool]) -> int:
    held = _read(db)
    over = [w for w in held if doomed(w)]
    for w in over:
        path = Path(w.path)
        if path.is_dir():
            for name in FILES:  # only what an export writes: somebody may have put more there
                (path / name).unlink(missing_ok=True)
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
    if over:
        _write(db, [w for w in held if w not in over])
    return len(over)


def _read(db: Path) -> list[Written]:
    try:
        return [Written(**w) for w in json.loads((state_dir(db) / FILE).read_bytes())]
    except FileNotFoundError:
        return []


def _write(db: Path, held: Sequence[Written]) -> None:
    private_dir(state_dir(db))
    write_atomic(state_dir(db) / FILE, json.dumps([asdict(w) for w in held]).encode())
