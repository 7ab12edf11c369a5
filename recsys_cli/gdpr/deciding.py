"""What people decide: consent (article 7), objection to profiling (21), restriction (18); servers follow at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..artifacts import Artifacts
from ..artifacts.bundle import read_bundle
from ..artifacts.choices import ERASED, FULL, NONE, OBJECTED, RESTRICTED, SESSION, Choice, change, hash_of, read
from ..errors import UsageError
from ..files import private_dir
from ..identity import UserKeys, load_secret
from ..progress import SILENT, Progress
from ..settings import GdprSettings, Settings
from ..store import Snapshot, Store
from ..store.hashing import sha256_column
from ..store.people import consents, in_other_case, note_change
from . import requests
from .forgetting import Dropped, drop_rows, forget
from .holding import nothing_held
from .people import Person, held_people

KINDS = {RESTRICTED: "restriction", OBJECTED: "objection", NONE: "consent", SESSION: "consent", FULL: "consent"}


@dataclass(frozen=True)
class Decision:
    """What became of a decision.

    Parameters
    ----------
    request
        Random id in the log.
    mode
        See `artifacts.choices`.
    people
        How many it is about.
    versions
        Versions that their histories were taken out of.
    unknown
        Those of whom nothing is held: the decision waits for what may come of them.
    meant
        For some of `unknown`: customers whose ids differ only in case.
    """

    request: str
    mode: str
    people: int
    versions: int
    unknown: tuple[str, ...] = ()
    meant: dict[str, list[str]] = field(default_factory=dict)


def decide(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    asked: Sequence[str],
    mode: str,
    progress: Progress = SILENT,
) -> Decision:
    """Set what may be done with these people's data; `full` lifts whatever was set before.

    Servers see it at once. The versions are rewritten without the people who are not to be profiled, and trainings and
    updates leave them out until the choice is lifted; the rows stay in the store.

    Raises
    ------
    UsageError
        No such mode.
    StoreBusy
    """
    if mode not in KINDS:
        raise UsageError(f"'{mode}' is no choice.", f"Choose one of {', '.join(KINDS)}.")
    secret = load_secret(settings.db, create=not artifacts.names())
    keys = [key for one in asked for key in Person.of(one, secret).keys]
    request = requests.open_request(settings.db, KINDS[mode], len(asked))
    decided = read(artifacts.root)
    tell(artifacts, secret, keys, _choice(mode, settings.gdpr))
    # Only now: the database may be busy for minutes, and servers are not to wait for it.
    people = held_people(store, artifacts, asked, secret)
    if more := [key for p in people for key in p.keys if key not in keys]:
        tell(artifacts, secret, more, _choice(mode, settings.gdpr))
        keys += more
    unknown = [asked[n] for n in nothing_held(store, artifacts, people) if not _decided(decided, secret, people[n])]
    counts = {"versions": 0}
    if mode != FULL:
        table = np.array(keys, dtype=np.uint64).reshape(-1, 2)
        counts = forget(artifacts, table, erased=False, progress=progress)
    if store.exists():
        with store.writing() as con:
            note_change(con, KINDS[mode])  # so that the worker makes a version with, or without, them
    requests.close_request(settings.db, request, "nothing held" if len(unknown) == len(asked) else "done")
    return Decision(request, mode, len(asked), counts["versions"], tuple(unknown), _meant(store, unknown))


def _decided(held: Mapping[str, Choice], secret: str, person: Person) -> bool:
    """Whether they had decided something before: then the id is no slip, though nothing else is held."""
    choices = [held.get(hash_of(secret, key)) for key in person.keys]
    return any(choice is not None and choice.mode != ERASED for choice in choices)


def _meant(store: Store, unknown: Sequence[str]) -> dict[str, list[str]]:
    if not unknown or not store.exists():
        return {}
    with store.reading() as con:
        return in_other_case(con, unknown)


def tell(artifacts: Artifacts, secret: str, keys: Sequence[tuple[int, int]], choice: Choice) -> None:
    """Let every server know, at once."""
    private_dir(artifacts.root)  # a shop may be asked before it has trained anything; the first server must know
    with artifacts.exclusive():
        change(artifacts.root, {hash_of(secret, key): choice for key in keys})


def erased(rules: GdprSettings) -> Choice:
    """What servers are told of somebody who is being erased: what was under way is refused for a while."""
    return Choice(ERASED, until=int(time.time() + rules.grace_hours * 3600))


def sync_consent(store: Store, artifacts: Artifacts, settings: Settings) -> int:
    """Take over the column `consent` of the customers the shop has handed in; returns how many choices changed.

    What a person has decided themselves (objection, restriction) is stronger than the column.
    """
    if not store.exists():
        return 0
    with store.reading() as con:
        held = read(artifacts.root)
        wanted = consents(con, load_secret(settings.db, create=not artifacts.names()), list(held))
    new = _differing(wanted, held)
    if new:
        private_dir(artifacts.root)
        with artifacts.exclusive():
            change(artifacts.root, new)
        with store.writing() as con:
            note_change(con, "consent")
    return len(new)


def leave_out(snapshot: Snapshot, root: Path, secret: str) -> Snapshot:
    """The snapshot without the people who are not to be profiled.

    Parameters
    ----------
    root
        The artifacts directory.
    """
    barred = _barred(root)
    return snapshot.without(_among(secret, snapshot.keys, barred)) if barred else snapshot


def drop_barred(draft: Path, root: Path, secret: str) -> Dropped:
    """Take out of a written draft whoever decided against a profile while it was made. Inside `Artifacts.exclusive`."""
    barred = _barred(root)
    if not barred:
        return Dropped()
    keys = read_bundle(draft).keys
    return drop_rows(draft, np.array(keys[_among(secret, keys, barred)], dtype=np.uint64))


def _barred(root: Path) -> set[str]:
    return {name for name, choice in read(root).items() if not choice.profile}


def _among(secret: str, keys: UserKeys, barred: set[str]) -> NDArray[np.bool_]:
    hashes = sha256_column(f"{secret}choice", keys)
    return np.fromiter((name in barred for name in hashes), dtype=np.bool_, count=len(hashes))


def _differing(wanted: Mapping[str, str], held: Mapping[str, Choice]) -> dict[str, Choice]:
    new: dict[str, Choice] = {}
    for name, mode in wanted.items():
        now = held[name].mode if name in held else FULL
        if now != mode and now in (NONE, SESSION, FULL):
            new[name] = Choice(mode)
    return new


def _choice(mode: str, rules: GdprSettings) -> Choice:
    return Choice(mode, keep_events=rules.keep_events and mode in (OBJECTED, RESTRICTED))
