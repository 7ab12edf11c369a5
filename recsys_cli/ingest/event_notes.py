"""What is worth knowing of the rows that were taken: types without a weight, items unknown, addresses hashed."""

from __future__ import annotations

import re
from collections.abc import Mapping

import duckdb

from ..identity import HASHED_EMAIL
from .understanding import Understanding

_FEW = 5  # of the kinds that a note is written for; a column of free text has thousands
_LEVELS = 3  # of a variant's name above which its product may be: P-RED-XL of P
_LAST_PART = "[-_/.: ][^-_/.: ]*$"


def event_notes(con: duckdb.DuckDBPyConnection, understood: Understanding, weights: Mapping[str, float]) -> list[str]:
    """Notes on the events of the view `accepted`, merged or not."""
    notes = []
    columns = {row[0] for row in con.execute("DESCRIBE accepted").fetchall()}
    if "event_type" in columns:
        refunds = con.execute("SELECT count(*) FROM accepted WHERE event_type = 'refund'").fetchall()[0][0]
        if refunds:
            many = f"{refunds:,} rows are refunds or cancellations."
            notes.append("1 row is a refund or cancellation." if refunds == 1 else many)
        notes += _without_weight(con, weights, "event_type" in understood.columns)
    return [*notes, *_without_item(con, "title_of_line" in understood.columns)]


def hashed_addresses(con: duckdb.DuckDBPyConnection) -> list[str]:
    """How many customers of `accepted` are known by an e-mail address, of which only a keyed hash is kept."""
    if "user_id" not in {row[0] for row in con.execute("DESCRIBE accepted").fetchall()}:
        return []
    found = con.execute(
        "SELECT count(DISTINCT user_id) FROM accepted WHERE starts_with(user_id, 'mail-') "
        "AND regexp_matches(user_id, ?)",
        [HASHED_EMAIL],
    ).fetchall()[0][0]
    if not found:
        return []
    what = (
        "1 e-mail address was kept as a keyed hash"
        if found == 1
        else f"{found:,} e-mail addresses were kept as keyed hashes"
    )
    return [f'{what}; to keep addresses as they are: ingest.emails = "keep" in recsys.toml.']


def _without_weight(con: duckdb.DuckDBPyConnection, weights: Mapping[str, float], told: bool) -> list[str]:
    counted = con.execute("SELECT event_type, count(*) FROM accepted GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
    weightless = [(kind, n) for kind, n in counted if kind not in weights]
    notes = []
    for kind, n in weightless[:_FEW]:
        count = "1 event counts" if n == 1 else f"{n:,} events count"
        advice = "set one under [events.weights] in recsys.toml"
        notes.append(f"Event type {kind[:40]!r} has no weight: {count} for nothing; {advice}.")
    if len(weightless) > _FEW:
        notes.append(f"So have {len(weightless) - _FEW} more event types.")
    if told and weightless and all(re.fullmatch(r"-?\d+(\.\d+)?", kind) for kind, _ in weightless):
        notes.append(
            "Numbers as types look like ratings: --map rating=COLUMN --ratings-from 4 reads them as likes and dislikes."
        )
    return notes


def _without_item(con: duckdb.DuckDBPyConnection, names: bool) -> list[str]:
    """What the catalogue lacks, and how it gets it."""
    if not con.execute("SELECT 1 FROM items LIMIT 1").fetchall():
        use = "There is no catalogue yet; this file has the names of its items: take it as one, too, with --type items."
        return [use] if names else []
    con.execute(
        "CREATE OR REPLACE TEMP TABLE unknown_items AS "
        "SELECT DISTINCT item_id FROM accepted WHERE item_id NOT IN (SELECT item_id FROM items)"
    )
    unknown = con.execute("SELECT count(*) FROM unknown_items").fetchall()[0][0]
    if not unknown:
        con.execute("DROP TABLE unknown_items")
        return []
    some = [i for (i,) in con.execute("SELECT item_id FROM unknown_items ORDER BY 1 LIMIT 3").fetchall()]
    what = "1 item is" if unknown == 1 else f"{unknown:,} items are"
    notes = [f"{what} not in the catalogue (yet): {', '.join(some)}{', …' if unknown > 3 else ''}"]
    notes += _variants(con)
    if names and len(notes) > 1:
        notes.append("Or take their names from this file: ingest it again with --type items.")
    con.execute("DROP TABLE unknown_items")
    return notes


def _variants(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Whether unknown items are sizes and colours of items of the catalogue, by their names."""
    shorter = "item_id"
    parts = []
    for level in range(_LEVELS):
        shorter = f"regexp_replace({shorter}, '{_LAST_PART}', '')"
        parts.append(f"SELECT item_id, {shorter} AS parent_id, {level} AS level FROM unknown_items")
    count, variant, parent = con.execute(
        "SELECT count(DISTINCT u.item_id), min(u.item_id), arg_min(i.item_id, (u.item_id, level)) "
        f"FROM ({' UNION ALL '.join(parts)}) u JOIN items i ON i.item_id = u.parent_id"
    ).fetchall()[0]
    if not count:
        return []
    what = "1 of them looks like a variant" if count == 1 else f"{count:,} of them look like variants"
    return [
        f"{what} of catalogue items ({variant} of {parent}). Export the variants with their product, and run: "
        "recsys ingest VARIANTS.csv --type items --map parent_id=COLUMN"
    ]
