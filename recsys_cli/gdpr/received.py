"""A person's lines in the spool of received events: by the cells that name them, as in the database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from ..artifacts import Spool
from ..schema import guest_id
from ..store.personal_data import PERSON_FIELDS, SESSION_COLUMN, cell
from .proof.matcher import Matcher
from .proof.patterns import Pattern, folded, written

if TYPE_CHECKING:
    from .person import Person


@dataclass
class Seen:
    """What lines say of one person.

    Parameters
    ----------
    ids
        Customer ids of theirs, as the lines have them.
    sessions
        Sessions in which the lines name them and nobody else.
    guests
        Names of theirs that are sessions of lines without a customer.
    """

    ids: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    guests: set[str] = field(default_factory=set)


def look(spool: Spool, people: Sequence[Person]) -> list[Seen]:
    """What the lines that are in the spool now say of each of these people."""
    who = {cell(one): n for n, p in enumerate(people) for one in p.ids}
    seen, others = [Seen() for _ in people], set[str]()
    for line in _candidates(spool, [one for p in people for one in p.ids]):
        said = _parsed(line)
        user, session = customer_of(said), session_of(said)
        if user and (n := who.get(cell(user))) is not None:
            seen[n].ids.add(user)
            seen[n].sessions |= {session} if session else set()
        elif not user and session in {*who} and said is not None:
            seen[who[session]].guests.add(session)
    visits = {session: n for n, s in enumerate(seen) for session in s.sessions}
    for line in _candidates(spool, list(visits)):
        said = _parsed(line)
        user, session = customer_of(said), session_of(said)
        if user and session in visits and who.get(cell(user)) != visits[session]:
            others.add(session)
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
    for line in _candidates(spool, [name for p in people for name in p.names]):
        said = _parsed(line)
        user = customer_of(said)
        n = who.get(cell(user)) if user else visits.get(session_of(said))
        if said is None:
            n = next((n for name, n in quoted.items() if name in line), None)
        if n is not None:
            found[line] = n
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
        theirs = {line: n for line, n in theirs.items() if str((_parsed(line) or {}).get("item_id")) in items}

    def belongs(line: bytes) -> bool:
        n = theirs.get(line)
        if n is not None:
            counts[n] += 1
        return n is not None

    spool.blank(belongs)
    return counts


def owners(spool: Spool) -> dict[str, int]:
    """Everybody the lines are about, guests by `schema.guest_id`, and the time of their first event."""
    first: dict[str, int] = {}
    for chunk in spool.read({}):
        for line in chunk.lines():
            said = _parsed(line)
            user, session = customer_of(said), session_of(said)
            if said is not None and (user or session):
                one, ts = user or guest_id(session), said.get("ts")
                first[one] = min(first.get(one, 1 << 62), ts if isinstance(ts, int) else 0)
    return first


def customer_of(line: dict[str, Any] | None) -> str:
    """The customer that a line names; empty for none."""
    values = (line.get(name) for name in PERSON_FIELDS) if line else ()
    return next((text for v in values if isinstance(v, str | int | float) and (text := str(v).strip())), "")


def session_of(line: dict[str, Any] | None) -> str:
    """The session of a line; empty for none."""
    return str((line or {}).get(SESSION_COLUMN) or "")


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _candidates(spool: Spool, names: Sequence[str]) -> Iterator[bytes]:
    """Lines in which one of the names stands in some way, found in one go: asking each line for each of hundreds of
    people takes hours."""
    forms = {form.encode("utf-8", "surrogatepass") for name in names for form in written(name)}
    if not forms:
        return
    matcher = Matcher([Pattern(folded(form), "", 0, fold=True) for form in forms if len(form) >= 4])
    short = sorted(form for form in forms if len(form) < 4)
    few = re.compile(b"|".join(map(re.escape, short))) if short else None
    for chunk in spool.read({}):
        data, done = chunk.data, -1
        places = {hit.offset for hit in matcher.find(data)} | (
            {m.start() for m in few.finditer(data)} if few else set()
        )
        for at in sorted(places):
            if at > done:
                start, done = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
                yield data[start:done]
