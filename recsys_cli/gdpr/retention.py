"""Nothing is kept longer than the shop has set (article 5(1)(e)): rows, versions, receipts and the log of requests."""

from __future__ import annotations

import json
import time

from ..artifacts import Artifacts
from ..artifacts.choices import FILE as CHOICES
from ..artifacts.choices import change
from ..durable_files import private_dir, write_atomic
from ..identity import load_secret
from ..progress import SILENT, Progress
from ..schema import DAY
from ..settings import RetentionSettings, Settings
from ..store import Store
from ..store.merge import transaction
from ..store.retention import Cutoffs, count_old, delete_old, old_guests
from ..store.rewrite import rewrite
from . import exports, receipts, requests
from .forgetting import forget, trim
from .journal import state_dir

_LAST = "retention.json"


def due(settings: Settings, now: float | None = None) -> bool:
    """Whether a day has passed since the last time."""
    try:
        last = json.loads((state_dir(settings.db) / _LAST).read_bytes())["at"]
    except FileNotFoundError:
        return True
    return bool((time.time() if now is None else now) - last >= DAY)


def expire(
    store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT, *, now: float | None = None
) -> dict[str, int]:
    """Erase what is older than set; returns counts by kind, empty when nothing was.

    Raises
    ------
    StoreBusy, StoreError
    """
    at = time.time() if now is None else now
    counts = _rows(store, artifacts, settings, at, progress)
    counts |= {kind: n for kind, n in _files(settings, at).items() if n}
    if (artifacts.root / CHOICES).exists():
        with artifacts.exclusive():
            change(artifacts.root, {})  # drops those that have ended
    if counts:
        request = requests.open_request(settings.db, "retention", 0, received_at=int(at))
        requests.close_request(settings.db, request, "done")
    private_dir(state_dir(settings.db))
    write_atomic(state_dir(settings.db) / _LAST, json.dumps({"at": int(at)}).encode())
    return counts


def _rows(store: Store, artifacts: Artifacts, settings: Settings, at: float, progress: Progress) -> dict[str, int]:
    cutoffs = _cutoffs(settings.retention, at)
    if not store.exists() or not cutoffs.any():
        return {}
    with store.reading() as con:
        counts = count_old(con, cutoffs)
    if not counts:
        return {}
    with progress.stage("Erasing what is older than set"), store.writing() as con:
        guests = old_guests(con, load_secret(settings.db), cutoffs)
        with transaction(con):
            delete_old(con, cutoffs)
    if counts.keys() - {"served"}:  # which names nobody: no byte of it has to go, and rewriting takes minutes
        rewrite(store)
    if cutoffs.events:
        trim(artifacts, before=cutoffs.events, progress=progress)
    if len(guests):
        forget(artifacts, guests, erased=False, progress=progress)
    return counts


def _cutoffs(rules: RetentionSettings, at: float) -> Cutoffs:
    def before(days: float) -> int:
        return int(at - days * DAY) if days else 0

    return Cutoffs(
        before(rules.events_days),
        before(rules.guests_days),
        before(rules.rejected_days),
        before(rules.served_days),
    )


def _files(settings: Settings, at: float) -> dict[str, int]:
    rules, state = settings.retention, state_dir(settings.db)
    gone = {"receipts": 0, "log_entries": 0, "exports": 0}
    if rules.log_days:
        limit = at - rules.log_days * DAY
        for path in (state / receipts.FOLDER).glob("*"):
            if path.stat().st_mtime < limit:
                path.unlink()
                gone["receipts"] += 1
        gone["log_entries"] = requests.drop_before(settings.db, int(limit))
    gone["exports"] = exports.delete_expired(settings.db, at)
    return gone
