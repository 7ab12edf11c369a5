"""Find the recipe that foresees best in this shop, and confirm it on a window that nothing was chosen by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import NotEnoughData, UsageError
from ..evaluation import Report, rolling
from ..models import registry
from ..models.base import Size
from ..models.blend import Blend
from ..progress import SILENT, Progress
from ..schema import Dataset
from ..splitting.holdout import FEW_USERS
from .budget import Plan
from .choice import Choice, save_choice
from .final_round import Final, Terms, last_round
from .objective import rungs
from .search import Search, Tried
from .shortlist import affordable

METRICS = tuple(f"{name}@{n}" for name in ("ndcg", "hr", "recall", "mrr") for n in (10, 20))
_WINDOWS = 2  # that trials are judged by, before the one that confirms
_SEARCH_SHARE = 0.55  # of the time; the rest is for the blend, the last round and the fit to publish
_FINAL_SHARE = 0.8


@dataclass(frozen=True)
class Effort:
    """How much is tried.

    Parameters
    ----------
    trials, timeout
        Stop at this many trials in all (with those of earlier runs), or after so many CPU seconds; 0 for no limit of
        that kind, both 0 for 40 trials.
    jobs
        Trials at the same time.
    seed
        Of everything random.
    """

    trials: int = 0
    timeout: float = 0.0
    jobs: int = 1
    seed: int = 42


@dataclass(frozen=True)
class Tuned:
    """What came of a tuning: the choice, all trials, and the last round.

    Parameters
    ----------
    final
        The last round, that chose.
    earlier
        How many of the trials are of earlier runs.
    """

    choice: Choice
    tried: list[Tried]
    final: Final
    earlier: int = 0

    @property
    def report(self) -> Report:
        """The confirmation."""
        return self.final.report


def tune(
    data: Dataset,
    root: Path,
    *,
    models: Sequence[str] = (),
    metric: str = "ndcg@10",
    effort: Effort = Effort(),
    window_days: float = 0.0,
    watch: Callable[[Tried], None] = lambda _: None,
    progress: Progress = SILENT,
) -> Tuned:
    """Search, confirm on the latest window, keep the winner under the artifacts directory `root`.

    Parameters
    ----------
    models
        Names that compete; empty takes all that can be tuned on data of this size.
    effort
        When to stop, and by what seed.

    Raises
    ------
    UsageError
        Unknown model or metric; or no time for a trial, nor to confirm what earlier runs found.
    NotEnoughData
        There are not two windows of time with customers who came back.
    """
    if metric not in METRICS:
        raise UsageError(f"There is no metric '{metric}'.", f"There are: {', '.join(METRICS)}.")
    names = tuple(name for name in models if name != Blend.name) or tunable(data)
    for name in models:
        registry.get(name)
    timeout, seed = effort.timeout, effort.seed
    started = time.process_time()
    windows = rolling(data, 1 + _WINDOWS, window_days)
    if len(windows) < 2:
        raise NotEnoughData(
            f"Tuning needs two periods in each of which at least {FEW_USERS} customers came back.",
            "Ingest more orders, or let recsys train --model auto choose.",
        )
    latest, earlier = windows[0], windows[1:]
    trials = effort.trials if effort.trials or timeout else 40
    search = Search(root, names, rungs(earlier, seed), metric, seed, effort.jobs, watch)
    before = len(search.tried())
    with progress.stage("Searching"):
        search.run(trials=trials, deadline=started + _SEARCH_SHARE * timeout if timeout else float("inf"))
    finalists = best_of_each(search.tried())
    if not finalists:
        raise NotEnoughData("No trial could be fitted.", "Ingest more events, or name other --models.")
    deadline = started + _FINAL_SHARE * timeout if timeout else float("inf")
    if len(search.tried()) == before and time.process_time() + _fit_seconds(next(iter(finalists.values()))) > deadline:
        # The top of an old table, unconfirmed, would take the place of a choice that was confirmed.
        raise UsageError("The budget is too small for a single trial, so nothing was changed: raise --timeout.")
    blend = not models or Blend.name in models or len(models) > 1
    plan = Plan.of(tuple(finalists), Size.of(latest.train), deadline - time.process_time(), blend=blend)
    terms = Terms(metric, seed, windows=plan.windows)
    final = last_round(latest, {name: finalists[name].config for name in plan.names}, terms, progress)
    choice = Choice(
        name=final.name,
        config=final.config,
        metric=metric,
        score=finalists[final.name].score if final.name in finalists else 0.0,
        confirmed={n: found[metric].as_dict() for n, found in final.report.metrics.items()},
        trials=len(search.tried()),
        seconds=round(time.process_time() - started, 1),
        importance=search.importance(next(iter(finalists)) if final.name == Blend.name else final.name),
        chosen_at=int(time.time()),
    )
    save_choice(root, choice)
    return Tuned(choice, search.tried(), final, before)


def _fit_seconds(tried: Tried) -> float:
    """What fitting it once more takes, about."""
    return tried.seconds / max(len(tried.values), 1)


def tunable(data: Dataset) -> tuple[str, ...]:
    """Names of the models that have something to tune."""
    return tuple(name for name in affordable(data) if registry.get(name).Config.space())


def best_of_each(tried: list[Tried]) -> dict[str, Tried]:
    """Each model's best trial, best model first: those that reached the last rung before those that did not."""
    best: dict[str, Tried] = {}
    for t in sorted(tried, key=lambda t: (t.finished, t.score if t.finished else t.values[0]), reverse=True):
        best.setdefault(t.model, t)
    return dict(sorted(best.items(), key=lambda pair: pair[1].values[0], reverse=True))
