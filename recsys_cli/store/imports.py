"""The imports of the shop's files: listed, and taken back whole, each with what it had replaced."""

from __future__ import annotations

import time
from dataclasses import dataclass

import duckdb

from ..errors import UsageError
from ..schema import ATTRIBUTES, EVENT_COLUMNS, ITEM_COLUMNS, USER_COLUMNS
from .batches import close_batch, open_batch
from .merge import Merged

KEPT = 30  # imports of catalogues and customers that can be taken back; older ones have forgotten what they changed
_KINDS = ("events", "items", "users")
_OWN = ("spool", "gdpr", "undo")  # imports that are not files of the shop


@dataclass(frozen=True)
class Import:
    """One file that was taken.

    Parameters
    ----------
    number
        Of the import; what `undo` is told.
    started_at, undone_at
        Epoch seconds.
    rows_left
        Of events, those that are still in the store as this import brought them.
    """

    number: int
    file: str
    kind: str
    started_at: int
    read: int
    new: int
    known: int
    rejected: int
    undone_at: int | None
    rows_left: int


def listed(con: duckdb.DuckDBPyConnection, limit: int = 50) -> list[Import]:
    """The newest imports of files, newest first."""
    rows = con.execute(
        """SELECT batch_id, source, kind, started_at, read, new, known, rejected, undone_at,
                  CASE WHEN kind = 'events'
                  THEN (SELECT count(*) FROM events e WHERE e.batch_id = b.batch_id) ELSE 0 END
           FROM batches b WHERE source NOT IN (SELECT unnest(?)) AND kind IN (SELECT unnest(?)) AND read IS NOT NULL
           ORDER BY batch_id DESC LIMIT ?""",
        [list(_OWN), list(_KINDS), limit],
    ).fetchall()
    return [Import(*row) for row in rows]


def undo(con: duckdb.DuckDBPyConnection, number: int) -> Merged:
    """Take an import back: its events go, what they replaced returns, items and customers are what they were.

    Runs in the caller's transaction. Returns as `new` how many rows went, as `changed` how many returned.

    Raises
    ------
    UsageError
        When there is no such import, it was taken back before, or a later one has changed the same rows.
    """
    found = con.execute("SELECT source, kind, undone_at FROM batches WHERE batch_id = ?", [number]).fetchall()
    if found and found[0][0] == "spool":
        raise UsageError(
            f"Number {number} holds events that arrived over HTTP, which cannot be undone.",
            "Correct a wrong sale with a refund event of the same order and item; nothing was changed.",
        )
    if not found or found[0][0] in _OWN or found[0][1] not in _KINDS:
        raise UsageError(f"There is no import {number}.", "recsys ingest list shows them.")
    source, kind, undone = found[0]
    if undone is not None:
        raise UsageError(f"Import {number} ({source}) was already undone.", "recsys ingest list shows the others.")
    if later := _later(con, number, kind):
        raise UsageError(
            f"Import {later} has changed rows of import {number} ({source}) since.",
            f"Undo that one first: recsys ingest undo {later}; nothing was changed.",
        )
    taken = _undo_events(con, number) if kind == "events" else _undo_rows(con, number, kind)
    con.execute("DELETE FROM rejected WHERE batch_id = ?", [number])
    con.execute("UPDATE batches SET undone_at = ? WHERE batch_id = ?", [int(time.time()), number])
    # Models are told as they are of an import: there is a newer one.
    close_batch(con, open_batch(con, "undo", "undo", "", 0), Merged(taken.new, max(taken.new, 1), 0), 0)
    return taken


def _later(con: duckdb.DuckDBPyConnection, number: int, kind: str) -> int | None:
    """The newest import that has changed what this one brought."""
    if kind == "events":
        query = "SELECT max(replaced_by) FROM replaced_events WHERE batch_id = ?"
        found = con.execute(query, [number]).fetchall()
    else:
        key = "item_id" if kind == "items" else "user_id"
        found = con.execute(
            f"""SELECT max(c.batch_id) FROM changed_{kind} c JOIN batches b USING (batch_id)
                WHERE c.batch_id > ? AND b.undone_at IS NULL
                  AND c.{key} IN (SELECT {key} FROM changed_{kind} WHERE batch_id = ?)""",
            [number, number],
        ).fetchall()
    return int(found[0][0]) if found[0][0] is not None else None


def _undo_events(con: duckdb.DuckDBPyConnection, number: int) -> Merged:
    names = ", ".join(EVENT_COLUMNS)
    gone = con.execute("DELETE FROM events WHERE batch_id = ?", [number]).fetchall()[0][0]
    back = con.execute(
        f"INSERT INTO events ({names}, batch_id) SELECT {names}, batch_id FROM replaced_events WHERE replaced_by = ?",
        [number],
    ).fetchall()[0][0]
    con.execute("DELETE FROM replaced_events WHERE replaced_by = ?", [number])
    return Merged(int(gone), int(gone), 0, int(back))


