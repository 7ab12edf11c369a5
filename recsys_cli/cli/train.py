"""`recsys train`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..errors import UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, key_values, start


def train(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Model to train; auto lets validation choose. [default: what recsys tune chose, else train.model]",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A hyperparameter of the model; repeatable.")
    ] = None,
    ranker: Annotated[bool, typer.Option("--ranker", help="Train only the ranker, for the served model.")] = False,
    ranker_model: Annotated[
        str | None,
        typer.Option("--ranker-model", help="What learns the order: lightgbm or dlrm. [default: ranking.model]"),
    ] = None,
    no_ipw: Annotated[
        bool, typer.Option("--no-ipw", help="Learn from clicks without correcting for their position in the list.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Serve it even if it is worse than the current version.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", metavar="spark", help="Fit als on Spark, from a lake, which is brought up to date first."
        ),
    ] = None,
    master: Annotated[
        str | None,
        typer.Option("--master", help="For Spark: local[N], spark://HOST:PORT, yarn or k8s://… [default: local[*]]"),
    ] = None,
    lake: Annotated[
        Path | None,
        typer.Option("--lake", metavar="DIR", help="For Spark: the lake. [default: the one exported to before]"),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of all random choices. [default: 42]")] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a model on everything in the database, judge it by the last part of time, and publish it."""
    ipw = False if no_ipw else None
    run = start(db, artifacts, config, as_json, train__seed=seed, ranking__ipw=ipw, ranking__model=ranker_model)
    run.give_way()
    if engine not in (None, "spark"):
        raise UsageError(f"--engine must be spark, got '{engine}'.", "Leave it out to fit in this process.")
    cluster = master or "local[*]"
    if not re.fullmatch(r"local(\[(\*|[1-9]\d*)(,\d+)?\])?|yarn|(spark|k8s)://\S+", cluster):
        raise UsageError(
            f"'{cluster}' is not an address of Spark.", "Write local[N], spark://HOST:PORT, yarn or k8s://…"
        )
    if not engine and (master is not None or lake is not None):
        raise UsageError("--master and --lake go with --engine spark.", "Add it, or leave them out to fit here.")
    if ranker:
        if model or set_ or force or engine:
            left_out = "Leave --model, --set, --force and --engine out."
            raise UsageError("--ranker learns the order for the served model.", left_out)
        _ranker_only(run)
        return
    from ..artifacts import Artifacts
    from ..publishing.train import choose, train
    from ..store import Store
    from .leaderboards import gate_told, leaderboard, ranker_board

    recipe = choose(run.settings, model or ("als" if engine else None), key_values(set_ or []))
    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    versions = Artifacts(run.settings.artifacts)
    if engine:
        from ..publishing.spark_engine import train_on_spark

        done = train_on_spark(store, versions, run.settings, recipe, cluster, lake, progress=run.progress, force=force)
    else:
        done = train(store, versions, run.settings, recipe, run.progress, force=force)
    recipe = done.recipe

    def render(out: Console) -> None:
        if done.report:
            out.print(leaderboard(done.report))
        else:
            out.print("Not evaluated: the data has no later part with returning customers.")
        out.print(Text(done.standing.sentence, style="dim"))
        out.print(ranker_board(done.second.as_dict()))
        for one in done.version.manifest["newcomers"]:
            if one["used"]:
                lead = one["lead"]["value"]
                told = f"Newcomers get what sells to customers of their {one['attribute']}"
                out.print(Text(f"{told}: NDCG@10 {lead:+.4f} over popularity.", style="dim"))
        out.print(gate_told(done.version.name, recipe.name, done.decision, force, done.seconds), highlight=False)

    result = {
        "version": done.version.name,
        "model": recipe.as_dict(),
        "metrics": done.report.as_dict() if done.report else None,
        "promoted": done.decision.promote or force,
        "gate": done.decision.as_dict(),
        "ranker": done.second.as_dict(),
        "standing": done.standing.as_dict(),
        "newcomers": done.version.manifest["newcomers"],
        "seconds": round(done.seconds, 2),
    }
    run.emit(result, render)


def _ranker_only(run: Run) -> None:
    from ..artifacts import Artifacts
    from ..publishing.ranker_training import train_ranker
    from ..store import Store
    from .leaderboards import ranker_board

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    done = train_ranker(store, Artifacts(run.settings.artifacts), run.settings, run.progress)

    def render(out: Console) -> None:
        out.print(f"Published [bold]{done.version.name}[/] in {done.seconds:.1f} s.", highlight=False)
        out.print(ranker_board(done.second.as_dict()))

    run.emit({"version": done.version.name, "ranker": done.second.as_dict(), "seconds": round(done.seconds, 2)}, render)
