"""Numbers and days as spreadsheets of half of Europe write them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from recsys_cli.ingest import ingest
from recsys_cli.ingest.value_parsing import median
from recsys_cli.settings_sources import load

from .conftest import Rows, Take


def orders(path: Path, days: list[str], prices: list[str]) -> Path:
    lines = "".join(f"K{n};A{n % 3};{day};{price}\n" for n, (day, price) in enumerate(zip(days, prices, strict=True)))
    path.write_text(f"Kunde;Artikel;Datum;Preis\n{lines}", encoding="utf-8")
    return path


def test_prices_that_may_be_thousands_are_told(tmp_path: Path, take: Take, rows: Rows) -> None:
    days = ["01.10.2025", "02.10.2025", "14.10.2025"]
    path = orders(tmp_path / "a.csv", days, ["1.250", "1.100", "12.000"])
    said = [note for note in take(path).notes if "three digits" in note]
    assert said == [
        "All prices have three digits behind the point: 1.100 is read as 1.1. "
        "Where the point parts thousands, say --decimal comma."
    ]
    assert rows("SELECT max(price) FROM events") == [(12.0,)]
    german = load({"db": str(tmp_path / "other.duckdb"), "ingest.decimal": "comma"}, environ={})
    (taken,) = ingest(german, [path]).files
    assert not [note for note in taken.notes if "three digits" in note]
    with duckdb.connect(str(german.db), read_only=True) as con:
        assert con.execute("SELECT max(price) FROM events").fetchall() == [(12000.0,)]


def test_one_price_of_another_kind_says_what_the_point_is(tmp_path: Path, take: Take) -> None:
    days = ["01.10.2025", "02.10.2025", "14.10.2025"]
    taken = take(orders(tmp_path / "a.csv", days, ["1.250", "1.1", "12.000"]))
    assert not [note for note in taken.notes if "three digits" in note]


def test_days_of_a_german_spreadsheet_have_a_comma(tmp_path: Path, take: Take, rows: Rows) -> None:
    taken = take(orders(tmp_path / "a.csv", ["45931", "45931,5", "45932,25"], ["1,5", "2", "3"]))
    assert "Times are read as days of a spreadsheet." in taken.notes
    assert rows("SELECT ts FROM events ORDER BY ts") == [(1759276800,), (1759320000,), (1759384800,)]


def test_cells_that_are_empty_say_nothing_of_a_unit(tmp_path: Path, take: Take, rows: Rows) -> None:
    """Most events have no duration, and most products no date: the others still are milliseconds."""
    lines = [f"u{n},a,{1_700_000_000 + n},view,{45_000 + n}" for n in range(4)]
    lines += [f"u{n},a,{1_700_000_100 + n},purchase," for n in range(6)]
    views = tmp_path / "views.csv"
    views.write_text("\n".join(["user_id,item_id,ts,event_type,dwell", *lines, ""]), encoding="utf-8")
    take(views)
    assert rows("SELECT min(duration_ms), max(duration_ms) FROM events") == [(45_000, 45_003)]
    items = tmp_path / "items.csv"
    made = [f"p{n},T{n},{1_690_000_000_000 if n < 3 else ''}" for n in range(9)]
    items.write_text("\n".join(["item_id,title,created_at", *made, ""]), encoding="utf-8")
    take(items)
    assert rows("SELECT DISTINCT created_at FROM items WHERE created_at IS NOT NULL") == [(1_690_000_000,)]


@pytest.mark.parametrize(
    ("values", "middle"),
    [("(NULL), (NULL)", None), ("(NULL), (5.0), (-7.0), (NULL)", 6.0), ("(7202.0), (7200.0), (7204.0)", 7202.0),
     ("('nan'), ('inf'), ('0')", 0.001), ("(1.0), (1700000000123.0)", 850000000000.5)],
)  # fmt: skip
def test_the_middle_of_numbers(values: str, middle: float | None) -> None:
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t AS SELECT v::DOUBLE AS v FROM (VALUES {values}) AS t(v)")
        found = median(con, "t", "v")
        assert found == middle if middle is None else found == pytest.approx(middle, rel=1e-5)


@pytest.mark.parametrize("written", ["6,90 руб.", "6,90 руб", "6,90 TL", "R$ 6,90"])
def test_currencies_as_they_are_written_beside_prices(take: Take, rows: Rows, tmp_path: Path, written: str) -> None:
    (tmp_path / "o.csv").write_text(f"customer_id;sku;order_date;price\nu;P;2025-03-14;{written}\n", encoding="utf-8")
    take(tmp_path / "o.csv")
    assert rows("SELECT price FROM events") == [(6.9,)]


def test_pieces_with_three_places_are_read_beside_prices_and_else_asked_about(
    tmp_path: Path, take: Take, rows: Rows
) -> None:
    """SAP writes 150 pieces as 150,000."""
    head, line = "Kundennr.;Artikelnr.;Belegdatum;Menge", "K1;A1;01.06.2025;150,000"
    (path := tmp_path / "priced.csv").write_text(f"{head};Einzelpreis EUR\n{line};105,43\n", encoding="utf-8")
    assert "The comma is the decimal sign of qty." in take(path).notes
    assert rows("SELECT qty, price FROM events") == [(150, 105.43)]
    (path := tmp_path / "bare.csv").write_text(f"{head}\n{line}\n", encoding="utf-8")
    taken = take(path)
    assert taken.rejected == 1
    assert "150,000 in qty could be two different numbers: say --decimal comma or --decimal point." in taken.notes


def test_dates_with_points_have_the_day_first_also_beside_one_that_tells_nothing(
    tmp_path: Path, take: Take, rows: Rows
) -> None:
    """The 6th of June is the same in both orders."""
    take(orders(tmp_path / "june.csv", ["01.06.2025", "06.06.2025", "09.06.2025"], ["1,50", "2,50", "3,50"]))
    assert rows("SELECT max(ts) FROM events") == [(1749427200,)]
