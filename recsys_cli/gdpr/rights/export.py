"""Everything that is held about one person, as one JSON document (articles 15 and 20)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from ...artifacts import Artifacts, suppressed
from ...artifacts.choices import hash_of, read
from ...artifacts.forgetting import readable
from ...artifacts.orders import EXPORT, Asked
from ...errors import NotFound
from ...identity import find_key, load_secret, user_key
from ...schema import ATTRIBUTES, guest_id
from ...settings import Settings
from ...store import Store
from ...store.personal_data import (
    Counts,
    count_rows,
    events_of,
    lists_of,
    rejected_of,
    rows_by_rowid,
    rows_of,
    tables_of_people,
)
from ..person import People, Person
from ..received import lines_of
from ..records import written_exports
from ..records.letter import folder_of, kept_for
from ..records.receipts import iso, words
from ..records.request_log import Handling, close_requests, open_request, open_requests

Recommending = Callable[[str], list[dict[str, Any]]]


def export(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    asked: Sequence[str],
    recommending: Recommending | None = None,
) -> dict[str, Any]:
    """Everything held about the person, under all ids they are asked for by; nobody else's data.

    Parameters
    ----------
    asked
        Customer id, e-mail or session of a guest, and further ones of the same person.
    recommending
        What the served version recommends to a customer id; left out of the document when None.

    Raises
    ------
    NotFound
        Nothing is held about them.
    StoreMissing, StoreBusy, StoreError
    """
    who = People(store, artifacts, settings)
    (person,) = who.find([asked])
    document = _of_store(store, person)
    document["received"] = [_line(line) for line in lines_of(who.spool, [person])]
    document["versions"] = _versions(artifacts, person.keys(who.secret))
    document["choices"] = _choices(artifacts, who.secret, person)
    if not any(document.values()):
        meant = f"Did you mean {', '.join(person.meant)}? Ids are exact." if person.meant else ""
        advice = meant or "Check how the shop writes its customer ids."
        raise NotFound(f"Nothing is held about {', '.join(asked)}.", advice)
    if recommending is not None:
        named = {e.get("user_id") for e in document["events"]}
        shown = {i: recommending(i) for i in person.ids if i in named} if document["versions"] else {}
        document["recommended_now"] = shown
    counts = {part: sum(map(len, c.values())) if isinstance(c, dict) else len(c) for part, c in document.items()}
    about = {"asked_for": list(asked), "ids": list(person.ids), "resolved": dict(person.resolved)}
    about |= {"also": list(person.also), "made_at": iso(int(time.time())), "counts": counts}
    return about | document | {"retention": kept_for(settings, words("en"))}


def held_of(
    store: Store, artifacts: Artifacts, settings: Settings, asked: Sequence[str]
) -> list[tuple[Person, dict[str, int]]]:
    """Who is meant by each name, and what is held of them by kind, before anything is done about it."""
    who = People(store, artifacts, settings)
    people = who.find([[one] for one in asked])
    counts: Counts = {}
    if store.exists():
        with store.reading() as con:
            counts = count_rows(con, [i for p in people for i in p.ids], [s for p in people for s in p.sessions])
    lines = list(lines_of(who.spool, people).values())
    held = []
    for n, person in enumerate(people):
        found = {kind: sum(of.get(name, 0) for name in person.names) for kind, of in counts.items()}
        found |= {"spool_lines": lines.count(n), "version_rows": who.histories_of(person)}
        held.append((person, {kind: n for kind, n in found.items() if n}))
    return held


def note_printed(settings: Settings, handling: Handling | None = None) -> None:
    """Note in the log of requests an export that was printed: it is an answer as well as one in a file."""
    close_requests(settings.db, {open_request(settings.db, "export", 1, handling): "done, printed"})


def write(
    document: dict[str, Any],
    out: Path,
    settings: Settings,
    *,
    language: str = "en",
    handling: Handling | None = None,
    order: Asked | None = None,
) -> list[Path]:
    """Write an export: one JSON file when `out` has a suffix, else a folder; deleted after `retention.exports_days`.

    Raises
    ------
    RecsysError
        It could not be written; the log of requests says so.
    """
    single, data = bool(out.suffix) and not out.is_dir(), as_json(document)
    contents = {"": data} if single else folder_of(document, data, settings, language)
    secret = load_secret(settings.db)
    about = [suppressed.hash_of(secret, user_key(secret, owner)) for i in document["ids"] for owner in (i, guest_id(i))]
    order, outcome = order or Asked(EXPORT, [], "letter"), "not written"
    open_requests(settings.db, "export", [order], handling)
    try:
        written = written_exports.place(settings.db, out, contents, settings.retention.exports_days, about)
        outcome = "done"
    finally:  # left open, it would be a deadline that nobody can meet: what is written next has an entry of its own
        close_requests(settings.db, {order.id: outcome})
    return written


def as_json(document: dict[str, Any]) -> bytes:
    """The document as JSON."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY, default=str) + b"\n"


def _choices(artifacts: Artifacts, secret: str, person: Person) -> list[dict[str, Any]]:
    held = read(artifacts.root)
    owners = [(i, owner) for i in person.names for owner in (i, guest_id(i))]
    found = {i: held[h].mode for i, owner in owners if (h := hash_of(secret, user_key(secret, owner))) in held}
    return [{"id": i, "choice": mode} for i, mode in found.items()]


def _of_store(store: Store, person: Person) -> dict[str, Any]:
    with store.reading() as con:
        events = _records(events_of(con, person.ids, person.sessions))
        tables = [t for t in tables_of_people(con) if t not in ("events", "users")]
        others = {t: _records(rows_of(con, t, person.ids)) for t in tables}
        rejected = rejected_of(con, person.ids, person.sessions)
        return {
            "profile": _records(rows_of(con, "users", person.ids)),
            "events": events,
            "lists_shown": _records(lists_of(con, person.ids, person.sessions)),
            "sources": sorted({e["source"] for e in events if e.get("source")}),
            "rejected_rows": _records(rows_by_rowid(con, list(rejected))),
            "other_tables": {t: rows for t, rows in others.items() if rows},
        }


def _records(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as objects: empty fields left out, times readable, JSON texts as what they say."""
    rows = []
    for row in table.to_pylist():
        shown = {k: v for k, v in row.items() if v is not None}
        for name in ("ts", "taken_at"):
            if name in shown:
                shown["time" if name == "ts" else name] = iso(shown[name])
        for name in {ATTRIBUTES, "raw"} & shown.keys():
            with suppress(orjson.JSONDecodeError, TypeError):
                shown[name] = orjson.loads(shown[name])
        rows.append(shown)
    return rows


def _line(line: bytes) -> dict[str, Any]:
    with suppress(orjson.JSONDecodeError):
        if isinstance(found := orjson.loads(line), dict):
            return found
    return {"unreadable": line.decode("utf-8", "replace")}


def _versions(artifacts: Artifacts, keys: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Versions that hold a history of theirs, under a keyed hash, and how many events that has."""
    held: list[dict[str, Any]] = []
    for name, bundle in readable(artifacts):
        rows = [find_key(bundle.keys, key) for key in keys]
        if events := sum(int(np.diff(bundle.histories.indptr)[row]) for row in rows if row >= 0):
            made_at = artifacts.open(name, verify=False).manifest["created_at"]
            held.append({"version": name, "made_at": iso(made_at), "events": events})
    return held
