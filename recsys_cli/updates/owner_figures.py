"""What the worker does for the owner's dashboard: figures of the store, which no server opens, and guardrails."""

from __future__ import annotations

import time

from ..artifacts import Artifacts
from ..artifacts.running import report_file
from ..errors import DamagedState, RecsysError
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store

DAYS = 90  # that the dashboard can look back
_REST = 20  # times as long as making the figures took, until they are made again


def refresh(
    store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT, *, now: float | None = None
) -> list[str]:
    """Make the figures again if they are due, and look after experiments; sentences about those that were stopped.

    What goes wrong is noted and fails no pass: the figures stay what they were.
    """
    at = time.time() if now is None else now
    if not (store.exists() and artifacts.root.is_dir()):
        return []
    file = report_file(artifacts.root)
    try:
        last = file.read()
    except DamagedState:
        last = {}
    pause = max(settings.report.every_minutes * 60, _REST * last.get("seconds", 0.0))
    if 0 <= at - last.get("made_at", 0) < pause:
        return []
    from ..experiments import sales_report, verdicts  # loads what most passes do not need

    started = time.monotonic()
    try:
        told = verdicts.watch(store, artifacts, settings, now=at)
        made = sales_report.make_report(store, artifacts, settings, DAYS, now=at)
        made["experiments"] = [v.as_dict() for v in verdicts.all_of(store, artifacts, settings, now=at)]
        made["seconds"] = round(time.monotonic() - started, 3)
        file.write(made)
    except RecsysError as e:
        progress.note(f"The dashboard's figures could not be computed: {e}")
        return []
    for sentence in told:
        progress.note(sentence)
    return told
