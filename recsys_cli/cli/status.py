"""`recsys status`."""

from __future__ import annotations

import time

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, start


def status(
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is in the database, which version is served, how old it is and what it has not seen."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts import Artifacts
    from ..status import status
    from ..store import Store

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    found = status(store, Artifacts(run.settings.artifacts))
    run.emit(found.as_dict(), lambda out: _render(out, found.as_dict()))


def _render(out: Console, found: dict[str, object]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for section, values in found.items():
        lines = values if isinstance(values, dict) else {"": values}
        for name, value in lines.items():
            # Text, because an event type like "[sale]" is data and not markup.
            table.add_row(Text(f"{section} {name}".strip().replace("_", " ")), Text(_text(name, value)))
    out.print(table, highlight=False)


def _text(name: str, value: object) -> str:
    from ..schema import DAY

    if value is None:
        return "-"
    if name.endswith(("_at", "_ts")) and isinstance(value, int):
        days = (time.time() - value) / DAY
        return f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(value))} ({days:.1f} days ago)"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text('', v)}" for k, v in value.items()) or "-"
    return str(value)
