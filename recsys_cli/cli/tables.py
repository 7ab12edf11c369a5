"""The tables that several commands print."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text


def item_table(title: str, rows: Sequence[Mapping[str, Any]], *, history: bool = False) -> Table:
    """Items as the engine describes them; with `history`, when and how they were touched instead of scores."""
    table = Table(title=Text(title), title_justify="left", title_style="bold", header_style="dim", box=None)
    columns = ["date", "event"] if history else ["score", "source"]
    for name in ("", "item", "title", "category", "price", *columns):
        right = name in ("", "price", "score")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for number, row in enumerate(rows, 1):
        # Text, because a title like "[bold]" is data and not markup.
        cells = [str(number), row["item_id"], row.get("title") or "", row.get("category") or "", _price(row)]
        table.add_row(*(Text(str(c)) for c in [*cells, *(_when(row) if history else _why(row))]))
    return table


def _price(row: Mapping[str, Any]) -> str:
    return "" if row.get("price") is None else f"{row['price']:.2f}"


def _when(row: Mapping[str, Any]) -> list[str]:
    return [time.strftime("%Y-%m-%d", time.gmtime(row["ts"])), str(row["event_type"])]


def _why(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['score']:.3f}", f"{row['source']}{' (fallback)' if row.get('fallback') else ''}"]
