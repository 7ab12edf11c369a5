"""Writing what came in, exactly once: events by content and multiplicity, items and users as upserts.

Every function here runs inside the caller's transaction, so that a batch, its rejected rows and whatever
else must agree with it (the spool position, say) become visible together or not at all.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from ..schema import ATTRIBUTES, EVENT_COLUMNS, ITEM_COLUMNS, PURCHASE, USER_COLUMNS
from .sql import identifier

# Events of a chunk of time are compared at once; a chunk of this many keeps the comparison within 500 MB.
CHUNK_EVENTS = 5_000_000
_HOUR = 3600

# What makes two events without an id the same sale. The rest (position, request, currency) is not compared:
# an export that has gained such a column since the last one would double every row.
CONTENT = ("user_id", "item_id", "ts", "event_type", "qty", "order_id", "session_id", "price")


@dataclass(frozen=True)
class Merged:
    """What became of the rows of one merge; `read` is `new` and `known` together.

    Parameters
    ----------
    read
        Rows offered.
    new
        Rows that changed the table: inserted or, of items and users, changed an existing one.
    known
        Rows that were in the table already, or twice in what was offered.
    changed
        How many of `new` changed an existing row.
    retired
        Items that a full catalogue no longer has.
    """

    read: int
    new: int
    known: int
    changed: int = 0
    retired: int = 0


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All that is written inside, or none of it."""
    con.execute("BEGIN")
    try:
        yield
    except BaseException:
        _rollback(con)
        raise
    con.execute("COMMIT")


def _rollback(con: duckdb.DuckDBPyConnection) -> None:
    with suppress(duckdb.TransactionException):  # DuckDB may have taken it back already
        con.execute("ROLLBACK")


def merge_events(
    con: duckdb.DuckDBPyConnection,
    events: str | pa.Table,
    *,
    batch_id: int | None = None,
    replace_orders: bool = False,
) -> Merged:
    """Add the events that are not in the store yet.

    An event with an `event_id` is known when that id is. Any other is compared by its content and how often
    it occurs: two equal lines in one export are two sales, the same two lines in the next export are none.

    Parameters
    ----------
    events
        A table or view of this connection, or an Arrow table, with any of EVENT_COLUMNS; `item_id`, `ts` and
        one of `user_id` and `session_id` must be there and without nulls. Lacking columns are null, `qty` 1,
        `event_type` purchase. A column `row_number`, if there is one, gives the order, which events of one second
        keep.
    batch_id
        The batch they came with; see `open_batch`.
    replace_orders
        An event of an order's product replaces what the store has of that product in that order: an export made again
        has the order as it is now. What was replaced is kept, for taking the batch back.

    Returns
    -------
    Merged
    """
    with _offered(con, events) as offered:
        have = _columns_of(con, offered)
        # What has its own order is read where it is; 10 million rows are not copied for nothing.
        order = "row_number" if "row_number" in have else "row_number() OVER ()"
        shape = "VIEW" if "row_number" in have and isinstance(events, str) else "TABLE"
        picked = f"SELECT {_event_list(have)}, {order} AS r FROM {offered}"
        con.execute(f"CREATE OR REPLACE TEMP {shape} incoming AS {picked}")
        read = one_number(con, "SELECT count(*) FROM incoming")
        new = _insert_identified(con, batch_id) if "event_id" in have else 0
        changed, replacing = 0, replace_orders and "order_id" in have and batch_id is not None
        for low, high in _time_chunks(con):
            added, edited = _insert_by_content(con, low, high, batch_id, replacing)
            new, changed = new + added, changed + edited
        con.execute("DROP TABLE IF EXISTS lacking")
        con.execute(f"DROP {shape} incoming")
    return Merged(read, new, read - new, changed)


def _event_list(have: set[str]) -> str:
    """Select list that gives every event column its type and default."""
    defaults = {"qty": "1", "event_type": f"'{PURCHASE}'"}

    def column(name: str, kind: str) -> str:
        value = f"{identifier(name)}::{kind}" if name in have else f"NULL::{kind}"
        return f"coalesce({value}, {defaults[name]}) AS {name}" if name in defaults else f"{value} AS {name}"

    return ", ".join(column(name, kind) for name, kind in EVENT_COLUMNS.items())


