"""`recsys gdpr`: what is held about a person, and its erasure."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import ErasureIncomplete, NoModel, Refused, StoreMissing, UsageError
from ..settings import Settings
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start
from .safe_output import plain_json

if TYPE_CHECKING:
    from ..artifacts import Artifacts
    from ..store import Store

gdpr = typer.Typer(
    name="gdpr",
    help="The rights of the people whose data this is: export and erasure, with proof.",
    no_args_is_help=True,
)
ROWS = "has rows of theirs"
UsersArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="USER…", help="Customer ids, the e-mails they stand for, or sessions of guests."),
]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="A text or CSV file of people: one a line, or a column user_id.")
]
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Customer id, or the e-mail it stands for.")]


@gdpr.command("export")
def export(
    user: UserArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder, or FILE.json for one file. [default: print JSON]")
    ] = None,
    also: Annotated[list[str] | None, typer.Option("--also", help="Another id of the same person; repeatable.")] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything held about a person, as JSON, CSV and a page in plain words (articles 15 and 20)."""
    from ..gdpr import exporting

    run = start(db, artifacts, config, as_json)
    store, versions = _state(run)
    asked = [user, *(also or [])]
    document = exporting.export(store, versions, run.settings, asked, _recommender(versions, run.settings))
    if out is None:
        sys.stdout.buffer.write(plain_json(exporting.as_json(document)).encode())
        exporting.note_printed(run.settings)
        return
    written = exporting.write(document, out, run.settings)
    counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in document["counts"].items() if n)
    result = {"files": [str(path) for path in written], "counts": document["counts"]}
    run.emit(result, lambda console: console.print(f"Wrote {out} ({counts}).", highlight=False, markup=False))


@gdpr.command("delete")
def delete(
    users: UsersArgument = None,
    file: FileOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train anew at once, and keep no older version.")] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase people from the store, the spool, every version and the bytes of the files, and prove it (article 17)."""
    from ..gdpr import erase
    from ..gdpr.receipts import OUTSIDE

    run = start(db, artifacts, config, as_json)
    asked = _asked(users, file)
    store, versions = _state(run)
    if not yes:
        _ask(f"Erase {len(asked)} {'person' if len(asked) == 1 else 'people'} for good?")
    done = erase(store, versions, run.settings, asked, run.progress)
    retrained = _retrain(store, versions, run, done.receipt) if retrain else None
    result: dict[str, Any] = {
        "request": done.request,
        "erased": done.erased,
        "unknown": len(done.unknown),
        "meant": done.meant,
        "spelled": list(done.spelled),
        "removed": done.removed,
        "scanned": {"files": done.scanned.files, "bytes": done.scanned.bytes, "findings": 0},
        "coincidences": len(done.scanned.coincidences),
        "resumed": done.resumed,
        "receipt": str(done.receipt),
        "retrained": retrained,
        "originals": [str(original.path) for original in done.originals],
        "reasons": {str(original.path): original.why or ROWS for original in done.originals},
        "not_searched": OUTSIDE,
        "lists": [str(path) for path in done.lists],
        "originals_removed": [str(path) for path in done.emptied],
        "seconds": done.seconds,
    }

    def render(console: Console) -> None:
        say = partial(console.print, highlight=False, markup=False)
        for one in done.unknown:
            meant = ", ".join(done.meant.get(one, []))
            say(f"Nothing is held about {one}." + (f" Did you mean {meant}? Ids are exact." if meant else ""))
        if done.erased or done.removed:
            removed = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in done.removed.items() if n)
            say(f"Erased {done.erased}: {removed or 'nothing was left'}.")
        for one in done.spelled:
            say(f"{one} is the same address in another case, and was erased as well.")
        for path in done.emptied:
            say(f"Removed {path}: nothing was left in it.")
        trace = "no trace in what is ours" if done.originals else "no trace"
        say(
            f"Searched {done.scanned.files} files, {done.scanned.bytes / 1e6:.1f} MB unpacked: {trace}. "
            f"{done.seconds:.1f} s."
        )
        _tell_coincidences(console, done.scanned.coincidences)
        for original in done.originals:
            why = original.why or ROWS
            say(f"The file {original.path} in the watched folder still names them: it {why}; mend or delete it.")
        if done.erased:
            say(f"Not searched: {OUTSIDE}.")
            for path in done.lists:
                say(f"The list {path} was written before: write it anew, or delete it.")
        if retrained:
            say(f"Trained anew: {retrained}.")
        say(f"Receipt: {done.receipt.with_suffix('.txt')}")

    run.emit(result, render)


