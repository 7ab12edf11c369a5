"""Nothing is kept longer than the shop has set (article 5(1)(e)): rows, versions, receipts and the log of requests.

Age is counted from the shop's newest event, not from the clock: an export of years ago is a shop of years ago. And the
worker erases nothing it has not told of: what is too old is announced first, and goes `NOTICE_DAYS` after that, or
after it was taken in if that is later. A shop that loads its history learns of the limits before they cost anything.

Nor does it believe a clock that jumps: when the time, or the newest event, is more than `JUMP_DAYS` after what it was
at the last run, nothing is erased for `NOTICE_DAYS`, and the shop is told. A clock that is put right ends that.
"""

from __future__ import annotations

import time
from dataclasses import replace

from ..artifacts import Artifacts
from ..artifacts.audit_log import ACTIONS, PREDICTIONS, AuditLog
from ..artifacts.choices import FILE as CHOICES
from ..artifacts.choices import change, restricted
from ..artifacts.forgetting import forget, trim
from ..errors import Refused
from ..gdpr.records import receipts, request_log, written_exports
from ..identity import load_secret, state_dir
from ..progress import SILENT, Progress
from ..publishing.lake import update_lakes
from ..schema import DAY
from ..settings import RetentionSettings, Settings
from ..store import Store
from ..store.merge import transaction
from ..store.retention import (
    NOTICE_DAYS,
    Cutoffs,
    count_old,
    day_after_notice,
    delete_old,
    newest,
    notices,
    old_guests,
    told,
)
from ..store.rewrite import rewrite

_EVENTS = {"events", "guest_events"}


def due(settings: Settings, now: float | None = None) -> bool:
    """Whether a day has passed since the last time."""
    at, last = time.time() if now is None else now, told(settings.db).at
    return at - last >= DAY or last > at + DAY  # a clock that was wrong once must not end this for good


def expire(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    progress: Progress = SILENT,
    *,
    at_once: bool = False,
    sure: bool = False,
    now: float | None = None,
) -> dict[str, int]:
    """Erase what is older than set; returns counts by kind, empty when nothing was.

    Parameters
    ----------
    at_once
        Somebody asks for it: nothing is announced first.
    sure
        Also when the time has jumped.

    Raises
    ------
    Refused
        Somebody asks for it just after the time has jumped, and is not `sure`.
    """
    at, seen = time.time() if now is None else now, 0
    if store.exists():
        with store.reading() as con:
            seen = newest(con, at)
    now_told = told(settings.db).looked(int(at), seen)
    if sure:
        now_told = replace(now_told, held_since=0)
    if now_told.held_since and at_once:
        raise Refused(f"{now_told.jumped} Nothing was erased.", "If the date is right, add --yes; else set the clock.")
    if now_told.held_since:
        notices(settings.db).write(now_told)
        progress.note(now_told.held)
        return {}
    cutoffs, counts = _old(store, artifacts, settings, at, seen, 0 if at_once else NOTICE_DAYS)
    if not at_once and not now_told.announced_at and (rows := sum(counts.get(kind, 0) for kind in _EVENTS)):
        now_told = replace(now_told, announced_at=int(at))
        progress.note(
            f"{rows:,} events are older than the shop keeps them ({_limits(settings.retention)}). They are erased "
            f"after {day_after_notice(int(at))}; to keep them, change retention.events_days or .guests_days."
        )
    if now_told.announced_at and at - now_told.announced_at < NOTICE_DAYS * DAY and not at_once:
        cutoffs = replace(cutoffs, events=0, guests=0)
        counts = {kind: n for kind, n in counts.items() if kind not in _EVENTS}
    if counts:
        _delete(store, artifacts, settings, cutoffs, progress, rewriting=bool(counts.keys() - {"served"}))
    counts |= {kind: n for kind, n in _files(settings, at).items() if n}
    if (artifacts.root / CHOICES).exists():
        with artifacts.exclusive():
            change(artifacts.root, {})  # drops those that have ended
    if counts:
        request = request_log.open_request(settings.db, "retention", 0)
        request_log.close_requests(settings.db, {request: "done"})
    notices(settings.db).write(now_told)
    return counts


def _limits(rules: RetentionSettings) -> str:
    limits = (("customers' events", rules.events_days), ("guests' events", rules.guests_days))
    return ", ".join(f"{what} {days:g} days before the newest event" for what, days in limits if days)


def _old(
    store: Store, artifacts: Artifacts, settings: Settings, at: float, seen: int, notice: float
) -> tuple[Cutoffs, dict[str, int]]:
    """What is too old now, by kind."""

    def before(days: float, since: float = at) -> int:
        return int(since - days * DAY) if days else 0

    if not store.exists():
        return Cutoffs(), {}
    rules, clock = settings.retention, min(at, seen or at)
    cutoffs = Cutoffs(
        events=before(rules.events_days, clock),
        guests=before(rules.guests_days, clock),
        rejected=before(rules.rejected_days),
        served=before(rules.served_days),
        arrived=int(at - notice * DAY) if notice else 1 << 62,
        secret=load_secret(settings.db),
        spared=restricted(artifacts.root),
    )
    with store.reading() as con:
        return cutoffs, count_old(con, cutoffs)


def _delete(
    store: Store, artifacts: Artifacts, settings: Settings, cutoffs: Cutoffs, progress: Progress, *, rewriting: bool
) -> None:
    with progress.stage("Erasing what is older than set"), store.writing() as con:
        guests = old_guests(con, load_secret(settings.db), cutoffs)
        with transaction(con):
            delete_old(con, cutoffs)
    if rewriting:  # the log of lists names nobody: no byte of it has to go, and rewriting takes minutes
        rewrite(store)
        update_lakes(store, settings, progress)
    if cutoffs.events:
        trim(artifacts, before=cutoffs.events, progress=progress)
    if len(guests):
        forget(artifacts, guests, erased=False, progress=progress)


def _files(settings: Settings, at: float) -> dict[str, int]:
    rules, gone = (settings.retention, {"receipts": 0, "log_entries": 0, "audit_files": 0})
    if rules.log_days:
        limit = at - rules.log_days * DAY
        for path in (state_dir(settings.db) / receipts.FOLDER).glob("*"):
            if path.stat().st_mtime < limit:
                path.unlink()
                gone["receipts"] += 1
        gone["log_entries"] = request_log.drop_before(settings.db, int(limit))
    for chain, days in ((ACTIONS, rules.audit_days), (PREDICTIONS, rules.predictions_days)):
        if days:
            gone["audit_files"] += AuditLog(settings.artifacts, chain).drop_before(at - days * DAY)
    return gone | {"exports": len(written_exports.delete(settings.db, expired=at))}
