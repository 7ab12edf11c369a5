"""Erased people who are there all the same: an old export or a backup has brought them back."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from ..schema import GUEST
from .personal_data import PERSON_COLUMN, SESSION_COLUMN, cell_sql, rejected_cells, tables_of_people
from .sql import literal


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
        `artifacts.suppressed` hash to the epoch seconds of the erasure; not empty.
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


def erased_people(con: duckdb.DuckDBPyConnection, secret: str, erased: Mapping[str, int]) -> tuple[set[str], set[str]]:
    """Erased customers, and sessions of erased guests, of whom the store has rows from before their erasure, a profile,
    or a rejected row that was kept before it."""
    ids: set[str] = set()
    for table in tables_of_people(con):
        ts = "min(ts)" if table == "events" else "0"
        # A profile alone is from before: who has come back since has events, see `ingest.checks`.
        back = (
            ""
            if table == "events"
            else f"AND {PERSON_COLUMN} NOT IN (SELECT user_id FROM events WHERE user_id IS NOT NULL)"
        )
        ids |= _names(
            con,
            f"""SELECT {PERSON_COLUMN} FROM (SELECT {PERSON_COLUMN}, {ts} AS first FROM {table}
                                             WHERE {PERSON_COLUMN} IS NOT NULL {back} GROUP BY 1)
                WHERE {refusal(secret, erased, "first", session="")}""",
        )
    sessions = _names(
        con,
        f"""SELECT session_id FROM (SELECT session_id, min(ts) AS first FROM events
                                    WHERE user_id IS NULL AND session_id IS NOT NULL GROUP BY 1)
            WHERE {refusal(secret, erased, "first", user="")}""",
    )
    cells = f"WITH cells AS MATERIALIZED ({rejected_cells()})"
    ids |= _names(
        con,
        f"""{cells} SELECT u FROM (SELECT {cell_sql("u")} AS u, coalesce(kept_at, 0) AS kept_at
                                   FROM (SELECT kept_at, unnest(users) AS u FROM cells))
            WHERE {refusal(secret, erased, "kept_at", user="u", session="")}""",
    )
    sessions |= _names(
        con,
        f"""{cells} SELECT s FROM (SELECT coalesce(kept_at, 0) AS kept_at, unnest(sessions) AS s FROM cells
                                   WHERE len(users) = 0)
            WHERE {refusal(secret, erased, "kept_at", user="", session="s")}""",
    )
    return ids, sessions


def _names(con: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    return {str(row[0]) for row in con.execute(query).fetchall()}
