"""Rows that are older than they may be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np

from ..identity import UserKeys
from ..schema import DAY
from .personal_data import chosen
from .reading import OWNER


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
    arrived
        Events that were taken in after this stay, however old they are.
    secret, spared
        People whose data is only to be stored, by `artifacts.choices.hash_of` with the secret.
    """

    events: int = 0
    guests: int = 0
    rejected: int = 0
    served: int = 0
    arrived: int = 1 << 62
    secret: str = ""
    spared: Sequence[str] = ()

    def any(self) -> bool:
        return bool(self.events or self.guests or self.rejected or self.served)

    def conditions(self) -> dict[str, tuple[str, str, list[object]]]:
        """Kind to table, condition and parameters."""
        found: dict[str, tuple[str, str, list[object]]] = {}
        settled = f"coalesce(batch_id, 0) NOT IN (SELECT batch_id FROM batches WHERE started_at > {self.arrived})"
        spared, params = "", list[object]()
        if self.spared:
            spared, params = f" AND {chosen(OWNER)} NOT IN (SELECT unnest($2))", [self.secret, list(self.spared)]
        for kind, whose, before in (("events", "NOT ", self.events), ("guest_events", "", self.guests)):
            if before:
                where = f"user_id IS {whose}NULL AND ts < {before} AND {settled}{spared}"
                found[kind] = ("events", where, params)
        if self.rejected:
            old = f"SELECT batch_id FROM batches WHERE started_at < {self.rejected}"
            found["rejected"] = ("rejected", f"batch_id IN ({old})", [])
        if self.served:
            found["served"] = ("served", f"ts < {self.served}", [])
        return found


def newest(con: duckdb.DuckDBPyConnection, now: float) -> int:
    """Epoch seconds of the newest event; 0 when there is none. What lies in the future came while a clock was wrong."""
    found = con.execute("SELECT coalesce(max(ts), 0) FROM events WHERE ts <= ?", [int(now) + DAY]).fetchall()
    return int(found[0][0])


def count_old(con: duckdb.DuckDBPyConnection, cutoffs: Cutoffs) -> dict[str, int]:
    """Rows that go, by kind; kinds with none are left out."""
    counts = {
        kind: int(con.execute(f"SELECT count(*) FROM {table} WHERE {where}", params).fetchall()[0][0])
        for kind, (table, where, params) in cutoffs.conditions().items()
    }
    return {kind: n for kind, n in counts.items() if n}


def delete_old(con: duckdb.DuckDBPyConnection, cutoffs: Cutoffs) -> None:
    """Delete them; in the caller's transaction."""
    for table, where, params in cutoffs.conditions().values():
        con.execute(f"DELETE FROM {table} WHERE {where}", params)


def old_guests(con: duckdb.DuckDBPyConnection, secret: str, cutoffs: Cutoffs) -> UserKeys:
    """Keyed hashes of the sessions all of whose events go, shape (n, 2); see `schema.guest_id`."""
    if "guest_events" not in cutoffs.conditions():
        return np.zeros((0, 2), dtype=np.uint64)
    _, where, params = cutoffs.conditions()["guest_events"]
    table = con.sql(
        f"""SELECT ('0x' || h[1:16])::UBIGINT AS high, ('0x' || h[17:32])::UBIGINT AS low FROM (
             SELECT sha256($1 || chr(31) || session_id) AS h FROM events
             WHERE user_id IS NULL AND session_id IS NOT NULL GROUP BY session_id HAVING bool_and({where}))""",
        params=params or [secret],
    ).to_arrow_table()
    return np.stack([table["high"].to_numpy(), table["low"].to_numpy()], axis=1).astype(np.uint64)
