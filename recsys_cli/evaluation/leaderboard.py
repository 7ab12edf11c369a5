"""Fit several recipes on the past, note what that costs, and judge them together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..models.base import Model, ModelConfig
from ..progress import SILENT, Progress
from ..splitting.holdout import Split
from .evaluate import evaluate
from .report import Report

_PAGE_MB = 4096 / 2**20


def leaderboard(
    split: Split,
    recipes: Mapping[str, tuple[type[Model], ModelConfig]],
    *,
    seed: int = 42,
    threads: int = 0,
    max_users: int = 20_000,
    repeat: bool = False,
    progress: Progress = SILENT,
) -> Report:
    """Fit every recipe on `split.train` and evaluate them.

    Parameters
    ----------
    recipes
        Name on the board to model class and config.

    Raises
    ------
    MissingDependency
        A recipe needs an optional library.
    """
    models: dict[str, Model] = {}
    cost: dict[str, dict[str, float]] = {}
    for name, (cls, config) in recipes.items():
        with measured() as spent:
            models[name] = cls.fit(split.train, config, seed=seed, threads=threads, progress=progress)
        cost[name] = spent
    return evaluate(
        models, split, max_users=max_users, seed=seed, repeat=repeat, cost=cost, segments=True, progress=progress
    )


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Seconds, and megabytes that resident memory grew by at its highest, of what is done inside."""
    before, peak, done = _resident_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], _resident_mb())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    spent: dict[str, float] = {}
    started = time.perf_counter()
    try:
        yield spent
    finally:
        spent["fit_seconds"] = round(time.perf_counter() - started, 3)
        done.set()
        watcher.join()
        spent["memory_mb"] = round(max(peak[0] - before, 0.0), 1)


def _resident_mb() -> float:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_MB
    except (OSError, ValueError, IndexError):
        return 0.0
