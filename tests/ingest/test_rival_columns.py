"""Which of several columns is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_cli.errors import InputError
from recsys_cli.ingest import Request, ingest
from recsys_cli.settings import Settings

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


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ("customer_id,order_date,sku,order_id,line_item_id", "u,2025-03-14,P,o{n},99{n}"),
        ("customer_id,order_date,sku,order_id,order_line_item_id", "u,2025-03-14,P,o{n},99{n}"),
        ("customer_id,order_date,product,order_id,line_reference", "u,2025-03-14,P,o{n},99{n}"),
        ("customer_id,order_date,sku,order_id,order_items_count", "u,2025-03-14,P,o{n},3"),
        ("customer_id,order_date,sku,order_id,line_items_quantity", "u,2025-03-14,P,o{n},3"),
        ("customer_id,order_date,sku,aid", "u,2025-03-14,P,7{n}"),
        ("customer_id,order_date,product,symbol", "u,2025-03-14,P,€"),
        ("customer_id,order_date,sku,created_on", "u,2025-03-14,P,2025-03-2{n}"),
        ("customer_id,date,sku,Erstellt am", "u,2025-03-14,P,2025-03-2{n}"),
        ("customer_id,order_date,sku,order_placed_at", "u,2025-03-14,P,2025-03-14T09:15:07Z"),
        ("customer_id,order_date,sku,interaction_type", "u,2025-03-14,P,store {n}"),
        ("order_id,customer,order_date,sku,partner_id", "o{n},u,2025-03-14,P,{n}"),
    ],
)
def test_what_stands_beside_is_not_read_instead(
    take: Take, rows: Rows, tmp_path: Path, columns: str, values: str
) -> None:
    more = [columns, *(values.format(n=n) for n in range(4))]
    more.append(values.format(n=9).replace(",P,", ",Q,").replace("u,", "v,", 1))
    (tmp_path / "o.csv").write_text("\n".join(more) + "\n")
    take(tmp_path / "o.csv")
    told = rows("SELECT user_id, item_id, epoch(time_bucket(INTERVAL 1 DAY, to_timestamp(ts))), qty FROM events")
    assert {row[:3] for row in told} == {("u", "P", 1741910400), ("v", "Q", 1741910400)}
    assert {row[3] for row in told} == {1}


@pytest.mark.parametrize(("beside", "words"), [("order_id", ("view", "click")), ("channel", ("Invoice", "Credit"))])
def test_how_an_order_was_paid_is_not_what_happened(
    take: Take, rows: Rows, tmp_path: Path, beside: str, words: tuple[str, str]
) -> None:
    lines = [f"u{n},{n},2025-03-1{n},{n},{words[n % 2]}" for n in range(4)]
    (tmp_path / "o.csv").write_text("\n".join([f"customer_id,sku,order_date,{beside},how", *lines, ""]))
    take(tmp_path / "o.csv")
    assert rows("SELECT DISTINCT event_type FROM events") == [("purchase",)]


def test_programs_that_visit_are_no_customers(take: Take, rows: Rows, tmp_path: Path) -> None:
    lines = [f"s{n},{('Chrome', 'Firefox')[n % 2]},P,2025-03-1{n}\n" for n in range(4)]
    (tmp_path / "log.csv").write_text("session_id,client_name,item_id,timestamp\n" + "".join(lines))
    take(tmp_path / "log.csv")
    assert rows("SELECT count(user_id), count(DISTINCT session_id) FROM events") == [(0, 4)]


@pytest.mark.parametrize("name", ["partner_id", "buyer_name"])
def test_who_delivers_a_product_makes_a_catalogue_no_list_of_orders(
    take: Take, rows: Rows, tmp_path: Path, name: str
) -> None:
    (tmp_path / "items.csv").write_text(f"sku,title,price,{name}\nP,Cup,4.90,s1\nQ,Tea,5.90,s2\n")
    take(tmp_path / "items.csv")
    assert rows("SELECT item_id, title FROM items ORDER BY 1") == [("P", "Cup"), ("Q", "Tea")]
    (tmp_path / "orders.csv").write_text(f"{name},date_order,product_id,product_uom_qty\nAnna,2025-03-14,P,2\n"
                                         "Bert,2025-03-14,P,1\n")  # fmt: skip
    take(tmp_path / "orders.csv")
    assert rows("SELECT user_id, qty FROM events ORDER BY 1") == [("Anna", 2), ("Bert", 1)]


def test_a_product_is_known_by_its_id_though_it_has_a_number_too(take: Take, rows: Rows, tmp_path: Path) -> None:
    product = {"id": "P", "item_number": 7, "name": "Cup"}
    (tmp_path / "e.jsonl").write_text(json.dumps({"user_id": "u", "timestamp": 1741943707, "product": product}) + "\n")
    take(tmp_path / "e.jsonl")
    assert rows("SELECT item_id FROM events") == [("P",)]


@pytest.mark.parametrize(("title", "kept"), [("Ballonfahrt Gutschein", True), ("Treuerabatt 5 %", False)])
def test_a_voucher_that_a_shop_sells_is_a_product(take: Take, tmp_path: Path, title: str, kept: bool) -> None:
    text = f"customer_id,sku,item_name,order_date\nu,P,{title},2025-03-14\nv,Q,Cup,2025-03-14\n"
    (tmp_path / "o.csv").write_text(text)
    assert take(tmp_path / "o.csv").new == 1 + kept


def test_rival_columns_of_a_catalogue(take: Take, rows: Rows, tmp_path: Path) -> None:
    text = "sku,title,cat,department,desc,short_description\nP,Cup,7,Mugs,asc,A cup\n"
    (tmp_path / "items.csv").write_text(text)
    take(tmp_path / "items.csv")
    assert rows("SELECT category, description FROM items") == [("Mugs", "A cup")]


@pytest.mark.parametrize("name", ["customer_name", "partner_id"])
def test_lines_with_names_are_joined_to_the_orders_of_customers(
    settings: Settings, rows: Rows, tmp_path: Path, name: str
) -> None:
    orders, lines = tmp_path / "orders.csv", tmp_path / "lines.csv"
    orders.write_text("order_id,customer_id,order_date\no1,c1,2025-03-14\no2,c2,2025-03-15\n")
    lines.write_text(f"order_id,{name},sku,quantity\no1,Anna,P,1\no2,Bert,Q,2\n")
    ingest(settings, [orders, lines], Request())
    assert rows("SELECT user_id, item_id, qty FROM events ORDER BY 1") == [("c1", "P", 1), ("c2", "Q", 2)]


def test_a_number_of_hundreds_of_digits_is_no_time(take: Take, tmp_path: Path) -> None:
    text = "".join(f"u{n},a,{1767348000 + n},{1767348000 + n}\n" for n in range(60))
    big = "9" * 400
    header = "customer_id,sku,created_on,created_timestamp\n"
    (tmp_path / "o.csv").write_text(f"{header}{text}u,a,{big},{big}\n")
    report = take(tmp_path / "o.csv")
    assert (report.new, report.rejected) == (60, 1)


@pytest.mark.parametrize("own", [False, True])
def test_a_total_of_the_order_is_no_price_of_its_lines(take: Take, rows: Rows, tmp_path: Path, own: bool) -> None:
    lines = "".join(
        f"{o},u{o},{sku},2026-01-0{o},1,{10 * n if own else 50 + o}\n"
        for o in range(1, 5)
        for n, sku in enumerate("abc", 1)
    )
    (tmp_path / "o.csv").write_text(f"order_id,customer_id,sku,order_date,quantity,item_total\n{lines}")
    notes = take(tmp_path / "o.csv").notes
    assert any("'item_total' is not used: it is the same on all lines of each order" in n for n in notes) != own
    assert rows("SELECT DISTINCT price FROM events ORDER BY 1") == ([(10.0,), (20.0,), (30.0,)] if own else [(None,)])
