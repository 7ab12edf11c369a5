"""`recsys ingest`."""

from __future__ import annotations

import glob
import os
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, RenderableType

from ..durable_files import draft_dir, open_private, scratch, scratch_elsewhere, sweep_drafts
from ..errors import InputError, RecsysError, UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, key_values, start
from .imports_command import list_or_undo
from .rejected_command import rejected
from .watch_command import watch_folder

if TYPE_CHECKING:
    from ..ingest import Request

READING = "How the file is read"
WATCHING = "Watching a folder"
REJECTED = "recsys ingest rejected: the rows that were not imported"


def ingest(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE…", help="Files to import; patterns; - for standard input."),
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="events, items or users. [default: detected from the columns]")
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Which column a field is read from; repeatable."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="woocommerce, shopify, shopware, magento, google, … [default: detected]"),
    ] = None,
    event_type: Annotated[
        str | None,
        typer.Option("--event-type", metavar="TYPE", help="Event type of every row: view, purchase, click, …"),
    ] = None,
    ratings_from: Annotated[
        float | None,
        typer.Option("--ratings-from", metavar="N", help="Import ratings: N and above is a like, below it a dislike."),
    ] = None,
    nobody: Annotated[
        list[str] | None,
        typer.Option("--nobody", metavar="WORD", help="A customer name that means no customer; repeatable."),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="STATE=MEANING",
            help="What an order state means: paid, unpaid, cancelled or refunded; repeatable.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a file with any bad row.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report only; change nothing.")] = False,
    replace_: Annotated[
        bool, typer.Option("--replace", help="The file is the whole catalogue: retire items missing from it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, however many items --replace would retire.")] = False,
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Time zone of times without one.", rich_help_panel=READING)
    ] = None,
    date_order: Annotated[
        str | None,
        typer.Option("--date-order", help="Day or month first in 03/04/2025: dmy or mdy.", rich_help_panel=READING),
    ] = None,
    date: Annotated[
        str | None,
        typer.Option("--date", help="One date for all events; times in the file are ignored.", rich_help_panel=READING),
    ] = None,
    decimal: Annotated[str | None, typer.Option("--decimal", help="point or comma.", rich_help_panel=READING)] = None,
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", help="Encoding of text files: utf-8, utf-16, latin-1, …", rich_help_panel=READING),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            "--delimiter",
            help="Delimiter of CSV: comma, semicolon, tab, pipe, or the characters themselves.",
            rich_help_panel=READING,
        ),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Whether CSV files have a header.", rich_help_panel=READING),
    ] = None,
    skip_lines: Annotated[
        int | None,
        typer.Option(
            "--skip-lines", min=0, help="Lines above the header. [default: detected]", rich_help_panel=READING
        ),
    ] = None,
    sheet: Annotated[
        str | None, typer.Option("--sheet", help="Sheet of a workbook. [default: the fullest]", rich_help_panel=READING)
    ] = None,
    watch: Annotated[
        Path | None,
        typer.Option(
            "--watch", metavar="DIR", help="Import files as they arrive in a folder.", rich_help_panel=WATCHING
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", help="Seconds between looks.", rich_help_panel=WATCHING)
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Import what is there, then exit.", rich_help_panel=WATCHING)
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write them to a CSV, JSONL or Parquet file.", rich_help_panel=REJECTED),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Throw them away.", rich_help_panel=REJECTED)] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only rows rejected for this reason.", rich_help_panel=REJECTED)
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100_000, help="Rows to show.", rich_help_panel=REJECTED)
    ] = 20,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import a shop's exports: events, items and users. Each row counts once.

    recsys ingest rejected shows the rows that were not taken, recsys ingest list the files that were; recsys ingest
    undo N takes one of them back.
    """
    run = start(
        db,
        artifacts,
        config,
        as_json,
        ingest__timezone=timezone,
        ingest__date_order=date_order,
        ingest__decimal=decimal,
    )
    if state:
        states = {**run.settings.ingest.order_states, **key_values(state)}
        ingesting_as = replace(run.settings.ingest, order_states=states)
        run = replace(run, settings=replace(run.settings, ingest=ingesting_as))
    if files == ["rejected"] and not Path("rejected").exists():
        rejected(run, export=export, clear=clear, reason=reason, limit=limit)
        return
    if files and files[0] in ("list", "undo") and not Path(files[0]).exists():
        list_or_undo(run, files)
        return
    from .. import ingest as ingesting
    from ..artifacts.shop_id import refuse_missing_half
    from ..ingest.columns import KINDS
    from ..ingest.formats import Hints

    if type_ is not None and type_ not in KINDS:
        raise UsageError(f"--type must be one of {', '.join(KINDS)}, got '{type_}'.", "Leave it out to detect it.")
    refuse_missing_half(run.settings.db, run.settings.artifacts)
    request = ingesting.Request(
        kind=type_,
        preset=preset,
        said=_mapping(map_ or []),
        hints=Hints(encoding, delimiter, header, skip_lines, sheet),
        strict=strict,
        dry_run=dry_run,
        replace=replace_,
        date=_moment(date, map_ or [], run.settings.ingest.earliest),
        event_type=event_type,
        ratings_from=ratings_from,
        nobody=tuple(nobody or ()),
        yes=yes,
    )
    if watch is not None:
        if files:
            raise UsageError("--watch takes a folder instead of files.", "Name either.")
        watch_folder(run, watch, request, interval=interval, once=once)
    elif not files:
        raise UsageError("No file was named.", "Run: recsys ingest FILE")
    elif files == ["-"]:
        _from_stdin(run, request)
    elif files.count("-") > 1:
        raise UsageError("Standard input can be read once.", "Give - once; nothing was changed.")
    elif "-" in files and not Path("-").exists():
        raise UsageError(
            "Standard input cannot be read together with files.", "Run a command for it, and one for the files."
        )
    else:
        _take(run, _expanded(files), request)


def _mapping(pairs: list[str]) -> dict[str, str]:
    try:
        return key_values(pairs)
    except UsageError as e:
        raise UsageError(e.message, "Write it like --map user_id='Customer ID'.") from None


def _moment(date: str | None, pairs: list[str], earliest: str) -> int | None:
    """Epoch seconds of the start of a day, UTC."""
    if date is None:
        return None
    if any(pair.split("=")[0].strip() == "ts" for pair in pairs):
        raise UsageError("--date and --map ts=… both say when it was.", "Give one of them.")
    try:
        day = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"--date must be a date, got '{date}'.", "Write it like --date 2025-01-31.") from None
    if not earliest <= f"{day:%Y-%m-%d}" <= f"{datetime.now(UTC):%Y-%m-%d}":
        raise UsageError(
            f"--date must be between {earliest} and today, got {date}.", f"Use a day from {earliest} to today."
        )
    return int(day.timestamp())


def _take(run: Run, paths: list[Path], request: Request) -> None:
    from ..ingest import Report
    from ..ingest.formats import check_readable
    from ..ingest.pipeline import ingest_each
    from .ingest_report import ingest_report

    report = Report()
    for path in paths:
        check_readable(path)  # all of them first: of a mistyped name we want to say that nothing was changed
    try:
        for taken in ingest_each(run.settings, paths, request, progress=run.progress, waiting=run.waiting):
            report = Report((*report.files, taken))
    except RecsysError as e:
        before = [f.file for f in report.files if f.stored]
        if before:
            hint = e.hint.replace("nothing was changed", "nothing of it was taken")
            e.hint = f"{hint} Taken before it: {', '.join(before)}.".strip()
        raise
    finally:
        # What was taken before a file that cannot be is in the database, and so in the report.
        if report.files:
            run.emit(report.as_dict(), lambda out: _show(out, list(ingest_report(report))))
    nothing = [f.file for f in report.files if f.nothing]
    if nothing:
        # For cron, which reads no reports: an export that was made wrongly must not pass for one that was taken.
        run.waiting(f"No row of {', '.join(nothing)} could be taken.")
        raise typer.Exit(InputError.exit_code)


def _show(out: Console, lines: list[RenderableType]) -> None:
    for line in lines:
        out.print(line, highlight=False)


def _from_stdin(run: Run, request: Request) -> None:
    """Put what comes in aside first: finding out its format needs a second look, which a pipe does not give."""
    # Beside the database, which has room for what is to go into it; a trial makes no directory.
    place = scratch_elsewhere() if request.dry_run else scratch(run.settings.db)
    sweep_drafts(*place)
    with draft_dir(*place) as folder:
        path = folder / "stdin"
        try:
            with open(open_private(path, os.O_WRONLY | os.O_CREAT), "wb") as f:  # noqa: PTH123 (a handle, not a path)
                shutil.copyfileobj(sys.stdin.buffer, f, 1 << 22)
            _take(run, [path], replace(request, label="standard input"))
        except RecsysError as e:
            e.message, e.hint = (text.replace(str(path), "standard input") for text in (e.message, e.hint))
            raise


def _expanded(files: list[str]) -> list[Path]:
    """The files, with patterns that the shell has left alone; a file named twice is taken once."""
    found: dict[Path, None] = {}
    for name in files:
        if not name:  # as a path that is the directory the command is run in
            raise UsageError("An empty file name was given.", "Check the command; nothing was changed.")
        matching = (
            [name] if Path(name).exists() or not glob.has_magic(name) else sorted(glob.glob(name))  # noqa: PTH207
        )
        if not matching:
            raise InputError(f"No file matches {name}.", "Check the pattern; nothing was changed.")
        found |= dict.fromkeys(Path(m) for m in matching)
    return list(found)
