"""Everything that is held about one person, as one JSON document (articles 15 and 20)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from ..artifacts import Artifacts, Spool
from ..artifacts.bundle import read_bundle
from ..artifacts.choices import EVERYTHING, Choices
from ..durable_files import write_atomic
from ..errors import CorruptArtifact, NotFound, RecsysError
from ..identity import find_key, load_secret, user_key
from ..schema import ATTRIBUTES, guest_id
from ..settings import Settings
from ..store import Store
from ..store.personal_data import events_of, in_other_case, rejected_of, rows_of, sessions_of, tables_of_people
from . import exports, requests, suppression
from .folder import write_folder
from .holding import customers_named, says_whose
from .needles import is_telling
from .people import Person, held_people, ids_of, names_of
from .receipts import iso
from .spooled import find_lines

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
    secret = load_secret(settings.db, create=not artifacts.names())
    people = held_people(store, artifacts, asked, secret)
    ids, names = list(dict.fromkeys(ids_of(people))), list(dict.fromkeys(names_of(people)))
    keys = [key for p in people for key in p.keys]
    versions = _versions(artifacts, keys)
    guests = _guests(store, people, versions)
    document = _of_store(store, ids, names, guests)
    lines, _ = find_lines(Spool(artifacts.spool_dir), names, [*document.pop("sessions"), *guests])
    document["received"] = lines
    document["versions"] = _versions(artifacts, [*keys, *(user_key(secret, guest_id(name)) for name in guests)])
    document["choices"] = _choices(artifacts, secret, people, guests)
    if not any(document[part] for part in document):
        raise NotFound(f"Nothing is held about {', '.join(asked)}.", _advice(store, names))
    if recommending is not None:
        named = {e.get("user_id") for e in document["events"]}
        document["recommended_now"] = {i: recommending(i) for i in ids if i in named and versions}
    counts = {part: sum(map(len, c.values())) if _of_lists(c) else len(c) for part, c in document.items()}
    document["retention"] = kept_for(settings)
    made = {"asked_for": list(asked), "ids": ids, "made_at": iso(int(time.time())), "counts": counts}
    return made | document


def _advice(store: Store, names: Sequence[str]) -> str:
    with store.reading() as con:
        meant = sorted({one for ids in in_other_case(con, names).values() for one in ids})
    if not meant:
        return "Check how the shop writes its customer ids."
    return f"Did you mean {', '.join(meant)}? Ids are exact."


def _guests(store: Store, people: Sequence[Person], versions: Sequence[Any]) -> list[str]:
    """Names that may be sessions of guests: a customer's short number may be somebody else's session."""
    with store.reading() as con:
        known = bool(versions or customers_named(con, people))
    return [name for name in names_of(people) if is_telling(name) or not known]


def note_printed(settings: Settings) -> None:
    """Note in the log of requests an export that was printed: it is an answer as well as one in a file."""
    requests.close_request(settings.db, requests.open_request(settings.db, "export", 1), "done, printed")


def write(document: dict[str, Any], out: Path, settings: Settings, *, received_at: int | None = None) -> list[Path]:
    """Write an export: one JSON file when `out` has a suffix, else a folder; deleted after `retention.exports_days`.

    Parameters
    ----------
    received_at
        When it was asked for, epoch seconds; None for now.

    Raises
    ------
    RecsysError
        It could not be written; the log of requests says so.
    """
    data = as_json(document)
    single = bool(out.suffix) and not out.is_dir()
    secret = load_secret(settings.db)
    about = [suppression.hash_of(secret, user_key(secret, i)) for i in document["ids"]]
    exports.remember(settings.db, out, settings.retention.exports_days, about)
    request = requests.open_request(settings.db, "export", 1, received_at=received_at)
    try:
        if single:
            write_atomic(out, data)
            written = [out]
        else:
            written = write_folder(out, document, data)
    except (RecsysError, OSError):
        # Left open, it would be a deadline that nobody can meet: what is written next has an entry of its own.
        requests.close_request(settings.db, request, "not written")
        exports.forget_missing(settings.db, out)
        raise
    requests.close_request(settings.db, request, "done")
    return written


def as_json(document: dict[str, Any]) -> bytes:
    """The document as JSON."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY, default=str) + b"\n"


def kept_for(settings: Settings) -> dict[str, str]:
    """How long data of each kind is kept, in words."""
    rules = settings.retention
    # Without a limit nothing ends by itself: not with the customer account, which nobody tells us of, and which those
    # who visit without a name do not have.
    asked = "without a limit, until they are erased on request"
    days = {
        "events": (rules.events_days, asked),
        "visits without a name": (rules.guests_days, asked),
        "lines that could not be read": (rules.rejected_days, asked),
        "log of requests": (rules.log_days, "without a limit; it names nobody"),
    }
    return {kind: f"{n:g} days" if n else unlimited for kind, (n, unlimited) in days.items()}


def _choices(
    artifacts: Artifacts, secret: str, people: Sequence[Person], guests: Sequence[str]
) -> list[dict[str, Any]]:
    held = Choices(artifacts.root, secret)
    held.refresh()
    found = [(i, held.of(key)) for p in people for i, key in zip(p.ids, p.keys, strict=True)]
    found += [(name, held.of(user_key(secret, guest_id(name)))) for name in guests]
    return [{"id": i, "choice": c.mode} for i, c in dict.fromkeys(found) if c is not EVERYTHING]


def _of_lists(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(rows, list) for rows in part.values())


def _of_store(store: Store, ids: list[str], names: list[str], guests: list[str]) -> dict[str, Any]:
    with store.reading() as con:
        events = _records(events_of(con, ids, guests))
        others = {t: _records(rows_of(con, t, ids)) for t in tables_of_people(con) if t not in ("events", "users")}
        return {
            "profile": _records(rows_of(con, "users", ids)),
            "events": events,
            "sources": sorted({e["source"] for e in events if e.get("source")}),
            "rejected_rows": [r for r in _records(rejected_of(con, names)) if _is_theirs(r, names)],
            "other_tables": {t: rows for t, rows in others.items() if rows},
            "sessions": sessions_of(con, ids),
        }


def _records(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as objects: empty fields left out, times readable, JSON texts as what they say."""
    rows = []
    for row in table.to_pylist():
        shown = {k: v for k, v in row.items() if v is not None}
        for name in ("ts", "taken_at"):
            if name in shown:
                shown["time" if name == "ts" else name] = iso(shown[name])
        for name in (ATTRIBUTES, "raw"):
            if isinstance(shown.get(name), str):
                shown[name] = _parsed(shown[name])
        rows.append(shown)
    return rows


def _is_theirs(row: dict[str, Any], names: Sequence[str]) -> bool:
    """A rejected row may hold the digits of a customer number as somebody's quantity: that one is not theirs."""
    raw = row.get("raw")
    return any(is_telling(n) for n in names) or not isinstance(raw, dict) or says_whose(raw, names)


def _versions(artifacts: Artifacts, keys: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Versions that hold a history of theirs, under a keyed hash, and how many events that has."""
    held: list[dict[str, Any]] = []
    for name in artifacts.names():
        try:
            version = artifacts.open(name, verify=False)
            bundle = read_bundle(version.path)
        except (CorruptArtifact, NotFound):
            continue
        rows = [find_key(bundle.keys, key) for key in keys]
        events = int(sum(np.diff(bundle.histories.indptr)[row] for row in rows if row >= 0))
        if events:
            held.append({"version": name, "made_at": iso(version.manifest["created_at"]), "events": events})
    return held


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
