"""Figures of what was shown and sold, read off the tables that `attribution.attribute` leaves."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from .attribution import OWNER
from .products import code_items

# One row for each thing counted, all with the same labels; groups are sums over it.
_FACTS = """
CREATE OR REPLACE TEMP TABLE touch_facts AS
WITH s AS (FROM touch_seen)
SELECT ts, coalesce(nullif(placement, ''), route) AS placement, coalesce(version, '') AS version,
       coalesce(experiment, '') AS experiment, coalesce(arm, '') AS arm, NULL AS source,
       1 / greatest(share, 1e-9) AS lists,
       len(items) / greatest(share, 1e-9) AS items, fallbacks / greatest(share, 1e-9) AS fallbacks, seconds,
       NULL::VARCHAR AS looked, 0 AS seen, 0 AS clicks, 0 AS carts, NULL::VARCHAR AS order_key,
       NULL::VARCHAR AS buyer, 0::DECIMAL(24, 4) AS revenue, 0::DECIMAL(24, 4) AS refunds
FROM served WHERE ts >= {since} AND ts < {until}
UNION ALL BY NAME
SELECT s.ts, {label} AS placement, s.version, s.experiment, s.arm, s.source,
       concat_ws(chr(31), s.request_id, s.owner) AS looked, 1 AS seen, (c.seen_id IS NOT NULL)::INTEGER AS clicks
FROM s LEFT JOIN touch_clicks c USING (seen_id) WHERE NOT s.earlier
UNION ALL BY NAME
SELECT o.ts, {label} AS placement, s.version, s.experiment, s.arm, s.source, (o.kind = 'cart')::INTEGER AS carts,
       CASE WHEN o.kind = 'purchase' THEN {order} END AS order_key,
       CASE WHEN o.kind = 'purchase' THEN o.owner END AS buyer,
       CASE WHEN o.kind <> 'cart' THEN o.amount ELSE 0 END AS revenue,
       CASE WHEN o.kind = 'refund' THEN o.amount ELSE 0 END AS refunds
FROM touch_outcomes o JOIN s USING (seen_id)
"""
_LABEL = "coalesce(nullif(s.placement, ''), s.route)"
_ORDER = "coalesce(o.order_id, concat_ws(chr(31), o.owner, o.ts))"

GROUPS = ("day", "placement", "version", "experiment", "arm", "source")


def prepare(con: duckdb.DuckDBPyConnection, since: int, until: int, zone: str) -> None:
    """Make the facts that `figures` sums; days begin at midnight in `zone`."""
    con.execute(_FACTS.format(since=int(since), until=int(until), label=_LABEL, order=_ORDER))
    con.execute("ALTER TABLE touch_facts ADD COLUMN day VARCHAR")
    con.execute(f"UPDATE touch_facts SET day = {_day('$1')}", [zone])


def _day(zone: str, ts: str = "ts") -> str:
    return f"strftime(timezone({zone}, to_timestamp({ts})), '%Y-%m-%d')"


def figures(con: duckdb.DuckDBPyConnection, by: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Sums by some of GROUPS, one row a group; money in the shop's currency, rounded to cents.

    `lists` were answered, `looked` seen, `seen` are cards; `revenue` is what was credited less what came back.
    """
    assert set(by) <= set(GROUPS)
    names = ", ".join(by)
    rows = con.execute(
        f"""SELECT {names + "," if by else ""} round(coalesce(sum(lists), 0))::BIGINT AS lists,
                   round(coalesce(sum(items), 0))::BIGINT AS items,
                   round(coalesce(sum(fallbacks), 0))::BIGINT AS fallbacks,
                   count(DISTINCT looked) AS looked, coalesce(sum(seen), 0)::BIGINT AS seen,
                   coalesce(sum(clicks), 0)::BIGINT AS clicks, coalesce(sum(carts), 0)::BIGINT AS carts,
                   count(DISTINCT order_key) AS orders, count(DISTINCT buyer) AS buyers,
                   coalesce(sum(revenue), 0)::DOUBLE AS revenue, coalesce(sum(refunds), 0)::DOUBLE AS refunds,
                   quantile_cont(seconds, 0.95) AS slow
            FROM touch_facts {"GROUP BY " + names + " ORDER BY " + names if by else ""}"""
    )
    found = [dict(zip((d[0] for d in rows.description), row, strict=True)) for row in rows.fetchall()]
    for row in found:
        row["revenue"], row["refunds"] = round(row["revenue"], 2), round(row["refunds"], 2)
        row["ctr"] = row["clicks"] / row["seen"] if row["seen"] else None
        row["per_thousand_seen"] = round(1000 * row["revenue"] / row["seen"], 2) if row["seen"] else None
        row["fallback_share"] = row["fallbacks"] / row["items"] if row["items"] else None
    return found


