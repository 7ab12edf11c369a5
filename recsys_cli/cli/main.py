"""The `recsys` command."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import textwrap
from copy import copy
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer
import typer.main

from .. import __version__
from ..durable_files import explain_os
from ..errors import RecsysError, UsageError
from . import (
    audience,
    audit,
    backup,
    consume,
    demo,
    doctor,
    evaluate,
    experiment,
    export,
    features,
    gdpr,
    ingest,
    keys,
    mcp,
    models,
    placements,
    recommend,
    report,
    serve,
    simulate,
    status,
    train,
    tune,
    update_worker,
    widget,
)
from .help_text import asked, tidied
from .recording import note_code, recorded, recording
from .safe_output import plain, plain_json, printable_json

INTERRUPTED = 130  # what shells expect after Ctrl-C
_NOTHING_KEPT = "nothing half done was kept."
_KEPT = {
    ("export",): "the months written so far are kept: the same command goes on from them.",
    ("tune",): "the trials so far are kept: the same command goes on from them.",
    ("gdpr", "delete"): "what was begun is finished by recsys gdpr resume, or by the next pass of the update-worker.",
    ("gdpr", "resume"): "what is left is finished by recsys gdpr resume, or by the next pass of the update-worker.",
}
# What typer raises for a call that its parser does not understand: click's class, or a copy of it in later versions.
_BadCall: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="recsys",
    help="The recommender a small shop runs itself. Nothing leaves the box.",
    no_args_is_help=True,
    epilog="recsys help COMMAND shows what a command takes; so does COMMAND -h.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"recsys {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """The recommender a small shop runs itself. Nothing leaves the box."""


app.command("demo")(demo.demo)
app.command("ingest")(ingest.ingest)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("tune")(tune.tune)
app.command("recommend")(recommend.recommend)
app.command("similar")(recommend.similar)
app.command("audience")(audience.audience)
app.add_typer(features.features)
app.add_typer(placements.placements)
app.command("serve")(serve.serve)
app.add_typer(keys.keys)
app.add_typer(audit.audit)
app.command("widget")(widget.widget)
app.command("report")(report.report)
app.command("simulate")(simulate.simulate)
app.add_typer(experiment.experiment)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("update-worker")(update_worker.update_worker)
app.add_typer(models.app, name="models")
app.command("export")(export.export)
app.command("consume")(consume.consume)
app.command("mcp")(mcp.mcp)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(gdpr.gdpr)


def main() -> None:
    """Run a command; every error we know ends as a sentence and an exit code."""
    os.umask(0o077)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or a cron job that knows no letter of an item's title must not end the command.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _call()
        if code == INTERRUPTED:
            _interrupted()
        sys.stdout.flush()  # here, where a full disk can still be told of
        sys.exit(code if isinstance(code, int) else 0)
    except RecsysError as e:
        _say(e)
    except _BadCall as e:
        if type(e).__name__ == "NoArgsIsHelpError":
            e.show()
            sys.exit(2)
        context = getattr(e, "ctx", None)
        called = context.command_path if context else _called(sys.argv[1:])
        _say(UsageError(_sentence(e.format_message()), f"Run {called} --help."))
    except typer.Abort as e:
        if isinstance(e.__cause__, KeyboardInterrupt):
            _interrupted()
        sys.stderr.write("recsys: stopped; nothing was changed.\n")
        sys.exit(1)
    except KeyboardInterrupt:  # between the command's end and the line that stops listening
        _interrupted()
    except BrokenPipeError:
        _drop_output()  # its reader (head, say) has gone
        sys.exit(0)
    except OSError as e:
        if not _output_fails():
            _say(explain_os(e, Path(e.filename or "A file")))
        _drop_output()
        _say(RecsysError(f"The output could not be written: {os.strerror(e.errno or 0)}.", "Send it elsewhere."))


@cache
def parser(first: str) -> Any:
    """What understands a call whose first word this is: all commands, or that one alone where there is one so called.

    To build all sixty takes a tenth of a second of every call.
    """
    asked_for = copy(app)
    asked_for.registered_commands = [one for one in app.registered_commands if one.name == first]
    asked_for.registered_groups = [one for one in app.registered_groups if _name(one) == first]
    alone = asked_for.registered_commands or asked_for.registered_groups
    return recorded(tidied(typer.main.get_command(asked_for if alone else app)))


def _name(group: Any) -> Any:
    return group.name if isinstance(group.name, str) else group.typer_instance.info.name


def _called(words: list[str]) -> str:
    """The command that was called, of which an option without its value does not tell."""
    command, path = parser(words[0] if words else ""), ["recsys"]
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path.append(word)
    return " ".join(path)


def _call() -> Any:
    """Run the command, and end as interrupted whatever it makes of Ctrl-C.

    DuckDB ends a statement at Ctrl-C with an error of its own, of which others come where a transaction is taken back.
    """
    pressed = False

    def press(*_: Any) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, press)
    try:
        command = parser(sys.argv[1] if len(sys.argv) > 1 else "")
        with recording():
            code = command(asked(sys.argv[1:], command), prog_name="recsys", standalone_mode=False)
            note_code(code)
        return code
    except Exception as e:
        # A question that is left is not: the command has not begun.
        if pressed and not (isinstance(e, typer.Abort) and e.__cause__ is None):
            return INTERRUPTED
        raise
    finally:
        # Python gives the signal back to the system while it ends: a command that is done would look killed.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _output_fails() -> bool:
    """Whether nothing more can be printed: then it is the output that an error is about, and none of our files.

    Found out by one more line, because Python may or may not have kept what it could not write.
    """
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        return True
    return False


def _drop_output() -> None:
    """Print into nothing from now on, so that the flush at exit does not complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupted() -> NoReturn:
    kept = next((what for words, what in _KEPT.items() if tuple(sys.argv[1 : 1 + len(words)]) == words), _NOTHING_KEPT)
    sys.stderr.write(f"recsys: interrupted; {kept}\n")
    sys.exit(INTERRUPTED)


def _say(e: RecsysError) -> NoReturn:
    if "--json" in sys.argv:
        sys.stderr.write(printable_json(plain_json(orjson.dumps(e.body())), sys.stderr.encoding) + "\n")
    else:
        sys.stderr.write(_wrapped(plain(f"recsys: {e}")) + "\n")
    sys.exit(e.exit_code)


def _wrapped(text: str) -> str:
    """At words where a person reads it; one line for logs and scripts."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _sentence(text: str) -> str:
    """A message of the option parser as one line that ends."""
    line = " ".join(text.split()).rstrip(".")
    return line if line.endswith("?") else f"{line}."
