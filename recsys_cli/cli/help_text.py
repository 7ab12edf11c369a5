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


def asked(arguments: Sequence[str]) -> list[str]:
    """`help train` as `train --help`; everything else as it is."""
    if arguments[:1] == ["help"]:
        return [*(word for word in arguments[1:] if word not in ("-h", "--help")), "--help"]
    return list(arguments)
