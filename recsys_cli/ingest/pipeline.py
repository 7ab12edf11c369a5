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
from ..settings import Settings
from ..store import Store, batches, imports, merge
from .acceptance import ROWS_AN_ITEM, Wanted, merge_accepted, rows_and_things
from .checks import Context, now
from .columns import EVENTS, ITEMS, USERS
from .formats import Hints, detect
from .import_report import FileReport, Report
from .joined_files import joined
from .mapping import understand
from .order_states import check_meanings, states_of
from .packed_cells import unpacked
from .raw_rows import load_raw
from .readers import Source, open_source
from .refusals import names_people, refuse_dealings
from .rejected_rows import explain_numbered, forget_mended, keep_rejected, reasons_of
from .staging import Options, check_rows
from .understanding import Asked, Understanding
from .workbook import is_archive, unpack
from .zones import check_zone

READING = "4"  # changes when the same file would be read differently; part of what tells files taken before


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
        Report only; change nothing.
    replace
        The file is the whole catalogue: retire items missing from it.
    label
        What to call the file in reports and the ledger, when not its own name (standard input).
    date
        The time of all rows of files of events, epoch seconds, where they have none.
    event_type
        What all rows of files of events tell: view, purchase, …
    ratings_from
        From which rating on a product is liked.
    nobody
        Words that stand for no customer, beyond the usual ones.
    yes
        Retire however many items a whole catalogue lacks.
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
    event_type: str | None = None
    ratings_from: float | None = None
    nobody: tuple[str, ...] = ()
    yes: bool = False


# Not the file's fault; the store has sentences for these.
_STORE_TROUBLE = (duckdb.IOException, duckdb.FatalException, duckdb.SerializationException, duckdb.OutOfMemoryException)


@dataclass(frozen=True)
class _Taking:
    """What a file is known by in the ledger, and whom its rows must not bring back; see `checks.Context`."""

    name: str
    mark: str
    secret: str
    keep_out: Mapping[str, int]


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
    return Report(tuple(ingest_each(settings, files, request, progress=progress, waiting=waiting)))


def ingest_each(
    settings: Settings,
    files: Sequence[Path],
    request: Request | None = None,
    *,
    progress: Progress = SILENT,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[FileReport]:
    """Like `ingest`, a report after the other; files that belong together are one."""
    request = request or Request()
    refused: list[InputError] = []
    check_zone(settings.ingest.timezone)
    check_meanings(settings.ingest.order_states)
    with draft_dir(*scratch_elsewhere()) as folder:
        opened = _opened(files, request, folder, settings.store.memory_limit, refused)
        for source in joined(opened, request.kind, request.said):
            report = None
            with _going_on(request, refused):
                understood = _look(settings, source, request, progress)
                with (
                    _database(settings, request.dry_run) as db,
                    Store(db, settings.store, waiting=waiting).writing() as con,
                ):
                    report = _take(con, settings, source, understood, request, load_secret(db), progress)
            if report is not None:
                yield report
    for error in refused[1:]:
        progress.note(str(error))
    if refused:
        raise refused[0]


@contextmanager
def _going_on(request: Request, refused: list[InputError]) -> Iterator[None]:
    """In a trial, which takes nothing anyway, remember why a file is refused, and look at the others all the same."""
    try:
        yield
    except InputError as e:
        if not request.dry_run:
            raise
        refused.append(e)


def _opened(
    files: Sequence[Path], request: Request, folder: Path, memory: str, refused: list[InputError]
) -> Iterator[Source]:
    """The tables of the files, each opened when its turn comes."""
    for n, path in enumerate(files):
        source = None
        with _going_on(request, refused):
            source = _open(path, request, folder / str(n), memory)
        if source is not None:
            yield source


def _open(path: Path, request: Request, inside: Path, memory: str) -> Source:
    form = detect(path, request.hints)
    if form.name == "workbook" and is_archive(path):
        inside.mkdir()
        path = unpack(path, inside)
        form = detect(path, request.hints)
    return unpacked(open_source(path, form, memory))


@contextmanager
def _database(settings: Settings, dry_run: bool) -> Iterator[Path]:
    """The database; for a trial without one, a temporary database, because a trial leaves nothing behind."""
    if not dry_run or Store(settings.db, settings.store).exists():
        yield settings.db
        return
    sweep_drafts(*scratch_elsewhere())
    with draft_dir(*scratch_elsewhere()) as folder:
        yield folder / "recsys.duckdb"


def _look(settings: Settings, source: Source, request: Request, progress: Progress) -> Understanding:
    """Understand the file before the database is opened, and say what was understood."""
    chosen = settings.ingest
    preset = request.preset or (None if chosen.preset == "auto" else chosen.preset)
    remembered = {EVENTS: chosen.map_events, ITEMS: chosen.map_items, USERS: chosen.map_users}
    asked = Asked(
        request.kind, request.said, preset, remembered, request.date, request.event_type, request.ratings_from
    )
    understood = understand(source, asked)
    as_what = f"{understood.kind} ({understood.preset.platform})" if understood.preset else understood.kind
    columns = ", ".join(f"{f} from {c}" for f, c in understood.described(source.columns).items())
    progress.note(f"{request.label or _name(source)}: {as_what}, {source.form.described()}: {columns}.")
    return understood


def _name(source: Source) -> str:
    return " + ".join(part.name for part in source.parts) if source.parts else source.path.name


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
    name = request.label or _name(source)
    mark = _mark(source, understood, settings, request)
    # Read inside the store's lock: an erasure notes itself there before the rows go.
    keep_out = suppressed.kept_out(settings.db)
    before = batches.find_batch(con, mark)
    if before is not None and not request.replace:
        return _already(source, understood, name, before)
    try:
        with progress.stage(f"Ingesting {name}"), merge.transaction(con):
            report = _merge(con, settings, source, understood, request, _Taking(name, mark, secret, keep_out))
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
            "Fix the file, or leave --strict out to take the rest; nothing was changed.",
        )
        self.report = report


