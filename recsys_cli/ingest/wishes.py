"""Whether the settings of ingest make sense, before a file is opened."""

from __future__ import annotations

import difflib
from datetime import datetime

import duckdb

from ..errors import UsageError
from ..settings import IngestSettings

CHOICES = {
    "date_order": ("auto", "dmy", "mdy"),
    "decimal": ("auto", "point", "comma"),
    "emails": ("hash", "keep"),
}


def check(settings: IngestSettings) -> None:
    """Refuse settings that no file could be read with.

    Raises
    ------
    UsageError
        It names the values there are.
    """
    for name, choices in CHOICES.items():
        value = getattr(settings, name)
        if value not in choices:
            raise UsageError(f"ingest.{name} cannot be '{value}'.", f"Use {', '.join(choices)}.")
    try:
        datetime.fromisoformat(settings.earliest)
    except ValueError:
        raise UsageError(f"ingest.earliest cannot be '{settings.earliest}'.", "Write a day like 1995-01-01.") from None
    if settings.timezone != "UTC":
        _check_zone(settings.timezone)


def _check_zone(name: str) -> None:
    # DuckDB has its own list of zones; the machine's may be missing in a slim container.
    with duckdb.connect(config={"threads": "1"}) as con:
        known = [row[0] for row in con.execute("SELECT name FROM pg_timezone_names()").fetchall()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise UsageError(f"There is no time zone '{name}'.", f"Did you mean {near[0] if near else 'Europe/Berlin'}?")
