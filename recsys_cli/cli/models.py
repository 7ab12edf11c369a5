"""`recsys models`: the versions there are, and which one is served."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..errors import CorruptArtifact, UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start
from .version_tables import draw_diff, draw_list, draw_version

if TYPE_CHECKING:
    from ..artifacts import Artifacts
    from ..updates.lineage import Entry

app = typer.Typer(help="List, inspect, promote and roll back published versions.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(metavar="VERSION", help="As v000012, 12 or current.")]


def _open(
    db: DbOption, artifacts: ArtifactsOption, config: ConfigOption, as_json: bool, **flags: Any
) -> tuple[Run, Artifacts]:
    from ..artifacts import Artifacts

    run = start(db, artifacts, config, as_json, **flags)
    return run, Artifacts(run.settings.artifacts, lock_timeout=run.settings.store.lock_timeout)


@app.command("list")
def list_(
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare every file with its checksum; exit code 6 if one differs.")
    ] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all versions, newest first; * marks the one that is served."""
    run, published = _open(db, artifacts, config, as_json)
    from ..updates import lineage

    found = lineage.checked(published) if verify else lineage.entries(published)
    marked = next((e.name for e in found if e.damaged and e.current), "")
    note = _instead(marked, lineage.served(published)) if marked else ""
    run.emit({"versions": [_as_dict(e) for e in found]}, lambda out: draw_list(out, found, note))
    if run.as_json and note:
        run.waiting(note)
    if verify and any(e.damaged for e in found):
        raise typer.Exit(CorruptArtifact.exit_code)  # for cron jobs, which read no tables


@app.command()
def show(
    version: NameArgument = "current",
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything known of a version, after checking its files."""
    run, published = _open(db, artifacts, config, as_json)
    from ..updates import lineage

    found = lineage.open_named(published, version)
    run.emit({"version": found.name, **found.manifest}, lambda out: draw_version(out, found))


@app.command()
def promote(
    version: NameArgument,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a version from now on; running servers change over within a second."""
    run, published = _open(db, artifacts, config, as_json)
    from ..updates import lineage

    found = lineage.promote(published, version)
    run.emit({"version": found.name}, lambda out: out.print(f"{found.name} is served from now on.", highlight=False))


@app.command()
def rollback(
    model: Annotated[
        bool, typer.Option("--model", help="Back to the model of an earlier training, not only to older data.")
    ] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the version before the served one; the next pass of the update worker goes on from there."""
    run, published = _open(db, artifacts, config, as_json)
    from ..updates import lineage

    before, found = lineage.rollback(published, model=model)
    text = f"{found.name} is served from now on, instead of {before}."
    run.emit({"version": found.name, "before": before}, lambda out: out.print(text, highlight=False))


@app.command()
def prune(
    keep: Annotated[int | None, typer.Option("--keep", min=1, help="Newest versions to keep. [default: 5]")] = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, help="Remove what is older, even of these. [default: 30]")
    ] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove old versions; never the served one, its parent, or the last two trainings."""
    run, published = _open(db, artifacts, config, as_json, train__keep=keep, train__keep_days=days)
    from ..updates import lineage

    gone = lineage.prune(published, run.settings.train.keep, run.settings.train.keep_days)
    text = f"Removed {', '.join(gone)}." if gone else "There was nothing to remove."
    run.emit({"removed": gone}, lambda out: out.print(text, highlight=False))


@app.command()
def diff(
    first: NameArgument,
    second: NameArgument = "current",
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how two versions differ in model, data, quality and items."""
    run, published = _open(db, artifacts, config, as_json)
    from ..updates import lineage

    found = lineage.diff(published, first, second)
    if found.first == found.second:
        what = "is the served version" if second == "current" else "is named twice"
        raise UsageError(f"{found.first} {what}; there is nothing to compare it with.", "Name a second version.")
    run.emit(asdict(found), lambda out: draw_diff(out, found))


@app.command()
def export(
    version: NameArgument,
    onnx: Annotated[Path, typer.Option("--onnx", metavar="DIR", help="A directory that does not exist yet.")],
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version's model and ranker as ONNX, for other programs; needs pip install 'recsys-cli\\[onnx]'."""
    run, published = _open(db, artifacts, config, as_json)
    from ..backup import refuse_own_places
    from ..publishing.onnx_export import export_onnx
    from ..updates import lineage

    refuse_own_places(run.settings.db, published.root, onnx)
    found = lineage.open_named(published, version)
    made = export_onnx(found, onnx)
    apart = ", ".join(f"{name}.onnx ({value:.0e} from ours)" for name, value in made.apart.items())
    text = f"{found.name} is in {made.folder}: {apart}, items.json and manifest.json."
    result = {"version": found.name, "folder": str(made.folder), "difference": made.apart, "manifest": made.manifest}
    run.emit(result, lambda out: out.print(text, highlight=False))


@app.command("import")
def import_(
    dir: Annotated[Path, typer.Argument(metavar="DIR", help="As recsys models export writes it, or another tool.")],
    force: Annotated[
        bool, typer.Option("--force", help="Serve it even if it is worse than the current version.")
    ] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a model that was trained elsewhere, after checking its files and judging it by later events."""
    run, published = _open(db, artifacts, config, as_json)
    run.give_way()
    from ..publishing.model_import import import_model
    from ..store import Store
    from .leaderboards import gate_told, leaderboard

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    done = import_model(store, published, run.settings, dir, run.progress, force=force)

    def render(out: Console) -> None:
        if done.report:
            out.print(leaderboard(done.report))
        out.print(gate_told(done.version.name, done.recipe.name, done.decision, force, done.seconds), highlight=False)

    result = {
        "version": done.version.name,
        "model": done.recipe.as_dict(),
        "metrics": done.report.as_dict() if done.report else None,
        "promoted": done.decision.promote or force,
        "gate": done.decision.as_dict(),
        "seconds": round(done.seconds, 2),
    }
    run.emit(result, render)


def _as_dict(entry: Entry) -> dict[str, Any]:
    """An entry of the list, its name called as in all other results."""
    found = asdict(entry)
    return {"version": found.pop("name"), **found}


def _instead(marked: str, served: str) -> str:
    """Which version is served in place of the damaged one that is marked."""
    if not served:
        return f"{marked} is damaged, and no other version is intact: run recsys train."
    return f"{marked} is damaged: {served} is served until recsys train or the next update publishes."
