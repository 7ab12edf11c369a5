"""The rows that passed all checks, into the store: events as they are, a catalogue gathered and with its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import duckdb

from ..errors import InputError
from ..schema import ADDRESSES, ATTRIBUTES, SCRIPT_ADDRESS
from ..store import merge
from .columns import EVENTS, ITEMS, USERS
from .event_notes import event_notes, hashed_addresses
from .readers import Source
from .rejected_rows import private_text
from .understanding import Understanding
from .value_parsing import quote

# Files with more rows an item than this are no catalogues but dealings, from which a catalogue is gathered.
ROWS_AN_ITEM = 3.0
DERIVED = ("category_path", "regular_price")  # what is known of items beyond the columns of the store


@dataclass(frozen=True)
class Wanted:
    """How accepted rows are merged.

    Parameters
    ----------
    batch
        The number of the import.
    replace
        The items are the whole catalogue.
    gathered
        Of many rows an item one is made.
    attributes
        Columns without a name of ours are kept.
    secret
        For hashing e-mail addresses in attributes; None keeps them.
    weights
        Of the types of events.
    retire_all
        Retire however many items a whole catalogue lacks, unasked.
    """

    batch: int
    replace: bool
    gathered: bool
    attributes: bool
    secret: str | None
    weights: Mapping[str, float]
    retire_all: bool = True


def merge_accepted(
    con: duckdb.DuckDBPyConnection, source: Source, understood: Understanding, wanted: Wanted
) -> tuple[merge.Merged, list[str]]:
    """Merge the rows of `checked` that no rule is against; returns the counts and what is worth knowing.

    Raises
    ------
    InputError
        When a whole catalogue has no item that can be taken, or lacks too many to be believed unasked.
    """
    kept = "* EXCLUDE (reason, detail)"
    if understood.kind == EVENTS:
        con.execute(f"CREATE OR REPLACE TEMP VIEW accepted AS SELECT {kept} FROM checked WHERE reason = 0")
        merged, notes = (
            merge.merge_events(con, "accepted", batch_id=wanted.batch, replace_orders=True),
            event_notes(con, understood, wanted.weights),
        )
        notes += hashed_addresses(con) if wanted.secret else []
        con.execute("DROP VIEW accepted")
        return merged, notes
    derived = [name for name in DERIVED if _has(con, "checked", name)]
    extra = _attributes(source, understood, wanted, derived)
    kept = f"* EXCLUDE ({', '.join(('reason', 'detail', *derived))})"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE accepted AS SELECT {kept.replace('*', 'k.*')}{extra} "
        "FROM checked k JOIN raw USING (row_number) WHERE reason = 0 ORDER BY row_number"
    )
    rows = int(con.execute("SELECT count(*) FROM accepted").fetchall()[0][0])
    if wanted.replace and not rows:
        raise InputError(
            f"{source.path} has no item that can be taken, so it is not a whole catalogue.", "Leave --replace out."
        )
    notes = []
    if wanted.gathered:
        _gather(con)
        price = (
            " and its median price were taken"
            if "price" in understood.columns
            else " was taken; no column is its price"
        )
        notes.append(f"The file has several rows for each item: its usual title{price}.")
    notes += _without_scripts(con)
    con.execute("ALTER TABLE accepted DROP row_number")
    if wanted.replace and understood.kind == ITEMS and not wanted.retire_all:
        _refuse_retiring(con, source)
    if understood.kind == USERS and wanted.secret:
        notes += hashed_addresses(con)
    merged = (
        merge.merge_items(con, "accepted", replace=wanted.replace, present="checked", batch_id=wanted.batch)
        if understood.kind == ITEMS
        else merge.merge_users(con, "accepted", batch_id=wanted.batch)
    )
    con.execute("DROP TABLE accepted")
    return replace(merged, read=rows, known=rows - merged.new), notes


def _without_scripts(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Take away addresses that are scripts or data: what a shop's page follows unseen must be an address."""
    notes = []
    for name in ADDRESSES:
        if not _has(con, "accepted", name):
            continue
        found = con.execute(
            f"UPDATE accepted SET {name} = NULL WHERE regexp_matches({name}, ?)", [SCRIPT_ADDRESS]
        ).fetchall()[0][0]
        if found:
            what = "1 value of" if found == 1 else f"{found:,} values of"
            which = "is a script or data" if found == 1 else "are scripts or data"
            notes.append(f"{what} {name} {which} (javascript:, data:) and no web address: left out.")
    return notes


