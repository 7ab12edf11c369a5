"""What the machine refuses is told in words of ours: no error numbers, no insides of libraries."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.errors import RecsysError
from recsys_cli.gdpr.people_file import read_list
from recsys_cli.models.content import read_vectors
from recsys_cli.tuning import load_choice
from recsys_cli.tuning.choice import FILE, FOLDER

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
