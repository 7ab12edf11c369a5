"""Passes one after the other, each leaving word of how it went."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa

from ..artifacts import Artifacts, Spool, worker_state
from ..errors import RecsysError
from ..ingest.watch import Folder
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from .one_pass import Pass, TooLarge, Unfinished, look, run_pass
from .owner_figures import refresh
from .retrain_triggers import Attempt

_COMMAND_SECONDS = 60


def recorded_pass(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> Pass:
    """A pass whose outcome, good or bad, is written to the health file; errors are passed on."""
    before = worker_state.read(artifacts.root)
    started = time.time()
    lag, folder = 0.0, _folder(settings, before)
    try:
        lag = _lag(store, artifacts, before, started)
        done = run_pass(store, artifacts, settings, progress, folder=folder, last=attempt(before))
    except Unfinished as e:
        # What it did is kept: a training that is forgotten would be made again every minute.
        kept = _outcome(store, artifacts, before, folder, e.done) | {"outcome": "failed"}
        times = {"started_at": started, "ended_at": time.time(), "lag_seconds": lag}
        _fail(artifacts, before.failed(message=str(e), **kept, **times))
        _tell(settings.update.on_failure, str(e), progress)
        raise
    except RecsysError as e:
        tried = {"training": e.attempt.as_dict()} if isinstance(e, TooLarge) else {}
        times = {"started_at": started, "ended_at": time.time(), "lag_seconds": lag}
        _fail(artifacts, before.failed(message=str(e), **times, **tried))
        _tell(settings.update.on_failure, str(e), progress)
        raise
    for alert in refresh(store, artifacts, settings, progress):
        _tell(settings.update.on_alert, alert, progress, "RECSYS_ALERT")
    worker_state.write(
        artifacts.root,
        before.succeeded(
            started_at=started,
            ended_at=time.time(),
            lag_seconds=lag,
            **_outcome(store, artifacts, before, folder, done),
        ),
    )
    return done


def _outcome(
    store: Store, artifacts: Artifacts, before: worker_state.Health, folder: Folder | None, done: Pass
) -> dict[str, Any]:
    """What a pass did, as fields of `health.Health`."""
    return {
        "outcome": done.outcome,
        "version": done.version,
        "training": done.training.as_dict() if done.training else before.training,
        "backlog_bytes": _backlog(store, artifacts),
        "seen": {name: list(mark) for name, mark in folder.seen.items()} if folder else {},
    }


def attempt(state: worker_state.Health) -> Attempt | None:
    """The last training that a pass did; None when there was none."""
    return None if state.training is None else Attempt(**state.training)


def _folder(settings: Settings, before: worker_state.Health) -> Folder | None:
    """The watched folder, with the files that earlier passes dealt with and that are still there."""
    if not settings.ingest.folder:
        return None
    path = Path(settings.ingest.folder)
    seen = {name: (m[0], m[1], m[2]) for name, m in before.seen.items() if (path / name).exists()}
    return Folder(path, seen)


def loop(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    progress: Progress,
    *,
    done: Callable[[Pass], None],
    failed: Callable[[RecsysError], None],
) -> None:
    """Pass after pass, `update.interval` seconds from start to start, until SIGTERM or SIGINT.

    A pass that is under way when the signal comes is finished first. One that fails is reported and the next one
    tried: whatever was wrong (a full disk, a long import) may be over by then.
    """
    with _stoppable() as stop:
        while not stop.is_set():
            started = time.monotonic()
            try:
                done(recorded_pass(store, artifacts, settings, progress))
            except RecsysError as e:
                failed(e)
            _give_memory_back()
            stop.wait(max(settings.update.interval - (time.monotonic() - started), 0.05))


def _give_memory_back() -> None:
    """Return what a pass needed to the system: between passes, a worker on a small box must not hold a gigabyte."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others give back by themselves or not at all
    if trim is not None:
        trim(0)


def _fail(artifacts: Artifacts, after: worker_state.Health) -> None:
    """Write the health of a failed pass, unless that is what cannot be done: a full disk must not hide itself."""
    try:
        worker_state.write(artifacts.root, after)
    except RecsysError:
        return


def _tell(command: str, message: str, progress: Progress, variable: str = "RECSYS_FAILURE") -> None:
    """Run the owner's command with the message in its environment and on its standard input."""
    if not command:
        return
    try:
        done = subprocess.run(
            command,
            shell=True,  # it is the owner's own command line, from the owner's own settings
            input=message + "\n",
            text=True,
            timeout=_COMMAND_SECONDS,
            env={**os.environ, variable: message},
            check=False,
        )
    except subprocess.TimeoutExpired:
        progress.note(f"The owner's command took more than {_COMMAND_SECONDS} s and was stopped: {command}")
        return
    if done.returncode:
        progress.note(f"The owner's command ended with exit code {done.returncode}: {command}")


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second signal has its usual effect."""
    stop = threading.Event()
    before: dict[signal.Signals, object] = {}

    def halt(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, halt)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


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
