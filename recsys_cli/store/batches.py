"""The ledger of what was taken: a record of each file or drain, by which the same content is known again."""

from __future__ import annotations

import time

import duckdb

from .merge import Merged, one_number


def open_batch(
    con: duckdb.DuckDBPyConnection, source: str, kind: str, sha256: str, size: int, reading: str | None = None
) -> int:
    """Begin the record of one file or drain; returns its number.

    Parameters
    ----------
    source
        File name, or where else it came from.
    kind
        events, items or users.
    sha256
        What tells this content, taken in this way, from all others.
    size
        Bytes.
    reading
        How the file's columns were understood (JSON), for rows that come back fixed.
    """
    batch_id = one_number(con, "SELECT coalesce(max(batch_id), 0) + 1 FROM batches")
    con.execute(
        "INSERT INTO batches (batch_id, source, kind, content_sha256, bytes, started_at, reading) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [batch_id, source, kind, sha256, size, int(time.time()), reading],
    )
    return batch_id


def close_batch(con: duckdb.DuckDBPyConnection, batch_id: int, merged: Merged, rejected: int) -> None:
    """Complete the record with what became of the rows."""
    con.execute(
        "UPDATE batches SET read = ?, new = ?, known = ?, rejected = ? WHERE batch_id = ?",
        [merged.read + rejected, merged.new, merged.known, rejected, batch_id],
    )


def find_batch(con: duckdb.DuckDBPyConnection, sha256: str) -> dict[str, int] | None:
    """Record of the content taken before, or None."""
    names = ("batch_id", "started_at", "read", "new", "known", "rejected")
    rows = con.execute(
        f"SELECT {', '.join(names)} FROM batches WHERE content_sha256 = ? AND read IS NOT NULL "
        "AND undone_at IS NULL ORDER BY batch_id DESC LIMIT 1",
        [sha256],
    ).fetchall()
    return dict(zip(names, rows[0], strict=True)) if rows else None
