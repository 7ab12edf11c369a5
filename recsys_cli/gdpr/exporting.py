"""Everything that is held about one person, as one JSON document (articles 15 and 20)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ..artifacts import Artifacts, Spool
from ..artifacts.bundle import read_bundle
from ..errors import CorruptArtifact, NotFound
from ..identity import find_key, load_secret
from ..schema import ATTRIBUTES
from ..settings import Settings
from ..store import Store
from ..store.people import events_of, rejected_of, rows_of, sessions_of, tables_of_people
from .containers import names_people
from .needles import is_telling
from .people import Person
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
        Customer id or e-mail, and further ones of the same person.
    recommending
        What the served version recommends to a customer id; left out of the document when None.

    Raises
    ------
    NotFound
        Nothing is held about them.
    StoreMissing, StoreBusy, StoreError
    """
    secret = load_secret(settings.db, create=not artifacts.names())
    people = [Person.of(one, secret) for one in asked]
    ids = list(dict.fromkeys(i for p in people for i in p.ids))
    names = list(dict.fromkeys(n for p in people for n in p.names))
    document = _of_store(store, ids, names)
    lines, _ = find_lines(Spool(artifacts.spool_dir), names, document.pop("sessions"))
    document["received"] = lines
    document["versions"] = _versions(artifacts, people)
    if not any(document[part] for part in document):
        raise NotFound(f"Nothing is held about {', '.join(asked)}.", "Check how the shop writes its customer ids.")
    if recommending is not None:
        document["recommended_now"] = {i: recommending(i) for i in ids if document["versions"]}
    counts = {part: len(content) for part, content in document.items()}
    made = {"asked_for": list(asked), "ids": ids, "made_at": iso(int(time.time())), "counts": counts}
    return made | document


def _of_store(store: Store, ids: list[str], names: list[str]) -> dict[str, Any]:
    with store.reading() as con:
        events = _records(events_of(con, ids))
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
    if any(is_telling(n) for n in names) or not isinstance(raw, dict):
        return True
    return any(_same(value, names) for field, value in raw.items() if names_people(field))


def _same(value: Any, names: Sequence[str]) -> bool:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    return text in names or text.removesuffix(".0") in names


def _versions(artifacts: Artifacts, people: Sequence[Person]) -> list[dict[str, Any]]:
    """Versions that hold a history of theirs, under a keyed hash, and how many events that has."""
    held: list[dict[str, Any]] = []
    for name in artifacts.names():
        try:
            version = artifacts.open(name, verify=False)
            bundle = read_bundle(version.path)
        except (CorruptArtifact, NotFound):
            continue
        rows = [find_key(bundle.keys, key) for p in people for key in p.keys]
        events = int(sum(np.diff(bundle.histories.indptr)[row] for row in rows if row >= 0))
        if events:
            held.append({"version": name, "made_at": iso(version.manifest["created_at"]), "events": events})
    return held


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
