"""What was seen, and what it led to: impressions, clicks, carts, purchases and refunds joined in SQL.

A *touch* is one card that one visitor really saw (an impression), or their click on it. A cart or a purchase is
credited to one touch of the same product at most: the one whose answer it names (request id), else the latest of the
same customer or session within a window, clicks before looks of the same second. Sizes and colours are one product: who
saw one and bought another bought what they saw. What nobody saw is credited nothing. A refund takes back what its
purchase was credited.

Everything is left in temporary tables: `touch_seen`, `touch_clicks`, `touch_outcomes`; figures are read off them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from ..schema import DAY
from .products import list_variants

OWNER = "coalesce(user_id, chr(31) || session_id)"  # see `schema.guest_id`
UNKNOWN = "unknown"  # placement of what was seen without a request id, or of a list that was not logged
_SESSION_ONLY = "session"


@dataclass(frozen=True)
class Windows:
    """Days after which something bought is no longer owed to a card; 0 counts purchases that name the answer alone.

    Parameters
    ----------
    clicked, seen
        After a click; after a look without one.
    """

    clicked: float = 7.0
    seen: float = 1.0


def attribute(
    con: duckdb.DuckDBPyConnection,
    since: int,
    until: int,
    windows: Windows,
    *,
    barred: Mapping[str, str] | None = None,
    secret: str = "",
) -> None:
    """Make `touch_seen`, `touch_clicks` and `touch_outcomes` for what happened from `since` to before `until`.

    Parameters
    ----------
    since, until
        Epoch seconds.
    barred
        `artifacts.choices.hash_of` to mode of people who limit the use of their data: of those in mode `session` only
        the session is joined; what the others did is left out altogether.
    secret
        See `identity.load_secret`; needed with `barred`.

    Notes
    -----
    `touch_seen`: seen_id, owner, user_id, session_id, item_id, product_id, ts, request_id, route, placement, version,
    experiment, arm, position (from 1: the place in the answer, or further down where the page says so), source, team,
    swap.
    `touch_clicks`: seen_id, ts. `touch_outcomes`: one row for every cart and
    purchase and every refund of a purchase: outcome_id, kind, owner, order_id, item_id, ts, qty, amount (DECIMAL, in
    the shop's currency; refunds negative), priced (whether the event named a price), foreign_money, seen_id (null: not
    credited), how ('request', 'clicked', 'seen').
    """
    reach = int(max(windows.clicked, windows.seen) * DAY)
    _events(con, since - reach, until, barred or {}, secret)
    _seen(con)
    _clicks(con, windows)
    _outcomes(con, since, windows)
    _refunds(con)
    con.execute(f"DELETE FROM touch_seen WHERE ts < {int(since)} AND seen_id NOT IN "
                "(SELECT seen_id FROM touch_outcomes WHERE seen_id IS NOT NULL)")  # fmt: skip
    con.execute(f"UPDATE touch_seen SET earlier = ts < {int(since)}")
    con.execute("DELETE FROM touch_clicks WHERE seen_id NOT IN (SELECT seen_id FROM touch_seen WHERE NOT earlier)")
    con.execute("DROP TABLE touch_events")


def _events(con: duckdb.DuckDBPyConnection, since: int, until: int, barred: Mapping[str, str], secret: str) -> None:
    """The events that matter, without what may not be used."""
    table = pa.table(
        {"hash": pa.array(list(barred), pa.string()), "mode": pa.array(list(barred.values()), pa.string())}
    )
    list_variants(con)
    con.register("barred_people", table)
    try:
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE touch_events AS
                WITH chosen AS (
                  SELECT event_type, item_id, coalesce(product_id, item_id) AS product_id, ts, qty, order_id,
                         session_id, price, currency, request_id, user_id, position, e.rowid AS written
                  FROM events e LEFT JOIN variants USING (item_id)
                  WHERE ts >= {int(since)} AND ts < {int(until)}
                    AND event_type IN ('impression', 'click', 'cart', 'purchase', 'refund')),
                modes AS (
                  SELECT owner, mode FROM (SELECT DISTINCT {OWNER} AS owner FROM chosen WHERE $1 <> '')
                  JOIN barred_people ON hash = sha256($1 || 'choice' || left(sha256($1 || owner), 32)))
                SELECT event_type, item_id, product_id, ts, coalesce(qty, 1) AS qty, order_id, session_id, price,
                       currency, request_id, position, written,
                       CASE WHEN mine.mode IS NULL THEN user_id END AS user_id
                FROM chosen LEFT JOIN modes mine ON user_id IS NOT NULL AND mine.owner = user_id
                LEFT JOIN modes guest ON guest.owner = chr(31) || session_id
                WHERE (mine.mode IS NULL OR (mine.mode = '{_SESSION_ONLY}' AND session_id IS NOT NULL))
                  AND (guest.mode IS NULL OR guest.mode = '{_SESSION_ONLY}')""",
            [secret if barred else ""],
        )
    finally:
        con.unregister("barred_people")


