"""What is due by itself: interrupted erasures, requests that came over HTTP, consent the shop handed in, retention."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..artifacts import Artifacts
from ..durable_files import private_dir, write_atomic
from ..errors import ErasureIncomplete
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from . import inbox, retention
from .deciding import sync_consent
from .erasing import resume
from .journal import state_dir

_STATE = "passes.json"


@dataclass(frozen=True)
class Done:
    """What was done, as counts; and why some erasures could not be finished, which whoever runs the pass must hear."""

    counts: dict[str, int] = field(default_factory=dict)
    failed: tuple[ErasureIncomplete, ...] = ()


def run(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    watermark: Mapping[str, int],
    progress: Progress = SILENT,
    *,
    clock: Callable[[], float] = time.time,
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
    erasures = _erasures(store, artifacts, settings, progress, clock)
    done = dict(erasures.counts)
    if watermark and _last(settings) != dict(watermark):
        changed = sync_consent(store, artifacts, settings)
        if changed:
            done["consents"] = changed
        private_dir(state_dir(settings.db))
        write_atomic(state_dir(settings.db) / _STATE, json.dumps(dict(watermark)).encode())
    if retention.due(settings):
        done |= retention.expire(store, artifacts, settings, progress)
    return Done(done, erasures.failed)


def _erasures(
    store: Store, artifacts: Artifacts, settings: Settings, progress: Progress, clock: Callable[[], float]
) -> Done:
    """Erasures and exports; one that cannot be finished does not keep the worker from the others and its own work."""
    resumed = resume(store, artifacts, settings, progress, patient=True, clock=clock)
    answered, failed = inbox.answer_all(store, artifacts, settings, progress)
    failed = [*resumed.failed, *failed]
    counts = {
        "erasures_finished": len(resumed.finished), "requests": answered, "erasures_unfinished": len(failed)
    }  # fmt: skip
    return Done({kind: n for kind, n in counts.items() if n}, tuple(failed))


def _last(settings: Settings) -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads((state_dir(settings.db) / _STATE).read_bytes())
    except FileNotFoundError:
        return {}
    return found
