"""Taking the server's log into the tables: parsed, checked and merged in SQL, together with how far it was read."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from ..schema import ATTRIBUTES, EVENT_COLUMNS, ITEM_COLUMNS
from .batches import close_batch, open_batch
from .imports import outlive
from .merge import Merged, merge_events, merge_items
from .sql import literal

LINES = pa.schema([("segment", pa.string()), ("place", pa.int64()), ("line", pa.string())])

_EVENT = {"t": "VARCHAR", **EVENT_COLUMNS}
_ITEM = {"t": "VARCHAR", **ITEM_COLUMNS, ATTRIBUTES: "VARCHAR", "ts": "BIGINT", "retired": "BOOLEAN"}
_MERGE = {"t": "VARCHAR", "session_id": "VARCHAR", "user_id": "VARCHAR", "ts": "BIGINT"}
# The fields that decide where a line goes, and their JSON types, which are those of `artifacts.spool`'s line types.
_TEXT, _WHOLE = "('NULL', 'VARCHAR')", "('NULL', 'BIGINT', 'UBIGINT')"
_DECIDING = {"item_id": _TEXT, "ts": _WHOLE, "user_id": _TEXT, "session_id": _TEXT}
_WRONG = " ".join(
    f"WHEN coalesce(types[{place}], 'NULL') NOT IN {kinds} THEN 'bad {name}'"
    for place, (name, kinds) in enumerate(_DECIDING.items(), 1)
)


@dataclass(frozen=True)
class Taken:
    """What became of the lines.

    Parameters
    ----------
    events, known_events
        New in the store; already there.
    items
        Catalogue entries added or changed.
    guests
        Lines about guests: events of a session without a customer.
    merged
        Events of guests that became a customer's, because the guest logged in.
    rejected
        Lines that are no event and no item; kept aside with the reason.
    """

    events: int = 0
    known_events: int = 0
    items: int = 0
    guests: int = 0
    merged: int = 0
    rejected: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.events + other.events,
            self.known_events + other.known_events,
            self.items + other.items,
            self.guests + other.guests,
            self.merged + other.merged,
            self.rejected + other.rejected,
        )


def take_lines(
    con: duckdb.DuckDBPyConnection,
    lines: pa.Table,
    reached: Mapping[str, int],
    *,
    user: str = "user_id",
    refused: str = "",
) -> Taken:
    """Merge lines of the log and remember the position after them; inside the caller's transaction.

    Parameters
    ----------
    lines
        Columns of LINES: segment, byte offset of the line in it, the line (JSON; blanked ones are skipped).
    reached
        For each segment of `lines`, the offset after the last of them.
    user
        SQL that makes the customer's id from the column user_id.
    refused
        SQL that tells events that must not come back; see `people.refusal`.

    Notes
    -----
    An event keeps the id its sender gave it. One without an id counts by its content if it belongs to an order (the
    shop's export may bring the same sale), else by its place in the log, which no other event shares.
    """
    con.register("offered_lines", lines)
    try:
        _sort_out(con)
    finally:
        con.unregister("offered_lines")
    taken = _events(con, reached, user, refused) + _items(con) + _merges(con, user, refused)
    # When it fails, the caller's rollback takes these with it; dropping them then would only hide the error.
    for name in ("spooled", "spooled_events", "spooled_items", "spooled_merges", "spooled_bad"):
        con.execute(f"DROP TABLE {name}")
    _remember(con, reached)
    return taken


def _sort_out(con: duckdb.DuckDBPyConnection) -> None:
    """Split the lines into tables of events, items and bad lines."""
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE spooled AS
           SELECT segment, place, line,
                  CASE WHEN json_valid(line) AND json_type(line) = 'OBJECT' THEN line ->> '$.t' END AS t,
                  CASE WHEN json_valid(line)
                       THEN json_type(line, [{", ".join(f"'$.{name}'" for name in _DECIDING)}]) END AS types
           FROM offered_lines WHERE trim(line) <> ''"""
    )
    # A value of another type would be cast, and taken here though servers set its line aside.
    con.execute(f"UPDATE spooled SET t = CASE {_WRONG} ELSE t END")
    con.execute(f"CREATE OR REPLACE TEMP TABLE spooled_events AS {_parsed(_EVENT, 'event')}")
    con.execute(f"CREATE OR REPLACE TEMP TABLE spooled_items AS {_parsed(_ITEM, 'item')}")
    con.execute(f"CREATE OR REPLACE TEMP TABLE spooled_merges AS {_parsed(_MERGE, 'merge')}")
    known = ", ".join(f"'{t}'" for t in ("event", "item", "merge"))
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE spooled_bad AS
           SELECT segment, place,
                  CASE WHEN t LIKE 'bad %' THEN 'field missing or of the wrong type'
                       ELSE 'not an event or item' END AS reason,
                  regexp_replace(t, '^bad ', '') AS detail, line FROM spooled
           WHERE t IS NULL OR t NOT IN ({known})
           UNION ALL
           SELECT segment, place, 'field missing or of the wrong type',
                  CASE WHEN coalesce(item_id, '') = '' THEN 'item_id' WHEN ts IS NULL THEN 'ts' ELSE 'user_id' END, line
           FROM spooled_events
           WHERE coalesce(item_id, '') = '' OR ts IS NULL
              OR (coalesce(user_id, '') = '' AND coalesce(session_id, '') = '')
           UNION ALL
           SELECT segment, place, 'field missing or of the wrong type', 'item_id', line FROM spooled_items
           WHERE coalesce(item_id, '') = ''
           UNION ALL
           SELECT segment, place, 'field missing or of the wrong type', 'merge', line FROM spooled_merges
           WHERE coalesce(session_id, '') = '' OR coalesce(user_id, '') = '' OR ts IS NULL"""
    )


def _parsed(columns: Mapping[str, str], t: str) -> str:
    shape = literal(json.dumps(dict(columns)))
    return (
        f"SELECT segment, place, line, unnest(json_transform(line, {shape})) FROM spooled "
        f"WHERE t = '{t}' ORDER BY segment, place"
    )


def _events(con: duckdb.DuckDBPyConnection, reached: Mapping[str, int], user: str, refused: str) -> Taken:
    offered, bad = _count(con, "spooled_events"), _count(con, "spooled_bad")
    if not offered and not bad:
        return Taken()
    batch = open_batch(con, "spool", "events", _name_of(reached), 0)
    guests = _count(con, "spooled_events WHERE coalesce(user_id, '') = '' AND coalesce(session_id, '') <> ''")
    con.execute(
        f"""INSERT INTO rejected (batch_id, file, row_number, reason, detail, raw)
           SELECT ?, segment, place, reason, detail, {_kept(user, refused)} FROM spooled_bad""",
        [batch],
    )
    names = ", ".join(name for name in EVENT_COLUMNS if name not in ("user_id", "event_id"))
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE spooled_good AS
            SELECT nullif({user}, '') AS user_id, {names},
                   CASE WHEN event_id <> '' THEN event_id WHEN order_id <> '' THEN NULL
                   ELSE segment || ':' || place END AS event_id
            FROM spooled_events
            WHERE coalesce(item_id, '') <> '' AND ts IS NOT NULL
              AND (coalesce(spooled_events.user_id, '') <> '' OR coalesce(session_id, '') <> '')
            -- An order's line that is sent twice is one line, in whichever pass the second comes.
            QUALIFY coalesce(event_id, '') <> '' OR coalesce(order_id, '') = ''
                 OR row_number() OVER (PARTITION BY order_id, spooled_events.user_id, session_id, item_id, ts,
                                       event_type, qty ORDER BY segment, place) = 1
            ORDER BY segment, place"""
    )
    if refused:
        con.execute(f"DELETE FROM spooled_good WHERE {refused}")
    merged = merge_events(con, "spooled_good", batch_id=batch)
    con.execute("DROP TABLE spooled_good")
    close_batch(con, batch, merged, bad)
    return Taken(events=merged.new, known_events=merged.known, guests=guests, rejected=bad)


