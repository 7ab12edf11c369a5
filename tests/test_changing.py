"""The README's table of what somebody touches who adds something, kept true by following one that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import recsys_cli

PACKAGE = Path(recsys_cli.__file__).parent
README = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (an? \w+) \| ((?:`[\w/]+\.py` ?)+)\| `(\w+)` \|$", README, re.MULTILINE)


def test_the_table_is_there() -> None:
    assert [what for what, *_ in ROWS] == ["a model", "a metric", "a command", "a route", "a setting", "a rule"]


@pytest.mark.parametrize(("what", "files", "example"), ROWS)
def test_nothing_else_is_touched(what: str, files: str, example: str) -> None:
    word = re.compile(rf"\b{example}\b")
    found = {str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if word.search(p.read_text(encoding="utf-8"))}
    assert found == set(re.findall(r"`([\w/]+\.py)`", files)), f"what {what} touches; say so in the README"
