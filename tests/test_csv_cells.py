"""Nothing in a CSV of ours is run by a spreadsheet, and every value can be had back."""

from __future__ import annotations

import csv

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.csv_cells import FORMULA, csv_bytes, marked, marked_column, unmarked

RISKY = st.builds(str.__add__, st.sampled_from((*FORMULA, "'", "-1", "+1.5e3", "")), st.text(max_size=8))


@given(RISKY)
def test_a_marked_value_is_harmless_and_comes_back(value: str) -> None:
    cell = marked(value)
    assert marked_column(pa.array([value])).to_pylist() == [cell]
    assert (unmarked(cell) if cell != value else value) == value
    number = cell[1:].replace(",", "").replace(".", "").replace("-", "").replace("+", "").lower().replace("e", "")
    assert not cell.startswith(FORMULA) or (cell[1:2].isdigit() and number.isdigit())
    assert cell == value or cell[0] == "'"


def test_numbers_and_what_is_no_text_stay_as_they_are() -> None:
    for value in ("-5", "+49", "-1.234,50", "-1e-3", 5, -5.5, None, True):
        assert marked(value) == value
    for value in ("-5+cmd", "-", "-x", "+1 2", "=5", "'5", "-1e"):
        assert marked(value) == f"'{value}"
    assert marked_column(pa.array(["-5", None, "=x"])).to_pylist() == ["-5", None, "'=x"]


def test_names_of_columns_are_cells_too() -> None:
    table = list(csv.reader(csv_bytes(["a", "@b"], [["=x", None], [1, "\ry"]]).decode().splitlines(keepends=True)))
    assert table[:2] == [["a", "'@b"], ["'=x", ""]]
