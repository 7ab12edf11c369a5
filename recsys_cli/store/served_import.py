"""Taking the log of answered lists into its table, with how far it was read."""

from __future__ import annotations

import json
from collections.abc import Mapping

import duckdb
import pyarrow as pa

from ..schema import SERVED_COLUMNS


def served_position(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Up to where each segment of the log has been taken."""
    return dict(con.execute("SELECT segment, bytes FROM served_position").fetchall())


def take_served(con: duckdb.DuckDBPyConnection, lines: pa.Array, reached: Mapping[str, int]) -> tuple[int, int]:
    """Add lines and remember the position after them, in the caller's transaction; how many were taken, and left out.

    Parameters
    ----------
    lines
        Text; JSON objects with SERVED_COLUMNS. A line of another kind is left out.
    reached
        For each segment of `lines`, the offset after the last of them.
    """
    kinds = {name: ["VARCHAR"] if kind == "VARCHAR[]" else kind for name, kind in SERVED_COLUMNS.items()}
    shape = json.dumps(kinds)
    names = ", ".join(SERVED_COLUMNS)
    con.register("offered_lines", pa.table({"line": lines}))
    position = pa.table({"segment": list(reached), "bytes": pa.array(list(reached.values()), pa.int64())})
    con.register("reached", position)
    try:
        taken = con.execute(
            f"""INSERT INTO served SELECT {names} FROM (
                  SELECT unnest(json_transform(line, '{shape}')) FROM offered_lines
                  WHERE json_valid(line) AND json_type(line) = 'OBJECT')
                WHERE request_id IS NOT NULL AND ts IS NOT NULL AND items IS NOT NULL"""
        ).fetchall()[0][0]
        con.execute("DELETE FROM served_position WHERE segment IN (SELECT segment FROM reached)")
        con.execute("INSERT INTO served_position SELECT segment, bytes FROM reached")
    finally:
        con.unregister("offered_lines")
        con.unregister("reached")
    return int(taken), len(lines) - int(taken)


def forget_served(con: duckdb.DuckDBPyConnection, keep: list[str]) -> None:
    """Drop the positions of segments that are no longer there."""
    con.execute("DELETE FROM served_position WHERE segment NOT IN (SELECT unnest(?::VARCHAR[]))", [keep])
