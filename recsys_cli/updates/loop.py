"""Passes one after the other, each leaving word of how it went."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ..artifacts import Artifacts, Spool
from ..errors import RecsysError
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from . import health
from .worker import Pass, look, run_pass


def recorded_pass(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> Pass:
    """A pass whose outcome, good or bad, is written to the health file; errors are passed on."""
    before = health.read(artifacts.root)
    started = time.time()
    lag = 0.0
    try:
        lag = _lag(store, artifacts, before, started)
        done = run_pass(store, artifacts, settings, progress)
    except RecsysError as e:
        after = before.failed(started_at=started, ended_at=time.time(), message=str(e), lag_seconds=lag)
        health.write(artifacts.root, after)
        raise
    health.write(
        artifacts.root,
        before.succeeded(
            started_at=started,
            ended_at=time.time(),
            outcome=done.outcome,
            version=done.version,
            reason=done.reason,
            lag_seconds=lag,
            backlog_bytes=_backlog(store, artifacts),
        ),
    )
    return done


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
            stop.wait(max(settings.update.interval - (time.monotonic() - started), 0.05))


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


def _lag(store: Store, artifacts: Artifacts, before: health.Health, now: float) -> float:
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
