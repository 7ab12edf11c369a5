"""The search alone: is anything of these people left anywhere?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...artifacts import Artifacts
from ...progress import SILENT, Progress
from ...settings import Settings
from ...store import Store
from ..originals.listing import Original, named_in
from ..person import People, Person
from ..proof.prove import search
from ..proof.scan import Scan
from ..records.request_log import Handling, close_requests, open_request


@dataclass(frozen=True)
class Verified:
    """What a search saw.

    Parameters
    ----------
    scan
        Of what is ours.
    people
        Who was looked for.
    originals
        Files of the watched folder that name them; they are the shop's own.
    """

    scan: Scan
    people: list[Person]
    originals: list[Original] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.scan.clean


def verify(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    asked: Sequence[str],
    progress: Progress = SILENT,
    *,
    handling: Handling | None = None,
) -> Verified:
    """Search every file for these people, without changing anything but the log of requests."""
    who = People(store, artifacts, settings)
    people = who.find([[one] for one in asked])
    request = open_request(settings.db, "verification", len(asked), handling)
    with progress.stage("Searching every file"):
        found = search(store, settings, people, who.secret)
    originals: list[Original] = []
    if settings.ingest.folder:
        with progress.stage("Searching the watched folder"):
            originals = named_in(Path(settings.ingest.folder), people)
    outcome = "originals name them" if originals else "nobody found"
    close_requests(settings.db, {request: outcome if found.clean else "traces found"})
    return Verified(found, people, originals)
