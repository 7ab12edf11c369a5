"""What the database holds of one person, and its removal; the tables are found by their columns, not by a list."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from ..schema import GUEST
from .merge import Merged, close_batch, open_batch
from .sql import literal

# Who a row is about; every table that has such a column is taken to hold people.
PERSON_COLUMN = "user_id"
# Whose an event is that names no customer; see `schema.guest_id`.
SESSION_COLUMN = "session_id"


def tables_of_people(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Tables with a column that says whom a row is about."""
    rows = con.execute(
        "SELECT DISTINCT table_name FROM duckdb_columns() WHERE column_name = ? AND NOT internal "
        "AND database_name = current_database() AND schema_name = 'main' ORDER BY 1",
        [PERSON_COLUMN],
    ).fetchall()
    views = {row[0] for row in con.execute("SELECT view_name FROM duckdb_views()").fetchall()}
    return [row[0] for row in rows if row[0] not in views]


def count_rows(
    con: duckdb.DuckDBPyConnection,
    ids: Sequence[str],
    names: Sequence[str],
    sessions: Sequence[str] = (),
    visits: Sequence[str] = (),
) -> dict[str, int]:
    """Rows per table about these people, rejected rows that name them included; tables with none are left out.

    Parameters
    ----------
    sessions
        Sessions whose guest is one of them.
    visits
        Sessions that may be other customers' by now: those lose the number of the visit, and keep the event.
    """
    counts = {
        table: _number(con, f"SELECT count(*) FROM {table} WHERE {PERSON_COLUMN} IN (SELECT unnest(?))", [list(ids)])
        for table in tables_of_people(con)
    }
    counts["guest_events"] = _number(con, f"SELECT count(*) FROM events WHERE {_GUESTS}", [list(sessions)])
    counts["visit_numbers"] = _number(con, f"SELECT count(*) FROM events WHERE {_VISITS}", [list(visits), list(ids)])
    counts["rejected"] = _number(con, f"SELECT count(*) FROM rejected WHERE {_NAMED}", naming(names))
    counts["served"] = _number(con, f"SELECT count(*) FROM served WHERE {_SERVED}", [list(ids), list(sessions)])
    return {table: n for table, n in counts.items() if n}


