"""What the commands of `recsys gdpr` share: whom they are asked about, and what they work on."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NoModel, Refused, StoreMissing, UsageError
from ..settings import Settings
from .common import Run

if TYPE_CHECKING:
    from ..artifacts import Artifacts
    from ..store import Store


def people_asked(users: list[str] | None, file: Path | None) -> list[str]:
    """Whom a command is about, each once.

    Raises
    ------
    UsageError
        Nobody was named.
    """
    from .people_file import read_list

    asked = [*(users or []), *(read_list(file) if file else [])]
    if not asked:
        raise UsageError("No customer was named.", "Name one or more, or a file of them with --file.")
    return list(dict.fromkeys(asked))


ReferenceOption = Annotated[str, typer.Option("--reference", help="Number of the letter or ticket, for the log.")]
ByOption = Annotated[str, typer.Option("--by", help="Who handles the request, for the log.")]
IdentityOption = Annotated[str, typer.Option("--identity", help="How the person's identity was checked, for the log.")]
HandlingOptions = Any  # see `handled`; typer reads annotations when it is imported, `Handling` only when it is needed
_OPTIONS = {"reference": ReferenceOption, "by": ByOption, "identity": IdentityOption}


def handled(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options --reference, --by and --identity in place of its parameter `handling`."""
    signature = inspect.signature(command, eval_str=True)

    def with_options(**given: Any) -> None:
        from ..gdpr.records.request_log import Handling

        command(handling=Handling(*(given.pop(name) for name in _OPTIONS)), **given)

    options = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default="", annotation=option)
        for name, option in _OPTIONS.items()
    ]
    parameters = [
        new for old in signature.parameters.values() for new in (options if old.name == "handling" else [old])
    ]
    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


def check_language(lang: str) -> None:
    """Refuse a language that the texts do not have."""
    if lang not in ("en", "de"):
        raise UsageError(f"There is no text in '{lang}'.", "Choose --lang en or --lang de.")


def retrain_now(store: Store, artifacts: Artifacts, run: Run) -> str:
    """Train the served recipe on what is left, serve it whatever the gate says, and drop what was learned before."""
    from ..gdpr.records.receipts import note_retrained
    from ..publishing.train import retrain

    version = retrain(store, artifacts, run.settings, run.progress)
    note_retrained(run.settings.db, version.name)
    return version.name


def open_state(run: Run) -> tuple[Store, Artifacts]:
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


def write_out(text: str) -> None:
    """Markdown for a file: neither wrapped nor coloured."""
    sys.stdout.write(text)


def confirm(question: Callable[[], str]) -> None:
    """Ask on the terminal; refuse when there is no terminal, before the question is worked out.

    Raises
    ------
    typer.Abort
        The answer was no, or Ctrl-C: nothing was begun.
    """
    if not sys.stdin.isatty():
        raise Refused("Nothing was erased: there is no terminal to confirm on.", "Add --yes to erase without asking.")
    try:
        agreed = typer.confirm(question())
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("\n")
        raise typer.Abort from None
    if not agreed:
        raise typer.Abort


def recommender(settings: Settings) -> Any:
    """What a customer is shown now, by the rules and campaigns in force; None when nothing is served."""
    from ..serving.request import Request
    from ..shop import open_engine

    try:
        engine = open_engine(settings)
    except NoModel:
        return None

    def recommend(user_id: str) -> list[dict[str, Any]]:
        return engine.describe(engine.recommend(Request(user_id=user_id, k=20, explain=True)))

    return recommend
