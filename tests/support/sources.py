"""The package's own source, each file parsed once however many tests read it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import recsys_cli

PACKAGE = Path(recsys_cli.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a file, the module first."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
