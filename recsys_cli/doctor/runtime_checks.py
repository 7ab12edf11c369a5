"""Findings about what runs: files, disk, versions, the update worker."""

from __future__ import annotations

import shutil
import stat

from ..artifacts import Version
from ..errors import CorruptArtifact, NewerVersion
from ..evaluation.bench import fitted
from ..gdpr.records import journal
from ..identity import secret_path
from ..ranking.outcome import unusable
from ..schema import DAY
from ..store.retention import told as retention_told
from . import connection_checks, settings_checks
from .examination import Patient
from .findings import BROKEN, HINT, WARNING, Finding


def check(p: Patient) -> list[Finding]:
    """All of them."""
    looks = (
        *(_trouble, _busy, _settings, _key, _modes, _space, _leftovers, _erasures, _model, _ranker, _collapse, _worker),
        connection_checks.queue,
        connection_checks.details,
        connection_checks.assistant,
    )
    return [finding for look in looks for finding in look(p)]


def _busy(p: Patient) -> list[Finding]:
    if not p.busy:
        return []
    return [Finding("database_busy", HINT, f"{p.busy} Its data was not checked.", "Run this again in a while.")]


def _settings(p: Patient) -> list[Finding]:
    exposed = settings_checks.exposed(p.settings)
    return [*settings_checks.refused(p.settings), *exposed, *settings_checks.idle(p.settings, p.now, p.targets)]


def _trouble(p: Patient) -> list[Finding]:
    found = []
    for error in p.trouble:
        name = "damaged_version" if type(error) is CorruptArtifact else error.code
        severity = WARNING if isinstance(error, NewerVersion) else BROKEN
        found.append(Finding(name, severity, error.message, error.hint or "Run: recsys train"))
    return found


def _key(p: Patient) -> list[Finding]:
    path = secret_path(p.settings.db)
    if p.settings.db.exists() and not path.exists():
        sentence = f"The key file {path} is missing: no customer can be recognised in what is served."
        advice = f"Copy store/shop.duckdb.key from a backup to {path}; without one, ingest into a new database."
        return [Finding("key_missing", BROKEN, sentence, advice)]
    return []


def _modes(p: Patient) -> list[Finding]:
    found = []
    for path in (p.settings.db, secret_path(p.settings.db), p.settings.artifacts):
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
            severity = BROKEN if path == secret_path(p.settings.db) else WARNING
            right = "700" if path.is_dir() else "600"
            sentence = f"{path} can be read by others on this machine (mode {mode:o})."
            found.append(Finding("file_mode", severity, sentence, f"Run: chmod {right} {path}"))
    return found


def _space(p: Patient) -> list[Finding]:
    folder = p.settings.db.parent
    if not folder.exists():
        return []
    free = shutil.disk_usage(folder).free
    size = p.settings.db.stat().st_size if p.settings.db.exists() else 0
    need = max(3 * size, 200 << 20)
    if free >= need:
        return []
    severity = BROKEN if free < max(size, 50 << 20) else WARNING
    sentence = (
        f"{_bytes(free)} are free on the disk of {p.settings.db}; training, erasing and backups need {_bytes(need)}."
    )
    return [Finding("disk_space", severity, sentence, "Free some space, or move the state with --db and --artifacts.")]


def _erasures(p: Patient) -> list[Finding]:
    """Erasures that are not finished, and rows that are about to be erased for their age."""
    found = []
    if held := journal.unfinished(p.settings.db):
        stuck = [plan for plan in held if plan.failures]
        count = "1 erasure is" if len(held) == 1 else f"{len(held)} erasures are"
        sentence = f"{count} unfinished" + (f": traces are left in {stuck[0].left[0]}." if stuck else ".")
        todo = "Run: recsys gdpr resume" + (f"; or recsys gdpr accept {stuck[0].request} --note TEXT" if stuck else "")
        found.append(Finding("erasures", BROKEN if stuck else WARNING, sentence, todo))
    retention = retention_told(p.settings.db)
    if why := retention.held:
        todo = "Check the clock (date -u); if it is right, wait, or run: recsys gdpr retention --yes"
        found.append(Finding("date_jumped", WARNING, why, todo))
    if soon := retention.announced:
        todo = "To keep them, change retention.events_days or retention.guests_days."
        found.append(Finding("retention", WARNING, f"{soon[0].upper()}{soon[1:]}.", todo))
    return found