def _insert_identified(con: duckdb.DuckDBPyConnection, batch_id: int | None) -> int:
    """Events with an id: the first of each id that the store does not have."""
    if not one_number(con, "SELECT count(*) FROM (SELECT 1 FROM incoming WHERE event_id IS NOT NULL LIMIT 1)"):
        return 0
    return _insert(
        con,
        """SELECT * EXCLUDE (n) FROM (
             SELECT *, row_number() OVER (PARTITION BY event_id ORDER BY r) AS n
             FROM incoming WHERE event_id IS NOT NULL
           ) WHERE n = 1 AND event_id NOT IN (SELECT event_id FROM events WHERE event_id IS NOT NULL)
           ORDER BY r""",
        batch_id,
    )


def _insert_by_content(
    con: duckdb.DuckDBPyConnection, low: int, high: int, batch_id: int | None, replacing: bool
) -> tuple[int, int]:
    """Events without an id and `low <= ts < high`: as many of each content as the store lacks. Returns how many were
    inserted, and how many of those replaced others."""
    here = f"event_id IS NULL AND ts >= {low} AND ts < {high}"
    key = _content_key(of_orders=replacing)
    near = f"ts >= {low - SAME_ORDER} AND ts < {high + SAME_ORDER}" if replacing else here
    if not one_number(con, f"SELECT count(*) FROM (SELECT 1 FROM events WHERE {near} LIMIT 1)"):
        return _insert(con, f"SELECT * FROM incoming WHERE {here}", batch_id), 0
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE lacking AS
            SELECT k, (sum(a) - sum(b))::BIGINT AS take, sum(b) > 0 AS partly FROM (
              SELECT {key} AS k, 1 AS a, 0 AS b FROM incoming WHERE {here}
              UNION ALL
              SELECT {key} AS k, 0 AS a, 1 AS b FROM events WHERE {here}
            ) GROUP BY k HAVING sum(a) > sum(b)"""
    )
    if not one_number(con, "SELECT count(*) FROM lacking"):
        return 0, 0
    if replacing:
        _note_outdated(con, here, near)
        changed = one_number(con, "SELECT count(*) FROM outdated")
    else:
        changed = 0
    keyed = f"SELECT *, {key} AS k FROM incoming WHERE {here}"
    copy = "row_number() OVER (PARTITION BY CASE WHEN l.partly THEN i.k END ORDER BY i.r)"
    if one_number(con, "SELECT count(*) FROM lacking WHERE partly"):
        query = f"""SELECT * FROM (
              SELECT i.*, l.take, l.partly, {copy} AS copy FROM ({keyed}) i JOIN lacking l USING (k)
            ) WHERE NOT partly OR copy <= take ORDER BY r"""
    else:
        query = f"SELECT * FROM ({keyed}) WHERE k IN (SELECT k FROM lacking) ORDER BY r"
    if not changed:
        return _insert(con, query, batch_id), 0
    return _replace_outdated(con, query, int(batch_id or 0))


# An order that is exported again has the same time, but for seconds that were left out and zones that were mistaken;
# tills begin their numbers again, so the same number of another day is another order.
SAME_ORDER = 26 * 3600
_LINE = "order_id, item_id, event_type"
# What the shop's pages knew of a sale, and its export does not.
_INHERITED = ("event_id", "session_id", "request_id", "position")


def _note_outdated(con: duckdb.DuckDBPyConnection, here: str, near: str) -> None:
    """Events of the store whose order's product comes with another content, into `outdated`."""
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE outdated AS
            WITH offered AS (SELECT {_LINE}, ts, {_content_key(of_orders=True)} AS k FROM incoming
                             WHERE {here} AND order_id IS NOT NULL),
                 lines AS (SELECT {_LINE}, min(ts) - {SAME_ORDER} AS first, max(ts) + {SAME_ORDER} AS last
                           FROM offered WHERE k IN (SELECT k FROM lacking) GROUP BY ALL)
            SELECT e.rowid AS old_row, e.*, row_number() OVER (PARTITION BY {_LINE} ORDER BY e.rowid) AS nth
            FROM events e JOIN lines USING ({_LINE})
            WHERE e.{near.replace(" AND ts", " AND e.ts")} AND e.ts BETWEEN first AND last
              AND {_content_key("e.", of_orders=True)} NOT IN (SELECT k FROM offered)"""
    )


def _replace_outdated(con: duckdb.DuckDBPyConnection, query: str, batch_id: int) -> tuple[int, int]:
    """Insert the query's events in place of the outdated ones, and keep those aside; returns both counts."""
    names = ", ".join(EVENT_COLUMNS)
    con.execute(
        f"INSERT INTO replaced_events ({names}, batch_id, replaced_by) "
        # Guests are erased by their sessions, which this table is not searched for.
        f"SELECT {names}, batch_id, {batch_id} FROM outdated WHERE user_id IS NOT NULL"
    )
    con.execute("DELETE FROM events WHERE rowid IN (SELECT old_row FROM outdated)")
    nth = f"row_number() OVER (PARTITION BY {_LINE} ORDER BY r) AS nth"
    picked = ", ".join(f"coalesce(q.{n}, o.{n}) AS {n}" if n in _INHERITED else f"q.{n}" for n in EVENT_COLUMNS)
    merged = (
        f"SELECT {picked}, o.old_row IS NOT NULL AS edited, q.r FROM (SELECT *, {nth} FROM ({query})) q "
        "LEFT JOIN outdated o ON q.order_id = o.order_id AND q.item_id = o.item_id AND q.event_type = o.event_type "
        "AND q.nth = o.nth ORDER BY q.r"
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE edited AS {merged}")
    changed = one_number(con, "SELECT count(*) FROM edited WHERE edited")
    new = _insert(con, "SELECT * FROM edited ORDER BY r", batch_id)
    con.execute("DROP TABLE edited; DROP TABLE outdated")
    return new, changed


def _content_key(of: str = "", *, of_orders: bool = False) -> str:
    """128 bits over the content; nulls and separators are control characters, which no id contains.

    With `of_orders` the session of an order's line is not compared: a line that inherited one would be replaced
    whenever the export, which knows of none, comes again.
    """
    values = {name: f"{of}{name}::VARCHAR" for name in CONTENT}
    if of_orders:
        values["session_id"] = f"CASE WHEN {of}order_id IS NULL THEN {of}session_id END"
    parts = ", ".join(f"coalesce({value}, chr(30))" for value in values.values())
    return f"md5_number(concat_ws(chr(31), {parts}))"


def _time_chunks(con: duckdb.DuckDBPyConnection) -> list[tuple[int, int]]:
    """Stretches of time with all incoming events without an id, few enough in each to compare at once."""
    # Counted by hour: quantiles would hold every time at once, a gigabyte for 100 million.
    rows = con.execute(
        f"SELECT floor(ts / {_HOUR})::BIGINT, count(*), min(ts), max(ts) FROM incoming WHERE event_id IS NULL "
        "GROUP BY 1 ORDER BY 1"
    ).fetchnumpy()
    hour, count, first, last = (np.asarray(rows[name]) for name in rows)
    if not len(hour):
        return []
    chunk = (np.cumsum(count) - count) // CHUNK_EVENTS  # by the events before each hour
    begins = hour[np.flatnonzero(np.diff(chunk)) + 1] * _HOUR
    return list(itertools.pairwise([int(first[0]), *begins.tolist(), int(last[-1]) + 1]))


def _insert(con: duckdb.DuckDBPyConnection, query: str, batch_id: int | None) -> int:
    names = ", ".join(EVENT_COLUMNS)
    batch = "NULL" if batch_id is None else str(int(batch_id))
    return one_number(con, f"INSERT INTO events ({names}, batch_id) SELECT {names}, {batch} FROM ({query})")


def merge_items(
    con: duckdb.DuckDBPyConnection,
    items: str | pa.Table,
    *,
    replace: bool = False,
    present: str = "",
    now: int | None = None,
    batch_id: int | None = None,
) -> Merged:
    """Add and change items; what is null in `items` stays what it was.

    When an item came, and every change of its price and availability, is kept in item_history.

    Parameters
    ----------
    items
        A table or view of this connection, or an Arrow table, with `item_id` and any other of ITEM_COLUMNS
        and `attributes` (a JSON object, merged key by key). Of several rows of one item the last counts.
    replace
        `items` is the whole catalogue: retire what it lacks. An item offered again is no longer retired.
    present
        A table whose items are in the catalogue as well, though they are not offered (rows that were rejected).
    now
        Epoch seconds of the change; default is the clock.
    batch_id
        The import that can be taken back, with what the items were before.
    """
    at = int(time.time()) if now is None else now
    counts = _upsert(con, items, "items", "item_id", dict(ITEM_COLUMNS), at, batch_id)
    retired = 0
    if replace:
        also = f" UNION SELECT item_id FROM {identifier(present)} WHERE item_id IS NOT NULL" if present else ""
        lost = f"retired_at IS NULL AND item_id NOT IN (SELECT item_id FROM offer{also})"
        if batch_id is not None:
            _note_before(con, "items", "item_id", batch_id, f"SELECT * FROM items WHERE {lost}")
        retired = one_number(
            con,
            f"UPDATE items SET retired_at = {at} WHERE retired_at IS NULL "
            f"AND item_id NOT IN (SELECT item_id FROM offer{also})",
        )
    con.execute("DROP TABLE IF EXISTS offer")
    return Merged(*counts, retired=retired)


def merge_users(con: duckdb.DuckDBPyConnection, users: str | pa.Table, *, batch_id: int | None = None) -> Merged:
    """Add and change users, as `merge_items` does items."""
    counts = _upsert(con, users, "users", "user_id", dict(USER_COLUMNS), 0, batch_id)
    con.execute("DROP TABLE IF EXISTS offer")
    return Merged(*counts)


def _upsert(
    con: duckdb.DuckDBPyConnection,
    rows: str | pa.Table,
    table: str,
    key: str,
    columns: dict[str, str],
    now: int,
    batch_id: int | None = None,
) -> tuple[int, int, int, int]:
    """Counts read, new, known, changed; leaves the rows that counted in the temporary table `offer`."""
    columns = {**columns, ATTRIBUTES: "VARCHAR"}
    with _offered(con, rows) as offered:
        have = _columns_of(con, offered)
        given = [name for name in columns if name in have]
        picked = ", ".join(f"{identifier(name)}::{columns[name]} AS {name}" for name in given)
        read = one_number(con, f"SELECT count(*) FROM {offered}")
        con.execute(f"CREATE OR REPLACE TEMP TABLE offer AS SELECT {picked} FROM {offered}")
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE offer AS SELECT * EXCLUDE (r, n) FROM (
              SELECT *, rowid AS r, row_number() OVER (PARTITION BY {key} ORDER BY rowid DESC) AS n FROM offer
            ) WHERE n = 1 ORDER BY r"""
    )
    changed = _change(con, table, key, [name for name in given if name != key], now, batch_id)
    names = ", ".join(given)
    fresh = f"{key} NOT IN (SELECT {key} FROM {table})"
    if table == "items":
        _note_arrival(con, given, now, fresh)
    if batch_id is not None:
        con.execute(f"INSERT INTO changed_{table} SELECT {int(batch_id)}, {key}, NULL FROM offer WHERE {fresh}")
    inserted = one_number(con, f"INSERT INTO {table} ({names}) SELECT {names} FROM offer WHERE {fresh}")
    return read, inserted + changed, read - inserted - changed, changed


def _note_before(con: duckdb.DuckDBPyConnection, table: str, key: str, batch_id: int, rows: str) -> None:
    """Keep what rows of the table were before this import changes them."""
    con.execute(
        f"INSERT INTO changed_{table} SELECT {int(batch_id)}, {key}, to_json(b)::VARCHAR FROM ({rows}) b "
        f"WHERE {key} NOT IN (SELECT {key} FROM changed_{table} WHERE batch_id = {int(batch_id)})"
    )


def _change(
    con: duckdb.DuckDBPyConnection, table: str, key: str, given: list[str], now: int, batch_id: int | None
) -> int:
    """Change the rows that differ; returns how many."""
    new = {name: f"coalesce(o.{name}, t.{name})" for name in given}
    if ATTRIBUTES in new:
        new[ATTRIBUTES] = (
            f"CASE WHEN o.{ATTRIBUTES} IS NULL THEN t.{ATTRIBUTES} "
            f"WHEN t.{ATTRIBUTES} IS NULL THEN o.{ATTRIBUTES} "
            f"ELSE json_merge_patch(t.{ATTRIBUTES}, o.{ATTRIBUTES})::VARCHAR END"
        )
    differs = [f"{new[name]} IS DISTINCT FROM t.{name}" for name in given]
    sets = [f"{name} = d.{name}" for name in given]
    if table == "items":
        differs.append("t.retired_at IS NOT NULL")
        sets.append("retired_at = NULL")
    if not differs:
        return 0
    picked = "".join(f", {expression} AS {name}" for name, expression in new.items())
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE differing AS SELECT t.{key}{picked} "
        f"FROM offer o JOIN {table} t USING ({key}) WHERE {' OR '.join(differs)}"
    )
    if table == "items":
        tracked = [name for name in ("price", "availability") if name in given]
        moved = " OR ".join(f"(o.{name} IS NOT NULL AND o.{name} IS DISTINCT FROM t.{name})" for name in tracked)
        if moved:
            moving = f"{key} IN (SELECT o.{key} FROM offer o JOIN items t USING ({key}) WHERE {moved})"
            _note_history(con, given, now, moving)
    if batch_id is not None:
        _note_before(con, table, key, batch_id, f"SELECT * FROM {table} WHERE {key} IN (SELECT {key} FROM differing)")
    con.execute(f"UPDATE {table} SET {', '.join(sets)} FROM differing d WHERE {table}.{key} = d.{key}")
    changed = one_number(con, "SELECT count(*) FROM differing")
    con.execute("DROP TABLE differing")
    return changed


def _note_arrival(con: duckdb.DuckDBPyConnection, given: list[str], now: int, fresh: str) -> None:
    """Remember when items came, with their price and availability as far as they are told."""
    told = "".join(f", {name}" for name in ("price", "availability") if name in given)
    con.execute(
        f"INSERT INTO item_history (item_id, ts{told}) SELECT item_id, {int(now)}{told} FROM offer WHERE {fresh}"
    )


def _note_history(con: duckdb.DuckDBPyConnection, given: list[str], now: int, where: str) -> None:
    """Remember the offered price and availability of the items `where` holds for."""
    tracked = [name for name in ("price", "availability") if name in given]
    if tracked:
        some = " OR ".join(f"{name} IS NOT NULL" for name in tracked)
        con.execute(
            f"INSERT INTO item_history (item_id, ts, {', '.join(tracked)}) "
            f"SELECT item_id, {int(now)}, {', '.join(tracked)} FROM offer WHERE ({some}) AND {where}"
        )


def set_state(con: duckdb.DuckDBPyConnection, values: Mapping[str, str]) -> None:
    """Remember small facts by name."""
    for name, value in values.items():
        con.execute("DELETE FROM state WHERE name = ?", [name])
        con.execute("INSERT INTO state VALUES (?, ?)", [name, value])


@contextmanager
def _offered(con: duckdb.DuckDBPyConnection, rows: str | pa.Table) -> Iterator[str]:
    """Name under which SQL can read `rows`."""
    if isinstance(rows, str):
        yield identifier(rows)
        return
    con.register("offered_arrow", rows)
    try:
        yield "offered_arrow"
    finally:
        con.unregister("offered_arrow")


def _columns_of(con: duckdb.DuckDBPyConnection, relation: str) -> set[str]:
    return {row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}


def one_number(con: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one number a query gives. All is fetched: an unread result blocks the connection."""
    rows = con.execute(query).fetchall()
    return int(rows[0][0]) if rows and rows[0][0] is not None else 0
