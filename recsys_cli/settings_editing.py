"""Changing a settings file as a careful person would: the lines that are meant, and no other.

What is written is read again before it counts: if anything but what was meant came out different, the file is written
in a form that lines cannot change (inline tables, values over several lines), and is left to its owner.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import UsageError
from .settings_sources import key_at, table_at

Table = tuple[str, ...]
_DEEPEST = 20  # levels of a value


def with_table(text: str, table: Table, values: Mapping[str, Any] | None) -> str:
    """The text with this table holding these values and no others; without it where they are None.

    Raises
    ------
    UsageError
        The file writes the table in another form, or a value has none in TOML.
    """
    lines = _lines(text)
    begin, end = _block(lines, table, inner=True)
    new = [] if values is None else [_head(table), *(f"{_name(k)} = {_value(v)}" for k, v in values.items())]
    if begin < 0:
        lines += ([""] if lines and lines[-1].strip() and new else []) + new
    else:
        lines[begin:end] = new
    return _checked(text, lines, table, dict(values) if values is not None else None)


def with_keys(text: str, table: Table, values: Mapping[str, Any]) -> str:
    """The text with these keys of a table set, or taken out where a value is None; everything else stays.

    Raises
    ------
    UsageError
        As `with_table`.
    """
    lines = _lines(text)
    begin, _ = _block(lines, table)
    if begin < 0:
        lines += ([""] if lines and lines[-1].strip() else []) + [_head(table)]
        begin = len(lines) - 1
    for key, value in values.items():
        begin, end = _block(lines, table)
        at = next((n for n in range(begin + 1, end) if key_at(lines[n]) == (key,)), -1)
        line = [] if value is None else [f"{_name(key)} = {_value(value)}"]
        if at >= 0:
            lines[at : at + 1] = line
        else:
            lines[end:end] = line
    held = dict(_inside(_read(text), table) or {})
    wanted = {k: v for k, v in (held | dict(values)).items() if v is not None}
    return _checked(text, lines, table, wanted)


def _block(lines: list[str], table: Table, *, inner: bool = False) -> tuple[int, int]:
    """Where a table stands: its header's line, and the line after its last key; -1 where it is not there.

    Parameters
    ----------
    inner
        With the tables inside of it that follow.
    """
    begin = next((n for n, line in enumerate(lines) if table_at(line) == table), -1)
    if begin < 0:
        return -1, -1
    end = begin + 1
    while end < len(lines):
        here = table_at(lines[end])
        if here is not None and not (inner and here[: len(table)] == table and len(here) > len(table)):
            break
        end += 1
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1  # what is said above the next table is about that one
    return begin, end


def _checked(before: str, lines: list[str], table: Table, wanted: dict[str, Any] | None) -> str:
    after = "\n".join(lines).rstrip("\n") + "\n"
    expected = _read(before)
    try:
        found = _read(after)
    except tomllib.TOMLDecodeError:
        found = {}
    for tree in (expected, found):
        if tree is expected:
            _put(tree, table, wanted)
        _put(tree, table[:-1], _inside(tree, table[:-1]) or None)  # an empty table is none
    if found != expected:
        raise UsageError(
            f"The settings file writes {'.'.join(table)} in a form that cannot be changed from here.",
            "Write it as a table of its own, one setting a line, or edit the file.",
        )
    return after


def _lines(text: str) -> list[str]:
    """The lines as TOML counts them: other ends of lines that Unicode knows may stand in a text."""
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _read(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def _inside(tree: Any, table: Table) -> Any:
    for name in table:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _put(tree: dict[str, Any], table: Table, value: Any) -> None:
    if not table:
        return
    for name in table[:-1]:
        tree = tree.setdefault(name, {})
    if value is None:
        tree.pop(table[-1], None)
    else:
        tree[table[-1]] = value


def _head(table: Table) -> str:
    return f"[{'.'.join(map(_name, table))}]"


def _name(key: str) -> str:
    plain = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if plain else _value(key)


def _value(value: Any, depth: int = 0) -> str:
    if depth > _DEEPEST:
        raise UsageError(f"A value is nested deeper than {_DEEPEST} levels.", "No setting needs so many.")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(v, depth + 1) for v in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_name(k)} = {_value(v, depth + 1)}' for k, v in value.items())} }}"
    raise UsageError("null cannot be a value of a setting.", "Leave the setting out.")


def read_text(path: Path) -> str:
    """The file's text; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