def known_ids(con: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> set[str]:
    """Which of the ids have rows."""
    found: set[str] = set()
    for table in tables_of_people(con):
        rows = con.execute(
            f"SELECT DISTINCT {PERSON_COLUMN} FROM {table} WHERE {PERSON_COLUMN} IN (SELECT unnest(?))", [list(ids)]
        ).fetchall()
        found |= {row[0] for row in rows}
    return found


def known_names(con: duckdb.DuckDBPyConnection, ids: Sequence[str], names: Sequence[str]) -> set[str]:
    """Which of the ids have rows, and which of the names stand in rejected rows."""
    found = known_ids(con, ids)
    spelled = {name: name for name in names} | {name.lower(): name for name in names if "@" in name}
    patterns = naming(names)
    used = [n for n, pattern in enumerate(patterns, 1) if "(" in pattern]
    parts = ", ".join(f"regexp_extract({column}, ${n}, 3)" for column in ("raw", "detail", "file") for n in used)
    rows = con.execute(f"SELECT DISTINCT unnest([{parts}]) FROM rejected WHERE {_NAMED}", patterns).fetchall()
    for (word,) in rows:
        name = word or ""
        found |= {spelled[form] for form in (name, name.split(".0")[0], name.lower()) if form in spelled}
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


def guests_named(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> list[str]:
    """Which of the names are sessions of guests."""
    rows = con.execute(f"SELECT DISTINCT session_id FROM events WHERE {_GUESTS} ORDER BY 1", [list(names)]).fetchall()
    return [row[0] for row in rows]


def delete_rows(
    con: duckdb.DuckDBPyConnection,
    ids: Sequence[str],
    names: Sequence[str],
    sessions: Sequence[str] = (),
    visits: Sequence[str] = (),
) -> None:
    """Remove the rows that `count_rows` counts, and the names from the names of files. In the caller's transaction."""
    # Before the events, by which alone it can be told whose lists they were.
    con.execute(f"DELETE FROM served WHERE {_SERVED}", [list(ids), list(sessions)])
    for table in tables_of_people(con):
        con.execute(f"DELETE FROM {table} WHERE {PERSON_COLUMN} IN (SELECT unnest(?))", [list(ids)])
    con.execute(f"DELETE FROM events WHERE {_GUESTS}", [list(sessions)])
    con.execute(f"UPDATE events SET session_id = NULL WHERE {_VISITS}", [list(visits), list(ids)])
    patterns = naming(names)
    con.execute(f"DELETE FROM rejected WHERE {_NAMED}", patterns)
    con.execute(
        "UPDATE batches SET source = regexp_replace(source, $1, '\\1(removed)\\4', 'g') "
        "WHERE regexp_matches(source, $1)",
        patterns[:1],
    )


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


def rows_of(con: duckdb.DuckDBPyConnection, table: str, ids: Sequence[str]) -> pa.Table:
    """Their rows of one of `tables_of_people`."""
    return con.sql(
        f"SELECT * FROM {table} WHERE {PERSON_COLUMN} IN (SELECT unnest(?))", params=[list(ids)]
    ).to_arrow_table()


def rejected_of(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> pa.Table:
    """Rejected rows that name them."""
    return con.sql(f"SELECT * FROM rejected WHERE {_NAMED}", params=naming(names)).to_arrow_table()


def sessions_of(con: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> list[str]:
    """Sessions in which they were known by name and nobody else was: what a guest did in those was done by them."""
    rows = con.execute(
        """SELECT session_id FROM events
           WHERE session_id IN (SELECT session_id FROM events WHERE user_id IN (SELECT unnest(?)))
           GROUP BY 1 HAVING bool_and(user_id IN (SELECT unnest(?)))""",
        [list(ids), list(ids)],
    ).fetchall()
    return [row[0] for row in rows]


def consents(con: duckdb.DuckDBPyConnection, secret: str, held: Sequence[str]) -> dict[str, str]:
    """What the column `consent` says, by `artifacts.choices.hash_of`: anybody's limits, and full of those `held`."""
    hashed = f"sha256($1 || 'choice' || left(sha256($1 || {PERSON_COLUMN}), 32))"
    rows = con.execute(
        f"""SELECT h, c FROM (SELECT {hashed} AS h, lower(trim(consent)) AS c FROM users WHERE consent IS NOT NULL)
            WHERE c IN ('none', 'session') OR (c = 'full' AND h IN (SELECT unnest($2::VARCHAR[])))""",
        [secret, list(held)],
    ).fetchall()
    return dict(rows)


def note_change(con: duckdb.DuckDBPyConnection, kind: str) -> None:
    """Record that something about people changed, so that the worker sees a store it has not published yet."""
    batch = open_batch(con, "gdpr", kind, "", 0)
    close_batch(con, batch, Merged(1, 1, 0), 0)


def naming(names: Sequence[str]) -> list[str]:
    """Two patterns for text that names one of them, written plainly or escaped as JSON does.

    The first is for names as words. The second is for names of less than five characters, which dates and counts also
    look like: as a whole value of JSON or of a line of CSV.

    A customer number may have become a float on its way through a spreadsheet: 13085 is also named by 13085.0.
    """
    escaped = [json.dumps(name, ensure_ascii=plain)[1:-1] for name in names for plain in (True, False)]
    spelled = sorted({*names, *escaped})
    return [
        _pattern([s for s in spelled if len(s) >= 5], r"^|[^\pL\pN_]", r"[^\pL\pN_]|$"),
        _pattern([s for s in spelled if len(s) < 5], r"^|[,;|\t:\"\[{]\s*", r"\s*[,;|\t\"\]}]|$"),
    ]


def _pattern(spelled: Sequence[str], before: str, after: str) -> str:
    if not spelled:
        return r"[^\s\S]"  # nothing at all
    words = "|".join(_word(form) for form in spelled)
    return rf"({before})(({words}))({after})"


def _word(form: str) -> str:
    if "@" in form:
        return f"(?i:{re.escape(form)})"  # an e-mail is the same in any case; an id in another case is another's
    return re.escape(form) + (r"(?:\.0+)?" if form.isdigit() else "")


_GUESTS = f"{PERSON_COLUMN} IS NULL AND session_id IN (SELECT unnest(?))"
_VISITS = (
    f"session_id IN (SELECT unnest(?)) AND {PERSON_COLUMN} IS NOT NULL AND {PERSON_COLUMN} NOT IN (SELECT unnest(?))"
)
# Lists that they alone saw: the log names nobody, but what they saw names the list.
_SERVED = (
    "request_id IN (SELECT request_id FROM events WHERE request_id IS NOT NULL GROUP BY 1 HAVING bool_and("
    f"coalesce({PERSON_COLUMN} IN (SELECT unnest(?::VARCHAR[])), session_id IN (SELECT unnest(?::VARCHAR[])), false)))"
)
_NAMED = " OR ".join(
    f"coalesce(regexp_matches({column}, ${n}), false)" for column in ("raw", "detail", "file") for n in (1, 2)
)


def _number(con: duckdb.DuckDBPyConnection, query: str, params: Sequence[object]) -> int:
    rows = con.execute(query, params).fetchall()
    return int(rows[0][0])


def refusal(
    secret: str,
    erased: Mapping[str, int],
    ts: str = "ts",
    user: str = PERSON_COLUMN,
    session: str = SESSION_COLUMN,
) -> str:
    """SQL: a row is about somebody erased, a customer or the guest of a session, and happened before that.

    A lookup in one map, not a chain of comparisons: with five hundred erased people a chain takes minutes.

    Parameters
    ----------
    erased
        `gdpr.suppression` hash to the epoch seconds of the erasure; not empty.
    ts, user, session
        SQL of the row's time (0 when it has none), of its customer and of its session; empty where the rows have no
        such column. The session says whose the row is when no customer does.
    """
    seen = ", ".join(f"'{name}': {int(at)}" for name, at in erased.items())
    quoted = literal(secret)
    # An address is the same in any case, and an old export may write it in another one than the list knows.
    who = [f"CASE WHEN contains({user}, '@') THEN lower({user}) ELSE {user} END"] if user else []
    who += [f"chr({ord(GUEST)}) || {session}"] if session else []
    hashed = f"sha256({quoted} || 'erased' || left(sha256({quoted} || coalesce({', '.join(who)})), 32))"
    return f"coalesce({ts} <= (MAP {{{seen}}})[{hashed}], false)"


def erased_ids(con: duckdb.DuckDBPyConnection, secret: str, erased: Mapping[str, int]) -> list[str]:
    """Ids of erased people of whom the store has rows from before their erasure, or a profile."""
    found: set[str] = set()
    for table in tables_of_people(con):
        ts = "min(ts)" if table == "events" else "0"
        rows = con.execute(
            f"""SELECT {PERSON_COLUMN} FROM (SELECT {PERSON_COLUMN}, {ts} AS first FROM {table}
                                             WHERE {PERSON_COLUMN} IS NOT NULL GROUP BY 1)
                WHERE {refusal(secret, erased, "first", session="")}"""
        ).fetchall()
        found |= {row[0] for row in rows}
    return sorted(found)


def erased_guests(con: duckdb.DuckDBPyConnection, secret: str, erased: Mapping[str, int]) -> list[str]:
    """Sessions of erased guests of which the store has events from before their erasure."""
    return _erased_sessions(con, secret, erased, f"{PERSON_COLUMN} IS NULL")


def erased_visits(con: duckdb.DuckDBPyConnection, secret: str, erased: Mapping[str, int]) -> list[str]:
    """Sessions of erased people that events of others have, from before the erasure."""
    return _erased_sessions(con, secret, erased, f"{PERSON_COLUMN} IS NOT NULL")


def _erased_sessions(con: duckdb.DuckDBPyConnection, secret: str, erased: Mapping[str, int], where: str) -> list[str]:
    rows = con.execute(
        f"""SELECT {SESSION_COLUMN} FROM (SELECT {SESSION_COLUMN}, min(ts) AS first FROM events
                                          WHERE {where} AND {SESSION_COLUMN} IS NOT NULL GROUP BY 1)
            WHERE {refusal(secret, erased, "first", user="")} ORDER BY 1"""
    ).fetchall()
    return [row[0] for row in rows]


def change_profile(con: duckdb.DuckDBPyConnection, ids: Sequence[str], attributes: Mapping[str, str | None]) -> int:
    """Set, or with None remove, attributes of their profiles; returns how many profiles."""
    patch = json.dumps(dict(attributes))  # a null in a merge patch removes the key
    return _number(
        con,
        f"UPDATE users SET attributes = json_merge_patch(coalesce(attributes, '{{}}'), ?)::VARCHAR "
        f"WHERE {PERSON_COLUMN} IN (SELECT unnest(?))",
        [patch, list(ids)],
    )


def remove_events(con: duckdb.DuckDBPyConnection, ids: Sequence[str], items: Sequence[str]) -> int:
    """Delete their events with these items; returns how many."""
    return _number(
        con,
        f"DELETE FROM events WHERE {PERSON_COLUMN} IN (SELECT unnest(?)) AND item_id IN (SELECT unnest(?))",
        [list(ids), list(items)],
    )
