"""The tables, as a list of named steps; each database records which it has taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from ..errors import StoreError
from ..schema import ATTRIBUTES, EVENT_COLUMNS, ITEM_COLUMNS, USER_COLUMNS

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


# Append only: a step that has run somewhere is history.
STEPS: tuple[Step, ...] = (first_tables, item_history)


def migrate(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Take the steps that this database has not taken, all or none.

    Raises
    ------
    StoreError
        When the database has taken steps that this version does not know.
    """
    tables = con.execute("SELECT count(*) FROM duckdb_tables()").fetchone()
    if tables == (0,):  # a new file; somebody else's database is never written to
        con.execute("CREATE TABLE migrations (name VARCHAR, applied_at BIGINT)")
    taken = check_format(con, path)
    todo = [step for step in STEPS if step.__name__ not in taken]
    if not todo:
        return
    con.execute("BEGIN")
    try:
        for step in todo:
            step(con)
            con.execute("INSERT INTO migrations VALUES (?, ?)", [step.__name__, int(time.time())])
        con.execute("COMMIT")
    except BaseException:
        con.execute("ROLLBACK")
        raise


def check_format(con: duckdb.DuckDBPyConnection, path: Path) -> set[str]:
    """Names of the steps taken; refuses databases that are not ours or from a newer version."""
    try:
        taken = {row[0] for row in con.execute("SELECT name FROM migrations").fetchall()}
    except duckdb.CatalogException:
        raise StoreError(f"{path} is a DuckDB file, but not one of recsys.", "Name another with --db.") from None
    unknown = taken - {step.__name__ for step in STEPS}
    if unknown:
        raise StoreError(
            f"{path} was written by a newer recsys (it knows '{sorted(unknown)[0]}').", "Upgrade recsys; nothing was changed."
        )
    return taken
