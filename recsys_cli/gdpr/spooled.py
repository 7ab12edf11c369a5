"""A person's lines in the event spool: found by what they say, whoever wrote them and whether they parse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson

from ..artifacts import Spool
from .matching import Matcher
from .needles import needles_for

# Fields of a line that name who did it; anything else of the same digits is a product or an order.
PERSON_FIELDS = ("user_id", "customer_id", "email")
SESSION_FIELD = "session_id"


class Lines:
    """Tells the lines of one or more people.

    Parameters
    ----------
    names
        Everything they are called.
    sessions
        Guest sessions known to be theirs.
    """

    def __init__(self, names: Sequence[str], sessions: Sequence[str] = ()) -> None:
        self._names = set(names)
        self._sessions = set(sessions)
        self._telling = Matcher([n for n in needles_for([list(names)]) if n.telling and "hash" not in n.encoding])
        # What every line that could be theirs contains; the others are not parsed.
        self._marks = tuple({form for word in (*names, *sessions) for form in _forms(word)})

    def __call__(self, line: bytes) -> bool:
        """Whether the line is about one of them."""
        if not any(mark in line for mark in self._marks) and b"\\u" not in line:
            return False
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            return True  # nobody can take in a broken line, and it may well be theirs
        return (isinstance(found, dict) and self._theirs(found)) or next(self._telling.find(line), None) is not None

    def session_of(self, line: bytes) -> str | None:
        """The session that the line ties to one of them by name, if it does."""
        if not any(mark in line for mark in self._marks):
            return None
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(found, dict) or not self._named(found):
            return None
        session = found.get(SESSION_FIELD)
        return session if isinstance(session, str) and session else None

    def _theirs(self, line: dict[str, Any]) -> bool:
        if self._named(line):
            return True
        # A session is theirs as long as the line names nobody else: people share computers.
        return not line.get("user_id") and str(line.get(SESSION_FIELD, "")) in self._sessions

    def _named(self, line: dict[str, Any]) -> bool:
        return any(str(line[field]) in self._names for field in PERSON_FIELDS if field in line)


def find_lines(
    spool: Spool, names: Sequence[str], sessions: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], list[str]]:
    """Their lines still in the spool, and the guest sessions that these and `sessions` make theirs."""
    known = sorted({*sessions, *_sessions(spool, names)})
    theirs = Lines(names, known)
    found: list[dict[str, Any]] = []
    for chunk in spool.read({}):
        for line in chunk.lines():
            if theirs(line):
                try:
                    found.append(orjson.loads(line))
                except orjson.JSONDecodeError:
                    found.append({"unreadable": line.decode("utf-8", "replace")})
    return found, known


def blank_lines(spool: Spool, names: Sequence[str], sessions: Sequence[str] = ()) -> int:
    """Overwrite their lines; returns how many."""
    return spool.blank(Lines(names, sorted({*sessions, *_sessions(spool, names)})))


def _sessions(spool: Spool, names: Sequence[str]) -> set[str]:
    theirs = Lines(names)
    return {s for chunk in spool.read({}) for line in chunk.lines() if (s := theirs.session_of(line)) is not None}


def _forms(word: str) -> set[bytes]:
    escaped = (json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1])
    return {form.encode("utf-8", "surrogatepass") for form in escaped}


def people_of(spool: Spool) -> dict[str, int]:
    """Everybody the lines name, and the time of their first event."""
    first: dict[str, int] = {}
    for chunk in spool.read({}):
        for line in chunk.lines():
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # names nobody that could be taken in
            if isinstance(found, dict) and found.get("user_id"):
                one, ts = str(found["user_id"]), found.get("ts")
                first[one] = min(first.get(one, 1 << 62), ts if isinstance(ts, int) else 0)
    return first
