"""The search alone: is anybody of these people left anywhere?"""

from __future__ import annotations

from collections.abc import Sequence

from ..artifacts import Artifacts
from ..identity import load_secret
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from . import journal, requests
from .people import Person
from .proving import needles_of, search
from .scanning import Scan


def verify(
    store: Store, artifacts: Artifacts, settings: Settings, asked: Sequence[str], progress: Progress = SILENT
) -> Scan:
    """Search everything for these people, without changing anything but the log of requests."""
    secret = load_secret(settings.db, create=not artifacts.names())
    request = requests.open_request(settings.db, "verification", len(asked))
    with progress.stage("Searching every file"):
        people = [Person.of(one, secret) for one in asked]
        found = search(store, settings, needles_of(people), skip=journal.paths(settings.db))
    requests.close_request(settings.db, request, "nobody found" if found.clean else "traces found")
    return found
