"""How the report of `recsys ingest` looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # for its types alone: the help of all commands must not wait for DuckDB
    from ..ingest.import_report import FileReport, Reason, Report


def ingest_report(report: Report) -> Iterator[RenderableType]:
    """What to print, one file after the other."""
    for file in report.files:
        yield _headline(file)
        if file.understood:
            yield Text(f"  understood  {', '.join(f'{f} ← {c}' for f, c in file.understood.items())}", style="dim")
        if file.unused and not file.already:  # of a file that was not read again nobody knows what became of them
            label = "attributes  " if file.attributes else "not used    "
            yield Text(f"  {label}{_few(file.unused)}", style="dim")
        if file.reasons:
            yield _reasons(file.reasons)
        for note in file.notes:
            yield Text(f"  {note}")
    if len(report.files) > 1:
        yield Text(
            f"{len(report.files)} files: {report.total('read'):,} rows read, {report.total('new'):,} new, "
            f"{report.total('known'):,} known, {report.total('rejected'):,} rejected.",
            style="bold",
        )
    if any(f.wrong and f.stored for f in report.files):
        yield Text("  Rejected rows are kept: recsys ingest rejected lists them, --export FILE lets you fix them.")


def _headline(file: FileReport) -> Text:
    text = Text()
    text.append(file.file, style="bold")
    platform = f" of {file.preset}" if file.preset else ""
    text.append(f": {file.kind}{platform}, {file.format}. {file.read:,} {'row' if file.read == 1 else 'rows'} read = ")
    text.append(f"{file.new:,} new", style="green")
    changed = f" ({file.changed:,} of them changed)" if file.changed else ""
    text.append(f"{changed} + {file.known:,} known + ")
    text.append(f"{file.rejected:,} rejected", style="yellow" if file.wrong else "")
    retired = f"; {file.retired:,} retired" if file.retired else ""
    text.append(f"{retired}. {file.seconds:.1f} s")
    if not file.stored:
        text.append(" Nothing was changed.", style="bold")
    return text


def _reasons(reasons: tuple[Reason, ...]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=True)
    for name, right in (("rows", True), ("reason", False), ("", False), ("for example", False)):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for reason in reasons:
        shown = "; ".join(f"row {e.row}" + (f": {short(e.value)}" if e.value else "") for e in reason.examples)
        table.add_row(*(Text(t) for t in (f"{reason.rows:,}", reason.name, reason.sentence, shown)))
    return table


def short(value: str) -> str:
    """At most 60 characters of a stranger's text without control characters, which could repaint the terminal."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value[:60])
    return f"{shown}…" if len(value) > 60 else shown


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
