"""Carry out requests that came over HTTP: the server only notes them, because it never opens the database."""

from __future__ import annotations

from ..artifacts import Artifacts
from ..artifacts.orders import ERASE, ERASE_SHOP, EXPORT, Asked, drop, waiting
from ..errors import ErasureIncomplete, NotFound
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from . import requests
from .erasing import erase
from .exporting import export, write
from .journal import state_dir

EXPORTS = "exports"


def answer_all(
    store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT
) -> tuple[int, list[ErasureIncomplete]]:
    """Carry out everything that waits, oldest first.

    Returns
    -------
    How many were answered, and why others could not be; their erasures are noted as unfinished from now on.

    Raises
    ------
    StoreBusy, StoreError
    """
    done, failed = 0, []
    for asked in waiting(artifacts.root):
        try:
            # One that is gone was carried out together with another about the same person.
            done += asked not in waiting(artifacts.root) or _answer(store, artifacts, settings, asked, progress)
        except ErasureIncomplete as e:
            failed.append(e)
    return done, failed


def _answer(store: Store, artifacts: Artifacts, settings: Settings, asked: Asked, progress: Progress) -> bool:
    """Whether it is answered now."""
    if asked.kind == EXPORT:
        _export(store, artifacts, settings, asked)
        drop(artifacts.root, asked)
    elif asked.kind == ERASE:
        # The request itself names the person: it goes as soon as the journal remembers.
        erase(store, artifacts, settings, asked.people, progress, order=asked)
        drop(artifacts.root, asked)
    elif asked.kind == ERASE_SHOP:
        # Everything of a shop: a human must say so, and `recsys gdpr log` shows that it waits.
        if not any(r.id == asked.id for r in requests.requests(settings.db)):
            requests.note(settings.db, asked.id, "erase the shop", asked.received_at)
            progress.note("A request to erase the whole shop waits: delete the database and the artifacts directory.")
        return False
    return True


def _export(store: Store, artifacts: Artifacts, settings: Settings, asked: Asked) -> None:
    try:
        document = export(store, artifacts, settings, asked.people)
    except NotFound:
        request = requests.open_request(settings.db, "export", 1, received_at=asked.received_at)
        requests.close_request(settings.db, request, "nothing held")
        return
    write(document, state_dir(settings.db) / EXPORTS / asked.id, settings, received_at=asked.received_at)
