"""`recsys ingest rejected`: what was not taken, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .common import Run
from .ingest_report import short


def rejected(run: Run, *, export: Path | None, clear: bool, reason: str | None, limit: int) -> None:
    """List the rejected rows, or export or throw them away."""
    from ..ingest import repairs

    if export is not None:
        from ..gdpr.records.written_exports import remember_list

        written = repairs.export(run.settings, export, reason=reason, waiting=run.waiting)
        for path in written:  # an erasure names it: who is erased later stays in it
            remember_list(run.settings.db, path)
        run.emit({"exported": {str(p): n for p, n in written.items()}}, lambda out: _show_export(out, written))
    elif clear:
        count = repairs.clear(run.settings, reason=reason, waiting=run.waiting)
        run.emit({"cleared": count}, lambda out: out.print(f"{count:,} rejected rows were thrown away."))
    else:
        found = repairs.listed(run.settings, reason=reason, limit=limit, waiting=run.waiting)
        result = {
            "total": found.total,
            "by_reason": found.by_reason,
            "rows": [row.as_dict() for row in found.rows],
        }
        run.emit(result, lambda out: _show(out, found))


def _show_export(out: Console, written: dict[Path, int]) -> None:
    if not written:
        out.print("There is no rejected row that could be fixed.")
    for path, count in written.items():
        rows, them = ("row is", "it") if count == 1 else ("rows are", "them")
        out.print(Text(f"{count:,} {rows} in {path}. Fix {them} there, then: recsys ingest {path}"))


def _show(out: Console, found: object) -> None:
    from ..ingest.repairs import Listing

    assert isinstance(found, Listing)
    if not found.total:
        out.print("No row was rejected.")
        return
    table = Table(box=None, header_style="dim")
    for name in ("file", "row", "reason", "value", "content"):
        # One long value must not take the place of where the row is and what is wrong with it.
        widest = 24 if name in ("file", "value") else None
        told = max(len(str(getattr(row, name))) for row in found.rows) if name in ("row", "reason") else None
        justify: Literal["left", "right"] = "right" if name == "row" else "left"
        table.add_column(name, justify=justify, no_wrap=name != "content", min_width=told, max_width=widest)
    for row in found.rows:
        cells = (row.file, str(row.row), row.reason, short(row.detail or ""), short(row.raw or ""))
        table.add_row(*(Text(c) for c in cells))
    out.print(table)
    counts = ", ".join(f"{n:,} {name}" for name, n in found.by_reason.items())
    out.print(Text(f"{found.total:,} in all: {counts}."))
    if found.total > len(found.rows):
        out.print("More with --limit, or --reason NAME. All of them: --export FILE.csv")
