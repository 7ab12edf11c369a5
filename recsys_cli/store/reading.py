"""What the rest of the product learns from the database: Arrow and NumPy, never rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import NotEnoughData
from ..identity import UserKeys
from ..schema import Dataset, Histories, IdMap, Interactions, Profiles, clock
from ..view_durations import factor, level_sql, with_levels
from .products import catalogue, code_items, has_variants
from .profiles import read_profiles
from .sql import first_row

# Whose history an event belongs to: the customer's, else that of the guest's session; see `schema.guest_id`.
OWNER = "coalesce(user_id, chr(31) || session_id)"


@dataclass(frozen=True)
class Snapshot:
    """The store at one moment, all read in one transaction.

    Parameters
    ----------
    data
        Interactions and catalogue.
    keys
        Keyed hash of each user of `data`, in their order, shape (n_users, 2).
    spool
        Up to where the spool has been taken into the store; see `artifacts.spool.Position`.
    events
        Rows in the table of events, whatever their type.
    watermark
        See `watermark`.
    currency
        See `currency`.
    view_seconds
        The setting that durations of views were weighed by; see `view_durations`.
    profiles
        What customers' profiles say of them; None where it was not asked for.
    left_out
        People whose data may not be used, by `artifacts.choices.hash_of`: they are not in `data`.
    """

    data: Dataset
    keys: UserKeys
    spool: dict[str, int]
    events: int
    watermark: dict[str, int]
    currency: str = ""
    view_seconds: float = 0.0
    profiles: Profiles | None = None
    left_out: frozenset[str] = frozenset()

    @staticmethod
    def read(
        con: duckdb.DuckDBPyConnection,
        secret: str,
        weights: Mapping[str, float],
        *,
        view_seconds: float = 0.0,
        item_order: pa.Array | None = None,
        shared_by: int = 0,
    ) -> Snapshot:
        """Read everything that training, evaluation and publishing need.

        Parameters
        ----------
        secret
            See `identity.load_secret`.
        weights
            Weight of each event type; types without one, or with 0, are left in the database.
        view_seconds
            How durations of views count; see `view_durations`.
        item_order
            Item ids that keep the codes they have there, whether the store still has them or not; all others come
            after them. An update keeps the codes of the version it grows from.
        shared_by
            Customers who must share what a profile says for it to be read; 0 reads no profiles. See `profiles`.

        Raises
        ------
        NotEnoughData
            When there is no event with a weight.
        """
        con.execute("BEGIN")
        try:
            found = _read(con, secret, weights, view_seconds, item_order)
            shared = read_profiles(con, len(found.keys), shared_by) if shared_by else None
            return replace(found, profiles=shared)
        finally:
            con.execute("ROLLBACK")

    def without(self, rows: NDArray[np.bool_]) -> Snapshot:
        """The snapshot without the people that `rows` marks; shape of `rows` (n_users,).

        Raises
        ------
        NotEnoughData
            When nobody is left.
        """
        seen = self.data.interactions
        stay = np.flatnonzero(~rows)
        histories = seen.histories.rows(stay)
        if not histories.n_events:
            raise NotEnoughData("Nobody whose data may be used has an event.", "Look at recsys gdpr log.")
        basket = seen.basket[~rows[seen.histories.row_of_event]]
        left = replace(
            seen, histories=histories, users=IdMap(seen.users.take(stay)), basket=basket, end=clock(histories.ts)
        )
        profiles = self.profiles.rows(stay) if self.profiles is not None else None
        named = self.data.profiles.rows(stay) if self.data.profiles is not None else None
        data = replace(self.data, interactions=left, profiles=named)
        return replace(self, data=data, keys=self.keys[stay], profiles=profiles)


def _read(
    con: duckdb.DuckDBPyConnection,
    secret: str,
    weights: Mapping[str, float],
    view_seconds: float,
    item_order: pa.Array | None,
) -> Snapshot:
    kinds = with_levels(tuple(name for name, weight in weights.items() if weight), view_seconds)
    con.execute("CREATE OR REPLACE TEMP TABLE kind_codes (event_type VARCHAR, level INTEGER, code UTINYINT)")
    for code, (name, level) in enumerate(kinds):
        con.execute("INSERT INTO kind_codes VALUES (?, ?, ?)", [name, level, code])
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE user_codes AS
            SELECT user_id, (row_number() OVER (ORDER BY user_id) - 1)::INTEGER AS code
            FROM (SELECT DISTINCT {OWNER} AS user_id FROM events SEMI JOIN kind_codes USING (event_type))
            WHERE user_id IS NOT NULL"""
    )
    code_items(con, item_order)
    users, keys = _users(con, secret)
    items = IdMap(_string_column(con, "SELECT item_id FROM product_codes ORDER BY code"))
    histories, basket = _histories(con, len(users), kinds, weights, view_seconds)
    if not histories.n_events:
        raise _nothing_to_learn(con)
    interactions = Interactions(histories, users, items, basket, clock(histories.ts))
    data, done = Dataset(interactions, catalogue(con)), spool_position(con)
    return Snapshot(data, keys, done, count(con, "events"), watermark(con), currency(con), view_seconds)


