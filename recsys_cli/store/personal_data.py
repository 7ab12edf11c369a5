"""What the database holds of people, and its removal: by whole cells of the columns that name people, never by text.

A person's rows are those whose `user_id` is theirs, and events of their sessions that name no customer. A rejected row
is theirs when the cell of the column that ingest read as the customer (or, where that is empty, the session) is. The
same characters in any other cell are somebody's order, item or remark: `mentions` lists those, nothing removes them.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa

from .batches import close_batch, open_batch
from .merge import Merged
from .sql import first_row

# Who a row is about; every table that has such a column is taken to hold people.
PERSON_COLUMN = "user_id"
# Whose an event is that names no customer; see `schema.guest_id`.
SESSION_COLUMN = "session_id"
# What names people in lines of the log, which no file's columns say.
PERSON_FIELDS = (PERSON_COLUMN, "customer_id", "email")

# The same in rows of which nothing tells how their file was read, without what is not a letter.
_PEOPLE = (
    "(user|customer|client|kunden?|buyer|shopper|member)(id|no|nr|number|nummer)?|"
    "(customer|user|billing)?e?mail(address)?"
)

Counts = dict[str, dict[str, int]]  # kind of row -> whom it is about -> how many


def cell(value: object) -> str:
    """A cell that names somebody, as it is compared: trimmed, an e-mail in small letters, 13085.0 as 13085."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    whole, point, rest = text.partition(".")
    if point and whole.isdecimal() and rest and not rest.strip("0"):
        return whole
    return text.lower() if "@" in text else text


def cell_sql(sql: str) -> str:
    """SQL of `cell`."""
    bare = f"regexp_replace(trim({sql}), '^(\\d+)\\.0+$', '\\1')"
    return f"CASE WHEN contains({sql}, '@') THEN lower({bare}) ELSE {bare} END"


