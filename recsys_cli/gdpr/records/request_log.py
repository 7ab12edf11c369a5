"""The log of requests: what was asked, when, by when it must be answered, and what became of it; never by whom.

Articles 12(3) and 5(2): an answer is due within one month, two more for a complex request if the person is told so
within the first, and the shop must be able to show that it answered.
"""

from __future__ import annotations

import json
import secrets
import time
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from ...artifacts.orders import ERASE, ERASE_SHOP, EXPORT, waiting
from ...durable_files import append_lines, private_dir, write_atomic
from ...errors import UsageError
from ...identity import state_dir

FILE = "log.jsonl"
WAITS = "waits for the update worker"
_KINDS = {ERASE: "erasure", EXPORT: "export", ERASE_SHOP: "erase the shop"}


@dataclass(frozen=True)
class Handling:
    """What the shop notes of a request.

    Parameters
    ----------
    reference
        Number of the letter or ticket.
    by
        Who handles it.
    identity
        How it was checked that the request came from the person.
    """

    reference: str = ""
    by: str = ""
    identity: str = ""


@dataclass(frozen=True)
class Request:
    """One request.

    Parameters
    ----------
    id
        Random; the same that a webhook was answered with.
    kind
        erasure, export, restriction, objection, consent, rectification, verification, retention.
    people
        How many it was about.
    received_at, due_at, closed_at
        Epoch seconds; `closed_at` 0 while it is open.
    outcome
        done, nothing held, or what went wrong.
    reference, by, identity
        See `Handling`.
    note
        Why it was extended, or what a person found who looked at it.
    """

    id: str
    kind: str
    people: int
    received_at: int
    due_at: int
    closed_at: int = 0
    outcome: str = ""
    reference: str = ""
    by: str = ""
    identity: str = ""
    note: str = ""


def open_requests(
    db: Path,
    kind: str,
    people: Sequence[int],
    *,
    handling: Handling | None = None,
    received: Mapping[int, tuple[str, int]] | None = None,
) -> list[str]:
    """Note requests that came in, on disk; returns their ids.

    Parameters
    ----------
    people
        How many people each is about.
    received
        Id and time of those that came over HTTP, by their place in `people`.
    """
    now, handled, noted = int(time.time()), asdict(handling or Handling()), []
    for n, count in enumerate(people):
        one, at = (received or {}).get(n, (secrets.token_hex(8), now))
        noted.append(Request(one, kind, count, at, months_after(at, 1), **handled))
    _append(db, noted)
    return [request.id for request in noted]


def open_request(db: Path, kind: str, people: int, handling: Handling | None = None) -> str:
    """Note one request that came in just now."""
    return open_requests(db, kind, [people], handling=handling)[0]


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
    try:
        lines = (state_dir(db) / FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    held: dict[str, Request] = {}
    names = {f.name for f in fields(Request)}
    for line in lines:
        try:
            found = Request(**{k: v for k, v in json.loads(line).items() if k in names})
        except (ValueError, TypeError, AttributeError):
            continue  # half a line of a killed process
        held[found.id] = found
    return list(held.values())


def with_waiting(db: Path, artifacts: Path) -> list[Request]:
    """All requests, and those that servers have noted and the worker has not begun."""
    held = requests(db)
    known = {r.id for r in held}
    new = [order for order in waiting(artifacts) if order.id not in known]
    return held + [
        Request(o.id, _KINDS[o.kind], int(bool(o.people)), o.received_at, months_after(o.received_at, 1), 0, WAITS)
        for o in new
    ]


def drop_before(db: Path, limit: int) -> int:
    """Take requests that were closed before `limit` (epoch seconds) off the log; returns how many."""
    held = requests(db)
    kept = [r for r in held if not r.closed_at or r.closed_at >= limit]
    if len(kept) < len(held):
        write_atomic(state_dir(db) / FILE, b"".join(json.dumps(asdict(r)).encode() + b"\n" for r in kept))
    return len(held) - len(kept)


def months_after(at: int, months: int) -> int:
    """The same time of day some calendar months later, or the last day of that month."""
    day = datetime.fromtimestamp(at, UTC)
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = monthrange(year, month + 1)[1]
    return int(day.replace(year=year, month=month + 1, day=min(day.day, last)).timestamp())


def _append(db: Path, requests: Sequence[Request]) -> None:
    if not requests:
        return
    path = private_dir(state_dir(db)) / FILE
    append_lines(path, [json.dumps(asdict(request)).encode() for request in requests])
