"""What the update worker does about people by itself: interrupted erasures, orders of servers, consent, retention.

A server never opens the database: it notes an order on disk, and the worker carries it out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..artifacts import Artifacts
from ..artifacts.orders import ERASE, ERASE_SHOP, EXPORT, Asked, drop, waiting
from ..errors import ErasureIncomplete, NotFound
from ..identity import state_dir
from ..progress import SILENT, Progress
from ..settings import Settings
from ..state_file import StateFile
from ..store import Store
from .records import request_log, retention_run
from .rights.consent import sync_consent
from .rights.erase import Ask, Clock, erase, resume
from .rights.export import export, write

EXPORTS = "exports"
_STATE = "passes.json"


@dataclass(frozen=True)
class Done:
    """What was done, as counts; and why some erasures could not be finished, which the shop must hear."""

    counts: dict[str, int] = field(default_factory=dict)
    failed: tuple[ErasureIncomplete, ...] = ()


def run(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    watermark: Mapping[str, int],
    progress: Progress = SILENT,
    *,
    clock: Clock = time.time,
) -> Done:
    """Do what is due; nothing is counted, and at once, when nothing was.

    Parameters
    ----------
    watermark
        See `store.reading.watermark`: consent is only looked at when the store has changed.
    clock
        Gives the epoch seconds by which erasures that have failed are tried again.

    Raises
    ------
    StoreBusy, StoreError
    """
    resumed = resume(store, artifacts, settings, progress, patient=True, clock=clock)
    answered, failed = answer_all(store, artifacts, settings, progress)
    failed = [*resumed.failed, *failed]
    counts = {
        "erasures_finished": len(resumed.done), "requests": answered, "erasures_unfinished": len(failed)
    }  # fmt: skip
    if watermark and _seen(settings).read_or_empty() != dict(watermark):
        counts["consents"] = sync_consent(store, artifacts, settings)
        _seen(settings).write(dict(watermark))
    if retention_run.due(settings):
        counts |= retention_run.expire(store, artifacts, settings, progress)
    return Done({kind: n for kind, n in counts.items() if n}, tuple(failed))


def _seen(settings: Settings) -> StateFile[dict[str, int]]:
    return StateFile(state_dir(settings.db) / _STATE, dict[str, int], dict)


def answer_all(
    store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT
) -> tuple[int, list[ErasureIncomplete]]:
    """Carry out every order that waits: exports first, then all erasures together.

    Returns
    -------
    How many were answered, and why others could not be; their erasures are noted as unfinished from now on.

    Raises
    ------
    StoreBusy, StoreError
    """
    asked = waiting(artifacts.root)
    exports, erasures = ([order for order in asked if order.kind == kind] for kind in (EXPORT, ERASE))
    for order in exports:
        _export(store, artifacts, settings, order)
        drop(artifacts.root, order)
    failed: list[ErasureIncomplete] = []
    asks = [Ask(names, order) for order in erasures if (names := tuple(one for one in order.people if one.strip()))]
    if asks:
        failed += erase(store, artifacts, settings, asks, progress).failed
    for order in erasures:
        drop(artifacts.root, order)
    _note_shops(settings, [order for order in asked if order.kind == ERASE_SHOP], progress)
    return len(exports) + len(erasures) - len(failed), failed


def _note_shops(settings: Settings, asked: list[Asked], progress: Progress) -> None:
    """Everything of a shop: a human must say so, and `recsys gdpr log` shows that it waits."""
    known = {r.id for r in request_log.requests(settings.db)}
    for order in asked:
        if order.id not in known:
            received = {0: (order.id, order.received_at)}
            request_log.open_requests(settings.db, "erase the shop", [0], received=received)
            progress.note("A request to erase the whole shop waits: delete the database and the artifacts directory.")


def _export(store: Store, artifacts: Artifacts, settings: Settings, order: Asked) -> None:
    received = {0: (order.id, order.received_at)}
    try:
        document = export(store, artifacts, settings, order.people)
    except NotFound:
        request_log.open_requests(settings.db, "export", [1], received=received)
        request_log.close_requests(settings.db, {order.id: "nothing held"})
        return
    write(document, state_dir(settings.db) / EXPORTS / order.id, settings, received=received)
