"""What the machine refuses is told in words of ours: no error numbers, no insides of libraries."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sources import PACKAGE, SOURCES, nodes

from recsys_cli.cli.people_file import read_list
from recsys_cli.errors import RecsysError
from recsys_cli.models.content import read_vectors
from recsys_cli.tuning import load_choice
from recsys_cli.tuning.choice import FILE, FOLDER

README = PACKAGE.parent / "README.md"
FOREIGN = re.compile(r"Errno|codec|arrow|footer|dataset|char \d|position \d|line \d+ column|'/|Error", re.IGNORECASE)


def vectors(path: Path) -> Any:
    return read_vectors(path, None)  # type: ignore[arg-type]


def choice(path: Path) -> Any:
    return load_choice(path.parents[1])


def missing(path: Path) -> str:
    return "No such file or directory"


def folder(path: Path) -> str:
    path.mkdir()
    return "Is a directory"


def noise(path: Path) -> str:
    path.write_bytes(b'{"name": \xff\xfe')
    return ""


@pytest.mark.parametrize("spoil", [missing, folder, noise])
@pytest.mark.parametrize("read", [read_list, vectors, choice])
def test_what_cannot_be_read_is_told_in_our_words(
    tmp_path: Path, read: Callable[[Path], Any], spoil: Callable[[Path], str]
) -> None:
    path = tmp_path / FOLDER / FILE
    path.parent.mkdir()
    reason = spoil(path)
    if read is choice and spoil is missing:
        assert read(path) is None
        return
    with pytest.raises(RecsysError) as told:
        read(path)
    assert str(path) in told.value.message
    assert reason in told.value.message
    assert not FOREIGN.search(str(told.value).replace(str(path), "")), str(told.value)


# Shapes that a native writer would not use, each with what to write instead.
ODD = {
    r"(?<!there )(?<!There )\b(is|are) no (?!(longer|more|better|less|later|earlier|newer|one)\b)[a-z]": "is not a …",
    r"\b[Ww]hoever\b": "anyone who …, the person who …",
    r"\banew\b": "again",
    r"\bnought\b": "zero, nothing",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bgoes alone\b": "cannot be combined with …",
    r"\bbeyond belief\b|\bcannot be believed\b": "implausible, not reliable",
    r"\bwell again\b": "recovered",
    r"\b1 (rows|events|items|profiles|files|customers|versions|orders|purchases|days|people|models)\b": "1 row",
    r"\bLook whether\b": "Check whether",
    r"\bfor want of\b": "without",
    r"\bso many (seconds|trials|days|rows)\b": "this many …",
}  # fmt: skip


@cache
def said(path: Path) -> list[tuple[int, str]]:
    """What the program can say: the texts of a module that have at least three words."""
    described = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    inside = {id(n.body[0].value) for n in nodes(path) if isinstance(n, described) and isinstance(n.body[0], ast.Expr)}
    texts = []
    for node in nodes(path):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(v) for v in node.values}
            text = "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            text = node.value
        else:
            continue
        if len(re.findall(r"[A-Za-z]{2,} ", text)) > 1:
            texts.append((node.lineno, text))
    return texts


@pytest.mark.parametrize("shape", ODD)
def test_messages_are_plain_english(shape: str) -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in SOURCES
        for line, text in said(path)
        if re.search(shape, text)
    ]
    assert found == [], f"write: {ODD[shape]}"
    readme = [line for line in README.read_text(encoding="utf-8").splitlines() if re.search(shape, line)]
    assert readme == [], f"write: {ODD[shape]}"