def tables_of_people(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Tables with a column that says whom a row is about."""
    rows = con.execute(
        "SELECT DISTINCT table_name FROM duckdb_columns() WHERE column_name = ? AND NOT internal "
        "AND database_name = current_database() AND schema_name = 'main' ORDER BY 1",
        [PERSON_COLUMN],
    ).fetchall()
    views = {row[0] for row in con.execute("SELECT view_name FROM duckdb_views()").fetchall()}
    return [row[0] for row in rows if row[0] not in views]


def count_rows(con: duckdb.DuckDBPyConnection, ids: Sequence[str], sessions: Sequence[str]) -> Counts:
    """Rows about these people by table and by id; events of these sessions of guests as `guest_events`."""
    grouped = "SELECT {0}, count(*) FROM {1} WHERE {2} GROUP BY 1"
    theirs = f"{PERSON_COLUMN} IN (SELECT unnest(?))"
    counts = {t: _by_name(con, grouped.format(PERSON_COLUMN, t, theirs), ids) for t in tables_of_people(con)}
    counts["guest_events"] = _by_name(con, grouped.format(SESSION_COLUMN, "events", _GUESTS), sessions)
    served = f"SELECT who, count(*) FROM served JOIN ({_SERVED}) USING (request_id) GROUP BY 1"
    counts["served"] = {str(who): int(n) for who, n in con.execute(served, [list(ids), list(sessions)]).fetchall()}
    return {kind: found for kind, found in counts.items() if found}


def known_ids(con: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> set[str]:
    """Which of the ids have rows of their own."""
    found: set[str] = set()
    for table in tables_of_people(con):
        rows = con.execute(
            f"SELECT DISTINCT {PERSON_COLUMN} FROM {table} WHERE {PERSON_COLUMN} IN (SELECT unnest(?))", [list(ids)]
        ).fetchall()
        found |= {row[0] for row in rows}
    return found


def in_other_case(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> dict[str, list[str]]:
    """Customers whose ids differ from these names only in case: what somebody who mistyped may have meant."""
    lowered = {name.lower(): name for name in names}
    found: dict[str, list[str]] = {}
    for table in tables_of_people(con):
        rows = con.execute(
            f"""SELECT DISTINCT {PERSON_COLUMN} FROM {table}
                WHERE lower({PERSON_COLUMN}) IN (SELECT unnest(?)) ORDER BY 1""",
            [list(lowered)],
        ).fetchall()
        for (one,) in rows:
            name = lowered.get(one.lower(), one)  # DuckDB lowers a few letters differently
            if one != name and one not in found.setdefault(name, []):
                found[name].append(one)
    return {name: ids for name, ids in found.items() if ids}


def profiles_with(con: duckdb.DuckDBPyConnection, values: Sequence[str]) -> list[tuple[str, str, str]]:
    """Profiles with an attribute of one of these values: customer, name of the attribute, value (as `cell` has it)."""
    # Most profiles have none of them anywhere, and taking each apart would take minutes.
    words = "|".join(_escaped(value) for value in values)
    rows = con.execute(
        f"""SELECT user_id, k, v FROM (
              SELECT user_id, k, {cell_sql("v")} AS v FROM (
                SELECT user_id, unnest(e).key AS k, unnest(e).value AS v FROM (
                  SELECT user_id, map_entries(attributes::JSON::MAP(VARCHAR, VARCHAR)) AS e FROM users
                  WHERE attributes IS NOT NULL AND regexp_matches(attributes, ?, 'i'))))
            WHERE v IN (SELECT unnest(?)) ORDER BY ALL""",
        [words, [cell(value) for value in values]],
    ).fetchall() if values else []  # fmt: skip
    return [(str(u), str(k), str(v)) for u, k, v in rows]


def _escaped(text: str) -> str:
    return "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def guests_named(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> set[str]:
    """Which of the names are sessions of guests."""
    rows = con.execute(f"SELECT DISTINCT session_id FROM events WHERE {_GUESTS}", [list(names)]).fetchall()
    return {row[0] for row in rows}


def sessions_of(con: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> dict[str, str]:
    """Sessions in which one of them was known by name and nobody else was, and by which id: what a guest did in those
    was done by them."""
    rows = con.execute(
        """SELECT session_id, min(user_id) FROM events
           WHERE session_id IN (SELECT session_id FROM events WHERE user_id IN (SELECT unnest(?)))
           GROUP BY 1 HAVING count(DISTINCT user_id) = 1""",
        [list(ids)],
    ).fetchall()
    return {str(session): str(user) for session, user in rows}


def named_in(con: duckdb.DuckDBPyConnection, sessions: Sequence[str]) -> dict[str, set[str]]:
    """The customers whom events name in each of these sessions."""
    rows = con.execute(
        "SELECT DISTINCT session_id, user_id FROM events "
        "WHERE user_id IS NOT NULL AND session_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(sessions)],
    ).fetchall()
    found: dict[str, set[str]] = defaultdict(set)
    for session, user in rows:
        found[str(session)].add(str(user))
    return dict(found)


def delete_rows(
    con: duckdb.DuckDBPyConnection, ids: Sequence[str], sessions: Sequence[str], rejected: Sequence[int]
) -> None:
    """Remove the rows that `count_rows` counts, and these rejected rows (by rowid). In the caller's transaction."""
    # Before the events, by which alone it can be told whose lists they were.
    theirs = f"DELETE FROM served WHERE request_id IN (SELECT request_id FROM ({_SERVED}))"
    con.execute(theirs, [list(ids), list(sessions)])
    for table in tables_of_people(con):
        con.execute(f"DELETE FROM {table} WHERE {PERSON_COLUMN} IN (SELECT unnest(?))", [list(ids)])
    con.execute(f"DELETE FROM events WHERE {_GUESTS}", [list(sessions)])
    con.execute("DELETE FROM rejected WHERE rowid IN (SELECT unnest(?::BIGINT[]))", [list(rejected)])


def events_of(con: duckdb.DuckDBPyConnection, ids: Sequence[str], sessions: Sequence[str] = ()) -> pa.Table:
    """Their events, and those of these sessions of guests, oldest first, each with what the item is called."""
    return con.sql(
        """SELECT e.* EXCLUDE (batch_id), i.title, i.category, i.brand, i.img_url, b.source, b.started_at AS taken_at
           FROM events e LEFT JOIN items i USING (item_id) LEFT JOIN batches b USING (batch_id)
           WHERE e.user_id IN (SELECT unnest($1::VARCHAR[]))
              OR (e.user_id IS NULL AND e.session_id IN (SELECT unnest($2::VARCHAR[])))
           ORDER BY e.ts, e.rowid""",
        params=[list(ids), list(sessions)],
    ).to_arrow_table()


def lists_of(con: duckdb.DuckDBPyConnection, ids: Sequence[str], sessions: Sequence[str] = ()) -> pa.Table:
    """Logged lists of which they saw something, oldest first; the log itself names nobody."""
    return con.sql(
        """SELECT ts, request_id, route, placement, version, experiment, arm, items, sources FROM served
           WHERE request_id IN (SELECT request_id FROM events WHERE user_id IN (SELECT unnest($1::VARCHAR[]))
                                  OR (user_id IS NULL AND session_id IN (SELECT unnest($2::VARCHAR[]))))
           ORDER BY ts, request_id""",
        params=[list(ids), list(sessions)],
    ).to_arrow_table()


def rows_of(con: duckdb.DuckDBPyConnection, table: str, ids: Sequence[str]) -> pa.Table:
    """Their rows of one of `tables_of_people`."""
    return con.sql(
        f"SELECT * FROM {table} WHERE {PERSON_COLUMN} IN (SELECT unnest(?))", params=[list(ids)]
    ).to_arrow_table()


# -- rejected rows


def rejected_cells() -> str:
    """SQL: each rejected row that has columns, with the cells that name its customer, and those that name its session,
    as lists. A row says how its file was read; of lines of the log and of old files, the names of the columns tell."""

    def of(field: str, names: str) -> str:
        told = f"(b.reading::JSON -> '$.columns.{field}')::VARCHAR[]"
        plain = "regexp_replace(lower(c), '[^a-z]', '', 'g')"
        guessed = f"list_filter(json_keys(r.raw), lambda c: regexp_full_match({plain}, '{names}'))"
        columns = f"CASE WHEN b.reading IS NULL THEN {guessed} ELSE coalesce({told}, []) END"
        pointer = "'/' || replace(replace(c, '~', '~0'), '/', '~1')"
        values = f"list_transform({columns}, lambda c: json_extract_string(r.raw, {pointer}))"
        return f"list_filter({values}, lambda v: v IS NOT NULL AND trim(v) <> '')"

    return f"""SELECT r.rowid AS id, b.started_at AS kept_at, {of("user_id", _PEOPLE)} AS users,
                      {of("session_id", "(user)?session(id)?")} AS sessions
               FROM rejected r LEFT JOIN batches b USING (batch_id)
               WHERE r.raw IS NOT NULL AND json_valid(r.raw) AND json_type(r.raw) = 'OBJECT'
                     AND json_extract_string(r.raw, '$.line') IS NULL"""


def rejected_of(con: duckdb.DuckDBPyConnection, ids: Sequence[str], sessions: Sequence[str]) -> dict[int, str]:
    """Rejected rows about them, by rowid, and whom each names, as `cell` has it."""
    users, visits = [cell(one) for one in ids], [cell(one) for one in sessions]
    rows = con.execute(
        f"""WITH cells AS MATERIALIZED ({rejected_cells()})
            SELECT id, v FROM (SELECT id, {cell_sql("u")} AS v FROM (SELECT id, unnest(users) AS u FROM cells))
            WHERE v IN (SELECT unnest(?))
            UNION ALL
            SELECT id, v FROM (SELECT id, {cell_sql("s")} AS v
                               FROM (SELECT id, unnest(sessions) AS s FROM cells WHERE len(users) = 0))
            WHERE v IN (SELECT unnest(?))""",
        [users, visits],
    ).fetchall()
    return {int(row): str(who) for row, who in rows} | _broken_of(con, {*users, *visits})


def _broken_of(con: duckdb.DuckDBPyConnection, names: set[str]) -> dict[int, str]:
    """Broken lines about them: with one of them in the place of the customer, counted from the left or, for a line with
    too many cells, from the right; anywhere when it does not reach that far."""
    between = ";|\t\"'{}[]:"
    rows = con.execute(
        f"""WITH lines AS (
              SELECT r.rowid AS id, coalesce(json_extract_string(raw, '$.line'), raw) AS line, b.reading
              FROM rejected r LEFT JOIN batches b USING (batch_id)
              WHERE raw IS NOT NULL AND (NOT json_valid(raw) OR coalesce(json_type(raw), '') <> 'OBJECT'
                                         OR json_extract_string(raw, '$.line') IS NOT NULL))
            SELECT id, line, reading FROM lines WHERE id IN (
              SELECT id FROM (SELECT id, unnest(string_split(translate(line, ?, repeat(',', {len(between)})), ',')) AS w
                              FROM lines) WHERE {cell_sql("w")} IN (SELECT unnest(?)))""",
        [between, list(names)],
    ).fetchall()
    found = {}
    for row, line, reading in rows:
        who = next((name for name in _cells_of(str(line), reading) if name in names), None)
        if who is not None:
            found[int(row)] = who
    return found


def _cells_of(line: str, reading: str | None) -> Iterator[str]:
    """The cells of a broken line that may name its customer or session."""
    told = json.loads(reading) if reading else {}
    header = [str(name) for name in told.get("header", ())]
    named = [name for field in (PERSON_COLUMN, SESSION_COLUMN) for name in told.get("columns", {}).get(field, ())]
    places = [header.index(name) for name in named if name in header]
    delimiter = max(",;\t|", key=line.count)
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        cells = line.split(delimiter)
    known = [p for p in places if p < len(cells)]
    if not known or line.lstrip().startswith(("{", "[")):  # half an object, or a line that ends too early
        yield from (cell(part) for part in re.split(r"[,;|\t\"'{}\[\]:]", line))
    for place in known:
        yield cell(cells[place])
        if len(cells) > len(header):
            yield cell(cells[place - len(header)])


def rows_by_rowid(con: duckdb.DuckDBPyConnection, rows: Sequence[int]) -> pa.Table:
    """These rejected rows."""
    return con.sql(
        "SELECT * FROM rejected WHERE rowid IN (SELECT unnest(?::BIGINT[])) ORDER BY rowid", params=[list(rows)]
    ).to_arrow_table()


# -- what is somebody else's, and only looks like them


def text_columns(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Every column of every table that holds text, the column that names people included."""
    rows = con.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND schema_name = 'main' AND "
        "database_name = current_database() AND data_type IN ('VARCHAR', 'JSON', 'BLOB') ORDER BY 1, column_index"
    ).fetchall()
    views = {row[0] for row in con.execute("SELECT view_name FROM duckdb_views()").fetchall()}
    return [(str(t), str(c)) for t, c in rows if t not in views]


def mentions(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """Cells of other columns that are one of these names: (table, column) to how many, and the first's row number."""
    wanted = [cell(name) for name in names]
    found = {}
    for table, column in text_columns(con):
        if column != PERSON_COLUMN:
            n, first = con.execute(
                f"SELECT count(*), min(rowid) FROM {table} WHERE {column} IN (SELECT unnest(?))", [wanted]
            ).fetchall()[0]
            if n:
                found[table, column] = (int(n), int(first) + 1)
    return found


def spelled(con: duckdb.DuckDBPyConnection, words: Sequence[str]) -> dict[str, str]:
    """Which of the words stand somewhere in a cell, as a part or the whole of it, and where the first one is."""
    found: dict[str, str] = {}
    for table, column in text_columns(con):
        for word in (w for w in words if w not in found):
            text, form = (f"lower({column}::VARCHAR)", word.lower()) if "@" in word else (f"{column}::VARCHAR", word)
            escaped = json.dumps(form)[1:-1]
            row = first_row(
                con.execute(
                    f"SELECT rowid FROM {table} WHERE contains({text}, ?) OR contains({text}, ?) LIMIT 1",
                    [form, escaped],
                )
            )
            if row:
                found[word] = f"{table}.{column}, row {int(row[0]) + 1}"
    return found


# -- choices, corrections


def consents(con: duckdb.DuckDBPyConnection, secret: str, held: Sequence[str]) -> dict[str, str]:
    """What the column `consent` says, by `artifacts.choices.hash_of`: anybody's limits, and full of those `held`."""
    rows = con.execute(
        f"""SELECT h, c FROM (SELECT {chosen(PERSON_COLUMN)} AS h, lower(trim(consent)) AS c FROM users
                              WHERE consent IS NOT NULL)
            WHERE c IN ('none', 'session') OR (c = 'full' AND h IN (SELECT unnest($2::VARCHAR[])))""",
        [secret, list(held)],
    ).fetchall()
    return dict(rows)


def chosen(owner: str) -> str:
    """SQL of `artifacts.choices.hash_of`, of the customer or guest id `owner`; the secret is the parameter $1."""
    return f"sha256($1 || 'choice' || left(sha256($1 || {owner}), 32))"


def note_change(con: duckdb.DuckDBPyConnection, kind: str) -> None:
    """Record that something about people changed, so that the worker sees a store it has not published yet."""
    batch = open_batch(con, "gdpr", kind, "", 0)
    close_batch(con, batch, Merged(1, 1, 0), 0)


def change_profile(con: duckdb.DuckDBPyConnection, ids: Sequence[str], attributes: Mapping[str, str | None]) -> int:
    """Set, or with None remove, attributes of their profiles; returns how many profiles."""
    patch = json.dumps(dict(attributes))  # a null in a merge patch removes the key
    return _number(
        con,
        f"UPDATE users SET attributes = json_merge_patch(coalesce(attributes, '{{}}'), ?)::VARCHAR "
        f"WHERE {PERSON_COLUMN} IN (SELECT unnest(?))",
        [patch, list(ids)],
    )


def names_of_attributes(con: duckdb.DuckDBPyConnection) -> list[str]:
    """What the attributes of all profiles are called."""
    query = "SELECT DISTINCT unnest(json_keys(attributes)) AS name FROM users WHERE attributes IS NOT NULL ORDER BY 1"
    return [str(name) for (name,) in con.execute(query).fetchall()]


def remove_events(con: duckdb.DuckDBPyConnection, ids: Sequence[str], items: Sequence[str]) -> int:
    """Delete their events with these items; returns how many."""
    return _number(
        con,
        f"DELETE FROM events WHERE {PERSON_COLUMN} IN (SELECT unnest(?)) AND item_id IN (SELECT unnest(?))",
        [list(ids), list(items)],
    )


_GUESTS = f"{PERSON_COLUMN} IS NULL AND session_id IN (SELECT unnest(?))"


# Lists that they alone saw: the log names nobody, but what they saw names the list.
_SERVED = (
    f"SELECT request_id, min(coalesce({PERSON_COLUMN}, session_id)) AS who FROM events WHERE request_id IS NOT NULL "
    f"GROUP BY 1 HAVING bool_and(coalesce({PERSON_COLUMN} IN (SELECT unnest(?::VARCHAR[])), "
    "session_id IN (SELECT unnest(?::VARCHAR[])), false))"
)


def _by_name(con: duckdb.DuckDBPyConnection, query: str, names: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for name, n in con.execute(query, [list(names)]).fetchall():
        found[str(name)] += int(n)
    return dict(found)


def _number(con: duckdb.DuckDBPyConnection, query: str, params: Sequence[object]) -> int:
    rows = con.execute(query, params).fetchall()
    return int(rows[0][0])
