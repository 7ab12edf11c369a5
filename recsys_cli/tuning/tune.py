"""Find the recipe that foresees best in this shop, and confirm it on a window that nothing was chosen by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import NotEnoughData, UsageError
from ..evaluation import Report, Split, evaluate, rolling
from ..models import registry
from ..models.base import Model, ModelConfig
from ..progress import SILENT, Progress
from ..schema import Dataset
from .choice import Choice, save_choice
from .objective import rungs
from .shortlist import affordable
from .study import Search, Tried

METRICS = tuple(f"{name}@{n}" for name in ("ndcg", "hr", "recall", "mrr") for n in (10, 20))
_WINDOWS = 2  # that trials are judged by, before the one that confirms
_SEARCH_SHARE = 0.7  # of the time; the rest is for confirming


@dataclass(frozen=True)
class Tuned:
    """What came of a tuning: the choice, all trials, and the confirmation."""

    choice: Choice
    tried: list[Tried]
    report: Report


def tune(
    data: Dataset,
    root: Path,
    *,
    models: Sequence[str] = (),
    metric: str = "ndcg@10",
    trials: int = 0,
    timeout: float = 0.0,
    jobs: int = 1,
    seed: int = 42,
    window_days: float = 0.0,
    watch: Callable[[Tried], None] = lambda _: None,
    progress: Progress = SILENT,
) -> Tuned:
    """Search, confirm on the latest window, keep the winner under the artifacts directory `root`.

    Parameters
    ----------
    models
        Names that compete; empty takes all that can be tuned on data of this size.
    trials, timeout
        Stop at this many trials in all (with those of earlier runs), or after so many seconds; 0 for no limit of
        that kind, both 0 for 40 trials.
    jobs
        Trials at a time.

    Raises
    ------
    UsageError
        Unknown model or metric.
    NotEnoughData
        There are not two windows of time with customers who came back.
    """
    if metric not in METRICS:
        raise UsageError(f"There is no metric '{metric}'.", f"There are: {', '.join(METRICS)}.")
    names = tuple(models) or tunable(data)
    for name in names:
        registry.get(name)
    started = time.monotonic()
    windows = rolling(data, 1 + _WINDOWS, window_days)
    if len(windows) < 2:
        raise NotEnoughData(
            "Tuning needs two stretches of time in which customers came back.", "Ingest a longer stretch of time."
        )
    latest, earlier = windows[0], windows[1:]
    if not trials and not timeout:
        trials = 40
    search = Search(root, names, rungs(earlier, seed), metric, seed, jobs, watch)
    deadline = started + _SEARCH_SHARE * timeout if timeout else float("inf")
    with progress.stage("Searching"):
        search.run(trials=trials, deadline=deadline)
    finalists = best_of_each(search.tried())
    if not finalists:
        raise NotEnoughData("No trial could be fitted.", "Ingest more events, or name other --models.")
    report = confirm(latest, finalists, seed, progress)
    name = max(finalists, key=lambda n: report.metrics[n][metric].value)
    choice = Choice(
        name=name,
        config=finalists[name].config,
        metric=metric,
        score=finalists[name].score,
        confirmed={n: report.metrics[n][metric].as_dict() for n in report.metrics},
        trials=len(search.tried()),
        seconds=round(time.monotonic() - started, 1),
        importance=search.importance(name),
        chosen_at=int(time.time()),
    )
    save_choice(root, choice)
    return Tuned(choice, search.tried(), report)


def tunable(data: Dataset) -> tuple[str, ...]:
    """Names of the models that have something to tune."""
    return tuple(name for name in affordable(data) if registry.get(name).Config.space())


def best_of_each(tried: list[Tried]) -> dict[str, Tried]:
    """Each model's best trial, best model first: those that reached the last rung before those that did not."""
    best: dict[str, Tried] = {}
    for t in sorted(tried, key=lambda t: (t.finished, t.score if t.finished else t.values[0]), reverse=True):
        best.setdefault(t.model, t)
    return dict(sorted(best.items(), key=lambda pair: pair[1].values[0], reverse=True))


def confirm(split: Split, finalists: dict[str, Tried], seed: int, progress: Progress) -> Report:
    """Fit the finalists on all before the latest window and judge them by it."""
    models: dict[str, Model] = {}
    with progress.stage("Confirming on the latest window", len(finalists)) as advance:
        for name, tried in finalists.items():
            cls = registry.get(name)
            config: ModelConfig = cls.Config.from_values(tried.config)
            models[name] = cls.fit(split.train, config, seed=seed)
            advance(1)
    return evaluate(models, split, seed=seed, progress=progress)
