"""What is due by itself: interrupted erasures, requests that came over HTTP, consent the shop handed in, retention."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..artifacts import Artifacts
from ..errors import ErasureIncomplete
from ..files import private_dir, write_atomic
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from . import inbox, retention
from .deciding import sync_consent
from .erasing import resume
from .journal import state_dir

_STATE = "passes.json"


def run(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    watermark: Mapping[str, int],
    progress: Progress = SILENT,
) -> dict[str, int]:
    """Do what is due; returns counts of what was done, empty (and at once) when nothing was.

    Parameters
    ----------
    watermark
        See `store.reading.watermark`: consent is only looked at when the store has changed.

    Raises
    ------
    StoreBusy, StoreError
    """
    done = _erasures(store, artifacts, settings, progress)
    if watermark and _last(settings) != dict(watermark):
        changed = sync_consent(store, artifacts, settings)
        if changed:
            done["consents"] = changed
        private_dir(state_dir(settings.db))
        write_atomic(state_dir(settings.db) / _STATE, json.dumps(dict(watermark)).encode())
    if retention.due(settings):
        done |= retention.expire(store, artifacts, settings, progress)
    return done


def _erasures(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress) -> dict[str, int]:
    """Erasures and exports; one that cannot be finished is said, and does not keep the worker from its other work."""
    done: dict[str, int] = {}
    try:
        if resume(store, artifacts, settings, progress) is not None:
            done["erasures_finished"] = 1
        answered = inbox.answer_all(store, artifacts, settings, progress)
        if answered:
            done["requests"] = answered
    except ErasureIncomplete as e:
        progress.note(str(e))
        done["erasures_unfinished"] = 1
    return done


def _last(settings: Settings) -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads((state_dir(settings.db) / _STATE).read_bytes())
    except FileNotFoundError:
        return {}
    return found
