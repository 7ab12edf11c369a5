"""`recsys export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, start


def export(
    lake: Annotated[
        Path,
        typer.Option("--lake", metavar="DIR", help="Folder of Parquet files: a new one, or one exported to before."),
    ],
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write events and items to Parquet, by month and without names, for Spark and other programs."""
    run = start(db, artifacts, config, as_json)
    from ..publishing.lake import export_lake
    from ..store import Store

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    done = export_lake(store, run.settings, lake, run.progress)

    def months(count: int) -> str:
        return "1 month" if count == 1 else f"{count:,} months"

    def render(out: Console) -> None:
        told = f"{done.events:,} events in {months(len(done.written) + done.kept)} in {lake}: "
        told += f"{months(len(done.written))} written, {done.kept:,} as before"
        out.print(told + (f", {len(done.removed):,} removed." if done.removed else "."), highlight=False, markup=False)

    run.emit(
        {
            "folder": str(lake),
            "events": done.events,
            "written": list(done.written),
            "kept": done.kept,
            "removed": list(done.removed),
        },
        render,
    )
