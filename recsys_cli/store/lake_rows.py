"""The store's events month by month, without names: what `publishing.lake` writes for programs on other machines.

A customer is a hash keyed with the database's secret, of a kind that neither the versions nor any other file hold, and
so is a basket. Whose history may not be used is not among them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from .personal_data import chosen
from .products import catalogue, code_items
from .reading import OWNER

COLUMNS = ("customer", "item_id", "ts", "event_type", "qty", "duration_ms", "basket")
_MONTH = "strftime(to_timestamp(ts), '%Y-%m')"  # UTC, as the connection is


@dataclass(frozen=True)
class Month:
    """What a month holds.

    Parameters
    ----------
    events
        How many.
    digest
        Of all of them, in whatever order: another one when any has come, gone or changed.
    """

    events: int
    digest: str


def name_customers(con: duckdb.DuckDBPyConnection, secret: str, barred: Collection[str]) -> None:
    """Make the tables that the functions below read; first of all.

    Parameters
    ----------
    barred
        `artifacts.choices.hash_of` of those who are left out.
    """
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE lake_customers AS
            SELECT owner, left(sha256($1 || 'lake' || left(sha256($1 || owner), 32)), 32) AS customer
            FROM (SELECT DISTINCT {OWNER} AS owner FROM events)
            WHERE owner IS NOT NULL AND {chosen("owner")} NOT IN (SELECT unnest($2::VARCHAR[]))""",
        [secret, list(barred)],
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE lake_baskets AS
           SELECT raw, left(sha256($1 || 'basket' || raw), 16) AS basket
           FROM (SELECT DISTINCT coalesce('o' || order_id, 's' || session_id) AS raw FROM events)
           WHERE raw IS NOT NULL""",
        [secret],
    )
    code_items(con, None)
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW lake_events AS
            SELECT c.customer, p.item_id, e.ts, e.event_type, e.qty::FLOAT AS qty, e.duration_ms::BIGINT AS duration_ms,
                   b.basket, e.written
            FROM (SELECT *, rowid AS written, {OWNER} AS owner FROM events) e JOIN lake_customers c USING (owner)
            JOIN item_codes i USING (item_id) JOIN product_codes p USING (code)
            LEFT JOIN lake_baskets b ON b.raw = coalesce('o' || e.order_id, 's' || e.session_id)"""
    )


def months(con: duckdb.DuckDBPyConnection) -> dict[str, Month]:
    """Every month with an event, as 2026-11, oldest first."""
    rows = con.execute(
        f"""SELECT {_MONTH} AS month, count(*), sum(hash({", ".join(COLUMNS)})) FROM lake_events
            GROUP BY 1 ORDER BY 1"""
    ).fetchall()
    return {str(month): Month(int(n), f"{int(total):x}") for month, n, total in rows}


def events_of_month(con: duckdb.DuckDBPyConnection, month: str) -> pa.Table:
    """The events of a month, customer by customer, oldest first; `COLUMNS`."""
    columns = ", ".join(COLUMNS)
    return con.sql(
        f"SELECT {columns} FROM lake_events WHERE {_MONTH} = ? ORDER BY customer, ts, written", params=[month]
    ).to_arrow_table()


def items(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """The catalogue: item_id, title, category, brand, price."""
    return catalogue(con).select(["item_id", "title", "category", "brand", "price"])
