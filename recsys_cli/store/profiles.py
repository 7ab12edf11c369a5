"""What profiles say of customers, as far as many share it: attributes as codes, never as what identifies somebody."""

from __future__ import annotations

import duckdb
import numpy as np

from ..schema import Profiles
from .sql import literal

LEAST = 20  # customers who share a value; fewer tell nothing of the next one, and too much of each other
_MOST_VALUES = 50  # of one attribute, the most common ones
_MOST_ATTRIBUTES = 20


def read_profiles(con: duckdb.DuckDBPyConnection, n_users: int, least: int) -> Profiles:
    """The attributes of the customers in the temporary table `user_codes`, parallel to it.

    Parameters
    ----------
    n_users
        Rows of `user_codes`.
    least
        Customers who must share a value, `LEAST` at least: a name, an address or a number of a customer is shared by
        nobody, and so is in no version.
    """
    least = max(int(least), LEAST)
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE told AS
            SELECT code, k, {value_sql("v")} AS v FROM (
              SELECT code, unnest(e).key AS k, unnest(e).value AS v FROM (
                SELECT c.code, map_entries(u.attributes::JSON::MAP(VARCHAR, VARCHAR)) AS e
                FROM users u JOIN user_codes c USING (user_id) WHERE u.attributes IS NOT NULL))"""
    )
    rows = con.execute(
        f"""WITH shared AS (
              SELECT k, v, count(DISTINCT code) AS n FROM told WHERE v IS NOT NULL AND v <> '' AND length(v) <= 64
              GROUP BY k, v HAVING n >= {least}
              QUALIFY row_number() OVER (PARTITION BY k ORDER BY n DESC, v) <= {_MOST_VALUES})
            SELECT k, list(v ORDER BY n DESC, v) FROM shared GROUP BY k
            ORDER BY sum(n) DESC, k LIMIT {_MOST_ATTRIBUTES}"""
    ).fetchall()
    codes = np.full((n_users, len(rows)), -1, dtype=np.int16)
    for at, (name, values) in enumerate(rows):
        found = con.sql(
            f"""SELECT code, (list_position([{", ".join(map(literal, values))}], v) - 1)::SMALLINT AS value FROM told
                WHERE k = {literal(name)} AND list_contains([{", ".join(map(literal, values))}], v)"""
        ).fetchnumpy()
        codes[np.asarray(found["code"]), at] = np.asarray(found["value"])
    con.execute("DROP TABLE told")
    return Profiles(tuple(name for name, _ in rows), tuple(tuple(values) for _, values in rows), codes, least)


def value_sql(text: str) -> str:
    """SQL: a value as it is compared; the server compares what a request says in the same way (`Profiles.word`)."""
    return f"lower(trim({text}))"
