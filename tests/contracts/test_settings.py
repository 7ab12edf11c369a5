"""Every setting enrols by being in the table: named, explained, documented, and it reaches the program."""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.cli import reference
from recsys_cli.cli.common import start
from recsys_cli.ingest.columns import AIDS, FIELDS
from recsys_cli.ingest.field_help import ABOUT
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.settings_table import SettingRow, table

ROOT = Path(__file__).resolve().parents[2]
ROWS = table()
README = (ROOT / "README.md").read_text(encoding="utf-8")


def other(row: SettingRow) -> tuple[Any, str, str]:
    """A value that is not the default: as Python, as TOML, as text."""
    default, kind = row.default, row.type
    args = [a for a in typing.get_args(kind) if a is not type(None)]
    if args and type(None) in typing.get_args(kind):
        return other(dataclasses.replace(row, type=args[0], default=default or args[0]()))
    if row.choices and not isinstance(default, dict):
        (word, *_) = [c for c in row.choices if c != default]
        return word, f'"{word}"', word
    if row.pattern:
        (text,) = [t for t in ("123MB", "2001-02-03", "EUR") if re.fullmatch(row.pattern, t)]
        return text, f'"{text}"', text
    if isinstance(default, bool):
        return not default, str(not default).lower(), str(not default)
    if isinstance(default, (int, float)):
        number = default + 1 if default + 1 <= row.high else type(default)((row.low + row.high) / 2)
        return number, str(number), str(number)
    if isinstance(default, dict):
        value = 0.75 if args[1] is float else row.choices[0] if row.choices else "seen"
        return {**default, "seen": value}, f"{{seen = {value!r}}}", f"seen={value}"
    if isinstance(default, (tuple, list)):
        return type(default)(["one", "two"]), '["one", "two"]', "one, two"
    return type(default)("elsewhere"), '"elsewhere"', "elsewhere"


def get(settings: Settings, name: str) -> Any:
    found: Any = settings
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
class TestEverySetting:
    def test_is_explained(self, row: SettingRow) -> None:
        assert re.match(r"[A-Z0-9].*[a-z0-9)]\.$", row.help), row.help
        assert len(row.help) < 160

    def test_is_named_alike_everywhere(self, row: SettingRow) -> None:
        assert re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", row.name)
        assert row.env == "RECSYS_" + row.name.upper().replace(".", "_")

    def test_reaches_the_program(self, row: SettingRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Through what every command calls first, in a directory of its own."""
        monkeypatch.chdir(tmp_path)
        value, toml, text = other(row)
        assert get(start(None, None, None).settings, row.name) == row.default
        (tmp_path / "recsys.toml").write_text(f"{row.name} = {toml}\n", encoding="utf-8")
        assert get(start(None, None, None).settings, row.name) == value
        (tmp_path / "recsys.toml").unlink()
        monkeypatch.setenv(row.env, text)
        assert get(start(None, None, None).settings, row.name) == value
        monkeypatch.delenv(row.env)
        flags = {row.name.replace(".", "__"): value}
        db, artifacts = flags.pop("db", None), flags.pop("artifacts", None)
        assert get(start(db, artifacts, None, **flags).settings, row.name) == value


def test_no_two_share_a_variable() -> None:
    names = [row.env for row in ROWS] + ["RECSYS_CONFIG"]
    assert len(names) == len(set(names))


def test_the_readme_says_what_the_program_says() -> None:
    assert reference.rewritten(README) == README, "run python -m recsys_cli.cli.reference README.md"


def test_every_field_of_files_is_explained_and_nothing_else() -> None:
    listed = [(kind, one.name) for kind, fields in FIELDS.items() for one in fields]
    listed += [("reading alone", one.name) for one in AIDS]
    used = {f"{kind}.{name}" if f"{kind}.{name}" in ABOUT else name for kind, name in listed}
    assert used == set(ABOUT)


def test_a_weight_for_stars_is_found_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").write_text('[events.weights]\n"5.0" = 1.0\n"1" = -1.0\n')
    weights = load({"db": str(tmp_path / "x.duckdb")}, environ={}, config=tmp_path / "recsys.toml").events.weights
    assert (weights["5"], weights["1"], weights["purchase"]) == (1.0, -1.0, 1.0)
