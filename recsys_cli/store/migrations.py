"""The tables, as a list of named steps; each database records which it has taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from ..errors import StoreError
from ..schema import ATTRIBUTES, EVENT_COLUMNS, ITEM_COLUMNS, SERVED_COLUMNS, USER_COLUMNS
from .sql import first_row

Step = Callable[[duckdb.DuckDBPyConnection], None]


def _columns(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def first_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Events, items, users and the bookkeeping around them."""
    con.execute(f"CREATE TABLE events ({_columns(dict(EVENT_COLUMNS))}, batch_id INTEGER)")
    items = _columns({**ITEM_COLUMNS, "item_id": "VARCHAR PRIMARY KEY"})
    con.execute(f"CREATE TABLE items ({items}, {ATTRIBUTES} VARCHAR, retired_at BIGINT)")
    users = _columns({**USER_COLUMNS, "user_id": "VARCHAR PRIMARY KEY"})
    con.execute(f"CREATE TABLE users ({users}, {ATTRIBUTES} VARCHAR)")
    con.execute(
        "CREATE TABLE rejected (batch_id INTEGER, file VARCHAR, row_number BIGINT, reason VARCHAR, "
        "detail VARCHAR, raw VARCHAR)"
    )
    con.execute(
        "CREATE TABLE batches (batch_id INTEGER, source VARCHAR, kind VARCHAR, content_sha256 VARCHAR, bytes BIGINT, "
        "started_at BIGINT, read BIGINT, new BIGINT, known BIGINT, rejected BIGINT)"
    )
    con.execute("CREATE TABLE spool_position (segment VARCHAR, bytes BIGINT)")
    con.execute("CREATE TABLE state (name VARCHAR, value VARCHAR)")


def item_history(con: duckdb.DuckDBPyConnection) -> None:
    """What items cost, and whether they could be had, over time."""
    con.execute("CREATE TABLE item_history (item_id VARCHAR, ts BIGINT, price DOUBLE, availability BOOLEAN)")


def mendable_rejections(con: duckdb.DuckDBPyConnection) -> None:
    """Numbers for rejected rows, so that a fixed one can say which it replaces, and how their file was read."""
    con.execute("ALTER TABLE rejected ADD COLUMN rejected_id BIGINT")
    con.execute("ALTER TABLE batches ADD COLUMN reading VARCHAR")


def parents_of_variants(con: duckdb.DuckDBPyConnection) -> None:
    """The product that an item is a size or colour of."""
    con.execute("ALTER TABLE items ADD COLUMN IF NOT EXISTS parent_id VARCHAR")  # new databases have all columns


def served_lists(con: duckdb.DuckDBPyConnection) -> None:
    """What was answered, and how far the log of that was read."""
    con.execute(f"CREATE TABLE served ({_columns(dict(SERVED_COLUMNS))})")
    con.execute("CREATE TABLE served_position (segment VARCHAR, bytes BIGINT)")


def undoable_imports(con: duckdb.DuckDBPyConnection) -> None:
    """What an import replaced and changed, so that it can be taken back whole."""
    events = _columns(dict(EVENT_COLUMNS))
    con.execute(f"CREATE TABLE replaced_events ({events}, batch_id INTEGER, replaced_by INTEGER)")
    con.execute("CREATE TABLE changed_items (batch_id INTEGER, item_id VARCHAR, before VARCHAR)")
    con.execute("CREATE TABLE changed_users (batch_id INTEGER, user_id VARCHAR, before VARCHAR)")
    con.execute("ALTER TABLE batches ADD COLUMN undone_at BIGINT")


def swapped_lists(con: duckdb.DuckDBPyConnection) -> None:
    """Which places of an answered list were exchanged by chance."""
    con.execute("ALTER TABLE served ADD COLUMN IF NOT EXISTS swap INTEGER")  # new databases have all columns


def durations_of_views(con: duckdb.DuckDBPyConnection) -> None:
    """How long views took."""
    for table in ("events", "replaced_events"):
        con.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS duration_ms INTEGER")  # new databases have it


# Append only: a step that has run somewhere is history.
STEPS: tuple[Step, ...] = (
    first_tables,
    item_history,
    mendable_rejections,
    parents_of_variants,
    served_lists,
    undoable_imports,
    swapped_lists,
    durations_of_views,
)


def migrate(con: duckdb.DuckDBPyConnection, path: Path, *, new: bool = False) -> None:
    """Take the steps that this database has not taken, all or none.

    Parameters
    ----------
    new
        The caller has just made the database, so that nobody can have made anything in it: to find that out takes
        DuckDB longer than all the steps.

    Raises
    ------
    StoreError
        When the database is not ours, or has taken steps that this version does not know.
    """
    taken = set() if new else check_format(con, path)
    todo = lacking(taken)
    if not todo:
        return
    con.execute("BEGIN")
    try:
        if not taken:
            con.execute("CREATE TABLE migrations (name VARCHAR, applied_at BIGINT)")
        for step in todo:
            step(con)
            con.execute("INSERT INTO migrations VALUES (?, ?)", [step.__name__, int(time.time())])
        con.execute("COMMIT")
    except BaseException:
        con.execute("ROLLBACK")
        raise


def lacking(taken: set[str]) -> list[Step]:
    """The steps still to take."""
    return [step for step in STEPS if step.__name__ not in taken]


def check_format(con: duckdb.DuckDBPyConnection, path: Path) -> set[str]:
    """Names of the steps taken, none in an empty database; refuses those that are not ours or of a newer version."""
    try:
        taken = {str(row[0]) for row in con.execute("SELECT name FROM main.migrations").fetchall()}
    except (duckdb.CatalogException, duckdb.BinderException):
        taken = set()
        if _is_empty(con):
            return taken
    known = {step.__name__ for step in STEPS}
    if STEPS[0].__name__ not in taken:  # others call a table `migrations` too
        raise StoreError(f"{path} is a DuckDB file, but not one of recsys.", "Name another with --db.")
    if taken - known:
        raise StoreError(
            f"{path} was written by a newer recsys (it knows '{min(taken - known)}').",
            "Upgrade recsys; nothing was changed.",
        )
    return taken


def _is_empty(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether nobody has made anything in this database yet."""
    row = first_row(
        con.execute(
            """SELECT (SELECT count(*) FROM duckdb_tables() WHERE NOT temporary)
                + (SELECT count(*) FROM duckdb_views() WHERE NOT internal AND NOT temporary)
                + (SELECT count(*) FROM duckdb_sequences() WHERE NOT temporary)
                + (SELECT count(*) FROM duckdb_functions() WHERE NOT internal)
                + (SELECT count(*) FROM duckdb_types() WHERE NOT internal)
                + (SELECT count(*) FROM duckdb_schemas() WHERE NOT internal AND schema_name <> 'main')"""
        )
    )
    return row == (0,)
