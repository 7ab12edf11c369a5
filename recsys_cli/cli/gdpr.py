"""`recsys gdpr`: what is held about people, its erasure, their choices, and the papers that go with them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..errors import ErasureIncomplete, UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start
from .gdpr_common import (
    ByOption,
    HandlingOptions,
    check_language,
    confirm,
    handled,
    open_state,
    people_asked,
    recommender,
    retrain_now,
    write_out,
)
from .gdpr_report import counted, erasure_question, erasure_result, say_also, say_erased, say_log, say_mentions
from .safe_output import plain_json

if TYPE_CHECKING:
    from ..gdpr.records.request_log import Handling

gdpr = typer.Typer(
    name="gdpr",
    help="What the GDPR asks for: export, erasure, objection and records, with proof.",
    no_args_is_help=True,
)
UsersArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="USER…", help="Customer ids, e-mail addresses, or sessions of guests."),
]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="A text or CSV file of people: one per line, or a column user_id.")
]
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Customer id, or e-mail address.")]
RequestArgument = Annotated[str, typer.Argument(metavar="REQUEST", help="Id of the request, see recsys gdpr log.")]
LangOption = Annotated[str, typer.Option("--lang", help="Language of the text: en or de.")]


@gdpr.command("export")
@handled
def export(
    user: UserArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder, or FILE.json for one file. [default: print JSON]")
    ] = None,
    also: Annotated[list[str] | None, typer.Option("--also", help="Another id of the same person; repeatable.")] = None,
    lang: LangOption = "en",
    handling: HandlingOptions = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything held about a person, as JSON, CSV and a page in plain words (articles 15 and 20).

    A folder takes the place of nothing but an earlier export of the same person.
    """
    from ..gdpr.rights import export as exporting

    run = start(db, artifacts, config, as_json)
    store, versions = open_state(run)
    check_language(lang)
    asked = [user, *(also or [])]
    document = exporting.export(store, versions, run.settings, asked, recommender(run.settings))
    if out is None:
        sys.stdout.buffer.write(plain_json(exporting.as_json(document)).encode())
        exporting.note_printed(run.settings, handling)
        return
    written = exporting.write(document, out, run.settings, language=lang, handling=handling)
    counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in document["counts"].items() if n)
    result = {"files": [str(path) for path in written], "counts": document["counts"]}

    def render(console: Console) -> None:
        say = partial(console.print, highlight=False, markup=False)
        for one, attribute in document["resolved"].items():
            say(f"{user} is customer {one}, by the attribute {attribute} of the profile.")
        say_also(console, user, document["also"])
        say(f"Wrote {out} ({counts}).")

    run.emit(result | {"resolved": document["resolved"], "also": document["also"]}, render)


@gdpr.command("delete")
@handled
def delete(
    users: UsersArgument = None,
    file: FileOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="Retrain at once, and keep no older version.")] = False,
    handling: HandlingOptions = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase people from the store, the spool, every version and the bytes of the files, and prove it (article 17)."""
    from ..gdpr import erase
    from ..gdpr.rights.erase import together
    from ..gdpr.rights.export import held_of

    run = start(db, artifacts, config, as_json)
    asked = people_asked(users, file)
    store, versions = open_state(run)
    if not yes:
        confirm(lambda: erasure_question(run, asked, held_of(store, versions, run.settings, asked)))
    done = erase(store, versions, run.settings, asked, run.progress, handling=handling)
    retrained = retrain_now(store, versions, run) if retrain and done.erased else None
    run.emit(erasure_result(done) | {"retrained": retrained}, lambda console: say_erased(console, done, retrained))
    if done.failed:
        raise together(done.failed)


@gdpr.command("resume")
def resume(
    db: DbOption = None, artifacts: ArtifactsOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Finish erasures that were interrupted or failed; the update worker tries as well."""
    from ..gdpr import resume as finish
    from ..gdpr.rights.erase import together

    run = start(db, artifacts, config, as_json)
    done = finish(*open_state(run), run.settings, run.progress)
    lines = [f"Finished. Receipt: {one.receipt.with_suffix('.txt')}" for one in done.done]
    text = "\n".join(lines) or ("" if done.failed else "No erasure is unfinished.")
    result = {"resumed": bool(done.done), "finished": len(done.done), "unfinished": len(done.failed)}
    run.emit(result, lambda out: out.print(text, highlight=False, markup=False, end="\n" if text else ""))
    if done.failed:
        raise together(done.failed)


