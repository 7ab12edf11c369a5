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
    """Show what the database holds, which version is served, and what it has not seen yet."""
    run = start(db, artifacts, config, as_json, same_shop=False)
    from ..artifacts import Artifacts
    from ..status import status
    from ..store import Store

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    found = status(store, Artifacts(run.settings.artifacts))
    run.emit(found.as_dict(), lambda out: _render(out, found.as_dict()))


# What each figure is called on a terminal; in JSON it keeps its field's name.
_LABELS = {
    "first_ts": "oldest event",
    "last_ts": "newest event",
    "by_type": "events by type",
    "users": "customers",
    "guests": "guests (sessions)",
    "rejected": "rejected or left out",
    "catalogue": "items in the catalogue",
    "name": "version",
    "kind": "made by",
    "created_at": "made",
    "parent": "made from",
    "unseen_events": "events it has not seen",
    "waiting_bytes": "bytes waiting for the worker",
    "last_pass_at": "last pass",
    "last_word_at": "last report",
    "taken": "events",
    "known": "delivered again",
    "refused": "refused, as people chose",
    "without_item": "searches without an item",
    "dead": "dead letters",
    "failures_in_a_row": "failures in a row",
    "lag_seconds": "oldest event had waited (seconds)",
}
_SECTIONS = {
    "store": "Database",
    "version": "Served",
    "worker": "Update worker",
    "consumer": "Taken from the queue",
    "spool": "Received",
}


def _render(out: Console, found: dict[str, object]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for section, values in found.items():
        title = _SECTIONS.get(section, section[:1].upper() + section[1:].replace("_", " "))
        if not isinstance(values, dict):
            table.add_row(Text(title, style="bold"), Text(_text("", values)))
            continue
        table.add_row(Text(title, style="bold"), Text(""))
        for name, value in values.items():
            # Text, because an event type like "[sale]" is data and not markup.
            table.add_row(Text(f"  {_LABELS.get(name, name.replace('_', ' '))}"), Text(_text(name, value)))
    out.print(table, highlight=False)


def _text(name: str, value: object) -> str:
    if value is None:
        return "-"
    if name.endswith(("_at", "_ts")) and isinstance(value, int):
        return f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(value))} ({_ago(time.time() - value)})"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text('', v)}" for k, v in value.items()) or "-"
    return str(value)


def _ago(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count:,} {unit}{'' if count == 1 else 's'} ago"
    return "just now"
