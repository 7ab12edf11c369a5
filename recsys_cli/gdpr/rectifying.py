"""Put right what is wrong about a person (article 16), and leave no byte of what it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..artifacts import Artifacts
from ..errors import NotFound, UsageError
from ..identity import load_secret
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from ..store.merge import transaction
from ..store.personal_data import change_profile, note_change, remove_events
from ..store.rewrite import rewrite
from . import requests
from .forgetting import forget
from .people import held_people


@dataclass(frozen=True)
class Rectified:
    """What was changed: the request in the log, profiles, events removed."""

    request: str
    profiles: int
    events: int


def rectify(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    asked: str,
    attributes: Mapping[str, str | None],
    wrong_items: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Rectified:
    """Change attributes of a person's profile, and remove events with items that were never theirs.

    Parameters
    ----------
    attributes
        Name to value; None removes the attribute.
    wrong_items
        Items whose events go.

    Raises
    ------
    UsageError
        Nothing to change.
    NotFound
        The store has no such profile, or no such event.
    """
    if not attributes and not wrong_items:
        raise UsageError("There is nothing to change.", "Give --set NAME=VALUE or --remove-item ITEM.")
    secret = load_secret(settings.db, create=not artifacts.names())
    (person,) = held_people(store, artifacts, [asked], secret)
    request = requests.open_request(settings.db, "rectification", 1)
    with store.writing() as con, transaction(con):
        profiles = change_profile(con, person.ids, attributes) if attributes else 0
        events = remove_events(con, person.ids, wrong_items) if wrong_items else 0
        if (attributes and not profiles) or (wrong_items and not events):
            requests.close_request(settings.db, request, "nothing held")
            what = "profile" if attributes and not profiles else "event"
            raise NotFound(f"The database holds no such {what} of {asked}.", "Nothing was changed.")
        note_change(con, "rectification")
    with progress.stage("Writing the database anew"):
        rewrite(store)
    if events:  # the next update brings them back as they are now
        forget(artifacts, np.array(person.keys, dtype=np.uint64), erased=False, progress=progress)
    requests.close_request(settings.db, request, "done")
    return Rectified(request, profiles, events)
