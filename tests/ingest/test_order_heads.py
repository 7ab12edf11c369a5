"""What is said once of a whole order."""

from __future__ import annotations

from pathlib import Path

from .conftest import Rows, Take

HEAD = "Order Reference,Customer ID,Order Date,SKU,Quantity\n"


def test_lines_below_that_leave_even_the_order_empty(take: Take, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text(HEAD + "S1,7,2025-03-14,A,1\n,,,B,2\n,,,C,3\nS2,8,2025-03-15,A,4\n,,,D,5\n")
    notes = take(tmp_path / "o.csv").notes
    assert any("read from the first line of each order" in note for note in notes)
    assert rows("SELECT order_id, user_id, item_id, qty, day(to_timestamp(ts) AT TIME ZONE 'UTC') FROM events") == [
        ("S1", "7", "A", 1, 14), ("S1", "7", "B", 2, 14), ("S1", "7", "C", 3, 14), ("S2", "8", "A", 4, 15),
        ("S2", "8", "D", 5, 15),
    ]  # fmt: skip


def test_a_total_below_the_orders_is_no_line_of_the_last(take: Take, tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text(HEAD + "S1,7,2025-03-14,A,1\nS2,8,2025-03-15,A,4\n,,,Total,5\n")
    report = take(tmp_path / "o.csv")
    assert (report.new, report.rejected) == (2, 1)


def test_totals_between_orders_are_no_products(take: Take, rows: Rows, tmp_path: Path) -> None:
    lines = "S1,7,2025-03-14,A,1\n,,,Total Anna,1\nS2,8,2025-03-15,A,4\n,,,Total Ben,4\n"
    (tmp_path / "o.csv").write_text(HEAD + lines)
    report = take(tmp_path / "o.csv")
    assert (report.new, report.rejected) == (2, 2)
    assert rows("SELECT DISTINCT item_id FROM events") == [("A",)]


def test_a_guests_order_is_not_given_to_the_customer_above(take: Take, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text(HEAD + "S1,7,2025-03-14,A,1\nS2,,2025-03-15,B,2\nS3,8,2025-03-16,A,4\n")
    take(tmp_path / "o.csv")
    assert rows("SELECT user_id, item_id FROM events ORDER BY ts") == [("7", "A"), ("8", "A")]
