"""The search alone: is anybody of these people left anywhere?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..artifacts import Artifacts
from ..identity import load_secret, user_key
from ..progress import SILENT, Progress
from ..schema import guest_id
from ..settings import Settings
from ..store import Store
from . import journal, requests
from .holding import guests_meant
from .originals import Original, Originals, columns_of
from .people import held_people
from .proving import needles_of, search
from .scanning import Scan


@dataclass
class Verified(Scan):
    """What a search saw.

    Parameters
    ----------
    originals
        Files of the watched folder that name them. They are the shop's own: `clean` is about what is ours.
    """

    originals: list[Original] = field(default_factory=list)


def verify(
    store: Store, artifacts: Artifacts, settings: Settings, asked: Sequence[str], progress: Progress = SILENT
) -> Verified:
    """Search every file for these people, without changing anything but the log of requests."""
    secret = load_secret(settings.db, create=not artifacts.names())
    request = requests.open_request(settings.db, "verification", len(asked))
    with progress.stage("Searching every file"):
        people = held_people(store, artifacts, asked, secret)
        guests = guests_meant(store, settings, secret, people)
        needles = needles_of(people, guests, [user_key(secret, guest_id(one)) for one in guests])
        ours = search(store, settings, needles, skip=journal.paths(settings.db))
        found = Verified(ours.findings, ours.coincidences, ours.unread, ours.files, ours.bytes)
    if settings.ingest.folder:
        with progress.stage("Searching the watched folder"):
            folder = Originals(Path(settings.ingest.folder), people, needles, partial(columns_of, store), guests)
            found.originals = folder.found()
        found.files, found.bytes = found.files + folder.seen.files, found.bytes + folder.seen.bytes
        found.coincidences += folder.seen.coincidences
    outcome = "originals name them" if found.originals else "nobody found"
    requests.close_request(settings.db, request, outcome if found.clean else "traces found")
    return found
