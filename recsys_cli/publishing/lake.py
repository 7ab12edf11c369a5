"""The store's events as a folder of Parquet files that names nobody, for programs on other machines: Spark above all.

    DIR/
      lake.json                          whose it is, and of every file what was written into it
      items.parquet                      item_id, title, category, brand, price
      events/month=2026-11/part.parquet  `store.lake_rows.COLUMNS`, sorted by customer and time

Exporting again writes the months whose events are not what they were: those with new events, and those from which
somebody was erased or objected. That is also how an interrupted export goes on, and what an erasure does, since the
database remembers where its lakes are.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..artifacts.choices import barred
from ..artifacts.shop_id import shop_id
from ..durable_files import explain_os, fsync_dir, fsync_file, locked, private_dir, sha256_of
from ..errors import InputError, NotEnoughData, RecsysError, StoreBusy
from ..identity import load_secret, state_dir
from ..progress import SILENT, Progress
from ..settings import Settings
from ..state_file import StateFile
from ..store import Store, lake_rows
from ..store.lake_rows import Month

CONTENTS, ITEMS, EVENTS, PART = "lake.json", "items.parquet", "events", "part.parquet"
_ROWS = 1 << 17  # of a row group: a reader that wants one customer skips the others


@dataclass(frozen=True)
class Contents:
    """What a lake holds.

    Parameters
    ----------
    shop
        `artifacts.shop_id.shop_id`.
    months
        By name, as 2026-11.
    items
        SHA-256 of the file of items.
    """

    shop: str = ""
    months: dict[str, Month] = field(default_factory=dict)
    items: str = ""


@dataclass(frozen=True)
class Exported:
    """What an export did: how many events the lake holds, and which months were written, left as they were, removed."""

    folder: Path
    events: int
    written: tuple[str, ...]
    kept: int
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Behind:
    """Lakes that may hold what the store no longer does: not where they were, or there and not to be written."""

    missing: tuple[Path, ...] = ()
    failed: tuple[str, ...] = ()


def export_lake(store: Store, settings: Settings, folder: Path, progress: Progress = SILENT) -> Exported:
    """Make the lake in `folder` say what the store says; only months that differ are written.

    A folder that this database was exported to before is its lake also without `lake.json`, as after a killed export.

    Raises
    ------
    InputError
        The folder holds something else, or the lake of another shop.
    NotEnoughData
        There is no event.
    StoreMissing, StoreBusy, StoreError
    """
    secret = load_secret(settings.db)
    ours = folder.resolve() in lakes(settings.db)
    read = _contents(folder).read_or_empty if ours else _contents(folder).read
    _refuse_others(folder, read(), shop_id(secret), ours)
    _remember(settings.db, folder)  # first, because a killed export has written something, too
    with _alone(folder, settings, progress):
        known = _noted(folder, replace(read(), shop=shop_id(secret)))
        with progress.stage("Reading events"), store.reading() as con:
            lake_rows.name_customers(con, secret, barred(settings.artifacts))
            wanted = lake_rows.months(con)
            if not wanted and not ours:
                raise NotEnoughData("The database holds no event to export.", "Run recsys ingest FILE.")
            removed = tuple(month for month in known.months if month not in wanted)
            for month in removed:
                shutil.rmtree(_place(folder, month).parent, ignore_errors=True)
                known = _noted(folder, known, months={m: one for m, one in known.months.items() if m != month})
            known = _write(folder / ITEMS, lake_rows.items(con), folder, known)
            there = {month: one for month, one in known.months.items() if _place(folder, month).exists()}
            stale = tuple(month for month, one in wanted.items() if there.get(month) != one)
            with progress.stage("Writing months", len(stale)) as advance:
                for month in stale:
                    private_dir(_place(folder, month).parent)
                    _replace(_place(folder, month), lake_rows.events_of_month(con, month))
                    known = _noted(folder, known, months={**known.months, month: wanted[month]})
                    advance(1)
        _sweep(folder, known)
    events = sum(one.events for one in known.months.values())
    return Exported(folder, events, stale, len(wanted) - len(stale), removed)


def update_lakes(store: Store, settings: Settings, progress: Progress = SILENT) -> Behind:
    """Export again into all lakes of this database, so that those who are gone from it are gone from them.

    Notes, and gives, those that are left behind. One that fails keeps nothing else from being done. A folder without
    any event in it is none: a lake that was emptied on purpose is not filled again.
    """
    missing, failed = [], []
    for folder in lakes(settings.db) if store.exists() else []:
        if not (folder / CONTENTS).exists() and not any(folder.glob(f"{EVENTS}/*/{PART}")):
            missing.append(folder)
            progress.note(f"The lake {folder} is not there: where it is now, run recsys export --lake, or delete it.")
            continue
        try:
            with progress.stage(f"Rewriting the lake {folder}"):
                export_lake(store, settings, folder)
        except RecsysError as e:
            failed.append(f"the lake {folder}, which could not be rewritten: {e.message}")
            progress.note(f"The lake {folder} could not be rewritten: {e.message}")
    return Behind(tuple(missing), tuple(failed))


def lakes(db: Path) -> list[Path]:
    """Where this database was exported to."""
    return [Path(where) for where in _register(db).read()]


def _remember(db: Path, folder: Path) -> None:
    held, where = _register(db).read(), str(folder.resolve())
    if where not in held:
        _register(db).write([*held, where])


def _register(db: Path) -> StateFile[list[str]]:
    lost = "Erasures then know of no lake: run recsys export --lake once more for each."
    return StateFile(state_dir(db) / "lakes.json", list[str], list, lost)


def _contents(folder: Path) -> StateFile[Contents]:
    return StateFile(folder / CONTENTS, Contents, Contents, "Without it every month is written again.")


def _noted(folder: Path, known: Contents, *, months: dict[str, Month] | None = None) -> Contents:
    known = replace(known, months=dict(sorted((known.months if months is None else months).items())))
    _contents(folder).write(known)
    return known


def _refuse_others(folder: Path, known: Contents, shop: str, ours: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", "Name a new or an empty one.")
    if known.shop and known.shop != shop:
        raise InputError(f"{folder} is the lake of another shop.", "Name another folder.")
    mine = {".lock", *((CONTENTS, ITEMS, EVENTS) if ours else ())}
    held = [path.name for path in folder.iterdir()] if not known.shop and folder.is_dir() else []
    if any(name not in mine and not (ours and name.endswith(".tmp")) for name in held):
        raise InputError(f"{folder} holds something other than a lake.", "Name a new or an empty folder.")


@contextmanager
def _alone(folder: Path, settings: Settings, progress: Progress) -> Iterator[None]:
    private_dir(folder)
    with locked(
        folder / ".lock",
        timeout=settings.store.lock_timeout,
        waiting=lambda who: progress.note(f"Waiting for {who}, which is writing {folder} …"),
        busy=lambda who: StoreBusy(f"{folder} is being written by {who}.", "Wait for it to end and run this again."),
    ):
        yield


def _place(folder: Path, month: str) -> Path:
    return folder / EVENTS / f"month={month}" / PART


def _write(path: Path, items: pa.Table, folder: Path, known: Contents) -> Contents:
    """The file of items, when it would be another one."""
    draft = _draft(path, items)
    if path.exists() and sha256_of(draft) == known.items:
        draft.unlink()
        return known
    known = replace(known, items=sha256_of(draft))
    draft.replace(path)
    _contents(folder).write(known)
    return known


def _replace(path: Path, table: pa.Table) -> None:
    _draft(path, table).replace(path)
    fsync_dir(path.parent)


def _draft(path: Path, table: pa.Table) -> Path:
    draft = path.with_name(f".{path.name}.tmp")  # readers of Parquet folders skip what begins with a dot
    try:
        pq.write_table(table, draft, compression="zstd", row_group_size=_ROWS)
        draft.chmod(0o600)
        fsync_file(draft)
    except OSError as e:
        draft.unlink(missing_ok=True)
        raise explain_os(e, path) from None
    return draft


def _sweep(folder: Path, known: Contents) -> None:
    """Remove what killed exports left."""
    for path in (*folder.glob(".*.tmp"), *folder.glob(f"{EVENTS}/month=*/.*.tmp")):
        path.unlink(missing_ok=True)
    for path in folder.glob(f"{EVENTS}/month=*"):
        if path.name.partition("=")[2] not in known.months:
            shutil.rmtree(path, ignore_errors=True)