def _seen(con: duckdb.DuckDBPyConnection) -> None:
    """One row for each card of each answer and visitor: answers that may be cached are seen by many."""
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE touch_seen AS
            WITH looks AS (
              SELECT {OWNER} AS owner, any_value(user_id) AS user_id, any_value(session_id) AS session_id, item_id,
                     product_id, min(ts) AS ts, request_id, max(position) AS position
              FROM touch_events WHERE event_type = 'impression' AND request_id IS NOT NULL
              GROUP BY {OWNER}, request_id, item_id, product_id
              UNION ALL
              SELECT {OWNER}, user_id, session_id, item_id, product_id, ts, NULL, position
              FROM touch_events WHERE event_type = 'impression' AND request_id IS NULL),
            -- A page may name the product, or the size that was chosen, where the answer named another.
            families AS (
              SELECT product_id, list_append(list(item_id), product_id) AS family FROM variants GROUP BY product_id),
            placed AS (
              SELECT l.*, s.route, s.placement, s.version, s.experiment, s.arm, s.sources, s.teams, s.swap,
                     coalesce(list_position(s.items, l.item_id),
                              list_position(s.items, list_intersect(s.items, family)[1])) AS place
              FROM looks l LEFT JOIN families f USING (product_id) LEFT JOIN served s
                ON s.request_id = l.request_id AND (list_contains(s.items, l.item_id) OR list_has_any(s.items, family)))
            SELECT row_number() OVER (ORDER BY ts, owner, item_id, request_id) AS seen_id, owner, user_id, session_id,
                   item_id, product_id, ts, request_id, coalesce(route, '{UNKNOWN}') AS route,
                   coalesce(placement, '{UNKNOWN}') AS placement, coalesce(version, '') AS version,
                   coalesce(experiment, '') AS experiment, coalesce(arm, '') AS arm,
                   greatest(place, position) AS position, sources[place] AS source,
                   nullif(substr(teams, place::INTEGER, 1), '') AS team, swap, false AS earlier
            FROM placed"""
    )


# How two events are the same person's: the customer's id, or the session's number. As two joins, because DuckDB hashes
# equal columns and would compare everybody with everybody for an OR.
_SAME = ("e.user_id = s.user_id", "e.session_id = s.session_id")


def _clicks(con: duckdb.DuckDBPyConnection, windows: Windows) -> None:
    """Each click belongs to the card it names, else to the latest one of the same item that this visitor saw."""
    reach = int(windows.seen * DAY)
    parts = [
        f"""SELECT e.written, s.seen_id, s.ts, e.ts AS clicked, e.request_id IS NOT NULL AS named FROM touch_events e
            JOIN touch_seen s ON {same} AND e.product_id = s.product_id
            WHERE e.event_type = 'click' AND CASE WHEN e.request_id IS NOT NULL THEN e.request_id = s.request_id
                  ELSE s.ts <= e.ts AND s.ts > e.ts - {reach} - 1 END"""
        for same in _SAME
    ]
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE touch_clicks AS
            SELECT seen_id, min(clicked) AS ts FROM (
              SELECT *, row_number() OVER (PARTITION BY written ORDER BY ts DESC, seen_id DESC) AS n
              FROM ({" UNION ".join(parts)}))
            WHERE n = 1 GROUP BY seen_id"""
    )


