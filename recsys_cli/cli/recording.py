"""Every command that changes something, or shows whole people, stands in the audit log when it has ended.

A command need not know: `recorded` notes which one is called and with what, `start` where its shop is. Of what was
given, only what cannot name a customer is kept; customers are kept by keyed hash.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from ..errors import RecsysError, StoreError
from ..processes import ASKED_BY

if TYPE_CHECKING:
    from ..settings import Settings

# Commands that change nothing, and those whose work others stand in the log for: the worker's, the server's.
UNRECORDED = frozenset(
    ("demo", "recommend", "similar", "features list", "features show", "placements list", "placements check",
     "placements preview", "serve", "consume", "mcp", "update-worker", "keys list", "widget", "report", "simulate",
     "experiment status", "status", "doctor", "evaluate", "models list", "models show", "models diff", "audit show",
     "audit verify",
     "gdpr notice", "gdpr records", "gdpr log")
)  # fmt: skip
_PEOPLE = ("user", "users", "also")
_NOBODY = ("name", "scope", "role", "version", "model", "arm", "mode", "request", "interleave", "split", "category")
_ERASURES = ("gdpr delete",)  # a hash of who is gone would be the last trace of them


@dataclass
class Action:
    """The command that is under way in this process."""

    name: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    settings: Settings | None = None
    in_shop: bool = False


_current = Action()


def recorded(command: Any, words: tuple[str, ...] = ()) -> Any:
    """`command` and all below it, so that `recording` knows which one was called."""
    for name, child in getattr(command, "commands", {}).items():
        recorded(child, (*words, name))
    if words and not hasattr(command, "commands"):
        invoke = command.invoke

        def noted(ctx: Any) -> Any:
            _current.name, _current.given = " ".join(words), dict(ctx.params)
            return invoke(ctx)

        command.invoke = noted
    return command


def settle(settings: Settings) -> None:
    """The shop that the command works on is known from here on."""
    _current.settings, _current.in_shop = settings, _is_shop(settings)


@contextmanager
def recording() -> Iterator[None]:
    """Around a command: writes what became of it into its shop's audit log, if there is a shop.

    Raises
    ------
    StoreError
        The command is done, and the log could not be written.
    """
    _current.name, _current.given, _current.settings = "", {}, None
    who = _who()
    try:
        yield
    except typer.Abort:
        raise  # a question was answered with no: nothing was begun
    except BaseException as e:
        _write(who, _outcome(e), quiet=True)
        raise
    _write(who, "done")


def note_code(code: Any) -> None:
    """Take a command that ended with a code for what it is."""
    if isinstance(code, int) and code:
        _current.given = {**_current.given, "exit_code": code}


def _who() -> dict[str, str]:
    """The user of the system; who became root by sudo is named by themselves, too."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    sudo = os.environ.get("SUDO_USER", "")
    asked = os.environ.get(ASKED_BY, "")  # only the system's user vouches for that
    return {"os": name, **({"sudo": sudo} if sudo and name == "root" else {}), **({"for": asked} if asked else {})}


def _outcome(error: BaseException) -> str:
    if isinstance(error, RecsysError):
        return f"failed: {error.code}"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {type(error).__name__}"


def _write(who: dict[str, str], outcome: str, *, quiet: bool = False) -> None:
    settings = _current.settings
    if settings is None or not _current.name or _current.name in UNRECORDED:
        return
    begun = settings.artifacts.is_dir() or _current.name == "ingest"
    if not begun or (not _current.in_shop and (quiet or not _is_shop(settings))):
        return  # a mistyped place must stay empty
    from ..artifacts.audit_log import AuditLog, Entry

    entry = Entry(who, _current.name, outcome, _facts(outcome), _people(settings))
    try:
        AuditLog(settings.artifacts).append([entry])
    except RecsysError as e:
        if not quiet:
            raise StoreError(f"The command is done, but is not in the audit log: {e.message}", e.hint) from None


def _is_shop(settings: Settings) -> bool:
    """Whether there is anything that a command could have changed."""
    from ..artifacts.keys import is_artifacts
    from ..identity import secret_path

    return secret_path(settings.db).exists() or is_artifacts(settings.artifacts)


def _facts(outcome: str) -> dict[str, Any]:
    """What was given, but no text that may be anything; of a command that failed not even that."""
    facts: dict[str, Any] = {}
    for name, value in _current.given.items():
        known = isinstance(value, bool | int | float)
        known |= name in _NOBODY and outcome == "done" and isinstance(value, str | list | tuple)
        if known and value and name != "as_json":
            facts[name] = value
    count = sum(len(_names(name)) for name in _PEOPLE)
    return facts | ({"people": count} if count else {})


def _names(name: str) -> list[str]:
    value = _current.given.get(name)
    return [value] if isinstance(value, str) else list(value or ())


def _people(settings: Settings) -> tuple[str, ...]:
    names = [one for name in _PEOPLE for one in _names(name)]
    if not names or _current.name in _ERASURES:
        return ()
    from ..artifacts.audit_log import hash_of
    from ..gdpr.person import ids_for
    from ..identity import load_secret

    try:
        secret = load_secret(settings.db)
    except RecsysError:
        return ()
    return tuple(dict.fromkeys(hash_of(secret, one) for one in ids_for(names, secret)))
