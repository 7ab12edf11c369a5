"""What is done about people without a command: interrupted erasures, orders of servers, consent, and the erasures
that a restored backup has undone.

A server never opens the database: it notes an order on disk, and the worker carries it out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..artifacts import Artifacts, Spool, suppressed
from ..artifacts.audit_log import forget_people
from ..artifacts.forgetting import readable
from ..artifacts.orders import ERASE, ERASE_SHOP, EXPORT, Asked, drop, waiting
from ..errors import ErasureIncomplete, NotFound
from ..identity import load_secret, rows_hashed, state_dir, user_key
from ..progress import SILENT, Progress
from ..schema import GUEST
from ..settings import Settings
from ..state_file import StateFile
from ..store import Store
from ..store.erased_people import erased_people
from ..store.personal_data import cell
from .received import owners
from .records import request_log
from .rights.consent import erased, leave_out, sync_consent, tell
from .rights.erase import GUEST as GUESTS
from .rights.erase import Clock, erase, resume
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
    """
    resumed = resume(store, artifacts, settings, progress, patient=True, clock=clock)
    answered, failed = answer_all(store, artifacts, settings, progress)
    failed = [*resumed.failed, *failed]
    counts = {"erasures_finished": len(resumed.done), "requests": answered, "erasures_unfinished": len(failed)}
    seen: StateFile[dict[str, int]] = StateFile(state_dir(settings.db) / _STATE, dict[str, int], dict)
    if watermark and seen.read_or_empty() != dict(watermark):
        counts["consents"] = sync_consent(store, artifacts, settings)
        seen.write(dict(watermark))
    return Done({kind: n for kind, n in counts.items() if n}, tuple(failed))


def answer_all(
    store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT
) -> tuple[int, list[ErasureIncomplete]]:
    """Carry out every order that waits: exports first, then all erasures together.

    Returns
    -------
    How many were answered, and why others could not be; their erasures are noted as unfinished from now on.
    """
    asked = waiting(artifacts.root)
    exports, erasures = ([order for order in asked if order.kind == kind] for kind in (EXPORT, ERASE))
    for order in exports:
        _export(store, artifacts, settings, order)
        drop(artifacts.root, order)
    failed: list[ErasureIncomplete] = []
    named = (replace(order, people=[one for one in order.people if one.strip()]) for order in erasures)
    asks = [order for order in named if order.people]
    if asks:
        failed += erase(store, artifacts, settings, asks, progress).failed
    for order in erasures:
        drop(artifacts.root, order)
    # Everything of a shop: a human must say so, and `recsys gdpr log` shows that it waits.
    known = {r.id for r in request_log.requests(settings.db)}
    for order in asked:
        if order.kind == ERASE_SHOP and order.id not in known:
            request_log.open_requests(settings.db, "erase the shop", [order], people=0)
            progress.note("A request to erase the whole shop waits: delete the database and the artifacts directory.")
    return len(exports) + len(erasures) - len(failed), failed


def _export(store: Store, artifacts: Artifacts, settings: Settings, order: Asked) -> None:
    try:
        document = export(store, artifacts, settings, order.people)
    except NotFound:
        request_log.open_requests(settings.db, "export", [order])
        request_log.close_requests(settings.db, {order.id: "nothing held"})
    else:
        write(document, state_dir(settings.db) / EXPORTS / order.id, settings, order=order)


def reapply(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> int:
    """Erase everybody on the suppression list who is there all the same; returns how many were.

    For after a restored backup, before anything is served. Somebody who cannot be shown to be gone has a journal, as
    after any erasure, and stops nothing.
    """
    listed = suppressed.kept_out(settings.db)
    if not listed:
        return 0
    forget_people(artifacts.root, list(listed))
    secret = load_secret(settings.db)
    ids, sessions = set[str](), set[str]()
    if store.exists():
        with store.reading() as con:
            ids, sessions = erased_people(con, secret, listed)
    for one, ts in owners(Spool(artifacts.spool_dir)).items():
        key = user_key(secret, one if one.startswith(GUEST) else cell(one))
        if ts <= listed.get(suppressed.hash_of(secret, key), -1):
            (sessions if one.startswith(GUEST) else ids).add(one.removeprefix(GUEST))
    guests = [Asked(ERASE, [one], GUESTS) for one in sorted(sessions)]
    if asks := [*(Asked(ERASE, [one], "restored") for one in sorted(ids)), *guests]:
        for failure in erase(store, artifacts, settings, asks, progress).failed:
            progress.note(str(failure))
    keys = _in_versions(artifacts, secret, listed)
    if keys:  # in no row, only in a version
        tell(artifacts, secret, dict.fromkeys(keys, erased(settings.gdpr)))
        leave_out(store, artifacts, settings, keys, progress)
        Spool(artifacts.spool_dir).new_epoch()
    return len(asks) + len(keys)


def _in_versions(artifacts: Artifacts, secret: str, listed: Mapping[str, int]) -> set[tuple[int, int]]:
    found = set()
    for _, bundle in readable(artifacts):
        histories = bundle.histories  # oldest first; nobody in a version has none
        first = histories.ts[np.minimum(histories.indptr[:-1], max(histories.n_events - 1, 0))]
        for row in rows_hashed(f"{secret}erased", bundle.keys, listed):
            key = int(bundle.keys[row, 0]), int(bundle.keys[row, 1])
            if first[row] <= listed[suppressed.hash_of(secret, key)]:
                found.add(key)
    return found
