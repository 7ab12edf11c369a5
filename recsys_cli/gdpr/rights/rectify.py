"""Correct what is wrong about a person (article 16), and leave no byte of what it was."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...artifacts import Artifacts
from ...errors import NotFound, UsageError
from ...progress import SILENT, Progress
from ...publishing.lake import update_lakes
from ...settings import Settings
from ...store import Store
from ...store.merge import transaction
from ...store.personal_data import change_profile, names_of_attributes, note_change, remove_events
from ...store.rewrite import rewrite
from ..person import People
from ..received import blank_lines
from ..records.request_log import Handling, close_requests, open_request
from .consent import leave_out


@dataclass(frozen=True)
class Rectified:
    """What was changed: the request in the log, profiles, events removed, received lines removed."""

    request: str
    profiles: int
    events: int
    lines: int = 0


def rectify(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    asked: str,
    attributes: Mapping[str, str | None],
    wrong_items: Sequence[str] = (),
    progress: Progress = SILENT,
    *,
    handling: Handling | None = None,
) -> Rectified:
    """Change attributes of a person's profile, and remove events with items that were never theirs, received ones too.

    Parameters
    ----------
    attributes
        Name to value; None removes the attribute.
    wrong_items
        Items whose events go.

    Raises
    ------
    UsageError
        Nothing to change, or an attribute that no profile has.
    NotFound
        There is no such profile, or no such event.
    """
    if not attributes and not wrong_items:
        raise UsageError("There is nothing to change.", "Give --set NAME=VALUE or --remove-item ITEM.")
    who = People(store, artifacts, settings)
    (person,) = who.find([[asked]])
    _check_names(store, attributes)
    request = open_request(settings.db, "rectification", 1, handling)
    with store.writing() as con:
        # Inside the store's lock, where the worker takes the lines in: none can slip through between the two.
        lines = sum(blank_lines(who.spool, [person], wrong_items)) if wrong_items else 0
        with transaction(con):
            profiles = change_profile(con, person.ids, attributes) if attributes else 0
            events = remove_events(con, person.ids, wrong_items) if wrong_items else 0
            if (attributes and not profiles) or (wrong_items and not events + lines):
                close_requests(settings.db, {request: "nothing held"})
                what = "profile" if attributes and not profiles else "event"
                raise NotFound(f"The database holds no such {what} of {asked}.", "Nothing was changed.")
            note_change(con, "rectification")
    with progress.stage("Rewriting the database"):
        rewrite(store)
    if events:
        update_lakes(store, settings, progress)
    if events + lines:  # the next update brings them back as they are now
        leave_out(store, artifacts, settings, person.keys(who.secret), progress, erased=False)
    close_requests(settings.db, {request: "done"})
    return Rectified(request, profiles, events, lines)


def _check_names(store: Store, attributes: Mapping[str, str | None]) -> None:
    """A mistyped name would leave what is wrong as it is, and the log would say that it was corrected."""
    if not attributes:
        return
    with store.reading() as con:
        known = names_of_attributes(con)
    for name in attributes:
        if known and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Profiles have: {', '.join(known)}."
            raise UsageError(f"No profile has an attribute '{name}'.", f"{hint} Nothing was changed.")
