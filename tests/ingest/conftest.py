"""A shop's settings in a folder of its own, and a hand for taking files in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from recsys_cli.ingest import FileReport, Request, ingest
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load

FIXTURES = Path(__file__).parent / "fixtures"
Take = Callable[..., FileReport]
Rows = Callable[[str], list[tuple[object, ...]]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"db": str(tmp_path / "shop.duckdb"), "store.threads": 1}, environ={})


@pytest.fixture
def take(settings: Settings) -> Take:
    """Take one file; every row is accounted for, whatever becomes of it."""

    def run(path: Path, **asked: object) -> FileReport:
        report = ingest(settings, [path], Request(**asked)).files[0]  # type: ignore[arg-type]
        assert report.read == report.new + report.known + report.rejected
        return report

    return run


@pytest.fixture
def rows(settings: Settings) -> Rows:
    """Ask the database."""

    def run(query: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(settings.db), read_only=True) as con:
            return con.execute(query).fetchall()

    return run
