"""Rows that are older than they may be kept."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import duckdb
import numpy as np

from ..identity import UserKeys


@dataclass(frozen=True)
class Cutoffs:
    """Epoch seconds before which rows go, by kind; 0 keeps them for good.

    Parameters
    ----------
    events
        Customers' events.
    guests
        Events of sessions that nobody has logged in to.
    rejected
        Rejected rows, by when they were taken in.
    served
        Answered lists.
    """

    events: int = 0
    guests: int = 0
    rejected: int = 0
    served: int = 0

    def any(self) -> bool:
        return any(astuple(self))


def _conditions(cutoffs: Cutoffs) -> dict[str, tuple[str, str]]:
    """Kind -> table and condition."""
    found: dict[str, tuple[str, str]] = {}
    if cutoffs.events:
        found["events"] = ("events", f"user_id IS NOT NULL AND ts < {cutoffs.events}")
    if cutoffs.guests:
        found["guest_events"] = ("events", f"user_id IS NULL AND ts < {cutoffs.guests}")
    if cutoffs.rejected:
        old = f"SELECT batch_id FROM batches WHERE started_at < {cutoffs.rejected}"
        found["rejected"] = ("rejected", f"batch_id IN ({old})")
    if cutoffs.served:
        found["served"] = ("served", f"ts < {cutoffs.served}")
    return found


def count_old(con: duckdb.DuckDBPyConnection, cutoffs: Cutoffs) -> dict[str, int]:
    """Rows that go, by kind; kinds with none are left out."""
    counts = {
        kind: int(con.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchall()[0][0])
        for kind, (table, where) in _conditions(cutoffs).items()
    }
    return {kind: n for kind, n in counts.items() if n}


def delete_old(con: duckdb.DuckDBPyConnection, cutoffs: Cutoffs) -> None:
    """Delete them; in the caller's transaction."""
    for table, where in _conditions(cutoffs).values():
        con.execute(f"DELETE FROM {table} WHERE {where}")


def old_guests(con: duckdb.DuckDBPyConnection, secret: str, cutoffs: Cutoffs) -> UserKeys:
    """Keyed hashes of the sessions that end before the cutoff, shape (n, 2); see `schema.guest_id`."""
    if not cutoffs.guests:
        return np.zeros((0, 2), dtype=np.uint64)
    table = con.sql(
        """SELECT ('0x' || h[1:16])::UBIGINT AS high, ('0x' || h[17:32])::UBIGINT AS low FROM (
             SELECT sha256(? || chr(31) || session_id) AS h FROM events WHERE user_id IS NULL AND session_id IS NOT NULL
             GROUP BY session_id HAVING max(ts) < ?)""",
        params=[secret, cutoffs.guests],
    ).to_arrow_table()
    return np.stack([table["high"].to_numpy(), table["low"].to_numpy()], axis=1).astype(np.uint64)
