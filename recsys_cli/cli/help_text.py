"""How `--help` looks: flags without a type, and defaults that are shown as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def tidied(command: Any) -> Any:
    """`command` and all below it, with `--help` as people write it by hand.

    Typer prints `<bool>` behind every flag, and its markup takes "[default: 8000]" in a help text for a style and
    swallows it.
    """
    for option in command.params:
        _tidy(option)
    made = command.get_help_option
    command.get_help_option = lambda ctx: _tidy(made(ctx))
    for child in getattr(command, "commands", {}).values():
        tidied(child)
    return command


def _tidy(option: Any) -> Any:
    if getattr(option, "help", None):
        option.help = option.help.replace("[", r"\[")
    if getattr(option, "is_flag", False):
        option.display_type_rich = lambda ctx: None
    return option


def asked(arguments: Sequence[str], command: Any) -> list[str]:
    """`help train` as `train --help`, `gdpr help log` as `gdpr log --help`; everything else as it is."""
    inside, at = command, 0
    while at < len(arguments) and arguments[at] in getattr(inside, "commands", {}):
        inside, at = inside.commands[arguments[at]], at + 1
    if arguments[at : at + 1] != ["help"] or not hasattr(inside, "commands"):
        return list(arguments)
    words = (word for word in arguments[at + 1 :] if word not in ("-h", "--help"))
    return [*arguments[:at], *words, "--help"]