@gdpr.command("resume")
def resume(
    db: DbOption = None, artifacts: ArtifactsOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Finish erasures that were interrupted or failed, each by itself; later deletes and the worker try as well."""
    from ..gdpr import resume as finish
    from ..gdpr.erasing import together

    run = start(db, artifacts, config, as_json)
    done = finish(*_state(run), run.settings, run.progress)
    lines = [f"Finished. Receipt: {one.receipt.with_suffix('.txt')}" for one in done.finished]
    text = "\n".join(lines) or ("" if done.failed else "No erasure is unfinished.")
    result = {"resumed": bool(done.finished), "finished": len(done.finished), "unfinished": len(done.failed)}
    run.emit(result, lambda out: out.print(text, highlight=False, markup=False, end="\n" if text else ""))
    if done.failed:
        raise together(done.failed)


@gdpr.command("verify")
def verify(
    users: UsersArgument = None,
    file: FileOption = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search every file for people, in every encoding and inside what is packed; fails if anybody is found.

    Files of the watched folder are the shop's own: those that name them are listed, and are no failure.
    """
    from ..gdpr import verify as search

    run = start(db, artifacts, config, as_json)
    found = search(*_state(run), run.settings, _asked(users, file), run.progress)

    def render(console: Console) -> None:
        say = partial(console.print, highlight=False, markup=False)
        for place in dict.fromkeys((*map(str, found.findings), *(f"{u} (cannot be opened)" for u in found.unread))):
            say(place)
        verdict = "nobody found" if found.clean else f"{len(found.findings)} traces"
        if found.originals:
            many = len(found.originals) > 1
            verdict += f" in what is ours; {len(found.originals)} original{'s' * many} that name{'s' * (not many)} them"
        say(f"Searched {found.files} files, {found.bytes / 1e6:.1f} MB unpacked: {verdict}.")
        for original in found.originals:
            say(f"The original {original.path} in the watched folder names them: it {original.why or ROWS}.")
        if found.clean:  # beside traces, the same bytes are mostly those of the traces
            _tell_coincidences(console, found.coincidences)

    places = [{"path": f.path, "inside": f.inside, "encoding": f.encoding, "offset": f.offset} for f in found.findings]
    result = {"clean": found.clean, "findings": places, "unread": found.unread, "files": found.files}
    result |= {"originals": [{"path": str(o.path), "why": o.why or ROWS} for o in found.originals]}
    run.emit(result | {"bytes": found.bytes, "coincidences": len(found.coincidences)}, render)
    if not found.clean:
        raise typer.Exit(ErasureIncomplete.exit_code)


def _decide(users: list[str] | None, file: Path | None, mode: str, run: Run, said: str) -> None:
    from ..gdpr.deciding import decide

    done = decide(*_state(run), run.settings, _asked(users, file), mode, run.progress)

    def render(console: Console) -> None:
        say = partial(console.print, highlight=False, markup=False)
        known = done.people - len(done.unknown)
        if known:
            who = "1 person" if known == 1 else f"{known} people"
            say(f"{who}: {said} Servers follow within a second.")
        for one in done.unknown:
            meant = ", ".join(done.meant.get(one, []))
            advice = f"Did you mean {meant}? Ids are exact" if meant else "Check how the shop writes its customer ids"
            what = {"restricted": "restriction", "objected": "objection"}.get(done.mode, "choice")
            say(f"Nothing is held about {one}. {advice}; the {what} is noted for what may still come of them.")

    run.emit(asdict(done), render)


@gdpr.command("restrict")
def restrict(
    users: UsersArgument = None,
    file: FileOption = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Only store what is held of people, and use it for nothing (article 18), until unrestrict."""
    run = start(db, artifacts, config, as_json)
    _decide(users, file, "restricted", run, "their data is kept and no longer used.")


@gdpr.command("unrestrict")
def unrestrict(
    users: UsersArgument = None,
    file: FileOption = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift a restriction; the next pass of the update worker uses their history again."""
    run = start(db, artifacts, config, as_json)
    _decide(users, file, "full", run, "their data is used again, from the next update on.")


@gdpr.command("object")
def object_(
    users: UsersArgument = None,
    file: FileOption = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Note that people object to profiling (article 21): popular lists only."""
    run = start(db, artifacts, config, as_json)
    _decide(users, file, "objected", run, "no profile of them is used; they get popular lists.")


@gdpr.command("consent")
def consent(
    mode: Annotated[str, typer.Argument(metavar="MODE", help="none, session or full.")],
    users: UsersArgument = None,
    file: FileOption = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Note what people consent to (article 7): no profile, this session only, or all of it."""
    run = start(db, artifacts, config, as_json)
    if mode not in ("none", "session", "full"):
        raise UsageError(f"'{mode}' is no consent.", "Choose none, session or full.")
    _decide(users, file, mode, run, f"consent is {mode}.")


@gdpr.command("rectify")
def rectify(
    user: UserArgument,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An attribute of the profile; empty removes it. Repeatable."),
    ] = None,
    remove_item: Annotated[
        list[str] | None, typer.Option("--remove-item", help="An item that was never theirs. Repeatable.")
    ] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put right what is wrong about a person, and leave no byte of what it was (article 16)."""
    from ..gdpr.rectifying import rectify as put_right

    run = start(db, artifacts, config, as_json)
    for pair in set_ or []:
        if not pair.partition("=")[0].strip() or "=" not in pair:
            raise UsageError(f"--set wants KEY=VALUE, not '{pair}'.", "Write it like --set city=Bonn.")
    pairs = dict(pair.partition("=")[::2] for pair in set_ or [])
    values = {name.strip(): value or None for name, value in pairs.items()}
    done = put_right(*_state(run), run.settings, user, values, remove_item or [], run.progress)
    text = f"Put right: {done.profiles} profiles, {done.events} events removed."
    run.emit(asdict(done), lambda out: out.print(text, highlight=False, markup=False))


@gdpr.command("retention")
def retention(
    db: DbOption = None, artifacts: ArtifactsOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Erase what is older than the settings allow; the update worker does the same once a day (article 5(1)(e))."""
    from ..gdpr.retention import expire

    run = start(db, artifacts, config, as_json)
    gone = expire(*_state(run), run.settings, run.progress)
    text = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in gone.items()) or "nothing was old enough"
    run.emit(gone, lambda out: out.print(f"Erased: {text}.", highlight=False, markup=False))


@gdpr.command("notice")
def notice(
    db: DbOption = None, artifacts: ArtifactsOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Draft, from the settings, of what customers must be told (articles 13, 14, 15(1)(h)); Markdown."""
    from ..gdpr.telling import notice as draft

    run = start(db, artifacts, config, as_json)
    text = draft(run.settings, _state(run)[1])
    run.emit({"markdown": text}, lambda out: _write(text))


@gdpr.command("records")
def records(
    db: DbOption = None, artifacts: ArtifactsOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Draft, from the settings, of the entry in the record of processing activities (article 30); Markdown."""
    from ..gdpr.telling import records as draft

    run = start(db, artifacts, config, as_json)
    text = draft(run.settings, _state(run)[1])
    run.emit({"markdown": text}, lambda out: _write(text))


@gdpr.command("log")
def log(
    db: DbOption = None, artifacts: ArtifactsOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Requests with their dates and one-month clocks; no names."""
    from ..gdpr.receipts import iso
    from ..gdpr.requests import with_waiting

    run = start(db, artifacts, config, as_json)
    _state(run)
    held = with_waiting(run.settings.db, run.settings.artifacts)

    def render(console: Console) -> None:
        table = Table("request", "kind", "people", "received", "due", "outcome", box=None)
        for r in held:
            table.add_row(r.id, r.kind, str(r.people), iso(r.received_at)[:10], iso(r.due_at)[:10], r.outcome or "open")
        console.print(table if held else "No request yet.")

    run.emit([asdict(r) for r in held], render)


def _asked(users: list[str] | None, file: Path | None) -> list[str]:
    from ..gdpr.asking import read_list

    asked = [*(users or []), *(read_list(file) if file else [])]
    if not asked:
        raise UsageError("No customer was named.", "Name one or more, or a file of them with --file.")
    return list(dict.fromkeys(asked))


def _tell_coincidences(console: Console, found: list[Any]) -> None:
    if found:
        where = ", ".join(dict.fromkeys(f.inside or Path(f.path).name for f in found[:4]))
        text = f"The same digits also stand for something else in {len(found)} places ({where}); those stay."
        console.print(text, highlight=False, markup=False)


def _retrain(store: Store, artifacts: Artifacts, run: Run, receipt: Path) -> str:
    """Train the served recipe on what is left, serve it whatever the gate says, and drop what was learned before."""
    from ..gdpr.receipts import note_retrained
    from ..publishing.train import retrain

    version = retrain(store, artifacts, run.settings, run.progress)
    note_retrained(receipt, version.name)
    return version.name


def _state(run: Run) -> tuple[Store, Artifacts]:
    """The database and the artifacts; refuses when there is neither, so that nothing is made in a wrong place."""
    from ..artifacts import Artifacts
    from ..store import Store

    settings = run.settings
    store = Store(settings.db, settings.store, waiting=run.waiting)
    artifacts = Artifacts(settings.artifacts, lock_timeout=settings.store.lock_timeout)
    if store.exists():
        with store.reading():
            pass  # it is one of ours
    elif not artifacts.names():
        raise StoreMissing(f"There is no database {store.path} yet.", "Run recsys ingest FILE, or name it with --db.")
    return store, artifacts


def _write(text: str) -> None:
    sys.stdout.write(text)  # Markdown for a file: neither wrapped nor coloured


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise Refused("Nothing was erased: there is no terminal to confirm on.", "Add --yes to erase without asking.")
    typer.confirm(question, abort=True)


def _recommender(artifacts: Artifacts, settings: Settings) -> Any:
    """What the served version recommends to a customer, or None when nothing is served."""
    from ..identity import load_secret
    from ..serving import Engine
    from ..serving.request import Request

    try:
        engine = Engine.open(artifacts.current(), load_secret(settings.db))
    except NoModel:
        return None

    def recommend(user_id: str) -> list[dict[str, Any]]:
        return engine.describe(engine.recommend(Request(user_id=user_id, k=20, explain=True)))

    return recommend
