"""What people decide: consent (article 7), objection to profiling (21), restriction (18); servers follow at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...artifacts import Artifacts
from ...artifacts.choices import ERASED, FULL, NONE, OBJECTED, RESTRICTED, SESSION, Choice, change, hash_of, read
from ...artifacts.forgetting import forget
from ...durable_files import private_dir
from ...errors import UsageError
from ...identity import load_secret, user_key
from ...progress import SILENT, Progress
from ...schema import guest_id
from ...settings import GdprSettings, Settings
from ...store import Store
from ...store.personal_data import consents, note_change
from ..person import People, Person, ids_for
from ..records.request_log import Handling, close_requests, open_request

KINDS = {RESTRICTED: "restriction", OBJECTED: "objection", NONE: "consent", SESSION: "consent", FULL: "consent"}
Key = tuple[int, int]


@dataclass(frozen=True)
class Decision:
    """What became of a decision.

    Parameters
    ----------
    request
        Id in the log.
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
    resolved
        Address to the customers in whose profile it was found.
    """

    request: str
    mode: str
    people: int
    versions: int
    unknown: tuple[str, ...] = ()
    meant: dict[str, list[str]] = field(default_factory=dict)
    resolved: dict[str, list[str]] = field(default_factory=dict)


def decide(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    asked: Sequence[str],
    mode: str,
    progress: Progress = SILENT,
    *,
    handling: Handling | None = None,
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
        raise UsageError(f"'{mode}' is not a choice.", f"Choose one of {', '.join(KINDS)}.")
    secret = load_secret(settings.db, create=not artifacts.names())
    typed = [Person((one,), ids_for([one], secret)) for one in asked]
    request = open_request(settings.db, KINDS[mode], len(asked), handling)
    decided = read(artifacts.root)
    told = _choices(mode, settings.gdpr, secret, typed)
    tell(artifacts, secret, told)
    # Only now: the database may be busy for minutes, and servers are not to wait for it.
    people = People(store, artifacts, settings).find([[one] for one in asked])
    # A guest decides for the session; a wish in advance of any data may be a guest's as well.
    more = _choices(mode, settings.gdpr, secret, people) | _of_guests(mode, settings.gdpr, secret, people, decided)
    if more.keys() - told.keys():
        tell(artifacts, secret, more)
        told |= more
    counts = {"versions": 0}
    if barred := [key for key, choice in told.items() if not choice.profile]:
        table = np.array(barred, dtype=np.uint64).reshape(-1, 2)
        counts = forget(artifacts, table, erased=False, progress=progress)
    if store.exists():
        with store.writing() as con:
            note_change(con, KINDS[mode])  # so that the worker makes a version with, or without, them
    unknown = [p for p in people if not (p.known or _decided(decided, secret, p))]
    close_requests(settings.db, {request: "nothing held" if len(unknown) == len(asked) else "done"})
    return Decision(
        request,
        mode,
        len(asked),
        counts["versions"],
        tuple(p.asked[0] for p in unknown),
        {p.asked[0]: list(p.meant) for p in unknown if p.meant},
        {p.asked[0]: [user for user, _ in p.resolved] for p in people if p.resolved},
    )


def tell(artifacts: Artifacts, secret: str, choices: Mapping[Key, Choice]) -> None:
    """Let every server know, at once, what the people with these keyed hashes have chosen."""
    private_dir(artifacts.root)  # a shop may be asked before it has trained anything; the first server must know
    with artifacts.exclusive():
        change(artifacts.root, {hash_of(secret, key): choice for key, choice in choices.items()})


def erased(rules: GdprSettings) -> Choice:
    """What servers are told of somebody who is being erased: what was under way is refused for a while."""
    return Choice(ERASED, until=int(time.time() + rules.grace_hours * 3600))


def end_choices(artifacts: Artifacts, settings: Settings, secret: str, people: Sequence[Person]) -> None:
    """What these people, or the guests of their sessions, had decided before they were erased is kept no longer."""
    if held := read(artifacts.root):
        keys = (key for p in people for key in _keys(secret, p) if _stands(held, secret, key))
        if left := dict.fromkeys(keys, erased(settings.gdpr)):
            tell(artifacts, secret, left)


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


def _differing(wanted: Mapping[str, str], held: Mapping[str, Choice]) -> dict[str, Choice]:
    new: dict[str, Choice] = {}
    for name, mode in wanted.items():
        now = held[name].mode if name in held else FULL
        if now != mode and now in (NONE, SESSION, FULL):
            new[name] = Choice(mode)
    return new


def _choices(mode: str, rules: GdprSettings, secret: str, people: Sequence[Person]) -> dict[Key, Choice]:
    """By keyed hash, for these customers."""
    choice = Choice(mode, keep_events=rules.keep_events and mode in (OBJECTED, RESTRICTED))
    return {user_key(secret, one): choice for p in people for one in p.ids}


def _of_guests(
    mode: str, rules: GdprSettings, secret: str, people: Sequence[Person], decided: Mapping[str, Choice]
) -> dict[Key, Choice]:
    """By keyed hash, for the guests who are meant: those found, those of whom nothing is held yet, and, to lift it,
    what was decided before the session's name became a customer's number."""
    choice = Choice(mode, keep_events=rules.keep_events and mode in (OBJECTED, RESTRICTED))
    found: dict[Key, Choice] = {}
    for person in people:
        names = [one for one in person.ids if one in person.sessions or not person.known]
        if mode == FULL:
            names += [one for one in person.ids if _stands(decided, secret, user_key(secret, guest_id(one)))]
        # All that is known of a guest is the session: who consents to its use has nothing to take away from it.
        found |= {user_key(secret, guest_id(one)): Choice(FULL) if mode == SESSION else choice for one in names}
    return found


def _keys(secret: str, person: Person) -> list[Key]:
    guests = dict.fromkeys((*person.sessions, *(() if person.known else person.ids)))
    return [*(user_key(secret, one) for one in person.ids), *(user_key(secret, guest_id(one)) for one in guests)]


def _decided(held: Mapping[str, Choice], secret: str, person: Person) -> bool:
    """Whether they had decided something before: then the id is no slip, though nothing else is held."""
    keys = (user_key(secret, owner) for one in person.ids for owner in (one, guest_id(one)))
    return any(_stands(held, secret, key) for key in keys)


def _stands(held: Mapping[str, Choice], secret: str, key: Key) -> bool:
    choice = held.get(hash_of(secret, key))
    return choice is not None and choice.mode != ERASED
