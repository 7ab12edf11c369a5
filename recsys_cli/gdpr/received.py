"""A person's lines in the spool of received events: by the cells that name them, as in the database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ..artifacts import Spool, suppressed
from ..identity import load_secret, pseudonym, user_key
from ..schema import guest_id
from ..store.personal_data import PERSON_FIELDS, SESSION_COLUMN, cell
from .proof.matcher import Matcher, names_of, written

if TYPE_CHECKING:
    from .person import Person


@dataclass
class Seen:
    """What lines say of one person."""

    ids: set[str] = field(default_factory=set)  # customer ids of theirs, as the lines have them
    sessions: set[str] = field(default_factory=set)  # sessions in which the lines name them and nobody else
    guests: set[str] = field(default_factory=set)  # names of theirs that are sessions of lines without a customer


def look(spool: Spool, people: Sequence[Person]) -> list[Seen]:
    """What the lines that are in the spool now say of each of these people."""
    who = {cell(one): n for n, p in enumerate(people) for one in p.ids}
    seen, others = [Seen() for _ in people], set[str]()
    for said in _lines(spool, (p.ids for p in people)):
        n = who.get(cell(said.user or said.session))
        if n is not None and said.user:
            seen[n].ids.add(said.user)
            seen[n].sessions |= {said.session} - {""}
        elif n is not None and said.session in who:
            seen[n].guests.add(said.session)
    visits = {session: n for n, s in enumerate(seen) for session in s.sessions}
    for said in _lines(spool, [visits]):
        if said.user and said.session in visits and who.get(cell(said.user)) != visits[said.session]:
            others.add(said.session)
    for s in seen:
        s.sessions -= others
    return seen


def lines_of(spool: Spool, people: Sequence[Person]) -> dict[bytes, int]:
    """Their lines, and whose each is: those that name the customer, those of their sessions that name no customer, and
    half lines in which a name of theirs stands as a value, which nobody can take in."""
    who = {cell(one): n for n, p in enumerate(people) for one in p.ids}
    visits = {session: n for n, p in enumerate(people) for session in p.sessions}
    quoted = {f'"{name}"'.encode(): n for n, p in enumerate(people) for name in p.names for name in written(name)}
    found: dict[bytes, int] = {}
    for said in _lines(spool, (p.names for p in people)):
        n = who.get(cell(said.user)) if said.user else visits.get(said.session)
        if said.what is None:
            n = next((n for name, n in quoted.items() if name in said.line), None)
        if n is not None:
            found[said.line] = n
    return found


def blank_lines(spool: Spool, people: Sequence[Person], items: Sequence[str] | None = None) -> list[int]:
    """Overwrite their lines; returns how many, of each person. Every reader drops what it remembers and reads again.

    Parameters
    ----------
    items
        Only lines about these items; None for all.
    """
    counts = [0] * len(people)
    theirs = lines_of(spool, people)
    if items is not None:
        theirs = {line: n for line, n in theirs.items() if str((_Line(line).what or {}).get("item_id")) in items}

    def belongs(line: bytes) -> bool:
        if line in theirs:
            counts[theirs[line]] += 1
        return line in theirs

    spool.blank(belongs)
    return counts


def without_erased(db: Path, data: bytes) -> bytes:
    """The same lines, those blanked that are about erased people and happened before: what `store.erased_people`
    refuses. Read the list for every few lines: an erasure looks through the spool once more after it noted itself."""
    listed = suppressed.kept_out(db)
    if not listed:
        return data
    secret = load_secret(db)

    def theirs(line: bytes) -> bool:
        said = _Line(line)
        if said.what is None or not (said.user or said.session):
            return False
        names = {said.user, cell(said.user), pseudonym(secret, said.user)} if said.user else {guest_id(said.session)}
        at = max(listed.get(suppressed.hash_of(secret, user_key(secret, name)), -1) for name in names)
        ts = said.what.get("ts")
        return at >= (ts if isinstance(ts, int) else 0)

    return b"\n".join(b" " * len(line) if theirs(line) else line for line in data.split(b"\n"))


def owners(spool: Spool) -> dict[str, int]:
    """Everybody the lines are about, guests by `schema.guest_id`, and the time of their first event."""
    first: dict[str, int] = {}
    for said in (_Line(line) for chunk in spool.read({}) for line in chunk.lines()):
        if said.what is not None and (said.user or said.session):
            one, ts = said.user or guest_id(said.session), said.what.get("ts")
            first[one] = min(first.get(one, 1 << 62), ts if isinstance(ts, int) else 0)
    return first


class _Line:
    """A line: what it says, None for half a line; its customer and its session, empty for none."""

    def __init__(self, line: bytes) -> None:
        found: Any = None
        with suppress(orjson.JSONDecodeError):
            found = orjson.loads(line)
        self.line, self.what = line, found if isinstance(found, dict) else None
        values = [self.what.get(name) for name in PERSON_FIELDS] if self.what else []
        self.user = next((t for v in values if isinstance(v, str | int | float) and (t := str(v).strip())), "")
        self.session = str((self.what or {}).get(SESSION_COLUMN) or "")


def _lines(spool: Spool, names: Iterable[Iterable[str]]) -> Iterator[_Line]:
    """Lines in which one of these names of each person stands in some way."""
    matcher = Matcher(names_of(names))
    for chunk in spool.read({}):
        done = -1
        for at in sorted(hit.offset for hit in matcher.find(chunk.data)):
            if at > done:
                start, done = (chunk.data.rfind(b"\n", 0, at) + 1, chunk.data.find(b"\n", at))
                yield _Line(chunk.data[start:done])
