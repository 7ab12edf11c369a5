"""The rejected rows as people work with them: listed, exported to be fixed, tried again, thrown away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ..csv_cells import csv_bytes
from ..durable_files import write_atomic
from ..errors import InputError, UsageError
from ..settings import Settings
from ..store import Store, merge
from .columns import OWN_COLUMNS
from .rejected_rows import BROKEN_LINE


@dataclass(frozen=True)
class Rejected:
    """One row that was not taken."""

    id: int | None
    file: str
    row: int
    reason: str
    detail: str | None
    raw: str | None
    reading: str | None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        row = orjson.loads(self.raw) if self.raw else None
        return {"file": self.file, "row": self.row, "reason": self.reason, "detail": self.detail, "content": row}


@dataclass(frozen=True)
class Listing:
    """Some rejected rows, and how many there are of each reason."""

    rows: tuple[Rejected, ...]
    by_reason: dict[str, int]
    total: int


Waiting = Callable[[str], None] | None


def listed(settings: Settings, *, reason: str | None, limit: int, waiting: Waiting = None) -> Listing:
    """The rejected rows, newest files first.

    Raises
    ------
    UsageError
        When no row was rejected for this reason.
    """
    with Store(settings.db, settings.store, waiting=waiting).reading() as con:
        counts = con.execute("SELECT reason, count(*) FROM rejected GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
        by_reason = dict(counts)
        _known(reason, by_reason)
        rows = con.execute(f"{_SELECT} ORDER BY batch_id DESC, row_number LIMIT ?", [reason, reason, limit]).fetchall()
    return Listing(tuple(Rejected(*row) for row in rows), by_reason, sum(by_reason.values()))


_SELECT = """SELECT rejected_id, file, row_number, reason, detail, raw, reading
             FROM rejected LEFT JOIN batches USING (batch_id) WHERE ?::VARCHAR IS NULL OR reason = ?"""


def _known(reason: str | None, by_reason: dict[str, int]) -> None:
    if reason is not None and reason not in by_reason:
        there = ", ".join(by_reason) or "none at all"
        raise UsageError(f"No row was rejected as '{reason}'.", f"Reasons there are: {there}.")


def export(settings: Settings, out: Path, *, reason: str | None, waiting: Waiting = None) -> dict[Path, int]:
    """Write rejected rows to files for fixing: CSV, JSON lines (.jsonl) or Parquet.

    Rows that were read in different ways go to files of their own (`out`, then `out` with a number). Ingesting such a
    file again, fixed, replaces the rows: each is judged again, and read as it was the first time.

    Returns
    -------
    Each file written and its rows.
    """
    if out.suffix not in (".csv", ".jsonl", ".parquet"):
        raise UsageError(f"{out} is not a file type that recsys writes.", "Name it .csv, .jsonl or .parquet.")
    with Store(settings.db, settings.store, waiting=waiting).writing() as con:
        con.execute(
            "UPDATE rejected SET rejected_id = rowid + 1 + (SELECT coalesce(max(rejected_id), 0) FROM rejected) "
            "WHERE rejected_id IS NULL"
        )
        rows = [Rejected(*row) for row in con.execute(_SELECT + " ORDER BY rejected_id", [reason, reason]).fetchall()]
    groups: dict[str, list[Rejected]] = {}
    for row in rows:
        if row.raw and row.reason != BROKEN_LINE[0]:
            groups.setdefault(row.reading or "", []).append(row)
    written: dict[Path, int] = {}
    for n, (_, group) in enumerate(sorted(groups.items()), 1):
        path = out if n == 1 else out.with_name(f"{out.stem}-{n}{out.suffix}")
        flat = [_flat(row) for row in group]
        _write(path, list(dict.fromkeys(name for row in flat for name in row)), flat)
        written[path] = len(group)
    return written


def _flat(row: Rejected) -> dict[str, str | None]:
    own = (str(row.id), row.file, str(row.row), row.reason, row.detail, row.reading)
    content = orjson.loads(row.raw) if row.raw else {}
    return {
        **dict(zip(OWN_COLUMNS, own, strict=True)),
        **{k: None if v is None else str(v) for k, v in content.items()},
    }


def _write(out: Path, names: Sequence[str], rows: list[dict[str, str | None]]) -> None:
    if out.suffix == ".jsonl":
        write_atomic(out, b"".join(orjson.dumps(row) + b"\n" for row in rows))
    elif out.suffix == ".parquet":
        sink = pa.BufferOutputStream()
        columns = [pa.array([row.get(n) for row in rows], pa.string()) for n in names]
        pq.write_table(pa.table(columns, names=list(names)), sink)
        write_atomic(out, sink.getvalue().to_pybytes())
    else:
        write_atomic(out, csv_bytes(names, ([row.get(n) for n in names] for row in rows)))


def clear(settings: Settings, *, reason: str | None, waiting: Waiting = None) -> int:
    """Throw rejected rows away; returns how many."""
    store = Store(settings.db, settings.store, waiting=waiting)
    if not store.exists():
        raise InputError(f"There is no database {settings.db} yet.", "Run recsys ingest FILE first.")
    with store.writing() as con, merge.transaction(con):
        return _delete(con, reason)


def _delete(con: duckdb.DuckDBPyConnection, reason: str | None) -> int:
    counted = con.execute("DELETE FROM rejected WHERE ?::VARCHAR IS NULL OR reason = ?", [reason, reason]).fetchall()
    return int(counted[0][0])
