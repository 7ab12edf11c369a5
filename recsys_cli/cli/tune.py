"""`recsys tune`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start
from .evaluate import split_names

if TYPE_CHECKING:
    from ..publishing.train import Trained
    from ..store import Store
    from ..tuning.search import Tried
    from ..tuning.tune import Tuned


def tune(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models", help="Models to search, comma-separated. [default: all that suit this amount of data]"
        ),
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", help="What to maximise: ndcg@10, hr@10, recall@10 or mrr@10, or one of them @20.")
    ] = "ndcg@10",
    trials: Annotated[
        int,
        typer.Option("--trials", min=0, help="Stop after this many trials, each model having had one; 0: no limit."),
    ] = 0,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Stop after this many seconds of CPU time; 0: no limit.")
    ] = 0.0,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Trials at the same time.")] = 1,
    publish: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Also train and publish what was chosen.")
    ] = True,
    window_days: Annotated[float | None, typer.Option("--window-days", help="Days in each validation window.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of all random choices.")] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the best model and hyperparameters for this shop and publish them; train uses them from then on."""
    run = start(db, artifacts, config, as_json, train__seed=seed, evaluation__window_days=window_days)
    run.give_way()
    from ..publishing.train import read_snapshot
    from ..store import Store
    from ..tuning.tune import Effort, tune

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    data = read_snapshot(store, run.settings, run.progress).data
    board = Board(run)
    with board.live:
        tuned = tune(
            data,
            run.settings.artifacts,
            models=split_names(models),
            metric=metric,
            effort=Effort(trials, timeout, jobs, run.settings.train.seed),
            window_days=run.settings.evaluation.window_days,
            watch=board.add,
        )
    done = _publish(run, store, tuned) if publish else None
    gate = done.decision.as_dict() if done else None
    result = _result(tuned) | {"version": done.version.name if done else None, "gate": gate}
    run.emit(result, lambda out: _render(out, tuned, done))


def _publish(run: Run, store: Store, tuned: Tuned) -> Trained:
    """Train what has just been chosen; the gate has its say as ever."""
    from ..artifacts import Artifacts
    from ..publishing.train import found, train

    return train(store, Artifacts(run.settings.artifacts), run.settings, found(tuned.final), run.progress)


class Board:
    """Trials as they come: a live table on a terminal, a line each in a log."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tried: list[Tried] = []
        self.live: Any = Live(console=run.err, transient=True) if run.err.is_terminal else nullcontext()

    def add(self, tried: Tried) -> None:
        """Show one more."""
        from .leaderboards import settings_line, trials

        self._tried.append(tried)
        if isinstance(self.live, Live):
            self.live.update(trials(self._tried))
        else:
            values = " ".join(f"{v:.4f}" for v in tried.values)
            end = "" if tried.finished else " (pruned)"
            self._run.progress.note(f"trial {tried.number} {tried.model} {values}{end} {settings_line(tried.config)}")


def _result(tuned: Tuned) -> dict[str, Any]:
    trials = [vars(t) for t in tuned.tried]
    return {
        "choice": tuned.choice.as_dict(),
        "report": tuned.report.as_dict(),
        "trials": trials,
        "earlier_trials": tuned.earlier,
    }


def _render(out: Console, tuned: Tuned, done: Trained | None) -> None:
    from .leaderboards import curve, leaderboard, settings_line, trials

    out.print(trials(tuned.tried))
    if line := curve(tuned.tried):
        out.print(line, highlight=False)
    out.print("The best of each model, by the newest days, which no trial saw:")
    out.print(leaderboard(tuned.report))
    if tuned.earlier:
        one = tuned.earlier == 1
        line = "1 trial of earlier runs counts." if one else f"{tuned.earlier} trials of earlier runs count."
        out.print(line, highlight=False)
    choice = tuned.choice
    if choice.importance:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in choice.importance.items())
        out.print(f"What mattered for {choice.name}: {shares}.", highlight=False, markup=False)
    line = f"Chosen: {choice.name} {settings_line(choice.config)} ({choice.trials} trials, {choice.seconds:.0f} s)."
    out.print(line, highlight=False, markup=False)
    if choice.name == "blend" and tuned.report.best() != choice.name:
        why = "The first of many models is partly the luckiest: the blend is chosen unless another is clearly better."
        out.print(why, highlight=False)
    if done is None:
        out.print("Run recsys train to fit and publish it.", highlight=False)
    elif done.decision.promote:
        out.print(f"Published [bold]{done.version.name}[/]. {done.decision.reason}", highlight=False)
    else:
        out.print(f"Kept back [bold]{done.version.name}[/]: {done.decision.reason}", highlight=False)