def _leftovers(p: Patient) -> list[Finding]:
    left = [f for f in p.settings.db.parent.glob(".stdin-*") if p.now - f.stat().st_mtime > 3600]
    if not left:
        return []
    sentence = f"{len(left)} files of interrupted imports are in {p.settings.db.parent}; they may hold customers' data."
    return [Finding("leftovers", WARNING, sentence, f"Run: rm {p.settings.db.parent}/.stdin-*")]


def _model(p: Patient) -> list[Finding]:
    events = p.figures.events if p.figures else None
    if p.version is None:
        if events is None or p.trouble:
            return []
        return [
            Finding("no_model", BROKEN, "No model has been trained: there is nothing to serve.", "Run: recsys train")
        ]
    if events is None:
        return []
    data = p.version.manifest["data"]
    found = []
    unseen = max(events.events - data["store_events"], 0)
    if unseen > max(1000, 0.02 * events.events):
        sentence = f"The served version does not know {unseen:,} of {events.events:,} events."
        found.append(Finding("model_behind", WARNING, sentence, "Run: recsys update-worker --once"))
    days = (p.now - float(fitted(p.version)["created_at"])) / DAY
    if days > 30 and p.now - events.clock < 30 * DAY:
        sentence = f"The model was trained {days:.0f} days ago, and it knows nothing newer."
        found.append(Finding("model_old", WARNING, sentence, "Run: recsys train"))
    return found + _drift(p.version)


def _ranker(p: Patient) -> list[Finding]:
    """Lists are in the first stage's order though a better one was learned."""
    trouble = unusable(p.version) if p.version else None
    if trouble is None:
        return []
    sentence = f"The ranker of the served version is not used, so lists are in the model's order: {trouble[0]}."
    return [Finding("ranker_off", WARNING, sentence, trouble[1])]


def _drift(version: Version) -> list[Finding]:
    psi = (version.manifest.get("watch") or {}).get("psi") or {}
    moved = {name: value for name, value in psi.items() if value > 0.25}
    if not moved:
        return []
    what = ", ".join(f"{name} ({value:.2f})" for name, value in sorted(moved.items(), key=lambda x: -x[1]))
    sentence = f"What customers do has changed since the training: {what}; 0.25 counts as a large change."
    return [Finding("drift", WARNING, sentence, "Run: recsys train")]


def _collapse(p: Patient) -> list[Finding]:
    """The served version knows far less than one before it."""
    if p.version is None:
        return []
    before, now = p.before_collapse, p.version.manifest["data"]["events"]
    if before is None:
        return []
    sentence = (
        f"The served version knows {now:,} events, and {before.name} before it {before.manifest['data']['events']:,}."
    )
    advice = f"Check --db and the last imports; to go back, run: recsys models promote {before.name}"
    return [Finding("data_collapsed", WARNING, sentence, advice)]


def _worker(p: Patient) -> list[Finding]:
    found = []
    if p.worker.failures:
        sentence = f"The update worker has failed {p.worker.failures} times in a row: {p.worker.message}"
        found.append(Finding("worker_failing", BROKEN, sentence, "Run it by hand to see: recsys update-worker --once"))
    if p.worker.links:
        some = ", ".join(p.worker.links[:3]) + (" …" if len(p.worker.links) > 3 else "")
        sentence = f"Links in {p.settings.ingest.folder or 'the watched folder'} are not followed: {some}."
        found.append(Finding("links_not_followed", WARNING, sentence, "Put the files themselves there."))
    waiting = p.spool_bytes > 1 << 20 or (
        p.spool_bytes and p.worker.ended_at and p.now - p.worker.ended_at > max(10 * p.settings.update.interval, 3600)
    )
    if waiting:
        sentence = f"{_bytes(p.spool_bytes)} of events that the server received are not in the database yet."
        full = p.spool_bytes > p.settings.serve.max_spool
        sentence += " That is more than serve.max_spool: the server takes no more events." if full else ""
        hint = "Run, or put into cron: recsys update-worker --once"
        found.append(Finding("spool_waiting", BROKEN if full else WARNING, sentence, hint))
    return found


def _bytes(n: int) -> str:
    value = float(n)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}"
        value /= 1000
    raise AssertionError
