"""The process that copies a database for `store.rewrite`.

A module outside of the store, because Python would first load all of the store, with Arrow, for every person erased:
that took longer than the copying.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import duckdb

from .processes import die_with_parent
from .quoting import identifier, literal

_PATIENCE = 30.0  # seconds


def _copy(old: str, fresh: str, spill: str, memory: str, threads: str, compression: str) -> None:
    os.umask(0o077)
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": memory,
        "temp_directory": spill,
    }
    if threads != "0":
        config["threads"] = threads
    con = _connect(old, config)
    try:
        con.execute("CHECKPOINT")
        name = con.execute("SELECT current_database()").fetchall()[0][0]
        con.execute(f"ATTACH {literal(fresh)} AS recsys_fresh")
        if compression:
            con.execute(f"PRAGMA force_compression='{compression}'")
        con.execute(f"COPY FROM DATABASE {identifier(name)} TO recsys_fresh")
        con.execute("CHECKPOINT recsys_fresh")
        _compare(con, name)
        con.execute("DETACH recsys_fresh")
    finally:
        con.close()


def _connect(old: str, config: dict[str, str | bool | int | float | list[str]]) -> duckdb.DuckDBPyConnection:
    """Connect, waiting a little for a killed process of ours to let go of the file."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return duckdb.connect(old, config=config)
        except duckdb.IOException as e:
            if "lock" not in str(e).lower() or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _compare(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Refuse a copy that lacks anything."""
    tables = con.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = ?", [name]).fetchall()
    for (table,) in tables:
        counts = [
            con.execute(f"SELECT count(*) FROM {identifier(database)}.main.{identifier(table)}").fetchall()
            for database in (name, "recsys_fresh")
        ]
        if counts[0] != counts[1]:
            raise SystemExit(f"the copy of {table} is not complete")


def main() -> None:
    """Copy; arguments are those of `_copy`, and the number of the process that waits for it."""
    *what, waits = sys.argv[1:]
    die_with_parent(signal.SIGKILL, int(waits))  # nobody would swap its file in
    try:
        _copy(*what)
    except duckdb.Error as e:
        raise SystemExit(str(e).strip().splitlines()[0]) from None
