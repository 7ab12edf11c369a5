"""The house stays one that a stranger finds the way around in: names once, files and functions of a size."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from sources import PACKAGE, SOURCES, nodes

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
MOST_LINES = 450
MOST_BODY = 60  # lines of a function that are not its docstring: a screen
MOST_PARAMETERS = 8


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in nodes(path) if isinstance(n, FUNCTIONS)]


def test_a_stack_trace_says_where_one_is() -> None:
    """cli/ mirrors the commands, and is the exception."""
    places: dict[str, list[Path]] = defaultdict(list)
    for path in SOURCES:
        if path.parent.name != "cli" and not path.name.startswith("__"):
            places[path.name].append(path)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_every_folder_says_what_it_is() -> None:
    """A folder without __init__.py imports all the same, until a packager's search for packages leaves it out."""
    folders = {path.parent for path in SOURCES}
    assert {str(f.relative_to(PACKAGE)) for f in folders if not (f / "__init__.py").is_file()} == set()


def test_no_file_is_a_book() -> None:
    lengths = {str(p.relative_to(PACKAGE)): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


def test_a_function_fits_a_screen() -> None:
    long = {}
    for path in SOURCES:
        for function in functions(path):
            first = function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0]
            lines = (function.end_lineno or 0) - first.lineno + 1
            if lines > MOST_BODY:
                long[f"{path.relative_to(PACKAGE)}:{function.name}"] = lines
    assert long == {}


def test_what_a_function_needs_can_be_read() -> None:
    """Commands have a parameter for each option; everything else gathers what belongs together."""
    wide = {}
    for path in SOURCES:
        if path.parent.name == "cli":
            continue
        for function in functions(path):
            a = function.args
            count = len([*a.posonlyargs, *a.args, *a.kwonlyargs]) - (bool(a.args) and a.args[0].arg in ("self", "cls"))
            if count > MOST_PARAMETERS:
                wide[f"{path.relative_to(PACKAGE)}:{function.name}"] = count
    assert wide == {}