def shop_totals(con: duckdb.DuckDBPyConnection, zone: str) -> list[dict[str, Any]]:
    """All sales by day, whatever they are credited to."""
    rows = con.execute(
        f"""SELECT {_day("$1", "o.ts")} AS day, count(DISTINCT CASE WHEN kind = 'purchase' THEN {_ORDER} END) AS orders,
                   coalesce(sum(amount) FILTER (kind <> 'cart'), 0)::DOUBLE AS revenue
            FROM touch_outcomes o GROUP BY 1 ORDER BY 1""",
        [zone],
    ).fetchall()
    return [{"day": day, "orders": orders, "revenue": round(revenue, 2)} for day, orders, revenue in rows]


def buyers(con: duckdb.DuckDBPyConnection, since: int = 0) -> dict[str, int]:
    """Customers and guests who bought something from `since` (epoch seconds) on, those who found it in a list, and what
    could not be valued."""
    row = con.execute(
        """SELECT count(DISTINCT owner) FILTER (kind = 'purchase'),
                  count(DISTINCT owner) FILTER (kind = 'purchase' AND seen_id IS NOT NULL),
                  count(*) FILTER (kind = 'purchase' AND foreign_money),
                  count(*) FILTER (kind = 'purchase' AND NOT priced) FROM touch_outcomes WHERE ts >= $1""",
        [since],
    ).fetchall()[0]
    return dict(zip(("buyers", "buyers_touched", "foreign_money", "unpriced"), map(int, row), strict=True))


