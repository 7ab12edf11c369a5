"""What the visitors of an experiment did, read off the tables that `attribution.attribute` leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from ..schema import DAY
from .attribution import OWNER

PAST_DAYS = 90  # before an experiment, of which is known what visitors spent


@dataclass(frozen=True)
class Visitors:
    """One entry per visitor of one arm, parallel.

    Parameters
    ----------
    revenue
        What they bought since they first saw a list of the experiment, less what they sent back.
    bought, clicked
        1.0 for those who did.
    past
        What they spent in the PAST_DAYS before the experiment.
    """

    revenue: NDArray[np.float64]
    bought: NDArray[np.float64]
    clicked: NDArray[np.float64]
    past: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.revenue)


def visitors(con: duckdb.DuckDBPyConnection, experiment: str, started_at: int) -> dict[str, Visitors]:
    """Who saw lists of the experiment, by the arm that they saw first.

    Parameters
    ----------
    started_at
        Epoch seconds.
    """
    table = con.sql(
        f"""WITH met AS (SELECT owner, arg_min(arm, ts) AS arm, min(ts) AS since, any_value(user_id) AS user_id
                        FROM touch_seen WHERE experiment = $1 AND NOT earlier GROUP BY owner),
                 sold AS (SELECT owner, coalesce(sum(amount), 0)::DOUBLE AS revenue,
                                 count(*) FILTER (kind = 'purchase') AS n
                          FROM touch_outcomes JOIN met USING (owner)
                          WHERE kind <> 'cart' AND ts >= since GROUP BY owner),
                 pressed AS (SELECT DISTINCT s.owner FROM touch_clicks JOIN touch_seen s USING (seen_id)
                             WHERE s.experiment = $1),
                 past AS (SELECT {OWNER} AS owner, sum(coalesce(price, 0) * qty) AS spent FROM events
                          WHERE event_type = 'purchase' AND ts >= $2 AND ts < $3 GROUP BY 1)
            SELECT arm, coalesce(revenue, 0) AS revenue, (coalesce(n, 0) > 0)::DOUBLE AS bought,
                   (p.owner IS NOT NULL)::DOUBLE AS clicked, coalesce(spent, 0) AS past
            FROM met LEFT JOIN sold USING (owner) LEFT JOIN pressed p USING (owner) LEFT JOIN past USING (owner)
            ORDER BY since, owner""",
        params=[experiment, started_at - PAST_DAYS * DAY, started_at],
    ).to_arrow_table()
    arm = np.array(table["arm"].to_pylist(), dtype=object)
    columns = {name: table[name].to_numpy().astype(np.float64) for name in ("revenue", "bought", "clicked", "past")}
    return {
        str(one): Visitors(**{name: values[arm == one] for name, values in columns.items()})
        for one in sorted(set(arm.tolist()))
    }


def duels(con: duckdb.DuckDBPyConnection, experiment: str) -> dict[str, int]:
    """Interleaved lists by whose items were clicked or bought more: won by `a`, by `b`, `tied`, and `without` any."""
    row = con.execute(
        """WITH picked AS (
             SELECT request_id, owner, team, seen_id IN (SELECT seen_id FROM touch_clicks)
                    OR seen_id IN (SELECT seen_id FROM touch_outcomes WHERE kind = 'purchase') AS hit
             FROM touch_seen WHERE experiment = $1 AND team IS NOT NULL AND NOT earlier),
           lists AS (SELECT count(*) FILTER (hit AND team = 'a') AS a, count(*) FILTER (hit AND team = 'b') AS b
                     FROM picked GROUP BY request_id, owner)
           SELECT count(*) FILTER (a > b), count(*) FILTER (b > a), count(*) FILTER (a = b AND a > 0),
                  count(*) FILTER (a + b = 0) FROM lists""",
        [experiment],
    ).fetchall()[0]
    return dict(zip(("a", "b", "tied", "without"), map(int, row), strict=True))


def arms_of(con: duckdb.DuckDBPyConnection, experiment: str, since: int) -> dict[str, dict[str, Any]]:
    """How each arm answered: lists, share of fallbacks, seconds that 19 of 20 lists took at most, different items."""
    rows = con.execute(
        """WITH mine AS (SELECT coalesce(arm, '') AS arm, request_id, fallbacks, items, seconds FROM served
                         WHERE experiment = $1 AND ts >= $2),
                different AS (SELECT arm, count(DISTINCT item) AS n FROM (SELECT arm, unnest(items) AS item FROM mine)
                              GROUP BY arm)
           SELECT arm, count(DISTINCT request_id), sum(fallbacks) / greatest(sum(len(items)), 1),
                  quantile_cont(seconds, 0.95), coalesce(any_value(n), 0)
           FROM mine LEFT JOIN different USING (arm) GROUP BY arm""",
        [experiment, since],
    ).fetchall()
    return {arm: {"lists": n, "fallbacks": f, "seconds": s, "items": i} for arm, n, f, s, i in rows}