def _kept(user: str, refused: str) -> str:
    """SQL: a bad line, unless it is about somebody who must not come back; without a time, it may be an old one."""
    if not refused:
        return "line"
    row = f"* REPLACE (nullif({user}, '') AS user_id, coalesce(ts, 0) AS ts)"
    theirs = f"SELECT segment || ':' || place FROM (SELECT {row} FROM spooled_events) WHERE {refused}"
    return f"CASE WHEN segment || ':' || place NOT IN ({theirs}) THEN line END"


def _items(con: duckdb.DuckDBPyConnection) -> Taken:
    """Changes of the catalogue, in the order they were received."""
    if not _count(con, "spooled_items WHERE coalesce(item_id, '') <> ''"):
        return Taken()
    good = "coalesce(item_id, '') <> ''"
    # Merging takes one row an item; several partial changes in one drain must not undo each other.
    last = ", ".join(
        f"arg_max({name}, (ts, segment, place)) FILTER ({name} IS NOT NULL) AS {name}"
        for name in ITEM_COLUMNS
        if name != "item_id"
    )
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE spooled_changes AS
            SELECT item_id, {last},
                   list_reduce(list({ATTRIBUTES}::JSON ORDER BY ts, segment, place) FILTER ({ATTRIBUTES} IS NOT NULL),
                               lambda a, b: json_merge_patch(a, b))::VARCHAR AS {ATTRIBUTES}
            FROM spooled_items WHERE {good} AND retired IS NOT TRUE
            GROUP BY item_id ORDER BY item_id"""
    )
    merged = merge_items(con, "spooled_changes")
    now = int(time.time())
    gone = f"""item_id IN (SELECT item_id FROM spooled_items WHERE {good}
               GROUP BY item_id HAVING arg_max(coalesce(retired, false), (ts, segment, place)))"""
    outlive(con, "spooled_changes", gone, now)
    con.execute("DROP TABLE spooled_changes")
    old = con.execute(f"UPDATE items SET retired_at = ? WHERE retired_at IS NULL AND {gone}", [now]).fetchall()
    # An item that only events name is taken out as well, and stays out: with a row that says so.
    new = con.execute(
        f"""INSERT INTO items (item_id, retired_at)
            SELECT DISTINCT item_id, ? FROM spooled_items
            WHERE item_id NOT IN (SELECT item_id FROM items) AND item_id IN (SELECT item_id FROM events) AND {gone}""",
        [now],
    ).fetchall()
    retired = int(old[0][0]) + int(new[0][0])
    changes = merged.new + retired
    if changes:
        batch = open_batch(con, "spool", "items", "", 0)
        close_batch(con, batch, Merged(merged.read + retired, changes, merged.known), 0)
    return Taken(items=changes)


def _merges(con: duckdb.DuckDBPyConnection, user: str, refused: str) -> Taken:
    """What a guest did until they logged in becomes the customer's; of several log-ins, each gets what came before it
    and after the one before, so that nobody is given another's history, nor somebody erased a new one."""
    if not _count(con, "spooled_merges"):
        return Taken()
    found = con.execute(
        f"""UPDATE events SET user_id = m.user_id FROM (FROM (
              SELECT session_id, {user} AS user_id, ts,
                     lag(ts) OVER (PARTITION BY session_id ORDER BY ts, segment, place) AS since
              FROM spooled_merges
              WHERE coalesce(session_id, '') <> '' AND coalesce(user_id, '') <> '' AND ts IS NOT NULL)
              WHERE NOT ({refused or "false"})) m
            WHERE events.user_id IS NULL AND events.session_id = m.session_id
              AND events.ts <= m.ts AND (m.since IS NULL OR events.ts > m.since)"""
    ).fetchall()
    changed = int(found[0][0])
    if changed:
        close_batch(con, open_batch(con, "spool", "merge", "", 0), Merged(changed, changed, 0), 0)
    return Taken(merged=changed)


def _remember(con: duckdb.DuckDBPyConnection, reached: Mapping[str, int]) -> None:
    table = pa.table({"segment": list(reached), "bytes": pa.array(list(reached.values()), pa.int64())})
    con.register("reached", table)
    try:
        con.execute("DELETE FROM spool_position WHERE segment IN (SELECT segment FROM reached)")
        con.execute("INSERT INTO spool_position SELECT segment, bytes FROM reached")
    finally:
        con.unregister("reached")


def forget_segments(con: duckdb.DuckDBPyConnection, keep: list[str]) -> None:
    """Drop the positions of segments that are no longer there."""
    con.execute("DELETE FROM spool_position WHERE segment NOT IN (SELECT unnest(?::VARCHAR[]))", [keep])


def _name_of(reached: Mapping[str, int]) -> str:
    """What tells this stretch of the log from all others."""
    return hashlib.sha256(json.dumps(dict(reached), sort_keys=True).encode()).hexdigest()


def _count(con: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(con.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])
