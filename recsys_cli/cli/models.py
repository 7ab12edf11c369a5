"""`recsys models`: the versions there are, and which one is served."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import CorruptArtifact, UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start

if TYPE_CHECKING:
    from ..artifacts import Artifacts, Version
    from ..updates.lineage import Diff, Entry

app = typer.Typer(help="The published versions, and which one is served.", no_args_is_help=True)
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
    """Show all versions, the newest first; the served one is marked with *, and damaged ones are named."""
    run, published = _open(db, artifacts, config, as_json)
    from ..updates import lineage

    found = lineage.checked(published) if verify else lineage.entries(published)
    marked = next((e.name for e in found if e.damaged and e.current), "")
    note = _instead(marked, lineage.served(published)) if marked else ""
    run.emit([asdict(e) for e in found], lambda out: _draw_list(out, found, note))
    if run.as_json and note:
        run.waiting(note)
    if verify and any(e.damaged for e in found):
        raise typer.Exit(CorruptArtifact.exit_code)  # for whoever checks by cron, and reads no tables


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
    run.emit(found.manifest, lambda out: _draw(out, found))


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
    run.emit({"served": found.name}, lambda out: out.print(f"{found.name} is served from now on.", highlight=False))


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
    run.emit({"served": found.name, "before": before}, lambda out: out.print(text, highlight=False))


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
    run.emit(asdict(found), lambda out: _draw_diff(out, found))


def _instead(marked: str, served: str) -> str:
    """Which version is served in place of the damaged one that is marked."""
    if not served:
        return f"{marked} is damaged, and no other version is whole: run recsys train."
    return f"{marked} is damaged: {served} is served until recsys train or the next update publishes."


def _draw_list(out: Console, found: list[Entry], note: str) -> None:
    if not found:
        out.print("No versions yet. Run recsys train.")
        return
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
    for name in ("", "version", "by", "model", "when", "NDCG@10", "events", "items", "MB"):
        right = name in ("NDCG@10", "events", "items", "MB")
        # Where lines are short, what a model comes from and when it was made take two; numbers are never cut.
        day = len("2026-11-20") if name == "when" else None
        table.add_column(
            name, justify="right" if right else "left", no_wrap=name not in ("model", "when"), min_width=day
        )
    for e in found:
        mark = Text("*", style="bold green") if e.current else Text("")
        if e.damaged and not e.model:
            table.add_row(mark, e.name, Text("damaged", style="red"))
            continue
        origin = "" if e.trained == e.name else f" of {e.trained}"
        value = "" if e.value is None else f"{e.value:.4f}"
        size = f"{e.bytes / 1e6:.1f}"
        cells = [f"{e.model}{origin}", _when(e.created_at), value, f"{e.events:,}", f"{e.items:,}", size]
        by = Text("damaged", style="red") if e.damaged else Text("kept back" if e.kept_back else e.kind)
        table.add_row(mark, e.name, by, *cells)
    out.print(table)
    if note:
        out.print(note, highlight=False, markup=False)
    for e in found:
        if e.kept_back:
            out.print(f"{e.name} was kept back: {e.kept_back}", highlight=False, markup=False)


def _draw(out: Console, version: Version) -> None:
    from ..evaluation.bench import fitted
    from ..updates.lineage import quality, size

    m, value = version.manifest, quality(version)
    rows = {
        "version": version.name,
        "made by": m["kind"],
        "when": _when(m["created_at"]),
        "parent": m.get("parent") or "-",
        "model": m["model"]["name"],
        "trained as": fitted(version)["version"],
        "settings": ", ".join(f"{k}={v}" for k, v in m["model"]["config"].items()),
        "NDCG@10": "not judged" if value is None else f"{value:.4f}",
        "gate": m.get("gate", {}).get("reason", "-"),
        "events": f"{m['data']['events']:,} until {_when(version.newest_ts)}",
        "customers": f"{m['data']['users']:,}",
        "items": f"{m['data']['items']:,}",
        "size": f"{size(version) / 1e6:.1f} MB in {len(m['files'])} files, all as published",
    }
    table = Table(box=None, show_header=False)
    for name, text in rows.items():
        table.add_row(Text(name, style="dim"), Text(str(text)))
    out.print(table)


def _draw_diff(out: Console, found: Diff) -> None:
    table = Table(box=None, header_style="dim")
    for name in ("", found.first, found.second):
        table.add_column(name)
    for part in (found.config, found.data, found.metrics):
        for name, (old, new) in part.items():
            table.add_row(name, *(Text(_when(v) if name.endswith("_ts") and v else _plain(v)) for v in (old, new)))
    out.print(table)
    for word, ids in (("Added", found.added), ("Removed", found.removed)):
        if ids:
            more = f" and {len(ids) - 10:,} more" if len(ids) > 10 else ""
            out.print(f"{word} {len(ids):,} items: {', '.join(ids[:10])}{more}", highlight=False, markup=False)


def _plain(value: Any) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _when(ts: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(ts))
