"""The proof: search everything that is ours, and fail unless nobody is found and nothing was left unopened."""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path

from ..errors import ErasureIncomplete
from ..settings import Settings
from ..store import Store
from .matching import Matcher
from .needles import Needle, folded, is_email, is_telling, is_tiny, needles_for
from .people import Person, names_of
from .scanning import Scan, scan, state_roots

_DRAFT_SECONDS = 120.0


def needles_of(
    people: Sequence[Person], sessions: Sequence[str] = (), keys: Sequence[tuple[int, int]] = ()
) -> list[Needle]:
    """What to look for: all names and keys of these people, and sessions that were theirs alone."""
    names = [list(p.names) for p in people]
    held = [list(p.keys) for p in people]
    guests: list[Sequence[str]] = [() for _ in people]
    if sessions:
        known = set(names_of(people))  # what is theirs by both is one trace, not two
        names.append([s for s in sessions if is_telling(s) and s not in known])
        held.append(list(keys))
        guests.append(sessions)
    return needles_for(names, held, guests)


def search(store: Store, settings: Settings, needles: Sequence[Needle], skip: Sequence[Path] = ()) -> Scan:
    """Search the database, everything named after it, and the artifacts.

    A training that had read a person before their erasure takes them out when it publishes; it is waited for.

    Parameters
    ----------
    skip
        Files and folders that must name people, such as the journal of their erasure.

    Raises
    ------
    StoreBusy
    """
    roots = state_roots(settings.db, settings.artifacts)
    with store.lock(shared=True):
        scanned = scan(roots, needles, skip=skip)
    deadline = time.monotonic() + _DRAFT_SECONDS
    while (drafts := [f for f in scanned.findings if _being_written(Path(f.path))]) and time.monotonic() < deadline:
        time.sleep(0.2)
        again = scan(sorted({Path(f.path) for f in drafts}), needles)
        scanned.findings = [f for f in scanned.findings if f not in drafts] + again.findings
    return scanned


def spelled_in(path: Path, people: Sequence[Person]) -> bool:
    """Whether a name stands anywhere in the bytes of a file, be it as part of another word or by chance."""
    spelled = [(who, name) for who, p in enumerate(people) for name in p.names if not is_tiny(name)]
    names = [
        Needle(folded(name.encode()) if is_email(name) else name.encode(), "plain", who, fold=is_email(name))
        for who, name in spelled
    ]
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as f:
        mapped = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)  # a database may be larger than memory
        return next(Matcher(names).find(memoryview(mapped)), None) is not None


def demand(scanned: Scan, again: str) -> None:
    """Fail unless the search found nobody.

    Parameters
    ----------
    again
        What to do after removing what was found.

    Raises
    ------
    ErasureIncomplete
        Says where; never who.
    """
    if scanned.findings:
        places = "; ".join(dict.fromkeys(str(f) for f in scanned.findings[:5]))
        raise ErasureIncomplete(
            f"Traces are left in {len(scanned.findings)} places: {places}.", f"Remove them, or the files, and {again}."
        )
    if scanned.unread:
        raise ErasureIncomplete(
            f"{scanned.unread[0]} is packed and cannot be opened, so it cannot be shown to hold nobody.",
            f"Remove that file and {again}.",
        )


def _being_written(path: Path) -> bool:
    """Whether a file was in the draft of a process that lives, which takes the erased out before it publishes."""
    draft = next((p for p in path.parents if p.name.startswith(".draft-")), None)
    if draft is None:
        return False
    try:
        handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True  # published or gone since: look again
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
