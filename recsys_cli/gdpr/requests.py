"""The log of requests: what was asked, when, by when it must be answered, and what became of it; never by whom.

Articles 12(3) and 5(2): an answer is due within one month, and the shop must be able to show that it answered.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from calendar import monthrange
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..artifacts.orders import ERASE, ERASE_SHOP, EXPORT, waiting
from ..durable_files import open_private, private_dir, write_atomic
from .journal import state_dir

FILE = "log.jsonl"
WAITS = "waits for the update worker"


@dataclass(frozen=True)
class Request:
    """One request.

    Parameters
    ----------
    id
        Random.
    kind
        erasure, export, restriction, objection, consent, rectification, verification, retention.
    people
        How many it was about.
    received_at, due_at, closed_at
        Epoch seconds; `closed_at` 0 while it is open.
    outcome
        done, nothing held, or what went wrong.
    """

    id: str
    kind: str
    people: int
    received_at: int
    due_at: int
    closed_at: int = 0
    outcome: str = ""


def open_request(db: Path, kind: str, people: int, *, received_at: int | None = None) -> str:
    """Note a request that came in, on disk; returns its random id."""
    at = int(time.time()) if received_at is None else received_at
    request = Request(secrets.token_hex(8), kind, people, at, one_month_after(at))
    _append(db, request)
    return request.id


def note(db: Path, request: str, kind: str, received_at: int) -> None:
    """Note a request that waits for a human, under an id it already has."""
    _append(db, Request(request, kind, 0, received_at, one_month_after(received_at)))


def close_request(db: Path, request: str, outcome: str) -> None:
    """Note what became of it."""
    for held in requests(db):
        if held.id == request:
            _append(db, replace(held, closed_at=int(time.time()), outcome=outcome))


def requests(db: Path) -> list[Request]:
    """All requests, oldest first, each as it stands now."""
    try:
        lines = (state_dir(db) / FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    held: dict[str, Request] = {}
    for line in lines:
        try:
            found = Request(**json.loads(line))
        except ValueError:
            continue  # half a line of a killed process
        held[found.id] = found
    return list(held.values())


def with_waiting(db: Path, artifacts: Path) -> list[Request]:
    """All requests, and those that servers have noted and the worker has not begun."""
    held = requests(db)
    known, kinds = {r.id for r in held}, {ERASE: "erasure", EXPORT: "export", ERASE_SHOP: "erase the shop"}
    new = [order for order in waiting(artifacts) if order.id not in known]
    return held + [
        Request(o.id, kinds[o.kind], int(bool(o.people)), o.received_at, one_month_after(o.received_at), 0, WAITS)
        for o in new
    ]


def drop_before(db: Path, limit: int) -> int:
    """Take requests that were closed before `limit` (epoch seconds) off the log; returns how many."""
    held = requests(db)
    kept = [r for r in held if not r.closed_at or r.closed_at >= limit]
    if len(kept) < len(held):
        write_atomic(state_dir(db) / FILE, b"".join(json.dumps(asdict(r)).encode() + b"\n" for r in kept))
    return len(held) - len(kept)


def one_month_after(at: int) -> int:
    """The same time of day one calendar month later, or the last day of that month."""
    day = datetime.fromtimestamp(at, UTC)
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    last = monthrange(year, month)[1]
    return int(day.replace(year=year, month=month, day=min(day.day, last)).timestamp())


def _append(db: Path, request: Request) -> None:
    path = private_dir(state_dir(db)) / FILE
    fd = open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        size = os.fstat(fd).st_size
        torn = size and os.pread(fd, 1, size - 1) != b"\n"  # by a killed process; the next line must not stick to it
        os.write(fd, (b"\n" if torn else b"") + json.dumps(asdict(request)).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
