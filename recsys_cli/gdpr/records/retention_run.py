"""Nothing is kept longer than the shop has set (article 5(1)(e)): rows, versions, receipts and the log of requests.

Age is counted from the shop's newest event, not from the clock: an export of years ago is a shop of years ago. And the
worker erases nothing it has not told of: what is too old is announced first, and goes `NOTICE_DAYS` after that, or
after it was taken in if that is later. A shop that loads its history learns of the limits before they cost anything.

Nor does it believe a clock that jumps: when the time, or the newest event, is more than `JUMP_DAYS` after what it was
at the last run, nothing is erased for `NOTICE_DAYS`, and the shop is told. A clock that is put right ends that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from ...artifacts import Artifacts
from ...artifacts.audit_log import ACTIONS, PREDICTIONS, AuditLog
from ...artifacts.choices import FILE as CHOICES
from ...artifacts.choices import change, restricted
from ...artifacts.forgetting import forget, trim
from ...errors import Refused
from ...identity import load_secret, state_dir
from ...progress import SILENT, Progress
from ...publishing.lake import update_lakes
from ...schema import DAY
from ...settings import RetentionSettings, Settings
from ...state_file import StateFile
from ...store import Store
from ...store.merge import transaction
from ...store.retention import Cutoffs, count_old, delete_old, newest, old_guests
from ...store.rewrite import rewrite
from . import receipts, request_log, written_exports
from .receipts import iso

NOTICE_DAYS = 14
JUMP_DAYS = 30
_STATE = "retention.json"
_EVENTS = {"events", "guest_events"}


@dataclass(frozen=True)
class Told:
    """When the worker last looked and what it said; epoch seconds, 0 for never.

    Parameters
    ----------
    at
        The last run.
    announced_at
        When rows that are too old were announced.
    clock
        The newest event as of then.
    held_since
        When the time jumped; 0 when it has not, or that is long enough ago.
    jumped_days
        How far.
    """

    at: int = 0
    announced_at: int = 0
    clock: int = 0
    held_since: int = 0
    jumped_days: int = 0


def _state(db: Path) -> StateFile[Told]:
    return StateFile(state_dir(db) / _STATE, Told, Told)  # lost, old rows are announced once more


def due(settings: Settings, now: float | None = None) -> bool:
    """Whether a day has passed since the last time."""
    at, last = time.time() if now is None else now, _state(settings.db).read_or_empty().at
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
    StoreBusy, StoreError
    """
    at = time.time() if now is None else now
    told = _looked(_state(settings.db).read_or_empty(), int(at), _newest(store, at))
    if sure:
        told = replace(told, held_since=0)
    if told.held_since and at_once:
        raise Refused(f"{_jumped(told)} Nothing was erased.", "If the date is right, add --yes; else set the clock.")
    if told.held_since:
        _state(settings.db).write(told)
        progress.note(f"{_jumped(told)} Nothing is erased for its age until {_ends(told.held_since)}.")
        return {}
    counts: dict[str, int] = {}
    cutoffs, old = _old(store, artifacts, settings, at, 0 if at_once else NOTICE_DAYS)
    if not at_once and not told.announced_at and set(old) & _EVENTS:
        told = replace(told, announced_at=int(at))
        progress.note(announcement(settings, old, told.announced_at))
    if told.announced_at and at - told.announced_at < NOTICE_DAYS * DAY and not at_once:
        cutoffs = replace(cutoffs, events=0, guests=0)
        old = {kind: n for kind, n in old.items() if kind not in _EVENTS}
    if old:
        counts |= old
        _delete(store, artifacts, settings, cutoffs, progress, rewriting=bool(old.keys() - {"served"}))
    counts |= {kind: n for kind, n in _files(settings, at).items() if n}
    if (artifacts.root / CHOICES).exists():
        with artifacts.exclusive():
            change(artifacts.root, {})  # drops those that have ended
    if counts:
        request = request_log.open_request(settings.db, "retention", 0)
        request_log.close_requests(settings.db, {request: "done"})
    _state(settings.db).write(told)
    return counts


