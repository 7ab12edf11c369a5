"""`recsys evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from ..errors import NoModel, UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start

if TYPE_CHECKING:
    from ..artifacts import Artifacts
    from ..splitting.holdout import By


_BY = ("time", "basket", "next", "last", "random", "fifth")


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models", help="Models to compare, comma-separated. [default: all that suit this amount of data]"
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="WAY",
            help="What is asked for: time, what is new in the last part of time; basket or next, each basket or event "
            "of that part after those before it; last, each last event; random or fifth, a fifth of each history, at "
            "random or the later.",
        ),
    ] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Also count items the customer already had.")] = False,
    ranker: Annotated[
        bool, typer.Option("--ranker", help="Compare the served model's order with a ranker trained now.")
    ] = False,
    no_ipw: Annotated[
        bool, typer.Option("--no-ipw", help="Learn from clicks without correcting for their position in the list.")
    ] = False,
    window_days: Annotated[float | None, typer.Option("--window-days", help="Days held out.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of all random choices.")] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare models by what they would have recommended for the last part of time."""
    if by is not None and by not in _BY:
        raise UsageError(f"--by must be one of {', '.join(_BY)}, got '{by}'.", "See recsys evaluate --help.")
    ipw = False if no_ipw else None
    run = start(
        db, artifacts, config, as_json, train__seed=seed, ranking__ipw=ipw, evaluation__window_days=window_days
    )  # fmt: skip
    if no_ipw and not ranker:
        raise UsageError("--no-ipw is about the ranker.", "Give it with --ranker.")
    if ranker:
        if models or by or repeat:
            raise UsageError("--ranker is about the served model.", "Leave --models, --by and --repeat out.")
        _ranker(run)
        return
    from ..artifacts import Artifacts
    from ..publishing.train import judge_newcomers, read_snapshot
    from ..store import Store
    from ..tuning.compare import compare
    from .leaderboards import leaderboard, newcomer_board

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    snapshot = read_snapshot(store, run.settings, run.progress)
    report = compare(
        snapshot.data,
        run.settings,
        split_names(models),
        served=served_recipe(Artifacts(run.settings.artifacts)),
        by=cast("By | None", by),
        repeat=repeat,
        progress=run.progress,
    )
    newcomers = judge_newcomers(snapshot, run.settings)

    def render(out: Console) -> None:
        out.print(leaderboard(report, full=True))
        if newcomers:
            out.print(newcomer_board(newcomers))

    run.emit(report.as_dict() | {"newcomers": [one.as_dict() for one in newcomers]}, render)


def _ranker(run: Run) -> None:
    from ..artifacts import Artifacts
    from ..publishing.ranker_training import judge_ranker
    from ..store import Store
    from .leaderboards import ranker_board

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    found = judge_ranker(store, Artifacts(run.settings.artifacts), run.settings, run.progress).as_dict()
    run.emit(found, lambda out: out.print(ranker_board(found)))


def split_names(values: list[str] | None) -> list[str]:
    """Names given as repeated or comma-separated options."""
    return [name.strip() for value in values or [] for name in value.split(",") if name.strip()]


def served_recipe(artifacts: Artifacts) -> dict[str, Any] | None:
    """Name and config of the model being served, None when there is none yet."""
    try:
        recipe: dict[str, Any] = artifacts.current(verify=False).manifest["model"]
    except NoModel:
        return None
    return recipe
