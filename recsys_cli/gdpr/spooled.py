"""A person's lines in the event spool: found by what they say, whoever wrote them and whether they parse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson

from ..artifacts import Spool
from ..schema import guest_id
from .matching import Matcher
from .needles import Needle, folded, is_email, is_telling

# Fields of a line that name who did it; anything else of the same digits is a product or an order.
PERSON_FIELDS = ("user_id", "customer_id", "email")
SESSION_FIELD = "session_id"


class Lines:
    """Tells the lines of one or more people among those that are in the spool now.

    Parameters
    ----------
    names
        Everything they are called.
    sessions
        Guest sessions known to be theirs.
    """

    def __init__(self, spool: Spool, names: Sequence[str], sessions: Sequence[str] = ()) -> None:
        self._names = set(names)
        self._sessions = set(sessions)
        self._emails = {name.lower() for name in names if is_email(name)}
        words = [(word, word in self._names and is_telling(word)) for word in dict.fromkeys((*names, *sessions))]
        marks = [_mark(form, telling, is_email(word)) for word, telling in words for form in _forms(word)]
        self._short = tuple(mark.data for mark in marks if len(mark.data) < 4)
        # All that could be theirs are found in one go: with hundreds of people, asking each line for each takes hours.
        self._candidates: dict[bytes, bool] = {}
        self._matcher = Matcher(marks)
        for chunk in spool.read({}):
            for hit in self._matcher.find(chunk.data):
                start = chunk.data.rfind(b"\n", 0, hit.offset) + 1
                line = chunk.data[start : chunk.data.find(b"\n", hit.offset)]
                self._candidates[line] = self._candidates.get(line, False) or hit.needle.telling

    def __call__(self, line: bytes) -> bool:
        """Whether the line is about one of them."""
        telling = self._mentions(line)
        if telling is None:
            return False
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            return True  # nobody can take in a broken line, and it may well be theirs
        return telling or (isinstance(found, dict) and self._theirs(found))

    def without_visit(self, line: bytes) -> bytes | None:
        """An event of somebody else, who has or had the session, without it; None for all other lines.

        It was acknowledged, and is not theirs to take away.
        """
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(found, dict) or found.get("t") != "event" or not found.get("user_id") or self._named(found):
            return None
        if str(found.get(SESSION_FIELD)) not in self._names | self._sessions:
            return None
        left = orjson.dumps({name: value for name, value in found.items() if name != SESSION_FIELD})
        mentions = any(hit.needle.telling for hit in self._matcher.find(left))
        return None if mentions or len(left) > len(line) else left

    def session_of(self, line: bytes) -> str | None:
        """The session that the line ties to one of them by name, if it does."""
        if self._mentions(line) is None:
            return None
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(found, dict) or not self._named(found):
            return None
        session = found.get(SESSION_FIELD)
        return session if isinstance(session, str) and session else None

    def _mentions(self, line: bytes) -> bool | None:
        """None when no name stands in the line; else whether one does that can only be theirs."""
        if line in self._candidates:
            return self._candidates[line]
        return False if any(mark in line for mark in self._short) else None

    def _theirs(self, line: dict[str, Any]) -> bool:
        if self._named(line):
            return True
        # A session is theirs as long as the line names nobody else: people share computers.
        return not line.get("user_id") and str(line.get(SESSION_FIELD, "")) in self._sessions

    def _named(self, line: dict[str, Any]) -> bool:
        values = [str(line[field]) for field in PERSON_FIELDS if field in line]
        return any(value in self._names or value.strip().lower() in self._emails for value in values)


def find_lines(
    spool: Spool, names: Sequence[str], sessions: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], list[str]]:
    """Their lines still in the spool, and the guest sessions that these and `sessions` make theirs."""
    known = sorted({*sessions, *_sessions(spool, names)})
    theirs = Lines(spool, names, known)
    found: list[dict[str, Any]] = []
    for chunk in spool.read({}):
        for line in chunk.lines():
            if theirs(line) and theirs.without_visit(line) is None:
                try:
                    found.append(orjson.loads(line))
                except orjson.JSONDecodeError:
                    found.append({"unreadable": line.decode("utf-8", "replace")})
    return found, known


def blank_lines(spool: Spool, names: Sequence[str], sessions: Sequence[str] = ()) -> int:
    """Overwrite their lines; returns how many. Events of others in their sessions lose the session alone."""
    theirs = Lines(spool, names, sorted({*sessions, *_sessions(spool, names)}))
    return spool.blank(theirs, theirs.without_visit)


def _sessions(spool: Spool, names: Sequence[str]) -> set[str]:
    theirs = Lines(spool, names)
    return {s for chunk in spool.read({}) for line in chunk.lines() if (s := theirs.session_of(line)) is not None}


def _mark(form: bytes, telling: bool, fold: bool) -> Needle:
    return Needle(folded(form) if fold else form, "plain", 0, 0, telling, fold=fold)


def _forms(word: str) -> set[bytes]:
    escaped = (json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1])
    return {form.encode("utf-8", "surrogatepass") for form in escaped}


def people_of(spool: Spool) -> dict[str, int]:
    """Everybody the lines are about, guests by `schema.guest_id`, and the time of their first event."""
    first: dict[str, int] = {}
    for chunk in spool.read({}):
        for line in chunk.lines():
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # names nobody that could be taken in
            if not isinstance(found, dict) or not (found.get("user_id") or found.get(SESSION_FIELD)):
                continue
            one = str(found["user_id"]) if found.get("user_id") else guest_id(str(found[SESSION_FIELD]))
            ts = found.get("ts")
            first[one] = min(first.get(one, 1 << 62), ts if isinstance(ts, int) else 0)
    return first
