"""Whether the shop's time zone is one, before a file is opened."""

from __future__ import annotations

import difflib

import duckdb

from ..errors import UsageError


def check_zone(name: str) -> None:
    """Refuse a time zone that does not exist.

    Raises
    ------
    UsageError
        It names the nearest that does.
    """
    if name == "UTC":
        return
    # DuckDB has its own list of zones; the machine's may be missing in a slim container.
    with duckdb.connect(config={"threads": "1", "memory_limit": "64MB"}) as con:
        known = [row[0] for row in con.execute("SELECT name FROM pg_timezone_names()").fetchall()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        hint = f"Did you mean {near[0]}?" if near else "Write it like Europe/Berlin."
        raise UsageError(f"There is no time zone '{name}'.", hint)