def _undo_rows(con: duckdb.DuckDBPyConnection, number: int, table: str) -> Merged:
    key = "item_id" if table == "items" else "user_id"
    columns = dict(ITEM_COLUMNS if table == "items" else USER_COLUMNS) | {ATTRIBUTES: "VARCHAR"}
    if table == "items":
        columns["retired_at"] = "BIGINT"
    if not con.execute(f"SELECT 1 FROM changed_{table} WHERE batch_id = ? LIMIT 1", [number]).fetchall():
        changed = con.execute("SELECT new FROM batches WHERE batch_id = ?", [number]).fetchall()[0][0]
        if changed:
            raise UsageError(
                f"What import {number} changed is no longer kept.",
                f"Only the last {KEPT} imports can be undone.",
            )
    mine = f"SELECT {key} FROM changed_{table} WHERE batch_id = {int(number)}"
    gone = con.execute(f"DELETE FROM {table} WHERE {key} IN ({mine} AND before IS NULL)").fetchall()[0][0]
    if table == "items":
        con.execute(f"DELETE FROM item_history WHERE item_id IN ({mine} AND before IS NULL)")
    shape = "{" + ", ".join(f'"{name}": "{kind}"' for name, kind in columns.items()) + "}"
    sets = ", ".join(f"{name} = was.{name}" for name in columns if name != key)
    back = con.execute(
        f"""UPDATE {table} SET {sets} FROM (
              SELECT unnest(json_transform(before, '{shape}')) FROM changed_{table}
              WHERE batch_id = {int(number)} AND before IS NOT NULL) was WHERE {table}.{key} = was.{key}"""
    ).fetchall()[0][0]
    con.execute(f"DELETE FROM changed_{table} WHERE batch_id = ?", [number])
    return Merged(int(gone), int(gone), 0, int(back))


def outlive(con: duckdb.DuckDBPyConnection, changes: str, gone: str, now: int) -> None:
    """Write what was heard of items into what earlier imports remember of them: undoing a file takes none of it back.

    An item that a file brought goes with the file, unless it was sent whole, with its title.

    Parameters
    ----------
    changes
        A table with `item_id` and any other columns of items; what is null stays what it was.
    gone
        SQL: which `item_id` were taken out of the catalogue.
    """
    told = "json_merge_patch('{}', to_json(p))"  # without what is null
    known = f"json_merge_patch(coalesce(c.before, '{{}}'), {told}, '{{\"retired_at\": null}}')"
    merged = f"json_merge_patch(coalesce(c.before ->> '{ATTRIBUTES}', '{{}}'), p.{ATTRIBUTES})"
    con.execute(
        f"""UPDATE changed_items c SET before = CASE WHEN p.{ATTRIBUTES} IS NULL THEN {known}
              ELSE json_merge_patch({known}, json_object('{ATTRIBUTES}', {merged}::VARCHAR)) END::VARCHAR
            FROM {changes} p WHERE c.item_id = p.item_id AND (c.before IS NOT NULL OR p.title IS NOT NULL)"""
    )
    con.execute(
        f"""UPDATE changed_items SET before = json_merge_patch(before, json_object('retired_at', {int(now)}))::VARCHAR
            WHERE before IS NOT NULL AND {gone}"""
    )


def forget_old(con: duckdb.DuckDBPyConnection) -> None:
    """Keep what imports changed for the last of them only."""
    for table in ("items", "users"):
        con.execute(
            f"""DELETE FROM changed_{table} WHERE batch_id NOT IN (
                  SELECT batch_id FROM batches WHERE kind = ? ORDER BY batch_id DESC LIMIT {KEPT})""",
            [table],
        )


def take_back_other_readings(con: duckdb.DuckDBPyConnection, mark: str, kind: str) -> int:
    """Take back what the same content brought when it was read in another way; returns how many rows went.

    Parameters
    ----------
    mark
        The content's hash, a colon, and what tells this way of reading from others; of a sheet of a workbook another
        colon, and the sheet's hash.
    """
    found = con.execute(
        """SELECT batch_id FROM batches WHERE split_part(content_sha256, ':', 1) = ? AND content_sha256 <> ?
           AND split_part(content_sha256, ':', 3) = ? AND kind = ?
           AND undone_at IS NULL AND read IS NOT NULL AND source NOT IN (SELECT unnest(?))
           ORDER BY batch_id DESC""",
        [mark.split(":")[0], mark, "".join(mark.split(":")[2:]), kind, list(_OWN)],
    ).fetchall()
    gone = 0
    for (number,) in found:
        if _later(con, number, kind) is None:
            gone += undo(con, number).new
    return gone
