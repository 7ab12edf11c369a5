"""`recsys experiment start|status|stop|promote`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ..errors import UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start

if TYPE_CHECKING:
    from ..artifacts import Artifacts
    from ..artifacts.running import Experiment

experiment = typer.Typer(
    name="experiment", help="Compare two ways of making lists on live visitors.", no_args_is_help=True
)
NameArgument = Annotated[str, typer.Argument(help="The experiment.")]
_ARMS = (
    "served, popular, version:v000012, model:als, ranker:off, placement:home, or rules:diversity=0.5,max_per_brand=2."
)


@experiment.command("start")
def begin(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    interleave: Annotated[
        tuple[str, str] | None, typer.Option("--interleave", help=f"Which order is better, both in one list: {_ARMS}")
    ] = None,
    split: Annotated[
        tuple[str, str] | None, typer.Option("--ab", help=f"Which sells more, half of the visitors each: {_ARMS}")
    ] = None,
    ramp: Annotated[
        bool, typer.Option("--ramp", help="With --ab: 5, 25, 50, then 100 % of visitors take part, a stage a day.")
    ] = False,
    share: Annotated[
        float, typer.Option("--share", min=0.01, max=1, help="With --ab: share of visitors who take part.")
    ] = 1.0,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start comparing two ways of making lists; servers take it up within a second."""
    run = start(db, artifacts, config, as_json)
    if (interleave is None) == (split is None):
        raise UsageError("Say how to compare.", "Use either --interleave A B or --ab A B.")
    import secrets
    import time

    from ..artifacts import Artifacts, running
    from ..serving.arms import checked_arms
    from ..serving.placements import read_placements

    folder = Artifacts(run.settings.artifacts)
    asked = interleave or split
    assert asked is not None
    served = folder.current()  # there must be something to compare
    models = {name: folder.open(name, verify=False).manifest["model"]["name"] for name in folder.names()}
    arms = checked_arms(asked, models, served.name, read_placements(run.settings.placements))
    with folder.exclusive():
        held = running.read(folder.root)
        running.check_name(name, held.experiments)
        if held.active():
            other = held.active()[0].name
            raise UsageError(f"The experiment '{other}' is running.", f"Run recsys experiment stop {other} first.")
        kind = running.INTERLEAVED if interleave else running.SPLIT
        portion = running.RAMP[0] if ramp and split else share
        one = running.Experiment(
            name, kind, (arms[0], arms[1]), secrets.token_hex(8), portion, bool(ramp and split), int(time.time())
        )  # fmt: skip
        running.write(folder.root, held.with_one(one))
    told = "both in one list" if interleave else f"{portion:.0%} of visitors take part"
    told = f"Comparing a ({arms[0]}) with b ({arms[1]}): {told}. recsys experiment status {name} tells how it goes."
    run.emit({"started": name, "kind": kind, "arms": list(arms), "share": portion}, lambda out: out.print(Text(told)))


