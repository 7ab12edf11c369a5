"""What the doctor looks at in the database: counts that tell how good the shop's data is, and where it is not."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from ..schema import ATTRIBUTES, PURCHASE
from .products import ONLY_HEARD_ITEMS
from .sql import identifier, literal

ROBOT_A_DAY = 500  # events of one customer in one day; people do not click that much
TESTERS = "lower({0}) GLOB 'test*' OR lower({0}) GLOB '*@test*' OR lower({0}) IN ('admin', 'demo')"


@dataclass(frozen=True)
class EventFigures:
    """The table of events.

    Parameters
    ----------
    events, customers, guests, items
        Rows, distinct customers, distinct sessions without a customer, distinct items.
    types
        Events by type.
    first, last, clock
        Epoch seconds of the first, the last, and the newest event but one in two hundred.
    returning
        Customers who bought something (in a shop without purchases: did something) after an earlier visit.
    purchases_of_learners
        Purchases of customers and guests who bought or looked at two items at least.
    biggest
        Id and events of the busiest customer.
    robots
        Customers with more events in a day than people make, and their events.
    testers
        Events of customers or items called test.
    repeated
        Events that equal another one in customer, item, time, quantity and order, beyond the first.
    twofold
        Purchases that are there once with their order's number and once without.
    refunds_alone
        Refunds of what the customer never bought here.
    midnight
        Events at 00:00:00 UTC.
    hours
        Events by hour of the day, UTC; those at exactly midnight left out.
    longest_gap
        Days, and when it began, of the longest time without an event.
    usual_gap
        Days without an event that nine in ten pauses do not exceed.
    future
        Events later than now.
    """

    events: int
    customers: int
    guests: int
    items: int
    types: dict[str, int]
    first: int
    last: int
    clock: int
    returning: int
    purchases_of_learners: int
    biggest: tuple[str, int]
    robots: tuple[int, int]
    testers: int
    repeated: int
    twofold: int
    refunds_alone: int
    midnight: int
    hours: tuple[int, ...]
    longest_gap: tuple[float, int]
    usual_gap: float
    future: int


@dataclass(frozen=True)
class CatalogueFigures:
    """The table of items, and how it fits the events.

    Parameters
    ----------
    items, retired, available
        Rows; no longer in the catalogue; for sale as far as is said.
    without
        Items for sale without a value, by column.
    unknown
        Items of events that the catalogue does not have, and the events of those.
    only_heard
        How many of these only events sent to the server name.
    never_seen
        Items for sale that no event names.
    same_title
        Items that share their title with another.
    """

    items: int
    retired: int
    available: int
    without: dict[str, int]
    unknown: tuple[int, int]
    only_heard: int
    never_seen: int
    same_title: int


@dataclass(frozen=True)
class Figures:
    """Everything; `events` and `catalogue` are None where there is none.

    Parameters
    ----------
    rejected
        Rejected rows by reason.
    batches
        Files and drains taken; the newest's time.
    """

    events: EventFigures | None
    catalogue: CatalogueFigures | None
    rejected: dict[str, int]
    batches: tuple[int, int | None]


def figures(con: duckdb.DuckDBPyConnection, now: int) -> Figures:
    """Look at everything.

    Parameters
    ----------
    now
        Epoch seconds.
    """
    rejected = dict(con.execute("SELECT reason, count(*) FROM rejected GROUP BY 1 ORDER BY 2 DESC, 1").fetchall())
    batches = con.execute("SELECT count(*), max(started_at) FROM batches").fetchall()[0]
    has_events, has_items = (_one(con, f"SELECT count(*) FROM {table}") for table in ("events", "items"))
    return Figures(
        _events(con, has_events, now) if has_events else None,
        _catalogue(con, has_items) if has_items else None,
        rejected,
        batches,
    )


def _events(con: duckdb.DuckDBPyConnection, events: int, now: int) -> EventFigures:
    row = con.execute(
        f"""SELECT count(DISTINCT user_id), count(DISTINCT session_id) FILTER (user_id IS NULL),
                   count(DISTINCT item_id), min(ts), max(ts), quantile_disc(ts, 0.995),
                   count(*) FILTER (ts % 86400 = 0), count(*) FILTER (ts > {now}),
                   count(*) FILTER (({TESTERS.format("user_id")}) OR ({TESTERS.format("item_id")}))
            FROM events"""
    ).fetchall()[0]
    customers, guests, items, first, last, clock, midnight, future, testers = row
    types = dict(con.execute("SELECT event_type, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC").fetchall())
    asked = "event_type = 'purchase'" if types.get(PURCHASE) else "true"  # as training judges; see `Split.wanted`
    returning, learners = con.execute(
        f"""SELECT count(*) FILTER (customer AND latest > first), coalesce(sum(bought) FILTER (items > 1), 0)::BIGINT
            FROM (SELECT bool_and(user_id IS NOT NULL) AS customer, count(*) FILTER (event_type = 'purchase') AS bought,
                         count(DISTINCT item_id) AS items, min(ts // 3600) AS first,
                         max(ts // 3600) FILTER ({asked}) AS latest
                  FROM events WHERE event_type NOT IN ('impression', 'refund', 'dislike')
                  GROUP BY coalesce(user_id, chr(31) || session_id))"""
    ).fetchall()[0]
    biggest = con.execute(
        "SELECT user_id, count(*) AS n FROM events WHERE user_id IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1"
    ).fetchall()
    robots = con.execute(
        f"""SELECT count(DISTINCT user_id), coalesce(sum(n), 0)::BIGINT FROM (
              SELECT user_id, count(*) AS n FROM events WHERE user_id IS NOT NULL AND event_type <> 'purchase'
              GROUP BY user_id, ts // 86400 HAVING count(*) > {ROBOT_A_DAY})"""
    ).fetchall()[0]
    hours = dict(
        con.execute("SELECT (ts // 3600) % 24, count(*) FROM events WHERE ts % 86400 <> 0 GROUP BY 1").fetchall()
    )
    return EventFigures(
        events, customers, guests, items, types, first, last, clock, returning, learners,
        biggest[0] if biggest else ("", 0), robots, testers, *_doubles(con), _refunds_alone(con), midnight,
        tuple(hours.get(h, 0) for h in range(24)), *_gaps(con), future,
    )  # fmt: skip


def _doubles(con: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    repeated, twofold = con.execute(
        """SELECT coalesce(sum(n - kinds), 0)::BIGINT, coalesce(sum(least(bare, full_)), 0)::BIGINT FROM (
             SELECT count(*) AS n, count(DISTINCT coalesce(order_id, '')) AS kinds,
                    count(*) FILTER (order_id IS NULL) AS bare, count(*) FILTER (order_id IS NOT NULL) AS full_
             FROM events WHERE event_type = 'purchase' GROUP BY user_id, item_id, ts, qty HAVING count(*) > 1)"""
    ).fetchall()[0]
    return repeated, twofold


def _refunds_alone(con: duckdb.DuckDBPyConnection) -> int:
    return _one(
        con,
        """SELECT count(*) FROM events r WHERE event_type = 'refund' AND NOT EXISTS (
             FROM events p WHERE p.user_id = r.user_id AND p.item_id = r.item_id AND p.event_type = 'purchase')""",
    )


def _gaps(con: duckdb.DuckDBPyConnection) -> tuple[tuple[float, int], float]:
    """The longest time without an event (days, since when), and what is usual, over days that have one."""
    rows = con.execute(
        """WITH days AS (SELECT DISTINCT ts // 86400 AS day FROM events),
                gaps AS (SELECT day, lead(day) OVER (ORDER BY day) - day - 1 AS gap FROM days)
           SELECT coalesce(max(gap), 0), coalesce(arg_max(day, gap), 0), coalesce(quantile_cont(gap, 0.9), 0)
           FROM gaps WHERE gap IS NOT NULL"""
    ).fetchall()
    longest, day, usual = rows[0]
    return (float(longest), int(day) * 86_400), float(usual)


def _catalogue(con: duckdb.DuckDBPyConnection, items: int) -> CatalogueFigures:
    asked = ("title", "category", "brand", "price", "img_url", "description", "url")
    missing = ", ".join(f"count(*) FILTER (coalesce({c}::VARCHAR, '') = '')" for c in asked)
    sale = "retired_at IS NULL AND coalesce(availability, true)"
    retired = _one(con, "SELECT count(*) FROM items WHERE retired_at IS NOT NULL")
    row = con.execute(f"SELECT count(*), {missing} FROM items WHERE {sale}").fetchall()[0]
    unknown = con.execute(
        "SELECT count(DISTINCT item_id), count(*) FROM events WHERE item_id NOT IN (SELECT item_id FROM items)"
    ).fetchall()[0]
    never = f"SELECT count(*) FROM items WHERE {sale} AND item_id NOT IN (SELECT item_id FROM events)"
    same = (
        f"SELECT count(*) FROM items WHERE {sale} AND title IS NOT NULL GROUP BY lower(trim(title)) HAVING count(*) > 1"
    )
    shared = _one(
        con, f"SELECT coalesce(sum(n), 0)::BIGINT FROM ({same.replace('count(*) FROM', 'count(*) AS n FROM', 1)})"
    )
    without = dict(zip(asked, row[1:], strict=True))
    heard = _one(con, f"SELECT count(*) FROM ({ONLY_HEARD_ITEMS})")
    return CatalogueFigures(items, retired, row[0], without, unknown, heard, _one(con, never), shared)


@dataclass(frozen=True)
class TargetFigures:
    """What there is of an item, category, brand or attribute.

    Parameters
    ----------
    items, retired
        Items that are or have it, and how many of these are out of the catalogue.
    sold_out
        All that are not retired are sold out.
    near
        What is written nearly like it; empty when nothing is.
    """

    items: int
    retired: int
    sold_out: bool
    near: str


def target_figures(con: duckdb.DuckDBPyConnection, target: str, value: str) -> TargetFigures:
    """Look for what a campaign is about: target is item, category, brand or attribute (name=value)."""
    column, asked = {"item": "item_id"}.get(target, target), value
    if target == "attribute":
        name, _, asked = value.partition("=")
        column = f"json_extract_string({ATTRIBUTES}, {literal(f'$.{identifier(name)}')})"
    every = f"SELECT {column} AS value, retired_at, availability FROM items"
    if target == "item":
        also = "item_id NOT IN (SELECT item_id FROM items)"
        every += f" UNION SELECT item_id, NULL, NULL FROM events WHERE {also}"
    items, retired, left = con.execute(
        f"""SELECT count(*), count(retired_at), count(*) FILTER (retired_at IS NULL AND coalesce(availability, true))
            FROM ({every}) WHERE value = ?""",
        [asked],
    ).fetchall()[0]
    near = con.execute(
        f"""SELECT value FROM ({every}) WHERE value IS NOT NULL
            GROUP BY value HAVING levenshtein(lower(value), lower($1)) <= length($1) // 4
            ORDER BY levenshtein(lower(value), lower($1)), count(*) DESC, value LIMIT 1""",
        [asked],
    ).fetchall() if not items else []  # fmt: skip
    return TargetFigures(items, retired, not left, str(near[0][0]) if near else "")


def _one(con: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(con.execute(query).fetchall()[0][0])