def exposure(con: duckdb.DuckDBPyConnection, since: int, until: int, most: int = 10) -> dict[str, Any]:
    """How much of the catalogue is shown, how evenly, what of it earns, and what is never shown."""
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE touch_items AS
            WITH shown AS (SELECT unnest(items) AS item_id, 1 / greatest(share, 1e-9) AS n FROM served
                           WHERE ts >= {int(since)} AND ts < {int(until)}),
            counted AS (SELECT item_id, sum(n) AS shown FROM shown GROUP BY 1),
            looked AS (SELECT item_id, count(*) AS seen, count(c.seen_id) AS clicks FROM touch_seen
                       LEFT JOIN touch_clicks c USING (seen_id) WHERE NOT earlier GROUP BY 1),
            sold AS (SELECT item_id, sum(amount) FILTER (kind <> 'cart')::DOUBLE AS revenue,
                            coalesce(sum(qty) FILTER (kind = 'purchase'), 0) AS units
                     FROM touch_outcomes WHERE seen_id IS NOT NULL GROUP BY 1)
            SELECT item_id, i.title, i.item_id IS NOT NULL AND i.retired_at IS NULL AND coalesce(i.availability, true)
                   AS for_sale, coalesce(shown, 0) AS shown, coalesce(seen, 0) AS seen, coalesce(clicks, 0) AS clicks,
                   coalesce(revenue, 0) AS revenue, coalesce(units, 0) AS units
            FROM (SELECT item_id, title, retired_at, availability FROM items) i
            FULL JOIN counted USING (item_id) FULL JOIN looked USING (item_id) FULL JOIN sold USING (item_id)"""
    )
    shown, for_sale, top, everything = con.execute(
        """SELECT count(*) FILTER (shown > 0 AND for_sale), count(*) FILTER (for_sale),
                  coalesce(sum(shown) FILTER (place <= greatest(sellable * 0.1, 1)), 0), coalesce(sum(shown), 0)
           FROM (SELECT *, row_number() OVER (ORDER BY shown DESC) AS place,
                        count(*) FILTER (for_sale) OVER () AS sellable FROM touch_items)"""
    ).fetchall()[0]

    def listed(where: str, order: str) -> list[dict[str, Any]]:
        names = ("item_id", "title", "seen", "clicks", "units", "revenue")
        query = f"SELECT {', '.join(names)} FROM touch_items WHERE {where} ORDER BY {order}, item_id LIMIT {most}"
        return [dict(zip(names, row, strict=True)) for row in con.execute(query).fetchall()]

    return {
        "shown": shown,
        "for_sale": for_sale,
        "coverage": shown / for_sale if for_sale else None,
        "top_tenth_share": top / everything if everything else None,
        "top": listed("revenue > 0", "revenue DESC"),
        "ignored": listed("seen >= 20 AND clicks = 0", "seen DESC"),
        "never_shown": listed("for_sale AND shown = 0 AND seen = 0", "item_id"),
        "never_shown_count": for_sale - shown,
    }


def of_items(con: duckdb.DuckDBPyConnection, ids: pa.Array, since: float, until: float) -> dict[str, Any]:
    """Seen, clicks, units and revenue in lists, of these items, from `since` to before `until` (epoch seconds)."""
    con.register("asked_items", pa.table({"item_id": ids}))
    try:
        row = con.execute(
            """WITH seen AS (SELECT count(*) AS seen, count(c.seen_id) AS clicks FROM touch_seen s
                             LEFT JOIN touch_clicks c USING (seen_id)
                             WHERE NOT earlier AND s.ts >= $1 AND s.ts < $2
                               AND item_id IN (SELECT item_id FROM asked_items)),
               sold AS (SELECT coalesce(sum(qty) FILTER (kind = 'purchase'), 0)::BIGINT AS units,
                               coalesce(sum(amount) FILTER (kind <> 'cart'), 0)::DOUBLE AS revenue
                        FROM touch_outcomes WHERE seen_id IS NOT NULL AND ts >= $1 AND ts < $2
                          AND item_id IN (SELECT item_id FROM asked_items))
               SELECT seen, clicks, units, round(revenue, 2) FROM seen, sold""",
            [since, until],
        ).fetchall()[0]
    finally:
        con.unregister("asked_items")
    return dict(zip(("seen", "clicks", "units", "revenue"), row, strict=True))


def bought_between(con: duckdb.DuckDBPyConnection, since: int, item_order: pa.Array) -> pa.Table:
    """What each customer or guest bought from `since` (epoch seconds) on, less what they sent back.

    Parameters
    ----------
    item_order
        Item ids by code; variants count as their product.

    Returns
    -------
    pa.Table
        owner, code (int32), units (double, above 0), amount (double, in the currency most was sold in; what was sold in
        another has 0). An event without a price counts with the item's.
    """
    code_items(con, item_order)
    return con.sql(
        f"""WITH sold AS (
              SELECT {OWNER} AS owner, code, CASE WHEN event_type = 'refund' THEN -1 ELSE 1 END * coalesce(qty, 1) AS n,
                     coalesce(e.price, i.price, 0) AS price, currency
              FROM events e JOIN item_codes c USING (item_id) LEFT JOIN items i USING (item_id)
              WHERE ts >= $1 AND event_type IN ('purchase', 'refund')),
            money AS (SELECT currency FROM sold WHERE currency IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1)
            SELECT owner, code, sum(n)::DOUBLE AS units,
                   greatest(sum(CASE WHEN currency IS NULL OR currency = (FROM money) THEN n * price ELSE 0 END),
                            0)::DOUBLE AS amount
            FROM sold WHERE owner IS NOT NULL GROUP BY owner, code HAVING sum(n) > 0 ORDER BY owner, code""",
        params=[since],
    ).to_arrow_table()


def imports(con: duckdb.DuckDBPyConnection, since: int) -> dict[str, Any]:
    """What came in: files with their counts, what the server received, and rejected rows by reason."""
    names = ("at", "source", "kind", "read", "new", "known", "rejected")
    files = con.execute(
        """SELECT started_at, source, kind, read, new, known, rejected FROM batches
           WHERE source NOT IN ('spool', 'gdpr') AND started_at >= ? ORDER BY started_at DESC LIMIT 20""",
        [since],
    ).fetchall()
    received = con.execute(
        "SELECT coalesce(sum(new), 0)::BIGINT FROM batches WHERE source = 'spool' AND started_at >= ?", [since]
    ).fetchall()[0][0]
    reasons = con.execute(
        """SELECT reason, count(*) FROM rejected JOIN batches USING (batch_id) WHERE started_at >= ?
           GROUP BY 1 ORDER BY 2 DESC, 1""",
        [since],
    ).fetchall()
    return {
        "files": [dict(zip(names, row, strict=True)) for row in files],
        "received": int(received),
        "rejected": dict(reasons),
    }
