"""One file into the store: understood, checked row by row, and merged exactly once, in one transaction.

A kill at any moment leaves the store as it was before the file, or with all of it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from ..artifacts import suppressed
from ..durable_files import draft_dir, scratch_elsewhere, sha256_of, sweep_drafts
from ..errors import InputError
from ..identity import load_secret
from ..progress import SILENT, Progress
from ..schema import ATTRIBUTES
from ..settings import Settings
from ..store import Store, merge
from . import value_parsing
from .checks import Context, now
from .columns import EVENTS, ITEMS, USERS
from .formats import Hints, detect
from .import_report import FileReport, Report
from .mapping import Understanding, names_people, refuse_dealings, understand
from .readers import Source, open_source
from .rejected_rows import explain_numbered, forget_mended, keep_rejected, private_text, reasons_of
from .staging import Options, check_rows, load_raw
from .zones import check_zone

# Files with more rows an item than this are no catalogues but dealings, from which a catalogue is gathered.
ROWS_AN_ITEM = 3.0
_FEW = 5  # of the kinds that a note is written for; a column of free text has thousands
READING = "2"  # changes when the same file would be read differently; part of what tells files taken before


@dataclass(frozen=True)
class Request:
    """What the person asked for, beyond the settings.

    Parameters
    ----------
    kind, preset, said
        events, items or users; platform; field to column. None and empty are found out.
    hints
        How the file is written.
    strict
        Refuse a file with a row that something is wrong with.
    dry_run
        Report, and change nothing.
    replace
        The items are the whole catalogue: retire what is missing.
    label
        What to call the file in reports and the ledger, when not its own name (standard input).
    date
        The time of all rows of files of events, epoch seconds, where they have none.
    """

    kind: str | None = None
    preset: str | None = None
    said: Mapping[str, str] = field(default_factory=dict)
    hints: Hints = field(default_factory=Hints)
    strict: bool = False
    dry_run: bool = False
    replace: bool = False
    label: str = ""
    date: int | None = None


# Not the file's fault; the store has sentences for these.
_STORE_TROUBLE = (duckdb.IOException, duckdb.FatalException, duckdb.SerializationException, duckdb.OutOfMemoryException)


class _Undo(Exception):
    """Ends a transaction whose result is not wanted."""

    def __init__(self, report: FileReport) -> None:
        super().__init__()
        self.report = report


def ingest(
    settings: Settings,
    files: Sequence[Path],
    request: Request | None = None,
    *,
    progress: Progress = SILENT,
    waiting: Callable[[str], None] | None = None,
) -> Report:
    """Take files into the store, each in a transaction of its own.

    Parameters
    ----------
    progress
        Told what was understood before a file is read, and how far it is.
    waiting
        Told when another command has the database.

    Raises
    ------
    RecsysError
        For the first file that cannot be taken; those before it are in.
    """
    request = request or Request()
    check_zone(settings.ingest.timezone)
    reports = []
    for path in files:
        source, understood = _look(settings, path, request, progress)
        with _database(settings, request.dry_run) as db, Store(db, settings.store, waiting=waiting).writing() as con:
            reports.append(_take(con, settings, source, understood, request, load_secret(db), progress))
    return Report(tuple(reports))


@contextmanager
def _database(settings: Settings, dry_run: bool) -> Iterator[Path]:
    """The database; for a trial where there is none one that goes again, because a trial leaves nothing behind."""
    if not dry_run or Store(settings.db, settings.store).exists():
        yield settings.db
        return
    sweep_drafts(*scratch_elsewhere())
    with draft_dir(*scratch_elsewhere()) as folder:
        yield folder / "recsys.duckdb"


def _look(settings: Settings, path: Path, request: Request, progress: Progress) -> tuple[Source, Understanding]:
    """Understand the file before the database is opened, and say what was understood."""
    chosen = settings.ingest
    source = open_source(path, detect(path, request.hints))
    preset = request.preset or (None if chosen.preset == "auto" else chosen.preset)
    remembered = {EVENTS: chosen.map_events, ITEMS: chosen.map_items, USERS: chosen.map_users}
    understood = understand(
        source, kind=request.kind, said=request.said, preset=preset, remembered=remembered, date=request.date
    )
    as_what = f"{understood.kind} ({understood.preset.platform})" if understood.preset else understood.kind
    columns = ", ".join(f"{f} from {c}" for f, c in understood.described(source.columns).items())
    progress.note(f"{request.label or path.name}: {as_what}, {source.form.described()}: {columns}.")
    return source, understood


def _take(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    source: Source,
    understood: Understanding,
    request: Request,
    secret: str,
    progress: Progress,
) -> FileReport:
    started = time.monotonic()
    name = request.label or source.path.name
    mark = _mark(source, understood, settings, request.hints)
    # Read inside the store's lock: an erasure notes itself there before the rows go.
    keep_out = suppressed.kept_out(settings.db)
    before = merge.find_batch(con, mark)
    if before is not None and not request.replace:
        return _already(source, understood, name, before)
    try:
        with progress.stage(f"Ingesting {name}"), merge.transaction(con):
            report = _merge(con, settings, source, understood, request, secret, name, mark, keep_out)
            if not report.stored:
                raise _Undo(report)
    except _Undo as undo:  # the transaction was taken back on purpose; the report says so
        report = undo.report
    except _STORE_TROUBLE:
        raise
    except duckdb.Error as e:
        what = str(e).strip().splitlines()[0]
        raise InputError(
            f"{name} holds something that cannot be taken: {what}.", "Nothing was changed; please report this file."
        ) from e
    report = replace(report, seconds=round(time.monotonic() - started, 3))
    if request.strict and report.wrong:
        raise StrictRefusal(report)
    return report


class StrictRefusal(InputError):
    """A file refused whole because of rows that something is wrong with."""

    def __init__(self, report: FileReport) -> None:
        worst = next(r for r in report.reasons if r.severity == "rejected")
        where = ", ".join(f"row {e.row}" for e in worst.examples)
        super().__init__(
            f"{report.file} was refused: {report.wrong} of {report.read} rows are wrong, {worst.rows} of them because: "
            f"{worst.sentence} ({where})",
            "Mend the file, or leave --strict out to take the rest; nothing was changed.",
        )
        self.report = report


def _mark(source: Source, understood: Understanding, settings: Settings, hints: Hints) -> str:
    """Tells this content read in this way from all others: the content's hash, a colon, and the way's.

    What was found out from the content is no part of the way: a file that an erasure has rewritten is read in the same
    way, though without the one umlaut in it nothing tells its encoding any more.
    """
    form = (source.form.name, source.form.compression, hints)
    way = (READING, understood.kind, sorted(understood.columns.items()), form, settings.ingest)
    preset = understood.preset.platform if understood.preset else ""
    dated = () if understood.date is None else (understood.date,)
    digest = hashlib.sha256(repr((*way, preset, *dated)).encode()).hexdigest()[:16]
    return f"{sha256_of(source.path)}:{digest}"


def _already(source: Source, understood: Understanding, name: str, before: Mapping[str, int]) -> FileReport:
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(before["started_at"]))
    return FileReport(
        **_headline(source, understood, name),
        read=before["read"],
        new=0,
        known=before["new"] + before["known"],
        rejected=before["rejected"],
        seconds=0.0,
        notes=(f"The same file was taken on {when} UTC; it adds nothing.",),
        already=True,
    )


def _headline(source: Source, understood: Understanding, name: str) -> dict[str, Any]:
    return {
        "file": name,
        "kind": understood.kind,
        "format": source.form.described(),
        "preset": understood.preset.platform if understood.preset else None,
        "understood": understood.described(source.columns),
        "unused": tuple(source.columns[i] for i in understood.unused),
    }


def _merge(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    source: Source,
    understood: Understanding,
    request: Request,
    secret: str,
    name: str,
    mark: str,
    keep_out: Mapping[str, int],
) -> FileReport:
    attributes = understood.preset is None and (
        understood.kind == USERS or (understood.kind == ITEMS and not names_people(source.columns))
    )
    load_raw(con, source, understood, everything=attributes)
    chosen = settings.ingest
    has = frozenset({*understood.columns, *(("item_id",) if "handle" in understood.columns else ())})
    context = Context(understood.kind, has, chosen, now(), keep_out, secret)
    options = Options(
        chosen.timezone,
        None if chosen.date_order == "auto" else chosen.date_order,
        None if chosen.decimal == "auto" else chosen.decimal,
        chosen.emails == "hash",
    )
    staged = check_rows(con, source, understood, context, options)
    hashing = secret if options.hash_emails else None
    reasons = explain_numbered(con, reasons_of(con, staged.checks, source), source, understood)
    rejected = sum(r.rows for r in reasons)
    stored = not request.dry_run and not (request.strict and any(r.severity == "rejected" for r in reasons))
    size, reading = source.path.stat().st_size, understood.remembered(source.columns, staged.date_order)
    batch = merge.open_batch(con, name, understood.kind, mark, size, reading)
    rows, things = _rows_and_things(con, understood.kind)
    refuse_dealings(source, understood, rows, things)
    gathered = understood.kind == ITEMS and rows > ROWS_AN_ITEM * things > 0
    attributes = attributes and not gathered  # of an item's many rows none says what the item is like
    extra = _attributes(source, understood, hashing) if attributes else ""
    merged, notes = _merge_accepted(con, source, understood, request, batch, gathered, extra, settings.events.weights)
    forget_mended(con, source)
    keep_rejected(con, batch, name, mark, staged.checks, source, understood, hashing)
    merge.close_batch(con, batch, merged, rejected)
    con.execute("DROP TABLE raw; DROP TABLE checked; DROP TABLE broken")
    if not staged.read:
        notes = [*notes, "The file has column names and no rows."]
    return FileReport(
        **_headline(source, understood, name),
        read=staged.read,
        new=merged.new,
        known=merged.known,
        rejected=rejected,
        seconds=0.0,
        changed=merged.changed,
        retired=merged.retired,
        reasons=reasons,
        notes=(*understood.notes, *staged.notes, *notes),
        stored=stored,
        attributes=attributes,
    )


def _merge_accepted(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    understood: Understanding,
    request: Request,
    batch: int,
    gathered: bool,
    attributes: str,
    weights: Mapping[str, float],
) -> tuple[merge.Merged, list[str]]:
    kept = "* EXCLUDE (reason, detail)"
    if understood.kind == EVENTS:
        con.execute(f"CREATE OR REPLACE TEMP VIEW accepted AS SELECT {kept} FROM checked WHERE reason = 0")
        merged, notes = merge.merge_events(con, "accepted", batch_id=batch), _event_notes(con, weights)
        con.execute("DROP VIEW accepted")
        return merged, notes
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE accepted AS SELECT {kept.replace('*', 'k.*')}{attributes} "
        "FROM checked k JOIN raw USING (row_number) WHERE reason = 0 ORDER BY row_number"
    )
    rows = int(con.execute("SELECT count(*) FROM accepted").fetchall()[0][0])
    if request.replace and not rows:
        raise InputError(
            f"{source.path} has no item that can be taken; it is no whole catalogue.", "Leave --replace out."
        )
    notes = []
    if gathered:
        _gather(con)
        notes.append("The file has many rows an item: its usual title and its median price were taken.")
    con.execute("ALTER TABLE accepted DROP row_number")
    merged = (
        merge.merge_items(con, "accepted", replace=request.replace, present="checked")
        if understood.kind == ITEMS
        else merge.merge_users(con, "accepted")
    )
    con.execute("DROP TABLE accepted")
    return replace(merged, read=rows, known=rows - merged.new), notes


def _event_notes(con: duckdb.DuckDBPyConnection, weights: Mapping[str, float]) -> list[str]:
    """What is worth knowing of the events that were taken."""
    notes = []
    columns = {row[0] for row in con.execute("DESCRIBE accepted").fetchall()}
    if "event_type" in columns:
        refunds = con.execute("SELECT count(*) FROM accepted WHERE event_type = 'refund'").fetchall()[0][0]
        if refunds:
            many = f"{refunds} rows are refunds or cancellations."
            notes.append("1 row is a refund or cancellation." if refunds == 1 else many)
        counted = con.execute("SELECT event_type, count(*) FROM accepted GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
        weightless = [(kind, n) for kind, n in counted if kind not in weights]
        for kind, n in weightless[:_FEW]:
            count = "1 event counts" if n == 1 else f"{n:,} events count"
            advice = "set one under [events.weights] in recsys.toml"
            notes.append(f"Event type {kind[:40]!r} has no weight: {count} for nothing; {advice}.")
        if len(weightless) > _FEW:
            notes.append(f"So have {len(weightless) - _FEW} more event types.")
    unknown = con.execute(
        "SELECT count(DISTINCT item_id) FROM accepted WHERE item_id NOT IN (SELECT item_id FROM items)"
    ).fetchall()[0][0]
    if unknown and con.execute("SELECT count(*) FROM (SELECT 1 FROM items LIMIT 1)").fetchall()[0][0]:
        some = con.execute(
            "SELECT DISTINCT item_id FROM accepted WHERE item_id NOT IN (SELECT item_id FROM items) ORDER BY 1 LIMIT 3"
        ).fetchall()
        notes.append(f"{unknown} items are not in the catalogue (yet): {', '.join(i for (i,) in some)}, …")
    return notes


def _rows_and_things(con: duckdb.DuckDBPyConnection, kind: str) -> tuple[int, int]:
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
            # Corrections and gifts go out at nought; that is not what the item costs.
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


def _attributes(source: Source, understood: Understanding, secret: str | None) -> str:
    """The columns that have no name of ours, as a JSON object without the empty ones; addresses are hashed."""
    first: dict[str, int] = {}  # of columns with the same name the first counts: an object has each key once
    for i in understood.unused:
        first.setdefault(source.columns[i], i)
    named = {name: i for name, i in first.items() if name}
    if not named:
        return ""
    pairs = ", ".join(
        f"{{'k': {value_parsing.quote(name)}, 'v': {private_text(f'c{i}::VARCHAR', secret)}}}"
        for name, i in named.items()
    )
    filled = f"list_filter([{pairs}], lambda e: e.v IS NOT NULL AND e.v <> '')"
    entries = f"map_from_entries(list_transform({filled}, lambda e: struct_pack(k := e.k, v := e.v)))"
    return f", CASE WHEN len({filled}) > 0 THEN to_json({entries})::VARCHAR END AS {ATTRIBUTES}"