@experiment.command("status")
def status(
    name: Annotated[str | None, typer.Argument(help="Name of the experiment. [default: all]")] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what experiments say so far; it may be asked every day without making a winner out of chance."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts import Artifacts, running
    from ..experiments import verdicts
    from ..store import Store

    folder = Artifacts(run.settings.artifacts)
    held = running.read(folder.root)
    chosen = [held.get(name)] if name else sorted(held.experiments.values(), key=lambda e: -e.started_at)
    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    found = [verdicts.judge(store, folder, run.settings, one).as_dict() for one in chosen]
    run.emit({"experiments": found}, lambda out: _render(out, found))


def _render(out: Console, found: list[dict[str, Any]]) -> None:
    from ..experiments.charts import sparkline

    if not found:
        out.print("There are no experiments yet: recsys experiment start NAME --interleave served popular.")
    for one in found:
        out.print(Text.assemble((one["name"], "bold"), f"  {one['state']}, {one['days']:.1f} days, {one['kind']}"))
        out.print(Text(f"  a: {one['arms'][0]}    b: {one['arms'][1]}", style="dim"))
        out.print(Text(f"  {one['sentence']}"))
        if one["reason"]:
            out.print(Text(f"  Ended: {one['reason']}."))
        for title, values in one["figures"].items():
            if isinstance(values, dict) and title != "answers":
                shown = ", ".join(f"{k} {v:,.4g}" for k, v in values.items() if isinstance(v, int | float))
                if shown:
                    out.print(Text(f"  {title.replace('_', ' ')}: {shown}"))
        widths = [entry["high"] - entry["low"] for entry in one["history"]]
        if len(widths) > 1:
            out.print(Text(f"  width of the interval by day {sparkline(widths)}"))


def _end(run: Run, name: str, state: str, reason: str) -> Any:
    from ..artifacts import Artifacts, running

    folder = Artifacts(run.settings.artifacts)
    _refuse_ended(running.read(folder.root).get(name))
    with folder.exclusive():
        held = running.read(folder.root)
        ended = held.get(name).ended(state, reason)
        running.write(folder.root, held.with_one(ended))
    return ended


def _refuse_ended(one: Experiment) -> None:
    from ..artifacts import running

    if one.state != running.RUNNING:
        raise UsageError(f"The experiment '{one.name}' has ended.", f"It was {one.state}: {one.reason or 'by hand'}.")


@experiment.command("stop")
def stop(
    name: NameArgument,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop an experiment: everybody gets the served lists again."""
    run = start(db, artifacts, config, as_json)
    _end(run, name, "stopped", "by hand")
    run.emit({"stopped": name}, lambda out: out.print(Text(f"Stopped {name}. Everybody gets the served lists.")))


@experiment.command("promote")
def promote(
    name: NameArgument,
    arm: Annotated[
        str, typer.Option("--arm", help="Which of the two, a or b. [default: the winner]", show_default=False)
    ] = "",
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End an experiment and serve one of its arms to everybody."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts import Artifacts, running
    from ..serving.arms import NO_RANKER, Arm

    if arm not in ("", "a", "b"):
        raise UsageError(f"'{arm}' is not an arm.", "Give --arm a or --arm b.")
    folder = Artifacts(run.settings.artifacts)
    one = running.read(folder.root).get(name)
    _refuse_ended(one)
    arm = arm or _winner(run, folder, one)
    text = one.arms["ab".index(arm)]
    chosen = Arm.parse(text)
    if chosen.kind == "popular":
        raise UsageError(
            "Popular items alone cannot be promoted.", "Stop the experiment, and train with --model popular."
        )
    _end(run, name, "promoted", f"{arm} ({text})")
    told = "The served lists stay."
    if chosen.kind == "version":
        from ..updates import lineage

        lineage.promote(folder, chosen.value)
        told = f"Serving {chosen.value}."
    if chosen.kind == NO_RANKER:
        told = "Put this into recsys.toml, under [train], and train again:\nranker = false"
    if chosen.kind == "placement":
        told = f"Let your pages ask for placement={chosen.value}; until then everybody gets the served lists."
    if chosen.kind == "rules":
        lines = "\n".join(f"{key} = {str(value).lower()}" for key, value in chosen.rules)
        told = f"Put this into recsys.toml, under [rules], and everybody gets it:\n{lines}"
    run.emit({"promoted": text, "next": told}, lambda out: out.print(Text(told)))


def _winner(run: Run, folder: Artifacts, one: Experiment) -> str:
    from ..experiments import verdicts
    from ..store import Store

    found = verdicts.judge(Store(run.settings.db, run.settings.store, waiting=run.waiting), folder, run.settings, one)
    if not found.winner:
        raise UsageError(
            f"'{one.name}' has no winner yet: {found.sentence.removesuffix('.')}.",
            "Give --arm a or --arm b to end it and choose one all the same.",
        )
    return found.winner
