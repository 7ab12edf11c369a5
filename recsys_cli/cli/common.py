"""What all commands share: the state options, settings, progress and printing of results."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichBars

from ..durable_files import explain_os
from ..errors import SettingError, UsageError
from ..processes import become_owner
from ..progress import Progress
from ..settings import Settings
from ..settings_sources import load, misspelt, settings_file
from .recording import settle
from .safe_output import PlainConsole, plain_json, printable_json

STATE = "State"
DbOption = Annotated[
    Path | None, typer.Option("--db", help="The DuckDB file. [default: recsys.duckdb]", rich_help_panel=STATE)
]
ArtifactsOption = Annotated[
    Path | None,
    typer.Option(
        "--artifacts", help="Directory of versions. [default: model_artifacts, beside --db]", rich_help_panel=STATE
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file. [default: recsys.toml, beside --db]", rich_help_panel=STATE),
]
OfUserOption = Annotated[
    list[str] | None,
    typer.Option("--of-user", "--user", help="What is known of the customer, as country=DE.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


@dataclass(frozen=True)
class Run:
    """One run of a command: its settings, and how it shows things."""

    settings: Settings
    as_json: bool
    out: Console
    err: Console

    @property
    def progress(self) -> Progress:
        """Bars on a terminal, plain lines in cron; on standard error, so that results can be piped."""
        return BarProgress(self.err) if self.err.is_terminal else LineProgress(self.err)

    def waiting(self, text: str) -> None:
        """Say that the command waits for another."""
        self.err.print(text, highlight=False, markup=False)

    def give_way(self) -> None:
        """Let the server and everything else on the machine go first, for the rest of this process."""
        os.nice(max(self.settings.update.nice - os.nice(0), 0))

    def emit(self, result: Any, render: Callable[[Console], None]) -> None:
        """Print a result: as JSON when asked for, else as `render` draws it."""
        if self.as_json:
            options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS
            text = plain_json(orjson.dumps(result, option=options, default=str))
            sys.stdout.write(printable_json(text, sys.stdout.encoding) + "\n")
        else:
            render(self.out)


def start(
    db: Path | None,
    artifacts: Path | None,
    config: Path | None,
    as_json: bool = False,
    *,
    same_shop: bool = True,
    refused: list[SettingError] | None = None,
    **flags: Any,
) -> Run:
    """Read the settings; `flags` are by setting name with `__` for the dot, None where not given.

    Parameters
    ----------
    same_shop
        Refuse a database and versions of different shops; False for commands that are to sort that out.
    refused
        See `settings_sources.load`.
    """
    named = {name.replace("__", "."): value for name, value in flags.items()}
    settings = load({"db": db, "artifacts": artifacts, **named}, config=config, refused=refused)
    _check_places(settings)
    if same_shop and (settings.artifacts / "shop.json").exists():
        from ..artifacts.shop_id import refuse_other_shop

        refuse_other_shop(settings.db, settings.artifacts)
    # Wrapped at words where a person reads it; one line for logs and scripts.
    if user := become_owner(settings.db, settings.artifacts, settings.db.absolute().parent):
        owned = f"Running as {user}, who owns {settings.db if settings.db.exists() else settings.artifacts}."
        PlainConsole(stderr=True).print(owned, highlight=False, markup=False)
    settle(settings)
    out = PlainConsole(soft_wrap=not sys.stdout.isatty())
    err = PlainConsole(stderr=True, soft_wrap=not sys.stderr.isatty())
    here = Path("recsys.toml")
    if db is not None and here.is_file() and settings_file(config, db).resolve() != here.resolve():
        text = f"{here.resolve()} is not read: --db names a database in another folder. Add --config to read it."
        err.print(text, highlight=False, markup=False)
    for sentence in misspelt():
        err.print(sentence, highlight=False, markup=False)
    return Run(settings, as_json, out, err)


def _check_places(settings: Settings) -> None:
    """Refuse at once what can be no database and no directory of versions."""
    db, artifacts = settings.db, settings.artifacts
    try:
        if db.is_dir():
            raise UsageError(f"The database {db} is a directory.", "Name a file with --db.")
        if artifacts.exists() and not artifacts.is_dir():
            raise UsageError(f"{artifacts} is not a directory.", "Name the directory of versions with --artifacts.")
        for parent in {*db.parents, *artifacts.parents}:
            if parent.exists() and not parent.is_dir():
                raise UsageError(f"{parent} is not a directory.", "Check the paths given with --db and --artifacts.")
    except OSError as e:
        raise explain_os(e, Path(e.filename or db)) from None


class BarProgress(Progress):
    """A live bar for each stage."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(self, text: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()]
        if total is not None:
            columns.insert(3, MofNCompleteColumn())
        with RichBars(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(text, total=total)
            started = time.monotonic()
            yield lambda done: bars.advance(task, done)
        self._console.print(f"[green]✓[/] {escape(text)} [dim]{time.monotonic() - started:.1f} s[/]", highlight=False)

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)


class LineProgress(Progress):
    """One line when a stage has ended, and one every half minute until then; fit for a log file."""

    EVERY = 30.0  # seconds

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(self, text: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        started, ended, count = time.monotonic(), threading.Event(), 0

        def advance(done: int) -> None:
            nonlocal count
            count += done

        def tell() -> None:  # a thread's, because a single model of a large shop may take minutes
            while not ended.wait(self.EVERY):
                so_far = f"{time.monotonic() - started:.0f} s so far"
                self.note(f"{text}: {so_far}" if total is None else f"{text}: {count:,} of {total:,}, {so_far}")

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield advance
        finally:
            ended.set()
            teller.join()
        self.note(f"{text}: {time.monotonic() - started:.1f} s")

    def note(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._console.print(f"{stamp} {text}", highlight=False, markup=False)


def key_values(pairs: list[str]) -> dict[str, str]:
    """`KEY=VALUE` arguments as a dictionary.

    Raises
    ------
    UsageError
        An argument without `=`, or a key given twice.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"'{pair}' is not KEY=VALUE.", "Write it like factors=64 or country=DE.")
        if key.strip() in values:
            raise UsageError(f"'{key.strip()}' is given twice.", "Give it once.")
        values[key.strip()] = value.strip()
    return values