def currency(con: duckdb.DuckDBPyConnection) -> str:
    """The one that most purchases name; empty when none does."""
    row = first_row(
        con.execute(
            """SELECT upper(currency) FROM events
               WHERE event_type = 'purchase' AND regexp_full_match(currency, '[A-Za-z]{3}')
               GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"""
        )
    )
    return str(row[0]) if row else ""


def _nothing_to_learn(con: duckdb.DuckDBPyConnection) -> NotEnoughData:
    """Why there is no history: no events, or none whose type weighs anything."""
    counted = con.execute("SELECT event_type, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
    if not counted:
        return NotEnoughData(
            "The database holds no event to learn from.", "Run recsys ingest FILE with purchases or views."
        )
    shown = ", ".join(f"{kind[:40]} ({n:,})" for kind, n in counted[:5]) + (", …" if len(counted) > 5 else "")
    return NotEnoughData(
        f"None of the {sum(n for _, n in counted):,} events in the database is of a type that has a weight: {shown}.",
        "Set weights under [events.weights] in recsys.toml; types that are ratings are read with "
        "recsys ingest FILE --map rating=COLUMN --ratings-from 4.",
    )


def _users(con: duckdb.DuckDBPyConnection, secret: str) -> tuple[IdMap, UserKeys]:
    """Users by code, and `identity.user_key` of each, computed by DuckDB for the whole column."""
    table = con.sql(
        """WITH hashed AS (SELECT code, user_id, sha256(? || user_id) AS h FROM user_codes)
           SELECT user_id, ('0x' || h[1:16])::UBIGINT AS high, ('0x' || h[17:32])::UBIGINT AS low
           FROM hashed ORDER BY code""",
        params=[secret],
    ).to_arrow_table()
    keys = np.stack([table["high"].to_numpy(), table["low"].to_numpy()], axis=1)
    return IdMap(table["user_id"].combine_chunks()), keys.astype(np.uint64)


def _histories(
    con: duckdb.DuckDBPyConnection,
    n_users: int,
    kinds: Sequence[tuple[str, int]],
    weights: Mapping[str, float],
    view_seconds: float,
) -> tuple[Histories, NDArray[np.int32]]:
    con.execute(
        """CREATE OR REPLACE TEMP TABLE basket_codes AS
           SELECT basket, (row_number() OVER (ORDER BY basket) - 1)::INTEGER AS code FROM (
             SELECT DISTINCT coalesce('o' || order_id, 's' || session_id) AS basket FROM events)
           WHERE basket IS NOT NULL"""
    )
    # Within a second, events keep the order they were written in: a basket's lines, a session's clicks.
    varied = has_variants(con)
    number = ", coalesce(v.number, -1)::INTEGER AS variant" if varied else ""
    table = con.sql(
        f"""SELECT u.code AS user, i.code AS item, e.ts, k.code AS kind, e.qty::FLOAT AS qty,
                  coalesce(b.code, -1)::INTEGER AS basket{number}
           FROM (SELECT *, rowid AS written, {OWNER} AS owner, {level_sql(view_seconds)} AS level FROM events) e
           JOIN kind_codes k USING (event_type, level) JOIN user_codes u ON u.user_id = e.owner
           JOIN item_codes i USING (item_id) {"LEFT JOIN variants v USING (item_id)" if varied else ""}
           LEFT JOIN basket_codes b ON b.basket = coalesce('o' || e.order_id, 's' || e.session_id)
           ORDER BY u.code, e.ts, e.written"""
    ).to_arrow_table()
    user = table["user"].to_numpy()
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(user, minlength=n_users))])
    histories = Histories(
        indptr.astype(np.int64),
        table["item"].to_numpy().astype(np.int32, copy=False),
        table["ts"].to_numpy().astype(np.int64, copy=False),
        table["kind"].to_numpy().astype(np.uint8, copy=False),
        table["qty"].to_numpy().astype(np.float32, copy=False),
        tuple(name for name, _ in kinds),
        _kind_weights(kinds, weights, table["kind"].to_numpy()),
        table["variant"].to_numpy().astype(np.int32, copy=False) if varied else None,
    )
    return histories, table["basket"].to_numpy().astype(np.int32, copy=False)


