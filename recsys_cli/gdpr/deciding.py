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
from ..durable_files import private_dir
from ..errors import UsageError
from ..identity import UserKeys, load_secret, user_key
from ..progress import SILENT, Progress
from ..schema import guest_id
from ..settings import GdprSettings, Settings
from ..store import Snapshot, Store
from ..store.hashing import sha256_column
from ..store.personal_data import consents, in_other_case, note_change
from . import requests
from .forgetting import Dropped, drop_rows, forget
from .holding import guests_meant, guests_served, nothing_held
from .people import Person, held_people, names_of

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
    updates leave them out until the choice is lifted; the rows stay in the store. A guest decides under the session.

    Raises
    ------
    UsageError
        No such mode.
    StoreBusy
    """
    if mode not in KINDS:
        raise UsageError(f"'{mode}' is no choice.", f"Choose one of {', '.join(KINDS)}.")
    secret = load_secret(settings.db, create=not artifacts.names())
    people = [Person.of(one, secret) for one in asked]
    request = requests.open_request(settings.db, KINDS[mode], len(asked))
    decided = read(artifacts.root)
    told = _choices(mode, settings.gdpr, secret, people, guests_served(artifacts, secret, people))
    tell(artifacts, secret, told)
    # Only now: the database may be busy for minutes, and servers are not to wait for it.
    people = held_people(store, artifacts, asked, secret)
    guests = guests_meant(store, settings, secret, people)
    if mode == FULL:  # what was a guest's session when they decided may be a customer's number as well by now
        guests += [name for name in names_of(people) if _stands(decided, secret, user_key(secret, guest_id(name)))]
    more = _choices(mode, settings.gdpr, secret, people, guests)
    if more.keys() - told.keys():
        tell(artifacts, secret, more)
        told |= more
    unknown = [asked[n] for n in nothing_held(store, artifacts, people) if not _decided(decided, secret, people[n])]
    counts = {"versions": 0}
    if barred := [key for key, choice in told.items() if not choice.profile]:
        table = np.array(barred, dtype=np.uint64).reshape(-1, 2)
        counts = forget(artifacts, table, erased=False, progress=progress)
    if store.exists():
        with store.writing() as con:
            note_change(con, KINDS[mode])  # so that the worker makes a version with, or without, them
    requests.close_request(settings.db, request, "nothing held" if len(unknown) == len(asked) else "done")
    return Decision(request, mode, len(asked), counts["versions"], tuple(unknown), _meant(store, unknown))


def _decided(held: Mapping[str, Choice], secret: str, person: Person) -> bool:
    """Whether they had decided something before: then the id is no slip, though nothing else is held."""
    guests = [user_key(secret, guest_id(name)) for name in person.names]
    return any(_stands(held, secret, key) for key in (*person.keys, *guests))


def _stands(held: Mapping[str, Choice], secret: str, key: tuple[int, int]) -> bool:
    choice = held.get(hash_of(secret, key))
    return choice is not None and choice.mode != ERASED


def _meant(store: Store, unknown: Sequence[str]) -> dict[str, list[str]]:
    if not unknown or not store.exists():
        return {}
    with store.reading() as con:
        return in_other_case(con, unknown)


def tell(artifacts: Artifacts, secret: str, choices: Mapping[tuple[int, int], Choice]) -> None:
    """Let every server know, at once, what the people with these keyed hashes have chosen."""
    private_dir(artifacts.root)  # a shop may be asked before it has trained anything; the first server must know
    with artifacts.exclusive():
        change(artifacts.root, {hash_of(secret, key): choice for key, choice in choices.items()})


def erased(rules: GdprSettings) -> Choice:
    """What servers are told of somebody who is being erased: what was under way is refused for a while."""
    return Choice(ERASED, until=int(time.time() + rules.grace_hours * 3600))


def end_choices(store: Store, artifacts: Artifacts, settings: Settings, secret: str, people: Sequence[Person]) -> None:
    """Whatever these people, or the guests of their sessions, had decided before they were erased is kept no longer."""
    if not (held := read(artifacts.root)):
        return  # as nearly always: the database need not be asked
    guests = [user_key(secret, guest_id(name)) for name in guests_meant(store, settings, secret, people)]
    left = [key for key in (*(k for p in people for k in p.keys), *guests) if _stands(held, secret, key)]
    if left:
        tell(artifacts, secret, dict.fromkeys(left, erased(settings.gdpr)))


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


def _choices(
    mode: str, rules: GdprSettings, secret: str, people: Sequence[Person], guests: Sequence[str]
) -> dict[tuple[int, int], Choice]:
    """By keyed hash, for these people and for the guests of these sessions."""
    choice = Choice(mode, keep_events=rules.keep_events and mode in (OBJECTED, RESTRICTED))
    # All that is known of a guest is the session: whoever consents to its use has nothing to take away from it.
    of_guest = Choice(FULL) if mode == SESSION else choice
    found = dict.fromkeys((key for p in people for key in p.keys), choice)
    return found | dict.fromkeys((user_key(secret, guest_id(name)) for name in guests), of_guest)
