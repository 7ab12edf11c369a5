"""Rows that are older than they may be kept, and what the shop is told before they go."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np

from ..identity import UserKeys, state_dir
from ..schema import DAY
from ..state_file import StateFile
from .personal_data import chosen
from .reading import OWNER

NOTICE_DAYS = 14
JUMP_DAYS = 30
_STATE = "retention.json"


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


# -- what the shop was told before anything went


@dataclass(frozen=True)
class Told:
    """When the worker last looked and what it said; epoch seconds, 0 for never."""

    at: int = 0  # the last run
    announced_at: int = 0  # when rows that are too old were announced
    clock: int = 0  # the newest event as of then
    held_since: int = 0  # when the time jumped; 0 when it has not, or that is long enough ago
    jumped_days: int = 0  # how far

    @property
    def jumped(self) -> str:
        return f"The date, or that of the newest event, has jumped by {self.jumped_days:,} days since the last look."

    @property
    def held(self) -> str:
        """Why nothing is erased for its age just now; else empty."""
        until = f"Nothing is erased for its age until {day_after_notice(self.held_since)}."
        return f"{self.jumped} {until}" if self.held_since else ""

    @property
    def announced(self) -> str:
        """From when on events that are too old are erased, while the shop can still change that; else empty."""
        if not self.announced_at or self.at >= self.announced_at + NOTICE_DAYS * DAY:
            return ""
        return f"events older than the shop keeps them are erased from {day_after_notice(self.announced_at)} on"

    def looked(self, at: int, newest_ts: int) -> Told:
        """After a look at the time, which may have jumped since the last one or been put right."""
        clock = min(at, newest_ts)
        if self.at > at + DAY:  # the mark lies in the future: nothing that was said then counts
            return Told(at, self.announced_at if self.announced_at <= at else 0, clock)
        step = max(at - self.at if self.at else 0, clock - self.clock if self.clock else 0)
        if step > JUMP_DAYS * DAY:
            return replace(self, at=at, clock=clock, held_since=at, jumped_days=step // DAY)
        over = at - self.held_since >= NOTICE_DAYS * DAY
        return replace(self, at=at, clock=clock, held_since=0 if over else self.held_since)


def told(db: Path) -> Told:
    """What the worker said."""
    return notices(db).read_or_empty()  # lost, old rows are announced once more


def notices(db: Path) -> StateFile[Told]:
    """Where that is kept."""
    return StateFile(state_dir(db) / _STATE, Told, Told)


def day_after_notice(since: int) -> str:
    """The day on which a notice given at epoch seconds `since` is over."""
    return time.strftime("%Y-%m-%d", time.gmtime(since + NOTICE_DAYS * DAY))