def _kind_weights(
    kinds: Sequence[tuple[str, int]], weights: Mapping[str, float], present: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Weight of each type, the weightiest of those that occur at 1.

    In a shop that has views alone, a view is all there is to learn from; at a twentieth of a purchase it would drown
    in the regularisation that models need for purchases. A view counts there as one of unknown duration.
    """
    plain = np.array([weights[name] for name, _ in kinds], dtype=np.float32)
    most = plain[np.unique(present)].max(initial=0)
    by_duration = plain * np.array([factor(level) for _, level in kinds], dtype=np.float32)
    return by_duration / most if most > 0 else by_duration


def _string_column(con: duckdb.DuckDBPyConnection, query: str) -> pa.StringArray:
    return con.sql(query).to_arrow_table().column(0).combine_chunks()


def spool_position(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Up to where each spool segment has been taken into the store."""
    return dict(con.execute("SELECT segment, bytes FROM spool_position").fetchall())


def state_of(con: duckdb.DuckDBPyConnection, name: str) -> str:
    """A small fact by its name; empty when it was never noted. See `merge.set_state`."""
    row = first_row(con.execute("SELECT value FROM state WHERE name = ?", [name]))
    return str(row[0]) if row else ""


def watermark(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How far the store has come, in a moment: equal watermarks mean that nothing came in between.

    `batch` is the last batch that may have changed something, `events` the rows in their table.
    """
    row = first_row(
        con.execute("SELECT coalesce(max(batch_id), 0) FROM batches WHERE new > 0 OR kind IS DISTINCT FROM 'events'")
    )
    assert row is not None
    return {"batch": int(row[0]), "events": count(con, "events")}


def count(con: duckdb.DuckDBPyConnection, table: str) -> int:
    """Rows of a table (a name of ours, never of the user's)."""
    row = first_row(con.execute(f"SELECT count(*) FROM {table}"))
    assert row is not None
    return int(row[0])


@dataclass(frozen=True)
class StoreSummary:
    """What `recsys status` says of the database; `users` are customers, `guests` sessions without one."""

    events: int
    items: int
    users: int
    guests: int
    first_ts: int | None
    last_ts: int | None
    by_type: dict[str, int]
    rejected: int
    catalogue: int


def summary(con: duckdb.DuckDBPyConnection) -> StoreSummary:
    """Counts and the span of time."""
    row = first_row(
        con.execute(
            """SELECT count(*), count(DISTINCT item_id), count(DISTINCT user_id),
                  count(DISTINCT session_id) FILTER (user_id IS NULL), min(ts), max(ts) FROM events"""
        )
    )
    assert row is not None
    types = con.execute("SELECT event_type, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
    events, items, users, guests, first, last = row
    counts = count(con, "rejected"), count(con, "items")
    return StoreSummary(events, items, users, guests, first, last, dict(types), *counts)


def user_ids(con: duckdb.DuckDBPyConnection, secret: str) -> tuple[pa.StringArray, UserKeys]:
    """Every customer (not guest) with an event, sorted, and `identity.user_key` of each, shape (n, 2)."""
    con.execute(
        """CREATE OR REPLACE TEMP TABLE user_codes AS
           SELECT user_id, (row_number() OVER (ORDER BY user_id) - 1)::INTEGER AS code
           FROM (SELECT DISTINCT user_id FROM events WHERE user_id IS NOT NULL)"""
    )
    users, keys = _users(con, secret)
    return users.ids, keys


def customer_with(con: duckdb.DuckDBPyConnection, *, purchases: int) -> str:
    """The customer whose number of different purchased items is nearest to `purchases`; the latest of several.

    Raises
    ------
    NotEnoughData
        Nobody bought anything.
    """
    row = first_row(
        con.execute(
            """SELECT user_id FROM events WHERE event_type = 'purchase' AND user_id IS NOT NULL
           GROUP BY user_id ORDER BY abs(count(DISTINCT item_id) - ?), max(ts) DESC, user_id LIMIT 1""",
            [purchases],
        )
    )
    if row is None:
        raise NotEnoughData("The database holds no purchase.", "Run recsys ingest FILE with purchases.")
    return str(row[0])
