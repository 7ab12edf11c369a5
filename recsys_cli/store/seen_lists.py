"""What was really seen of answered lists, and what each card led to: what an order can be learned from."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from ..schema import CLICK, DAY, IMPRESSION
from .sql import first_row


def any_seen(con: duckdb.DuckDBPyConnection, since: int) -> bool:
    """Whether any card of an answer was seen from `since` (epoch seconds) on."""
    look = "SELECT 1 FROM events WHERE event_type = ? AND request_id IS NOT NULL AND ts >= ? LIMIT 1"
    return first_row(con.execute(look, [IMPRESSION, since])) is not None


def clicked_lists(con: duckdb.DuckDBPyConnection) -> int:
    """How many answers had something clicked."""
    look = "SELECT count(DISTINCT request_id) FROM events WHERE event_type = ? AND request_id IS NOT NULL"
    found = first_row(con.execute(look, [CLICK]))
    return int(found[0]) if found else 0


def seen_lists(con: duckdb.DuckDBPyConnection, route: str | None = None) -> pa.Table:
    """Every card seen, list by list and from the top, off the tables that `attribution.attribute` leaves.

    Parameters
    ----------
    route
        Only lists that were answered there.

    Returns
    -------
    pa.Table
        owner, visitor (number of the owner), listed (number of the list and visitor), item_id, ts, placement, place
        (from 1, null where nobody said), swap (see SERVED_COLUMNS), clicked (bool), outcome: -1 bought and all sent
        back, 0 seen, 1 clicked, 2 put into the cart, 3 bought.
    """
    return con.sql(
        f"""WITH led AS (
              SELECT seen_id, bool_or(kind = 'cart') AS cart, bool_or(kind = 'purchase') AS bought,
                     coalesce(sum(qty) FILTER (kind = 'purchase'), 0)
                       - coalesce(sum(qty) FILTER (kind = 'refund'), 0) AS kept
              FROM touch_outcomes WHERE seen_id IS NOT NULL GROUP BY seen_id)
            SELECT owner, (dense_rank() OVER (ORDER BY owner) - 1)::BIGINT AS visitor,
                   (dense_rank() OVER (ORDER BY min_ts, request_id, owner) - 1)::BIGINT AS listed, item_id, s.ts,
                   CASE WHEN placement IN ('', 'unknown') THEN route ELSE placement END AS placement,
                   position::INTEGER AS place, coalesce(swap, 0)::INTEGER AS swap,
                   (c.seen_id IS NOT NULL OR coalesce(cart OR bought, false)) AS clicked,
                   CASE WHEN bought AND kept <= 0 THEN -1 WHEN bought THEN 3 WHEN cart THEN 2
                        WHEN c.seen_id IS NOT NULL THEN 1 ELSE 0 END::TINYINT AS outcome
            FROM (SELECT *, min(ts) OVER (PARTITION BY request_id, owner) // {DAY} AS min_ts
                  FROM touch_seen WHERE NOT earlier AND request_id IS NOT NULL AND route = coalesce($1, route)) s
            LEFT JOIN touch_clicks c USING (seen_id) LEFT JOIN led USING (seen_id)
            ORDER BY listed, place, item_id""",
        params=[route],
    ).to_arrow_table()
