"""Passes one after the other, each leaving word of how it went."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..artifacts import Artifacts, Spool, worker_state
from ..errors import RecsysError
from ..ingest.watch import Folder
from ..processes import give_memory_back, stoppable
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from ..supervisor import Supervisor
from .failures import Failures, attempt_of, explained, run_owner_command, tell_owner
from .one_pass import AnotherWorker, Pass, alone, expect_work, look, partial_pass
from .owner_figures import refresh
from .retrain_triggers import Attempt

_LONGEST_PAUSE = 300.0  # seconds between two tries of passes that fail


def recorded_pass(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> Pass:
    """A pass whose outcome, good or bad, is written to the health file and told to the owner.

    Raises
    ------
    RecsysError
        Whatever went wrong, foreseen or not; recorded, and everything that could be done all the same was done.
    """
    started = time.time()
    failures = Failures()
    before, after, lag = worker_state.Health(), {}, 0.0
    done: Pass | None = None
    with failures.kept():
        before = worker_state.read(artifacts.root)
    try:
        with failures.kept():
            lag = _lag(store, artifacts, before, started)
        folder = _folder(settings, before)
        done = partial_pass(store, artifacts, settings, failures, progress, folder=folder, last=attempt(before))
        with failures.kept():
            after = _outcome(store, artifacts, before, folder, done)
        with failures.kept():
            for alert in refresh(store, artifacts, settings, progress):
                run_owner_command(settings.update.on_alert, alert, progress, RECSYS_ALERT=alert)
    except Exception as e:  # noqa: BLE001 - recorded below, and raised
        failures.append(explained(e))
    after |= {"started_at": started, "ended_at": time.time(), "lag_seconds": lag}
    if failures or done is None:
        error = failures.combined()
        if (tried := attempt_of(failures)) is not None:
            after["training"] = tried.as_dict()
        failed = before.failed(**(after | {"outcome": "failed", "message": str(error)}))
        # Where that cannot be written, this is the first failure every time: better told too often than never.
        count = failed.failures if _written(artifacts, failed) else 1
        tell_owner(settings.update.on_failure, progress, failure=str(error), failures=count)
        raise error
    worker_state.write(artifacts.root, before.succeeded(**after))
    tell_owner(settings.update.on_failure, progress, failure="", failures=before.failures)
    return done


def run_once(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> Pass:
    """`recorded_pass` in the worker's place; not to get that place is a failure that the owner hears of as well.

    Raises
    ------
    AnotherWorker
        One is at work already.
    RecsysError
    """
    inside = False
    try:
        expect_work(store, artifacts, settings)
        with alone(artifacts):
            inside = True
            return recorded_pass(store, artifacts, settings, progress)
    except AnotherWorker:
        raise
    except Exception as e:
        if inside:
            raise
        error = explained(e)
        tell_owner(settings.update.on_failure, progress, failure=str(error), failures=1)
        raise error from None


def _outcome(
    store: Store, artifacts: Artifacts, before: worker_state.Health, folder: Folder | None, done: Pass
) -> dict[str, Any]:
    """What a pass did, as fields of `worker_state.Health`."""
    return {
        "outcome": done.outcome,
        "version": done.version,
        "training": done.training.as_dict() if done.training else before.training,
        "backlog_bytes": _backlog(store, artifacts),
        "seen": {name: list(mark) for name, mark in folder.seen.items()} if folder else {},
        "links": folder.links if folder else [],
    }


def attempt(state: worker_state.Health) -> Attempt | None:
    """The last training that a pass did; None when there was none."""
    return None if state.training is None else Attempt(**state.training)


def _folder(settings: Settings, before: worker_state.Health) -> Folder | None:
    """The watched folder, with the files that earlier passes dealt with and that are still there."""
    if not settings.ingest.folder:
        return None
    path = Path(settings.ingest.folder)
    # All of them while the folder is away (an unmounted share), or they would be looked at again when it is back.
    there = path.is_dir()
    seen = {name: (m[0], m[1], m[2]) for name, m in before.seen.items() if not there or (path / name).exists()}
    return Folder(path, seen, list(before.links))


def loop(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    progress: Progress,
    *,
    done: Callable[[Pass], None],
) -> None:
    """Pass after pass, `update.interval` seconds from start to start, until SIGTERM or SIGINT. Inside `alone`.

    A pass that is under way when the signal comes is finished first. One that fails is logged and the next one tried:
    whatever was wrong (a full disk, a long import) may be over by then.
    """
    interval = settings.update.interval
    supervisor = Supervisor("update worker", interval, longest=max(interval, _LONGEST_PAUSE))

    def step() -> None:
        try:
            done(recorded_pass(store, artifacts, settings, progress))
        finally:
            give_memory_back()  # between passes, a worker on a small box must not hold a gigabyte

    with stoppable() as stop:
        supervisor.run(step, stop)


def _written(artifacts: Artifacts, after: worker_state.Health) -> bool:
    """Write the health of a failed pass, unless that is what cannot be done: a full disk must not hide itself."""
    try:
        worker_state.write(artifacts.root, after)
    except (RecsysError, OSError):
        return False
    return True


def _lag(store: Store, artifacts: Artifacts, before: worker_state.Health, now: float) -> float:
    """Seconds that the oldest waiting event has waited at most; 0 when none waits."""
    position, _ = look(store)
    waiting = [
        int(name.split("-")[0]) / 1000  # when the segment was begun
        for name, size in Spool(artifacts.spool_dir).segments().items()
        if size > position.get(name, 0)
    ]
    return max(now - max(min(waiting), before.last_success_at or 0.0), 0.0) if waiting else 0.0


def _backlog(store: Store, artifacts: Artifacts) -> int:
    return Spool(artifacts.spool_dir).backlog(look(store)[0])