def _looked(told: Told, at: int, newest_ts: int) -> Told:
    """What is known after a look at the time, which may have jumped since the last one or been put right."""
    clock = min(at, newest_ts)
    if told.at > at + DAY:  # the mark lies in the future: nothing that was said then counts
        kept = told.announced_at if told.announced_at <= at else 0
        return Told(at, kept, clock)
    step = max(at - told.at if told.at else 0, clock - told.clock if told.clock else 0)
    told = replace(told, at=at, clock=clock)
    if step > JUMP_DAYS * DAY:
        return replace(told, held_since=at, jumped_days=step // DAY)
    return replace(told, held_since=0) if at - told.held_since >= NOTICE_DAYS * DAY else told


def _newest(store: Store, at: float) -> int:
    if not store.exists():
        return 0
    with store.reading() as con:
        return newest(con, at)


def _jumped(told: Told) -> str:
    return f"The date, or that of the newest event, has jumped by {told.jumped_days:,} days since the last look."


def _ends(since: int) -> str:
    return iso(since + NOTICE_DAYS * DAY)[:10]


def held(db: Path) -> str:
    """Why nothing is erased for its age just now; else empty."""
    told = _state(db).read_or_empty()
    if not told.held_since:
        return ""
    return f"{_jumped(told)} Nothing is erased for its age until {_ends(told.held_since)}."


def announced(db: Path) -> str:
    """From when on events that are too old are erased, while the shop can still change that; else empty."""
    told = _state(db).read_or_empty()
    if not told.announced_at:
        return ""
    ends = told.announced_at + NOTICE_DAYS * DAY
    return f"events older than the shop keeps them are erased from {iso(ends)[:10]} on" if told.at < ends else ""


def announcement(settings: Settings, old: dict[str, int], at: int) -> str:
    """The sentence that says so for the first time."""
    rows = sum(n for kind, n in old.items() if kind in _EVENTS)
    return (
        f"{rows:,} events are older than the shop keeps them ({_limits(settings.retention)}). They are erased after "
        f"{iso(at + NOTICE_DAYS * DAY)[:10]}; to keep them, change retention.events_days or .guests_days."
    )


def _limits(rules: RetentionSettings) -> str:
    limits = (("customers' events", rules.events_days), ("guests' events", rules.guests_days))
    return ", ".join(f"{what} {days:g} days before the newest event" for what, days in limits if days)


def _old(
    store: Store, artifacts: Artifacts, settings: Settings, at: float, notice: float
) -> tuple[Cutoffs, dict[str, int]]:
    """What is too old now, by kind."""
    rules = settings.retention
    if not store.exists():
        return Cutoffs(), {}
    with store.reading() as con:
        clock = min(int(at), newest(con, at) or int(at))

        def before(days: float, since: float) -> int:
            return int(since - days * DAY) if days else 0

        cutoffs = Cutoffs(
            events=before(rules.events_days, clock),
            guests=before(rules.guests_days, clock),
            rejected=before(rules.rejected_days, at),
            served=before(rules.served_days, at),
            arrived=int(at - notice * DAY) if notice else 1 << 62,
            secret=load_secret(settings.db),
            spared=restricted(artifacts.root),
        )
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
        for lake in update_lakes(store, settings, progress):
            progress.note(f"The lake {lake} is not there: where it is now, run recsys export --lake, or delete it.")
    if cutoffs.events:
        trim(artifacts, before=cutoffs.events, progress=progress)
    if len(guests):
        forget(artifacts, guests, erased=False, progress=progress)


def _files(settings: Settings, at: float) -> dict[str, int]:
    rules, state = settings.retention, state_dir(settings.db)
    gone = {"receipts": 0, "log_entries": 0, "audit_files": 0}
    if rules.log_days:
        limit = at - rules.log_days * DAY
        for path in (state / receipts.FOLDER).glob("*"):
            if path.stat().st_mtime < limit:
                path.unlink()
                gone["receipts"] += 1
        gone["log_entries"] = request_log.drop_before(settings.db, int(limit))
    for chain, days in ((ACTIONS, rules.audit_days), (PREDICTIONS, rules.predictions_days)):
        if days:
            gone["audit_files"] += AuditLog(settings.artifacts, chain).drop_before(at - days * DAY)
    return gone | {"exports": written_exports.delete_expired(settings.db, at)}
