"""What is held of people, and as what: customers, or guests who are known by their sessions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import duckdb

from ..artifacts import Artifacts, Spool
from ..artifacts.bundle import read_bundle
from ..errors import CorruptArtifact
from ..identity import find_key, user_key
from ..schema import guest_id
from ..settings import Settings
from ..store import Store
from ..store.personal_data import guests_named, known_ids, known_names, rejected_of
from . import suppression
from .containers import names_people
from .needles import is_telling
from .people import Person, ids_of, names_of
from .spooled import find_lines


def customers_named(con: duckdb.DuckDBPyConnection, people: Sequence[Person]) -> set[str]:
    """Which of their names are customers: in rows, and where a rejected row names its customer."""
    found, names = known_ids(con, ids_of(people)), names_of(people)
    for raw in rejected_of(con, names)["raw"].to_pylist():
        found |= {name for name in names if says_whose(raw, [name])}
    return found


def says_whose(raw: str | dict[str, Any] | None, names: Sequence[str]) -> bool:
    """Whether a rejected row says in a column of customers that it is about one of these."""
    try:
        row = json.loads(raw) if isinstance(raw, str) else raw
    except ValueError:
        return False
    return isinstance(row, dict) and any(_same(value, names) for column, value in row.items() if names_people(column))


def _same(value: Any, names: Sequence[str]) -> bool:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    return text in names or text.removesuffix(".0") in names


def guests_meant(store: Store, settings: Settings, secret: str, people: Sequence[Person]) -> list[str]:
    """Names of theirs that may be sessions of guests.

    A customer's short number may be somebody else's session: whoever is a customer, or was until they were erased, is
    meant as one.
    """
    known: set[str] = set()
    if store.exists():
        with store.reading() as con:
            known = customers_named(con, people)
    listed = {entry.hash for entry in suppression.entries(settings.db)}

    def listed_as(one: str) -> bool:
        return suppression.hash_of(secret, user_key(secret, one)) in listed

    return [
        name
        for name in names_of(people)
        if is_telling(name) or not (name in known or (listed_as(name) and not listed_as(guest_id(name))))
    ]


def guests_served(artifacts: Artifacts, secret: str, people: Sequence[Person]) -> list[str]:
    """Those of `guests_meant` that show without the database: unmistakable ones, and those that versions hold.

    A short one is left to the database where a version holds a customer of that name, too.
    """
    by_key = {user_key(secret, guest_id(name)): name for name in names_of(people)}
    held = keys_in_versions(artifacts, [*by_key, *(key for p in people for key in p.keys)])
    customers = {name for p in people if held & set(p.keys) for name in p.names}
    return [n for key, n in by_key.items() if is_telling(n) or (key in held and n not in customers)]


def nothing_held(store: Store, artifacts: Artifacts, people: Sequence[Person]) -> list[int]:
    """Places of those of whom there is no row, no line under way to one, and no history in a version."""
    names = names_of(people)
    lines, _ = find_lines(Spool(artifacts.spool_dir), names, names)
    found = {str(line[field]).strip() for line in lines for field in ("user_id", "session_id") if line.get(field)}
    if store.exists():
        with store.reading() as con:
            found |= known_names(con, ids_of(people), names) | set(guests_named(con, names))
    held = keys_in_versions(artifacts, [key for p in people for key in p.keys])
    return [n for n, p in enumerate(people) if not (found & set(p.names) or held & set(p.keys))]


def keys_in_versions(artifacts: Artifacts, keys: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Which of these keyed hashes have a history in a version."""
    found: set[tuple[int, int]] = set()
    for name in artifacts.names():
        try:
            held = read_bundle(artifacts.versions_dir / name).keys
        except CorruptArtifact:
            continue  # an erasure removes it
        found |= {key for key in keys if find_key(held, key) >= 0}
    return found
