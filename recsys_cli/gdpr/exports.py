"""Exports that were written: copies of people's data, deleted when they are old and when the person is erased.

Lists for every customer are another matter: the shop has sent them to its mailer by now, so they are only named.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..durable_files import private_dir, write_atomic
from ..schema import DAY
from .folder import FILES
from .journal import state_dir

FILE = "exports.json"
LISTS = "lists.json"
_LISTS = 10  # the last ones
_TELLING = re.compile(r"@|\d{5}")


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


def remember_list(db: Path, path: Path) -> None:
    """Note where a list for every customer was written; not if the path itself may name somebody."""
    where = str(path.resolve())
    if not _TELLING.search(where):
        _write_lists(db, [*(w for w in _lists(db) if w != where), where][-_LISTS:])


def lists_left(db: Path) -> list[Path]:
    """The last lists for every customer that are still where they were written."""
    return [Path(where) for where in _lists(db) if Path(where).exists()]


def forget_lists(db: Path, names: Sequence[str]) -> None:
    """Take lists off whose paths name one of these people: their erasure would find itself in here."""
    held, words = _lists(db), [re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE) for name in names]
    kept = [where for where in held if not any(word.search(where) for word in words)]
    if len(kept) < len(held):
        _write_lists(db, kept)


def _lists(db: Path) -> list[str]:
    try:
        return [str(where) for where in json.loads((state_dir(db) / LISTS).read_bytes())]
    except FileNotFoundError:
        return []


def _write_lists(db: Path, held: Sequence[str]) -> None:
    private_dir(state_dir(db))
    write_atomic(state_dir(db) / LISTS, json.dumps(list(held)).encode())


def forget_missing(db: Path, path: Path) -> None:
    """Take an export that never came to be off the list: another file may take that name, and is not ours to delete."""
    if not path.exists():
        _write(db, [w for w in _read(db) if w.path != str(path.resolve())])


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
