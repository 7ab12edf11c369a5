"""`recsys audit`: what was administered, by whom, and whether the log of it is whole."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import CorruptArtifact, NotFound, UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start

if TYPE_CHECKING:
    from ..artifacts.audit_log import AuditLog

audit = typer.Typer(name="audit", help="The log of administrative actions: show it, verify it.", no_args_is_help=True)

PredictionsOption = Annotated[
    bool, typer.Option("--predictions", help="Use the log of predictions (serve.audit_predictions).")
]


def _open(run: Run, predictions: bool) -> AuditLog:
    from ..artifacts.audit_log import ACTIONS, PREDICTIONS, AuditLog

    return AuditLog(run.settings.artifacts, PREDICTIONS if predictions else ACTIONS)


@audit.command("show")
def show(
    predictions: PredictionsOption = False,
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, max=1_000_000, help="How many of the newest entries.")
    ] = 50,
    user: Annotated[str | None, typer.Option("--user", help="Only entries about this customer.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only entries whose action starts with this.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Only entries by this user, key or platform.")] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the log, oldest first: when, who, what, with what outcome."""
    run = start(db, artifacts, config, as_json)
    from collections import deque

    from ..artifacts.audit_log import hash_of

    wanted = hash_of(*_customer(run, user)) if user is not None else ""
    chosen = (
        e
        for e in _open(run, predictions).entries()
        if (not wanted or wanted in e["people"])
        and (not action or e["action"].startswith(action))
        and (not by or by in e["by"].values())
    )
    found = list(deque(chosen, maxlen=count))
    run.emit({"entries": found}, lambda out: _draw(out, found))


def _customer(run: Run, user: str) -> tuple[str, str]:
    from ..identity import load_secret, pseudonym

    secret = load_secret(run.settings.db)
    return secret, pseudonym(secret, user)


def _draw(out: Console, found: list[dict[str, Any]]) -> None:
    if not found:
        out.print("There are no such entries in the audit log.", highlight=False, markup=False)
        return
    table = Table("entry", "when (UTC)", "by", "action", "outcome", "about", header_style="dim", box=None)
    for entry in found:
        about = ", ".join(_fact(k, v) for k, v in entry["facts"].items() if v != [] and v is not False)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry["ts"]))
        cells = (str(entry["seq"]), when, who(entry["by"]), entry["action"], entry["outcome"], about)
        table.add_row(*map(Text, cells))
    out.print(table)


def _fact(name: str, value: Any) -> str:
    if value is True:
        return name
    return f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"


def who(by: dict[str, Any]) -> str:
    """Who it was, in a few words."""
    if "os" in by:
        return f"{by['sudo']} (sudo)" if "sudo" in by else str(by["os"])
    return f"key {by['key']}" if "key" in by else next((f"{k} {v}" for k, v in by.items()), "")


@audit.command("verify")
def verify(
    predictions: PredictionsOption = False,
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="N:HASH", help="A head noted earlier, which must still be in the log."),
    ] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every byte of the log; exit code 6 if something was changed, taken out or put in.

    Note the head it prints somewhere else: with --head a log that was replaced as a whole is found out, too.
    """
    run = start(db, artifacts, config, as_json)
    log = _open(run, predictions)
    noted = _noted(head)
    if not log.exists():
        raise NotFound(f"There is no audit log {log.path} yet.", "Name the shop with --db and --artifacts.")
    verdict = log.verify()
    kept = noted is None or log.has(*noted)

    def render(out: Console) -> None:
        for finding in verdict.findings:
            out.print(Text(str(finding)))
        if not kept:
            out.print(Text(f"The head {head} is not in the log."))
        if kept and not verdict.findings:
            erased = f", {verdict.erased} of them about people who were erased" if verdict.erased else ""
            entries = "1 entry" if verdict.entries == 1 else f"{verdict.entries:,} entries"
            out.print(Text(f"The log is intact: {entries}{erased}."))
        out.print(Text(f"Head: {verdict.head}:{verdict.head_hash}"))

    result = asdict(verdict) | {"whole": not verdict.findings, "head_kept": kept}
    run.emit(result, render)
    if verdict.findings or not kept:
        raise typer.Exit(CorruptArtifact.exit_code)


def _noted(head: str | None) -> tuple[int, str] | None:
    if head is None:
        return None
    number, colon, digest = head.partition(":")
    if not (colon and number.isascii() and number.isdigit() and len(number) < 19 and digest):
        raise UsageError(f"'{head}' is not a head.", "Write it as recsys audit verify prints it, like 41:8c1f….")
    return int(number), digest
