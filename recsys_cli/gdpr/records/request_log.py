"""The log of requests: what was asked, when, by when it must be answered, and what became of it; never by whom.

Articles 12(3) and 5(2): an answer is due within one month, two more for a complex request if the person is told so
within the first, and the shop must be able to show that it answered.
"""

from __future__ import annotations

import time
from calendar import monthrange
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ...artifacts.orders import ERASE, ERASE_SHOP, EXPORT, Asked, waiting
from ...durable_files import append_lines, private_dir, write_atomic
from ...errors import UsageError
from ...identity import state_dir

FILE = "log.jsonl"
WAITS = "waits for the update worker"
_KINDS = {ERASE: "erasure", EXPORT: "export", ERASE_SHOP: "erase the shop"}


@dataclass(frozen=True)
class Handling:
    """What the shop notes of a request."""

    reference: str = ""  # number of the letter or ticket
    by: str = ""  # who handles it
    identity: str = ""  # how it was checked that the request came from the person


@dataclass(frozen=True)
class Request:
    """One request."""

    id: str  # random; the same that a webhook was answered with
    kind: str  # erasure, export, restriction, objection, consent, rectification, verification, retention
    people: int  # how many it was about
    received_at: int  # epoch seconds; `closed_at` 0 while it is open
    due_at: int
    closed_at: int = 0
    outcome: str = ""  # done, nothing held, or what went wrong
    reference: str = ""  # see `Handling`
    by: str = ""
    identity: str = ""
    note: str = ""  # why it was extended, or what a person found who looked at it


def open_requests(
    db: Path, kind: str, asked: Sequence[Asked], handling: Handling | None = None, people: int = 1
) -> None:
    """Note requests about so many people each, on disk, under the ids and times that they have."""
    handled = asdict(handling or Handling())
    due = [months_after(one.received_at, 1) for one in asked]
    _append(db, [Request(o.id, kind, people, o.received_at, at, **handled) for o, at in zip(asked, due, strict=True)])


def open_request(db: Path, kind: str, people: int = 1, handling: Handling | None = None) -> str:
    """Note one request that came in just now; returns its id."""
    asked = Asked(kind, [], "letter")
    open_requests(db, kind, [asked], handling, people)
    return asked.id


def close_requests(db: Path, outcomes: Mapping[str, str], note: str = "") -> None:
    """Note what became of requests, by id."""
    now = int(time.time())
    held = [r for r in requests(db) if r.id in outcomes]
    _append(db, [replace(r, closed_at=now, outcome=outcomes[r.id], note=note or r.note) for r in held])


def extend(db: Path, request: str, note: str) -> Request:
    """Give a request two more months; the person must have been told why within the first.

    Raises
    ------
    UsageError
        There is no such open request, or it was extended before.
    """
    held = next((r for r in requests(db) if r.id == request), None)
    if held is None or held.closed_at:
        raise UsageError(f"There is no open request {request}.", "See recsys gdpr log.")
    if held.due_at > months_after(held.received_at, 1):
        raise UsageError(f"Request {request} was extended before.", "Article 12(3) allows three months at most.")
    longer = replace(held, due_at=months_after(held.received_at, 3), note=note)
    _append(db, [longer])
    return longer


def requests(db: Path) -> list[Request]:
    """All requests, oldest first, each as it stands now."""
    held: dict[str, Request] = {}
    with suppress(FileNotFoundError):
        for line in (state_dir(db) / FILE).read_bytes().splitlines():
            with suppress(msgspec.MsgspecError, UnicodeDecodeError):  # half a line of a killed process
                found = msgspec.json.decode(line, type=Request)
                held[found.id] = found
    return list(held.values())


def with_waiting(db: Path, artifacts: Path) -> list[Request]:
    """All requests, and those that servers have noted and the worker has not begun."""
    held = requests(db)
    known = {r.id for r in held}
    return held + [
        Request(o.id, _KINDS[o.kind], int(bool(o.people)), o.received_at, months_after(o.received_at, 1), 0, WAITS)
        for o in waiting(artifacts)
        if o.id not in known
    ]


def drop_before(db: Path, limit: int) -> int:
    """Take requests that were closed before `limit` (epoch seconds) off the log; returns how many."""
    held = requests(db)
    kept = [r for r in held if not r.closed_at or r.closed_at >= limit]
    if len(kept) < len(held):
        write_atomic(state_dir(db) / FILE, b"".join(msgspec.json.encode(r) + b"\n" for r in kept))
    return len(held) - len(kept)


def months_after(at: int, months: int) -> int:
    """The same time of day some calendar months later, or the last day of that month."""
    day = datetime.fromtimestamp(at, UTC)
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = monthrange(year, month + 1)[1]
    return int(day.replace(year=year, month=month + 1, day=min(day.day, last)).timestamp())


def _append(db: Path, requests: Sequence[Request]) -> None:
    if requests:
        append_lines(private_dir(state_dir(db)) / FILE, [msgspec.json.encode(request) for request in requests])
