"""The README's command reference, fields and table of settings, made from the program itself.

python -m recsys_cli.cli.reference README.md           rewrite the generated parts
python -m recsys_cli.cli.reference --check README.md   fail when they are not what the program says
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from ..ingest.columns import AIDS, FIELDS
from ..ingest.field_help import about
from ..settings_table import table


def commands() -> str:
    """All commands with their arguments and options, as Markdown."""
    root = typer.main.get_command(_app())
    return "\n\n".join(_section(path, command) for path, command in _walk(root, "recsys")) + "\n"


def settings() -> str:
    """All settings, as a Markdown table."""
    rows = ["| setting | default | environment | what |", "| --- | --- | --- | --- |"]
    for row in table():
        default = "" if row.default in ("", None, ()) else f"`{_plain(row.default)}`"
        rows.append(f"| `{row.name}` | {_cell(default)} | `{row.env}` | {_cell(row.help)} |")
    return "\n".join(rows) + "\n"


def fields() -> str:
    """All fields that files are read into, as a Markdown table."""
    rows = ["| field | of | is read as | what | usual names |", "| --- | --- | --- | --- | --- |"]
    for kind, listed in (*FIELDS.items(), ("", AIDS)):
        for one in listed:
            names = [n for n in " ".join(one.names).split() if n != one.name][:3]
            needed = " (needed)" if one.required else ""
            of = kind or "reading alone"
            usual = ", ".join(f"`{n}`" for n in names)
            rows.append(f"| `{one.name}` | {of}{needed} | {one.value} | {_cell(about(kind, one.name))} | {usual} |")
    return "\n".join(rows) + "\n"


def kinds() -> str:
    """The kinds of lists, as a Markdown table."""
    from ..serving.list_kinds import KINDS

    rows = [f"| `{kind.name}` | {_cell(kind.help)} |\n" for kind in KINDS.values()]
    return "".join(["| kind | shows |\n| --- | --- |\n", *rows])


def rewritten(readme: str) -> str:
    """The README with its generated parts made again."""
    made = (("commands", commands()), ("fields", fields()), ("settings", settings()), ("kinds", kinds()))
    for marker, text in made:
        pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
        readme = pattern.sub(lambda m, text=text: f"{m[1]}{text}{m[2]}", readme)  # type: ignore[misc]
    return readme


def _app() -> typer.Typer:
    from .main import app

    return app


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    # Known by what they have: typer's commands are click's in some of its versions, and its own in others.
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from _walk(child, f"{path} {name}")
    else:
        yield path, command


def _section(path: str, command: Any) -> str:
    arguments, options = [], []
    for p in command.params:
        if p.param_type_name == "option":
            options.append(_option(p))
        else:
            name = (p.name or "").upper() + ("…" if p.nargs < 0 else "")
            arguments.append(name if p.required else f"[{name}]")
    lines = [f"### `{' '.join([path, *arguments])}`", "", (command.help or "").strip().replace("\\[", "[")]
    shown = [o for o in options if o]
    return "\n".join([*lines, "", *shown]) if shown else "\n".join(lines)


def _option(option: Any) -> str:
    if option.hidden or option.name in ("db", "artifacts", "config", "as_json", "help"):
        return ""  # the same on every command; the README says so once
    flags = ", ".join(f"`{o}`" for o in [*option.opts, *option.secondary_opts])
    return f"- {flags}: {option.help or ''}"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, tuple):
        return ", ".join(str(v) for v in value)
    return str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(arguments: list[str]) -> int:
    """Rewrite, or with `--check` compare."""
    path = Path(arguments[-1])
    old = path.read_text(encoding="utf-8")
    new = rewritten(old)
    if "--check" in arguments:
        if old != new:
            sys.stderr.write(f"{path} is not what the program says: run python -m recsys_cli.cli.reference {path}\n")
        return int(old != new)
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
