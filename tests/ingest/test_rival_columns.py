"""Which of several columns is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_cli.errors import InputError

from .conftest import Rows, Take


@pytest.mark.parametrize("name", ["behavior_type", "what"])
def test_a_column_of_events_is_read_whatever_it_is_called(take: Take, rows: Rows, tmp_path: Path, name: str) -> None:
    words = ["pv", "cart", "buy", "fav"]
    text = "".join(f"u{n},{n},{w},174194370{n}\n" for n, w in enumerate(words))
    (tmp_path / "log.csv").write_text(f"user_id,item_id,{name},timestamp\n" + text)
    notes = take(tmp_path / "log.csv").notes
    assert rows("SELECT event_type FROM events ORDER BY ts") == [("view",), ("cart",), ("purchase",), ("like",)]
    assert any(note.startswith("What happened is read from 'what'") for note in notes) == (name == "what")


def test_words_that_are_not_all_events_say_nothing_of_what_happened(take: Take, rows: Rows, tmp_path: Path) -> None:
    text = "user_id,item_id,timestamp,channel\nu,1,1741943707,basket\nv,2,1741943708,checkout\nw,3,1741943709,phone\n"
    (tmp_path / "log.csv").write_text(text)
    take(tmp_path / "log.csv")
    assert rows("SELECT DISTINCT event_type FROM events") == [("purchase",)]


@pytest.mark.parametrize("hours", [0, 2])
def test_two_times_are_a_matter_of_asking_only_where_they_differ(
    take: Take, rows: Rows, tmp_path: Path, hours: int
) -> None:
    event = {"user_id": "u", "item_id": "P", "timestamp": 1741943707, "datetime": f"2025-03-14T{9 + hours:02}:15:07Z"}
    (tmp_path / "e.jsonl").write_text(json.dumps(event) + "\n")
    if hours:
        with pytest.raises(InputError, match="2 columns that can be ts"):
            take(tmp_path / "e.jsonl")
    else:
        take(tmp_path / "e.jsonl")
        assert rows("SELECT ts FROM events") == [(1741943707,)]


@pytest.mark.parametrize("staff", ["Login", "User Name", "Username"])
def test_who_is_logged_in_at_the_till_is_not_the_customer(take: Take, rows: Rows, tmp_path: Path, staff: str) -> None:
    lines = [f"R{n},{('sam', 'kim')[n % 2]},Anna {'ABC'[n % 3]},2025-03-1{n},P{n}\n" for n in range(6)]
    (tmp_path / "till.csv").write_text(f"Receipt,{staff},Customer Name,Date,SKU\n" + "".join(lines))
    take(tmp_path / "till.csv")
    assert rows("SELECT count(DISTINCT user_id) FROM events") == [(3,)]
    (tmp_path / "alone.csv").write_text(f"Receipt,{staff},Date,SKU\nR1,sam,2025-03-11,P\nR2,kim,2025-03-12,Q\n")
    with pytest.raises(InputError, match="no customers"):
        take(tmp_path / "alone.csv")


def test_customers_who_are_known_by_name_alone(take: Take, rows: Rows, tmp_path: Path) -> None:
    head = "Date,Receipt number,SKU,Item,Quantity,Gross sales,Cashier name,Customer name\n"
    names = ["Anna", "Bert", "", "Walk-in Customer"]
    text = head + "".join(f"2025-03-1{n},R{n},P{n},Tea,2,9.80,Sam,{who}\n" for n, who in enumerate(names))
    (tmp_path / "till.csv").write_text(text)
    assert any("by their names in 'Customer name'" in note for note in take(tmp_path / "till.csv").notes)
    assert rows("SELECT user_id, price FROM events ORDER BY ts") == [("Anna", 4.9), ("Bert", 4.9)]
