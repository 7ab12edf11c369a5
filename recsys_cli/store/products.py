"""Items under their codes: a product with its variants is one item, for everything that learns and lists.

A variant is an item with a `parent_id`. Sales of all variants are the product's, its stock is that of any, and what
the product itself does not say is told by the variant that answers name: in stock, and the most sold of those. Where no
item has a parent, every item is its own product.
"""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from ..schema import ATTRIBUTES, ITEM_COLUMNS, OF_A_VARIANT, ONLY_HEARD, VARIANTS

# A shop has a catalogue when a file brought it, or when it names most of what happens: the first item that is sent to
# the server of a shop whose items are known from events must not hide all others.
_CATALOGUE = """(EXISTS (FROM batches WHERE kind = 'items' AND source <> 'spool' AND new > 0) OR
    (SELECT 2 * count(*) FILTER (item_id IN (SELECT item_id FROM items)) >= count(*) FROM events))"""
# Ids that no catalogue and no file has: anybody who can send the server an event can make one up.
ONLY_HEARD_ITEMS = f"""SELECT item_id FROM events
    WHERE item_id NOT IN (SELECT item_id FROM items) AND EXISTS (FROM items) AND {_CATALOGUE}
    GROUP BY item_id
    HAVING bool_and(coalesce(batch_id IN (SELECT batch_id FROM batches WHERE source = 'spool' AND bytes = 0), false))"""
# When items came into the catalogue, but for those that came with many others at once: a catalogue that is loaded,
# for the first time or in several files, is not all new.
_ARRIVED = """WITH firsts AS (SELECT item_id, min(ts) AS ts FROM item_history GROUP BY item_id),
    moments AS (SELECT ts, count(*) AS came, sum(count(*)) OVER (ORDER BY ts) - count(*)
                       + (SELECT count(*) FROM items) - (SELECT count(*) FROM firsts) AS there
                FROM firsts GROUP BY ts)
    SELECT item_id, ts AS arrived FROM firsts JOIN moments USING (ts)
    WHERE there > 0 AND came <= greatest(10, there // 4)"""
# Whose product each variant is; two steps up, for a parent that has one itself. Who is in a circle is a product.
_VARIANTS = """CREATE OR REPLACE TEMP TABLE variants AS
    SELECT v.item_id, coalesce(nullif(p.parent_id, ''), v.parent_id) AS product_id,
           (row_number() OVER (PARTITION BY product_id ORDER BY v.item_id) - 1)::INTEGER AS number
    FROM items v LEFT JOIN items p ON p.item_id = v.parent_id
    WHERE v.parent_id <> '' AND v.parent_id <> v.item_id
      AND coalesce(nullif(p.parent_id, ''), v.parent_id) <> v.item_id"""


def list_variants(con: duckdb.DuckDBPyConnection) -> None:
    """Make the table variants: item_id, the product_id it belongs to, and its number there, by id."""
    con.execute(_VARIANTS)


def has_variants(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether any item has a parent. After `code_items`."""
    return bool(con.execute("FROM variants LIMIT 1").fetchall())


def code_items(con: duckdb.DuckDBPyConnection, item_order: pa.Array | None) -> None:
    """Make the tables product_codes, a row for each code, and item_codes, the code of every id that events may have.

    Parameters
    ----------
    item_order
        Ids that keep the codes they have there; the others get the next ones, by id.
    """
    list_variants(con)
    given = pa.array([], pa.string()) if item_order is None else item_order
    con.register("given_order", pa.table({"item_id": given, "code": pa.array(np.arange(len(given), dtype=np.int32))}))
    try:
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE product_codes AS
                SELECT item_id, code FROM given_order UNION ALL
                SELECT item_id, ({len(given)} + row_number() OVER (ORDER BY item_id) - 1)::INTEGER AS code
                FROM (SELECT coalesce(product_id, item_id) AS item_id
                      FROM (SELECT item_id FROM items UNION SELECT item_id FROM events)
                      LEFT JOIN variants USING (item_id) GROUP BY 1)
                WHERE item_id NOT IN (SELECT item_id FROM given_order)"""
        )
    finally:
        con.unregister("given_order")
    con.execute(
        """CREATE OR REPLACE TEMP TABLE item_codes AS
           SELECT item_id, code FROM product_codes WHERE item_id NOT IN (SELECT item_id FROM variants) UNION ALL
           SELECT v.item_id, p.code FROM variants v JOIN product_codes p ON p.item_id = v.product_id"""
    )


