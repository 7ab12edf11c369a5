"""`recsys ingest list` and `recsys ingest undo N`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import UsageError
from .common import Run

if TYPE_CHECKING:
    from ..store.imports import Import


def list_or_undo(run: Run, words: list[str]) -> None:
    """Show the imports, or take one back."""
    if words[0] == "list":
        if len(words) > 1:
            raise UsageError("recsys ingest list takes no file.", "Type recsys ingest list.")
        _list(run)
        return
    if len(words) != 2 or not words[1].isdecimal():
        raise UsageError("recsys ingest undo needs the number of one import.", "recsys ingest list shows them.")
    _undo(run, int(words[1]))


def _list(run: Run) -> None:
    from ..store import Store, imports

    with Store(run.settings.db, run.settings.store, waiting=run.waiting).reading() as con:
        found = imports.listed(con)
    rows = [
        {
            "number": i.number,
            "file": i.file,
            "kind": i.kind,
            "taken_at": i.started_at,
            "read": i.read,
            "new": i.new,
            "known": i.known,
            "rejected": i.rejected,
            "undone_at": i.undone_at,
        }
        for i in found
    ]

    def render(console: Console) -> None:
        if not found:
            console.print("No file was imported yet. Run recsys ingest FILE.")
            return
        console.print(_table(found))

    run.emit({"imports": rows}, render)


def _table(found: list[Import]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("no", "taken (UTC)", "file", "kind", "new", "known", "rejected", ""):
        right = name in ("no", "new", "known", "rejected")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for i in found:
        when = f"{datetime.fromtimestamp(i.started_at, UTC):%Y-%m-%d %H:%M}"
        counts = (f"{i.new:,}", f"{i.known:,}", f"{i.rejected:,}")
        cells = (str(i.number), when, i.file, i.kind, *counts, "taken back" if i.undone_at else "")
        table.add_row(*(Text(cell, style="dim" if i.undone_at else "") for cell in cells))
    return table


def _undo(run: Run, number: int) -> None:
    from ..store import Store, imports, merge

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    with store.writing() as con, merge.transaction(con):
        taken = imports.undo(con, number)

    def render(console: Console) -> None:
        rows = "1 row went" if taken.new == 1 else f"{taken.new:,} rows went"
        back = f", {taken.changed:,} of what it had replaced returned" if taken.changed else ""
        console.print(f"Import {number} was undone: {rows}{back}.")
        console.print("The current version still knows them: run recsys train, or let the worker do it.")

    run.emit({"number": number, "removed": taken.new, "restored": taken.changed}, render)
