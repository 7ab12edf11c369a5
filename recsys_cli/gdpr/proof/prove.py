"""The proof: nobody in the rows, in the received lines, in the versions, or in the bytes of any file that is ours."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path

from ...artifacts import orders
from ...settings import Settings
from ...store import Store
from ...store.personal_data import PERSON_COLUMN, count_rows, mentions, rejected_of, spelled
from ..person import Person
from ..records import journal
from .patterns import LEAST
from .scan import Scan, Search, Trace, state_roots

_DRAFT_SECONDS = 120.0


def search(store: Store, settings: Settings, people: Sequence[Person], secret: str) -> Scan:
    """Search the database, everything named after it, and the artifacts; what must name people for now, such as the
    journal of their erasure, is passed over.

    A training that had read a person before their erasure takes them out when it publishes; it is waited for.

    Raises
    ------
    StoreBusy
    """
    skip = [*journal.paths(settings.db), settings.artifacts / orders.FOLDER]
    look = Search(people, secret)
    with store.lock(shared=True):
        found = look.files(state_roots(settings.db, settings.artifacts), skip)
    deadline = time.monotonic() + _DRAFT_SECONDS
    while (drafts := [f for f in found.findings if _being_written(Path(f.path))]) and time.monotonic() < deadline:
        time.sleep(0.2)
        again = look.files(sorted({Path(f.path) for f in drafts}))
        found.findings = [f for f in found.findings if f not in drafts] + again.findings
    if store.exists():
        _rows(store, people, found)
    return found.sifted()


def _rows(store: Store, people: Sequence[Person], found: Scan) -> None:
    """Traces in rows, and the cells of others that look like these people."""
    who = {name: n for n, p in enumerate(people) for name in p.names}
    ids, sessions = [i for p in people for i in p.ids], [s for p in people for s in p.sessions]
    db = str(store.path)
    with store.reading() as con:
        for table, names in count_rows(con, ids, sessions).items():
            others = {"guest_events": "events.session_id", "served": "served.request_id"}
            column = others.get(table, f"{table}.{PERSON_COLUMN}")
            found.findings += [Trace(db, column, "a cell", who[name]) for name in names]
        named = rejected_of(con, ids, sessions).values()
        whole = {**{s.strip(): n for s, n in who.items()}, **{s.lower(): n for s, n in who.items() if "@" in s}}
        found.findings += [Trace(db, "rejected.raw", "a cell", whole[name]) for name in named]
        for (table, column), (n, first) in mentions(con, [*who]).items():
            found.mentions[f"{table}.{column}, first in row {first}"] += n
        unexplained = {f.who for f in found.findings if not f.inside} - {f.who for f in found.findings if f.inside}
        unexplained -= found.explained
        words = {name: n for name, n in who.items() if n in unexplained and len(name.encode()) >= LEAST}
        for word, place in spelled(con, list(words)).items():
            found.mention(place, words[word])


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