def _has(con: duckdb.DuckDBPyConnection, table: str, column: str) -> bool:
    return column in {row[0] for row in con.execute(f"DESCRIBE {table}").fetchall()}


MOST_RETIRED = 0.2  # of a catalogue that a file may retire unasked


def _refuse_retiring(con: duckdb.DuckDBPyConnection, source: Source) -> None:
    lost, there = con.execute(
        "SELECT count(*) FILTER (item_id NOT IN (SELECT item_id FROM checked WHERE item_id IS NOT NULL)), count(*) "
        "FROM items WHERE retired_at IS NULL"
    ).fetchall()[0]
    if lost > MOST_RETIRED * there and lost > 1:
        raise InputError(
            f"{source.path} lacks {lost:,} of the {there:,} items of the catalogue, which --replace would retire.",
            "If it is the whole catalogue, say --yes; nothing was changed.",
        )


def rows_and_things(con: duckdb.DuckDBPyConnection, kind: str) -> tuple[int, int]:
    """How many good rows there are, and of how many products or customers."""
    key = "user_id" if kind == USERS else "item_id"
    rows, things = con.execute(f"SELECT count(*), count(DISTINCT {key}) FROM checked WHERE reason = 0").fetchall()[0]
    return int(rows), int(things)


def _gather(con: duckdb.DuckDBPyConnection) -> None:
    """One row an item: the most frequent text (of equally frequent ones the last in the alphabet), median numbers."""
    columns = {row[0]: row[1] for row in con.execute("DESCRIBE accepted").fetchall()}
    columns.pop("row_number")
    parts = []
    for name, kind in columns.items():
        if name == "item_id":
            continue
        if kind == "DOUBLE":
            # Corrections and gifts go out at zero; that is not what the item costs.
            parts.append(f"SELECT item_id, median({name}) AS {name} FROM accepted WHERE {name} > 0 GROUP BY item_id")
        else:
            parts.append(
                f"SELECT item_id, arg_max({name}, (n, {name}::VARCHAR)) AS {name} FROM (SELECT item_id, {name}, "
                f"count(*) AS n FROM accepted WHERE {name} IS NOT NULL GROUP BY ALL) GROUP BY item_id"
            )
    joins = "".join(f" LEFT JOIN ({part}) USING (item_id)" for part in parts)
    picked = ", ".join(columns)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE accepted AS SELECT {picked}, row_number() OVER (ORDER BY item_id) AS row_number "
        f"FROM (SELECT DISTINCT item_id FROM accepted){joins} ORDER BY item_id"
    )


def _attributes(source: Source, understood: Understanding, wanted: Wanted, derived: list[str]) -> str:
    """The columns that have no name of ours, and what is derived, as a JSON object without the empty ones; addresses
    are hashed."""
    if wanted.gathered:
        return ""  # of an item's many rows none says what the item is like
    first: dict[str, int] = {}  # of columns with the same name the first counts: an object has each key once
    for i in understood.unused if wanted.attributes else ():
        first.setdefault(source.columns[i], i)
    pairs = [
        f"{{'k': {quote(name)}, 'v': {private_text(f'c{i}::VARCHAR', wanted.secret)}}}"
        for name, i in first.items()
        if name and name not in derived
    ]
    pairs += [f"{{'k': {quote(name)}, 'v': k.{name}}}" for name in derived]
    pairs += [
        f"{{'k': '{name}', 'v': c{understood.columns[name][0]}::VARCHAR}}"
        for name in ("handle",)
        if name in understood.columns and name not in first
    ]
    if not pairs:
        return ""
    filled = f"list_filter([{', '.join(pairs)}], lambda e: e.v IS NOT NULL AND e.v <> '')"
    entries = f"map_from_entries(list_transform({filled}, lambda e: struct_pack(k := e.k, v := e.v)))"
    return f", CASE WHEN len({filled}) > 0 THEN to_json({entries})::VARCHAR END AS {ATTRIBUTES}"
