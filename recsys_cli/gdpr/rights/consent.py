"""What people decide: consent (article 7), objection to profiling (21), restriction (18); servers follow at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...artifacts import Artifacts
from ...artifacts.choices import ERASED, FULL, NONE, OBJECTED, RESTRICTED, SESSION, Choice, change, hash_of, read
from ...artifacts.forgetting import forget, keys_of
from ...durable_files import private_dir
from ...errors import UsageError
from ...identity import load_secret, user_key
from ...progress import SILENT, Progress
from ...publishing.lake import update_lakes
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
    """What became of a decision."""

    request: str  # id in the log
    mode: str  # see `artifacts.choices`
    people: int  # how many it is about
    versions: int  # versions that their histories were taken out of
    unknown: tuple[str, ...] = ()  # those of whom nothing is held: the decision waits for what may come of them
    # for some of `unknown`: customers whose ids differ only in case
    meant: dict[str, list[str]] = field(default_factory=dict)
    # address to the customers in whose profile it was found
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
    """
    if mode not in KINDS:
        raise UsageError(f"'{mode}' is not a choice.", f"Choose one of {', '.join(KINDS)}.")
    secret = load_secret(settings.db, create=not artifacts.names())
    keep_events = settings.gdpr.keep_events and mode in (OBJECTED, RESTRICTED)
    choice = Choice(mode, keep_events=keep_events)
    request = open_request(settings.db, KINDS[mode], len(asked), handling)
    before = read(artifacts.root)
    typed = ids_for(asked, secret)
    tell(artifacts, secret, {user_key(secret, one): choice for one in typed})
    # Only now: the database may be busy for minutes, and servers are not to wait for it.
    people = People(store, artifacts, settings).find([[one] for one in asked])
    told = {user_key(secret, one): choice for p in people for one in p.ids}
    # All that is known of a guest is the session: who consents to its use has nothing to take away from it.
    guest = Choice(FULL) if mode == SESSION else choice
    told |= {user_key(secret, guest_id(one)): guest for p in people for one in _guests(p, mode, secret, before)}
    tell(artifacts, secret, told)
    barred = [key for key, chosen in told.items() if not chosen.profile]
    versions = leave_out(store, artifacts, settings, barred, progress, erased=False)["versions"]
    if barred:
        update_lakes(store, settings, progress)
    _note(store, KINDS[mode])
    unknown = [p for p in people if not (p.known or any(_stands(before, secret, key) for key in _keys(secret, p)))]
    close_requests(settings.db, {request: "nothing held" if len(unknown) == len(asked) else "done"})
    return Decision(
        request,
        mode,
        len(asked),
        versions,
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
    held = read(artifacts.root)
    left = [key for p in people for key in (*p.keys(secret), *(() if p.known else _keys(secret, p)))]
    if left := [key for key in left if _stands(held, secret, key)]:
        tell(artifacts, secret, dict.fromkeys(left, erased(settings.gdpr)))


def sync_consent(store: Store, artifacts: Artifacts, settings: Settings) -> int:
    """Take over the column `consent` of the customers the shop has handed in; returns how many choices changed.

    What a person has decided themselves (objection, restriction) is stronger than the column.
    """
    if not store.exists():
        return 0
    secret, held = (load_secret(settings.db, create=not artifacts.names()), read(artifacts.root))
    with store.reading() as con:
        wanted = consents(con, secret, list(held))
    now = {name: held[name].mode if name in held else FULL for name in wanted}
    new = {n: Choice(mode) for n, mode in wanted.items() if now[n] != mode and now[n] in (NONE, SESSION, FULL)}
    if new:
        private_dir(artifacts.root)
        with artifacts.exclusive():
            change(artifacts.root, new)
        barred = keys_of(artifacts, secret, [name for name, choice in new.items() if not choice.profile])
        leave_out(store, artifacts, settings, barred, SILENT, erased=False)
        if len(barred):
            update_lakes(store, settings)
        _note(store, "consent")
    return len(new)


def leave_out(
    store: Store, artifacts: Artifacts, settings: Settings, keys: Iterable[Any], progress: Progress, **erased: Any
) -> dict[str, int]:
    """Take people out of the versions, and out of what those count for everybody; see `artifacts.forgetting.forget`."""
    table = np.array([*keys], dtype=np.uint64).reshape(-1, 2)
    if not len(table):
        return {"versions": 0}
    from ...publishing.reshelving import Reshelving  # loads what a shop without a model does not need

    return forget(artifacts, table, reshelve=Reshelving(store, settings), progress=progress, **erased)


def _note(store: Store, kind: str) -> None:
    """So that the worker makes a version with, or without, them."""
    if store.exists():
        with store.writing() as con:
            note_change(con, kind)


def _guests(person: Person, mode: str, secret: str, before: Mapping[str, Choice]) -> list[str]:
    """The sessions that a decision is about: those found, those of whom nothing is held yet, and, to lift it, what was
    decided before the session's name became a customer's number."""
    lifted = [i for i in person.ids if mode == FULL and _stands(before, secret, user_key(secret, guest_id(i)))]
    return [*(one for one in person.ids if one in person.sessions or not person.known), *lifted]


def _keys(secret: str, person: Person) -> list[Key]:
    return [user_key(secret, owner) for one in person.names for owner in (one, guest_id(one))]


def _stands(held: Mapping[str, Choice], secret: str, key: Key) -> bool:
    return held.get(hash_of(secret, key), Choice(ERASED)).mode != ERASED