@gdpr.command("accept")
def accept(
    request: RequestArgument,
    note: Annotated[str, typer.Option("--note", help="What was found and why it may stay; without the person's name.")],
    by: ByOption = "",
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close an erasure that cannot be finished, after somebody has looked at what is left; the receipt says so."""
    from ..gdpr.rights.erase import accept as close

    run = start(db, artifacts, config, as_json)
    receipt = close(open_state(run)[1], run.settings, request, note, by)
    text = f"Closed. Receipt: {receipt.with_suffix('.txt')}"
    run.emit({"request": request, "receipt": str(receipt)}, lambda out: out.print(text, highlight=False, markup=False))


@gdpr.command("extend")
def extend(
    request: RequestArgument,
    note: Annotated[str, typer.Option("--note", help="Why; the person must have been told within the first month.")],
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an open request two more months (article 12(3))."""
    from ..gdpr.records.receipts import iso
    from ..gdpr.records.request_log import extend as longer

    run = start(db, artifacts, config, as_json)
    held = longer(run.settings.db, request, note)
    text = f"Request {request} is due on {iso(held.due_at)[:10]}."
    run.emit(asdict(held), lambda out: out.print(text, highlight=False, markup=False))


@gdpr.command("verify")
@handled
def verify(
    users: UsersArgument = None,
    file: FileOption = None,
    handling: HandlingOptions = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search every file that is ours for people; fails if anybody is found.

    Files of the watched folder are the shop's own: those that name them are listed; that is not a failure.
    """
    from ..gdpr import verify as search

    run = start(db, artifacts, config, as_json)
    found = search(*open_state(run), run.settings, people_asked(users, file), run.progress, handling=handling)
    scan = found.scan

    def render(console: Console) -> None:
        say = partial(console.print, highlight=False, markup=False)
        for place in dict.fromkeys((*map(str, scan.findings), *(f"{u} (damaged)" for u in scan.unread))):
            say(place)
        traces = len(scan.findings)
        verdict = "nobody found" if scan.clean else f"{traces} trace{'s' * (traces > 1)}"
        say(f"Searched {scan.files} files, {scan.bytes / 1e6:.1f} MB: {verdict}.")
        for original in found.originals:
            say(f"The shop's own file {original} names them.")
        say_mentions(console, scan.mentions)

    places = [{"path": f.path, "inside": f.inside, "encoding": f.encoding, "offset": f.offset} for f in scan.findings]
    result = {"clean": scan.clean, "findings": places, "unread": scan.unread, "files": scan.files, "bytes": scan.bytes}
    result |= {"originals": [{"path": str(o.path), "columns": dict(o.columns)} for o in found.originals]}
    run.emit(result | {"mentions": dict(scan.mentions)}, render)
    if not scan.clean:
        raise typer.Exit(ErasureIncomplete.exit_code)


def _decide(
    users: list[str] | None, file: Path | None, mode: str, run: Run, said: str, handling: Handling | None
) -> None:
    from ..gdpr.rights.consent import decide

    asked = people_asked(users, file)
    done = decide(*open_state(run), run.settings, asked, mode, run.progress, handling=handling)

    def render(console: Console) -> None:
        say = partial(console.print, highlight=False, markup=False)
        known = done.people - len(done.unknown)
        if known:
            who = "1 person" if known == 1 else f"{known} people"
            say(f"{who}: {said} Servers follow within a second.")
        for one, customers in done.resolved.items():
            say(f"{one} is customer {', '.join(customers)}, by the profile.")
        for one in done.unknown:
            meant = ", ".join(done.meant.get(one, []))
            advice = f"Did you mean {meant}? Ids are exact" if meant else "Check how the shop writes its customer ids"
            what = {"restricted": "restriction", "objected": "objection"}.get(done.mode, "choice")
            say(f"Nothing is held about {one}. {advice}; the {what} is recorded in case their data arrives later.")

    run.emit(asdict(done), render)


@gdpr.command("restrict")
@handled
def restrict(
    users: UsersArgument = None,
    file: FileOption = None,
    handling: HandlingOptions = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Only store what is held of people, and use it for nothing (article 18), until unrestrict."""
    run = start(db, artifacts, config, as_json)
    _decide(users, file, "restricted", run, "their data is kept and no longer used.", handling)


@gdpr.command("unrestrict")
@handled
def unrestrict(
    users: UsersArgument = None,
    file: FileOption = None,
    handling: HandlingOptions = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift a restriction; the next pass of the update worker uses their history again."""
    run = start(db, artifacts, config, as_json)
    _decide(users, file, "full", run, "their data is used again, from the next update on.", handling)


@gdpr.command("object")
@handled
def object_(
    users: UsersArgument = None,
    file: FileOption = None,
    handling: HandlingOptions = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Note that people object to profiling (article 21): popular lists only."""
    run = start(db, artifacts, config, as_json)
    _decide(users, file, "objected", run, "no profile of them is used; they get popular lists.", handling)


@gdpr.command("consent")
@handled
def consent(
    mode: Annotated[str, typer.Argument(metavar="MODE", help="none, session or full.")],
    users: UsersArgument = None,
    file: FileOption = None,
    handling: HandlingOptions = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Note what people consent to (article 7): no profile, this session only, or all of it."""
    run = start(db, artifacts, config, as_json)
    if mode not in ("none", "session", "full"):
        raise UsageError(f"'{mode}' is not a consent level.", "Choose none, session or full.")
    _decide(users, file, mode, run, f"consent is {mode}.", handling)


@gdpr.command("rectify")
@handled
def rectify(
    user: UserArgument,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An attribute of the profile; empty removes it. Repeatable."),
    ] = None,
    remove_item: Annotated[
        list[str] | None, typer.Option("--remove-item", help="An item the person never bought; repeatable.")
    ] = None,
    handling: HandlingOptions = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Correct a person's data, and leave no byte of what it was (article 16)."""
    from ..gdpr.rights.rectify import rectify as put_right

    run = start(db, artifacts, config, as_json)
    for pair in set_ or []:
        if not pair.partition("=")[0].strip() or "=" not in pair:
            raise UsageError(f"--set wants KEY=VALUE, not '{pair}'.", "Write it like --set city=Bonn.")
    pairs = dict(pair.partition("=")[::2] for pair in set_ or [])
    values = {name.strip(): value or None for name, value in pairs.items()}
    done = put_right(*open_state(run), run.settings, user, values, remove_item or [], run.progress, handling=handling)
    removed = counted({"events": done.events, "spool_lines": done.lines})
    text = f"Corrected: {counted({'users': done.profiles})}{f'; removed: {removed}' if removed else ''}."
    run.emit(asdict(done), lambda out: out.print(text, highlight=False, markup=False))


@gdpr.command("retention")
def retention(
    yes: Annotated[bool, typer.Option("--yes", help="Go on even if the date has jumped since the last run.")] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase what is older than the settings allow; the update worker does the same once a day (article 5(1)(e))."""
    from ..updates.retention_run import expire

    run = start(db, artifacts, config, as_json)
    gone = expire(*open_state(run), run.settings, run.progress, at_once=True, sure=yes)
    text = f"Erased: {counted(gone)}." if gone else "Nothing is old enough to be erased."
    run.emit(gone, lambda out: out.print(text, highlight=False, markup=False))


@gdpr.command("notice")
def notice(
    lang: LangOption = "en",
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draft, from the settings, of what customers must be told (articles 13, 14, 15(1)(h), 21(4)); Markdown."""
    from ..gdpr.records.letter import draft

    run = start(db, artifacts, config, as_json)
    check_language(lang)
    text = draft("notice", run.settings, open_state(run)[1], lang)
    run.emit({"markdown": text}, lambda out: write_out(text))


@gdpr.command("records")
def records(
    lang: LangOption = "en",
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draft, from the settings, of the entry in the record of processing activities (article 30); Markdown."""
    from ..gdpr.records.letter import draft

    run = start(db, artifacts, config, as_json)
    check_language(lang)
    text = draft("records", run.settings, open_state(run)[1], lang)
    run.emit({"markdown": text}, lambda out: write_out(text))


@gdpr.command("log")
def log(
    db: DbOption = None, artifacts: ArtifactsOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Requests with their dates and one-month clocks; no names."""
    from ..gdpr.records.request_log import with_waiting

    run = start(db, artifacts, config, as_json)
    open_state(run)
    held = with_waiting(run.settings.db, run.settings.artifacts)
    run.emit({"requests": [asdict(r) for r in held]}, lambda console: say_log(console, held))