def _outcomes(con: duckdb.DuckDBPyConnection, since: int, windows: Windows) -> None:
    """Carts and purchases, each with the one touch it is credited to."""
    clicked, seen = int(windows.clicked * DAY), int(windows.seen * DAY)
    con.execute(
        """CREATE OR REPLACE TEMP TABLE touch_all AS
           SELECT seen_id, user_id, session_id, product_id, request_id, ts, 0 AS clicked FROM touch_seen
           UNION ALL
           SELECT seen_id, s.user_id, s.session_id, s.product_id, s.request_id, greatest(c.ts, s.ts), 1
           FROM touch_clicks c JOIN touch_seen s USING (seen_id)"""
    )
    wanted = f"e.event_type IN ('cart', 'purchase') AND e.ts >= {int(since)} AND s.ts <= e.ts"
    window = f"e.ts - s.ts <= CASE WHEN s.clicked = 1 THEN {clicked} ELSE {seen} END"
    lone = "SELECT request_id, product_id FROM touch_seen GROUP BY ALL HAVING count(*) = 1"
    parts = [
        f"""SELECT e.written, s.seen_id, s.ts, s.clicked, coalesce(e.request_id = s.request_id, false) AS named
            FROM touch_events e JOIN touch_all s ON {same} AND e.product_id = s.product_id
            WHERE {wanted} AND (e.request_id = s.request_id OR ({window} AND {clicked if clicked else seen} > 0))"""
        for same in _SAME
    ]
    # A till that knows the answer but not the visitor, where only one visitor can be meant.
    parts.append(
        f"""SELECT e.written, s.seen_id, s.ts, s.clicked, true FROM touch_events e
            JOIN touch_all s ON e.request_id = s.request_id AND e.product_id = s.product_id
            JOIN ({lone}) l ON l.request_id = s.request_id AND l.product_id = s.product_id WHERE {wanted}"""
    )
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE touch_outcomes AS
            WITH best AS (
              SELECT *, row_number() OVER (PARTITION BY written
                ORDER BY named DESC, ts DESC, clicked DESC, seen_id DESC) AS n FROM ({" UNION ".join(parts)})),
            money AS (SELECT currency FROM touch_events WHERE event_type = 'purchase' AND currency IS NOT NULL
                      GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1)
            SELECT e.written AS outcome_id, e.event_type AS kind, {OWNER} AS owner, e.user_id, e.session_id, e.order_id,
                   e.item_id, e.ts, e.qty,
                   CASE WHEN e.currency IS NULL OR NOT EXISTS (FROM money) OR e.currency = (FROM money)
                        THEN (coalesce(e.price, i.price, 0)::DECIMAL(18, 4) * e.qty)::DECIMAL(24, 4)
                        ELSE 0 END AS amount,
                   e.price IS NOT NULL AS priced,
                   coalesce(e.currency <> (FROM money), false) AS foreign_money,
                   b.seen_id, CASE WHEN b.named THEN 'request' WHEN b.clicked = 1 THEN 'clicked'
                                   WHEN b.seen_id IS NOT NULL THEN 'seen' END AS how
            FROM touch_events e LEFT JOIN best b ON b.written = e.written AND b.n = 1 LEFT JOIN items i USING (item_id)
            WHERE e.event_type IN ('cart', 'purchase') AND e.ts >= {int(since)}"""
    )
    con.execute("DROP TABLE touch_all")


_MOST_UNITS = 10_000  # of one line that are told apart when goods come back


def _refunds(con: duckdb.DuckDBPyConnection) -> None:
    """What came back: from the order it names, else from what the same customer or guest bought last of the item.

    Units are matched one by one, last in, first out, so that a refund may span several purchases and no unit comes
    back twice. Each is worth what was paid for it, or less when the refund says so.
    """
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE touch_returns AS
            SELECT written, {OWNER} AS owner, order_id, item_id, ts, qty, price,
                   order_id IS NOT NULL AND (order_id, item_id) IN (
                     SELECT (order_id, item_id) FROM touch_outcomes WHERE kind = 'purchase') AS named
            FROM touch_events WHERE event_type = 'refund'"""
    )
    con.execute(
        "CREATE OR REPLACE TEMP TABLE touch_back (written BIGINT, price DOUBLE, outcome_id BIGINT, unit BIGINT)"
    )
    _match(con, "order_id", "named")
    _match(con, "owner", "NOT named")
    con.execute(
        """INSERT INTO touch_outcomes
           SELECT b.written, 'refund', s.owner, s.user_id, s.session_id, s.order_id, s.item_id, s.ts, count(*),
                  -sum(least(coalesce(b.price::DECIMAL(18, 4), u.each), u.each))::DECIMAL(24, 4),
                  b.price IS NOT NULL, s.foreign_money, s.seen_id, s.how
           FROM touch_back b JOIN touch_outcomes s USING (outcome_id)
           JOIN (SELECT outcome_id, (amount / qty)::DECIMAL(18, 4) AS each FROM touch_outcomes) u USING (outcome_id)
           GROUP BY ALL"""
    )
    con.execute("DROP TABLE touch_returns")
    con.execute("DROP TABLE touch_back")


def _match(con: duckdb.DuckDBPyConnection, group: str, which: str) -> None:
    """Match returned units with sold ones of the same `group` and item.

    Each sold unit raises the balance to a level, each returned one takes it down from that level: the last sold at the
    same level is the one that comes back.
    """
    con.execute(
        f"""INSERT INTO touch_back
            WITH back AS (FROM touch_returns WHERE {which}),
            units AS (
              SELECT {group} AS g, item_id, ts, outcome_id AS id, 1 AS step, NULL AS price,
                     unnest(range(least(qty, {_MOST_UNITS}))) AS unit
              FROM touch_outcomes
              WHERE kind = 'purchase' AND ({group}, item_id) IN (SELECT ({group}, item_id) FROM back)
              UNION ALL
              SELECT {group}, item_id, ts, written, -1, price, unnest(range(least(qty, {_MOST_UNITS}))) FROM back),
            levels AS (
              SELECT *, sum(step) OVER (PARTITION BY g, item_id ORDER BY ts, step DESC, id, unit) - least(step, 0)
                        AS level
              FROM units WHERE step < 0 OR (id, unit) NOT IN (SELECT (outcome_id, unit) FROM touch_back)),
            matched AS (
              SELECT *, last_value(CASE WHEN step > 0 THEN {{'id': id, 'unit': unit}} END IGNORE NULLS) OVER (
                PARTITION BY g, item_id, level ORDER BY ts, step DESC, id, unit
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS sold FROM levels)
            SELECT id, price, sold.id, sold.unit FROM matched WHERE step < 0 AND sold IS NOT NULL"""
    )
