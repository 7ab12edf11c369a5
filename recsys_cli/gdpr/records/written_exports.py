"""What was written outside of the state directories: exports of people's data, deleted when they are old and when the
person is erased, and lists with many people, which an erasure names.

An export's folder is one person's: it takes the place of nothing but an earlier export of the same person.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from ...durable_files import draft_dir, explain_os, fsync_dir, sweep_drafts, sweep_writes, write_atomic
from ...errors import InputError
from ...identity import state_dir
from ...schema import DAY
from ...state_file import StateFile

FILE = "exports.json"
LISTS = "lists.json"
DATA, PAGE, CONTENTS = "data.json", "index.html", "manifest.json"
TABLES = ("events", "profile", "lists_shown", "received", "rejected_rows", "recommended_now", "other_tables")
FILES = (DATA, PAGE, CONTENTS, *(f"{name}.csv" for name in TABLES))
_LISTS = 10  # the last ones
_TELLING = re.compile(r"@|\d{5}")


@dataclass(frozen=True)
class Written:
    """One export."""

    path: str  # the file or folder
    until: int  # epoch seconds when it is deleted; 0 for never
    about: list[str]  # `suppressed.hash_of` of each id of the person


def place(db: Path, path: Path, contents: Mapping[str, bytes], days: float, about: Sequence[str]) -> list[Path]:
    """Put an export into its place whole: one file under the name "" when `path` is to be a file, else a folder.

    Raises
    ------
    InputError
        There is something else in that place.
    StoreError
        It cannot be written.
    """
    where, before = path.resolve(), _exports(db).read()
    _refuse_others(path, {w.path for w in before if set(about) & set(w.about)})
    until = int(time.time() + days * DAY) if days else 0
    # Noted before it is written: killed in between, what there is of it is found and deleted all the same.
    _exports(db).write([*(w for w in before if w.path != str(where)), Written(str(where), until, list(about))])
    try:
        if "" in contents:
            write_atomic(where, contents[""])
            return [path]
        with draft_dir(where.parent, f".{where.name}.") as draft:
            for name, content in contents.items():
                write_atomic(draft / name, content)
            if where.is_dir():
                shutil.rmtree(where)
            draft.rename(where)
        fsync_dir(where.parent)
    except BaseException as e:
        _exports(db).write(before)  # another file may take that name, and is not ours to delete
        if isinstance(e, OSError):
            raise explain_os(e, path) from None
        raise
    return [path / name for name in contents]


def _refuse_others(path: Path, earlier: set[str]) -> None:
    """Refuse a place with anything but an earlier export of the same person in it."""
    if not path.exists() and not path.is_symlink():
        return
    theirs = str(path.resolve()) in earlier
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else None
    if names is None and not theirs:
        raise InputError(f"{path} already exists, and is not an earlier export of this person.", "Name a new file.")
    if names and not (theirs and names <= {*FILES}):
        raise InputError(
            f"{path} holds something other than an earlier export of this person.",
            "Name a new or an empty folder; nothing was written.",
        )


def remember_list(db: Path, path: Path) -> None:
    """Note where a list of many people was written; not if the path itself may name somebody."""
    where = str(path.resolve())
    if not _TELLING.search(where):
        _lists(db).write([*(w for w in _lists(db).read() if w != where), where][-_LISTS:])


def lists_left(db: Path) -> list[Path]:
    """The last lists of many people that are still where they were written."""
    return [Path(where) for where in _lists(db).read() if Path(where).exists()]


def forget_lists(db: Path, names: Sequence[str]) -> None:
    """Take lists off whose paths name one of these people: their erasure would find itself in here."""
    held, words = (_lists(db).read(), [re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE) for name in names])
    kept = [where for where in held if not any(word.search(where) for word in words)]
    if len(kept) < len(held):
        _lists(db).write(kept)


def _lists(db: Path) -> StateFile[list[str]]:
    return StateFile(state_dir(db) / LISTS, list[str], list, "Erasures then name no lists that were written before.")


def delete(db: Path, *, expired: float = 0, about: Set[str] = frozenset()) -> list[Written]:
    """Delete exports of these people, by hash, and those whose time is over at epoch seconds `expired`."""
    held = _exports(db).read()
    over = [w for w in held if 0 < w.until <= expired or about & set(w.about)]
    for path in (Path(w.path) for w in over):
        sweep_drafts(path.parent, f".{path.name}.")  # of a killed export
        sweep_writes(path.parent, path.name)
        if path.is_dir():
            for name in FILES:  # only what an export writes: somebody may have put more there
                (path / name).unlink(missing_ok=True)
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
    if over:
        _exports(db).write([w for w in held if w not in over])
    return over


def _exports(db: Path) -> StateFile[list[Written]]:
    return StateFile(state_dir(db) / FILE, list[Written], list, "Exports written so far are then yours to delete.")