def _mark(source: Source, understood: Understanding, settings: Settings, request: Request) -> str:
    """Tells this content read in this way from all others: the content's hash, a colon, and the way's.

    What was found out from the content is no part of the way: a file that an erasure has rewritten is read in the same
    way, though without the one umlaut in it nothing tells its encoding any more.
    """
    form = (source.form.name, source.form.compression, request.hints)
    way = (READING, understood.kind, sorted(understood.columns.items()), form, settings.ingest)
    preset = understood.platform
    told = (understood.date, understood.event_type, understood.ratings_from, request.nobody, understood.heads)
    digest = hashlib.sha256(repr((*way, preset, *told)).encode()).hexdigest()[:16]
    # Other sheets of a workbook are other content: reading April must not take March back.
    sheet = f":{hashlib.sha256(source.form.sheet.encode()).hexdigest()[:16]}" if source.form.sheet else ""
    return f"{_content(source)}:{digest}{sheet}"


def _content(source: Source) -> str:
    """The hash of the file, or of those it was joined from."""
    if not source.parts:
        return sha256_of(source.path)
    return hashlib.sha256(":".join(sha256_of(part) for part in source.parts).encode()).hexdigest()


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
        "preset": understood.platform or None,
        "understood": understood.described(source.columns),
        "unused": tuple(name for i in understood.unused if (name := source.columns[i]).strip()),
    }


def _merge(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    source: Source,
    understood: Understanding,
    request: Request,
    taking: _Taking,
) -> FileReport:
    name, mark, secret, keep_out = taking.name, taking.mark, taking.secret, taking.keep_out
    attributes = understood.preset is None and (
        understood.kind == USERS or (understood.kind == ITEMS and not names_people(source.columns))
    )
    replaced = imports.take_back_other_readings(con, mark, understood.kind) if not request.dry_run else 0
    load_raw(con, source, understood, everything=attributes)
    chosen = settings.ingest
    platform = understood.platform
    told = source.columns[understood.columns["status"][0]] if "status" in understood.columns else ""
    states = states_of(platform, chosen.order_states, told, source.columns)
    context = Context(understood.kind, _facts(source, understood), chosen, now(), keep_out, secret, states=states)
    options = Options(
        chosen.timezone,
        None if chosen.date_order == "auto" else chosen.date_order,
        None if chosen.decimal == "auto" else chosen.decimal,
        chosen.emails == "hash",
        (*chosen.nobody, *request.nobody),
        chosen.category_depth,
    )
    staged = check_rows(con, source, understood, context, options)
    hashing = secret if options.hash_emails else None
    reasons = explain_numbered(con, reasons_of(con, staged.checks, source), source, understood)
    rejected = sum(r.rows for r in reasons)
    stored = not request.dry_run and not (request.strict and any(r.severity == "rejected" for r in reasons))
    size, reading = _size(source), understood.remembered(source, staged.date_order)
    batch = batches.open_batch(con, name, understood.kind, mark, size, reading)
    rows, things = rows_and_things(con, understood.kind)
    refuse_dealings(source, understood, rows, things)
    gathered = understood.kind == ITEMS and rows > ROWS_AN_ITEM * things > 0
    wanted = Wanted(
        batch, request.replace, gathered, attributes, hashing, settings.events.weights, request.yes or request.dry_run
    )
    merged, notes = merge_accepted(con, source, understood, wanted)
    forget_mended(con, source)
    keep_rejected(con, batch, name, mark, staged.checks, source, understood, hashing)
    batches.close_batch(con, batch, merged, rejected)
    imports.forget_old(con)
    con.execute("DROP TABLE raw; DROP TABLE checked; DROP TABLE broken")
    if not staged.read:
        notes = [*notes, "The file has column names and no rows."]
    if replaced:
        notes = ["It was read in another way before: what that brought in was taken back.", *notes]
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
        notes=(*source.notes, *understood.notes, *staged.notes, *notes),
        stored=stored,
        attributes=attributes and not gathered,
    )


def _facts(source: Source, understood: Understanding) -> frozenset[str]:
    """The fields that the rows have, and what else rules go by; see `checks.Context`."""
    shopify = understood.preset is not None and understood.preset.platform == "shopify"
    variants = ("item_id", "variants") if "handle" in understood.columns and shopify else ()
    heads = ("heads",) if understood.heads else ()
    lines = ("lines",) if source.levels else ()
    return frozenset({*understood.columns, *variants, *heads, *lines})


def _size(source: Source) -> int:
    return sum(part.stat().st_size for part in source.parts or (source.path,))