def catalogue(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """One row for each code; see `schema.Dataset`. After `code_items`."""
    if has_variants(con):
        return _with_variants(con)
    columns = ", ".join(f"i.{name}" for name in ITEM_COLUMNS if name != "item_id")
    return con.sql(
        f"""SELECT c.item_id, {columns}, i.{ATTRIBUTES}, i.retired_at, s.first_seen, a.arrived,
                   h.item_id IS NOT NULL AS {ONLY_HEARD}
            FROM product_codes c LEFT JOIN items i USING (item_id)
            LEFT JOIN (SELECT item_id, min(ts) AS first_seen FROM events GROUP BY item_id) s USING (item_id)
            LEFT JOIN ({_ARRIVED}) a USING (item_id)
            LEFT JOIN ({ONLY_HEARD_ITEMS}) h USING (item_id)
            ORDER BY c.code"""
    ).to_arrow_table()


def _with_variants(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """As `catalogue`, each product put together from its own row, if it has one, and those of its variants."""
    told = ", ".join(
        f"first(m.{name} ORDER BY {'m.whole, m.place' if name in OF_A_VARIANT else 'm.whole DESC, m.place'}) "
        f"FILTER (m.{name} IS NOT NULL) AS {name}"
        for name in (*ITEM_COLUMNS, ATTRIBUTES)
        if name not in ("item_id", "availability", "parent_id")
    )
    columns = ", ".join(f"o.{name}" for name in ITEM_COLUMNS if name != "item_id")
    own = ", ".join(f"'{name}': m.{name}" for name in ("title", *OF_A_VARIANT))
    return con.sql(
        f"""WITH sold AS (SELECT item_id, count(*) AS n, min(ts) AS first_seen FROM events GROUP BY item_id),
            members AS (
              SELECT i.*, v.item_id IS NULL AS whole, coalesce(v.product_id, i.item_id) AS product_id, a.arrived,
                     i.retired_at IS NULL AND coalesce(i.availability, true) AS buyable,
                     row_number() OVER (ORDER BY buyable DESC, coalesce(s.n, 0) DESC, i.item_id) AS place
              FROM items i LEFT JOIN variants v USING (item_id) LEFT JOIN sold s USING (item_id)
              LEFT JOIN ({_ARRIVED}) a USING (item_id)),
            offers AS (
              SELECT m.product_id AS item_id, {told},
                     CASE WHEN bool_and(m.whole) THEN any_value(m.availability)
                          ELSE bool_or(m.buyable) FILTER (NOT m.whole) END AS availability,
                     CASE WHEN NOT bool_and(m.whole) THEN m.product_id END AS parent_id,
                     coalesce(any_value(m.retired_at) FILTER (m.whole),
                              CASE WHEN bool_and(m.retired_at IS NOT NULL) THEN max(m.retired_at) END) AS retired_at,
                     CASE WHEN count(*) = count(m.arrived) THEN min(m.arrived) END AS arrived,
                     list({{'item_id': m.item_id, 'buyable': m.buyable, {own}}} ORDER BY m.place) FILTER (NOT m.whole)
                       AS {VARIANTS}
              FROM members m GROUP BY m.product_id),
            seen AS (SELECT code, min(first_seen) AS first_seen FROM sold JOIN item_codes USING (item_id) GROUP BY code)
            SELECT c.item_id, {columns}, o.{ATTRIBUTES},
                   -- A code that was an item's own before it became a variant stays, and shows nothing.
                   CASE WHEN v.item_id IS NOT NULL THEN 0 ELSE o.retired_at END AS retired_at,
                   s.first_seen, o.arrived, h.item_id IS NOT NULL AND o.item_id IS NULL AS {ONLY_HEARD}, o.{VARIANTS}
            FROM product_codes c LEFT JOIN offers o USING (item_id) LEFT JOIN seen s USING (code)
            LEFT JOIN variants v ON v.item_id = c.item_id
            LEFT JOIN ({ONLY_HEARD_ITEMS}) h ON h.item_id = c.item_id
            ORDER BY c.code"""
    ).to_arrow_table()
