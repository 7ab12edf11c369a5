"""How long views took, from the columns of analytics tools."""

from __future__ import annotations

from pathlib import Path

from .conftest import Rows, Take

DURATIONS = "SELECT duration_ms FROM events ORDER BY ts"


def views(path: Path, column: str, values: list[str], kinds: str = "view", item: str = "tea") -> Path:
    rows = "".join(f"2025-03-01 10:{n:02}:00,s{n},{item},{kinds},{v}\n" for n, v in enumerate(values))
    path.write_text(f"timestamp,session_id,item_id,event_type,{column}\n{rows}", encoding="utf-8")
    return path


CASES = [
    ("duration_ms", ["1500", "12", ""], [1500, 12, None], "milliseconds"),
    ("engagement_time_msec", ["90500", "0"], [90_500, 0], "milliseconds"),
    ("event.engagementTimeMsec", ["90500"], [90_500], "milliseconds"),
    ("dwell_time_seconds", ["9000", "2.5"], [9_000_000, 2500], "seconds"),
    ("Time on page", ["00:01:05", "2:03", "1:00:00.5"], [65_000, 123_000, 3_600_500], "seconds"),
    ("timeSpent", ["65", "4"], [65_000, 4000], "seconds"),
    ("Verweildauer", ['"12,5"', "3"], [12_500, 3000], "seconds"),
    # The name does not say; a usual view of two hours is none.
    ("dwell", ["45000", "9000", "120000"], [45_000, 9000, 120_000], "milliseconds"),
]


def test_seconds_and_milliseconds_are_told_apart_and_said(tmp_path: Path, take: Take, rows: Rows) -> None:
    for number, (column, values, expected, unit) in enumerate(CASES):
        report = take(views(tmp_path / "views.csv", column, values, item=f"i{number}"))
        found = rows(f"SELECT duration_ms FROM events WHERE item_id = 'i{number}' ORDER BY ts")
        assert [n for (n,) in found] == expected, column
        assert f"How long views took is read from {column!r}, as {unit}." in report.notes


def test_what_is_no_duration_costs_no_view(tmp_path: Path, take: Take, rows: Rows) -> None:
    report = take(views(tmp_path / "views.csv", "time_on_page", ["30", "long", "-4", "100000"]))
    assert [n for (n,) in rows(DURATIONS)] == [30_000, None, None, None]
    assert (report.new, report.rejected) == (4, 0)
    said = "3 durations in 'time_on_page' cannot be read ('-4', '100000', 'long'): those views have none."
    assert said in report.notes


def test_only_views_have_durations(tmp_path: Path, take: Take, rows: Rows) -> None:
    report = take(views(tmp_path / "plays.csv", "duration", ["30", "x"], kinds="purchase"))
    assert [n for (n,) in rows(DURATIONS)] == [None, None]
    assert not [note for note in report.notes if "duration" in note]


def test_a_column_can_be_named(tmp_path: Path, take: Take, rows: Rows) -> None:
    take(views(tmp_path / "views.csv", "reading_ms", ["700"]), said={"duration_ms": "reading_ms"})
    assert rows(DURATIONS) == [(700,)]
