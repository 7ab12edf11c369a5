"""Columns known by their place among others, by what stands behind their names, and by what they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Rows, Take

AT = 1741943707  # 2025-03-14 09:15:07 UTC


@pytest.mark.parametrize(
    ("name", "written"),
    [("timestampMs", str(AT * 1000)), ("ts_us", str(AT * 1_000_000)), ("createdOn", "2025-03-14T09:15:07.100Z"),
     ("originalTimestamp", "2025-03-14T09:15:07Z"), ("collector_tstamp", "2025-03-14 09:15:07.000"),
     ("Ordered On", "2025/03/14 09:15:07"), ("Angelegt am", "14.03.2025 09:15:07")],
)  # fmt: skip
def test_times_whose_names_have_their_unit_or_another_verb(
    take: Take, rows: Rows, tmp_path: Path, name: str, written: str
) -> None:
    (tmp_path / "e.csv").write_text(f"customer_id,sku,{name}\nu,P,{written}\n")
    assert take(tmp_path / "e.csv").new == 1
    assert rows("SELECT ts FROM events") == [(AT,)]


@pytest.mark.parametrize("line", ["order_item_", "Order Lines/", "lineitem ", "Sale Line "])
def test_what_is_told_of_lines_says_so_before_its_names(take: Take, rows: Rows, tmp_path: Path, line: str) -> None:
    head = f"order_number,customer_email,order_date,{line}id,{line}sku,{line}quantity,{line}price\n"
    (tmp_path / "o.csv").write_text(head + "7,u@example.org,2025-03-14,991,TEA-1,3,4.90\n")
    take(tmp_path / "o.csv")
    assert rows("SELECT order_id, item_id, qty, price FROM events") == [("7", "TEA-1", 3, 4.9)]


def test_the_number_of_a_line_is_no_product_beside_the_products_own(take: Take, rows: Rows, tmp_path: Path) -> None:
    lines = [{"id": n, "product_id": 500 + n, "name": "Tea", "quantity": 2, "price_inc_tax": "4.90"} for n in (1, 2)]
    order = {"id": 7, "customer_id": 3, "date_created": "2025-03-14", "status": "Completed", "products": lines}
    (tmp_path / "o.json").write_text(json.dumps([order]))
    take(tmp_path / "o.json")
    assert rows("SELECT item_id, price FROM events ORDER BY 1") == [("501", 4.9), ("502", 4.9)]


def test_the_only_number_of_a_line_is_the_product(take: Take, rows: Rows, tmp_path: Path) -> None:
    order = {"id": 7, "customer_id": 3, "date_created": "2025-03-14", "products": [{"id": 501, "quantity": 2}]}
    (tmp_path / "o.json").write_text(json.dumps([order]))
    take(tmp_path / "o.json")
    assert rows("SELECT item_id, qty FROM events") == [("501", 2)]


def test_prices_of_shopifys_graphql_are_read_through_their_wrappings(take: Take, rows: Rows, tmp_path: Path) -> None:
    price = {"shopMoney": {"amount": "4.90", "currencyCode": "EUR"}}
    line = {"node": {"sku": "TEA-1", "quantity": 2, "title": "Tea", "originalUnitPriceSet": price}}
    order = {"id": "gid://shopify/Order/7", "createdAt": "2025-03-14T09:15:07Z", "displayFinancialStatus": "PAID",
             "customer": {"id": "gid://shopify/Customer/3"}, "lineItems": {"edges": [line]}}  # fmt: skip
    (tmp_path / "o.json").write_text(json.dumps({"data": {"orders": {"edges": [{"node": order}]}}}))
    take(tmp_path / "o.json")
    assert rows("SELECT item_id, qty, price, ts FROM events") == [("TEA-1", 2, 4.9, AT)]


def test_mongodb_says_of_each_value_what_it_is(take: Take, rows: Rows, tmp_path: Path) -> None:
    event = {"_id": {"$oid": "64a"}, "userId": {"$oid": "64b"}, "productId": {"$oid": "64c"},
             "createdAt": {"$date": "2025-03-14T09:15:07.000Z"}, "quantity": {"$numberInt": "2"}}  # fmt: skip
    (tmp_path / "e.jsonl").write_text(json.dumps(event) + "\n")
    take(tmp_path / "e.jsonl")
    assert rows("SELECT user_id, item_id, ts, qty FROM events") == [("64b", "64c", AT, 2)]


def test_fields_of_sap(take: Take, rows: Rows, tmp_path: Path) -> None:
    head = "VBELN;POSNR;KUNNR;ERDAT;MATNR;ARKTX;KWMENG;NETWR;WAERK\n"
    text = head + "".join(f"{n};10;40{n};20250314;P{n};Tee;{n},000;{n}4,90{'-' * (n == 3)};EUR\n" for n in (1, 2, 3))
    (tmp_path / "vbap.csv").write_text(text)
    take(tmp_path / "vbap.csv")
    assert rows("SELECT order_id, user_id, item_id, qty, event_type, price FROM events ORDER BY 1") == [
        ("1", "401", "P1", 1, "purchase", 14.9),
        ("2", "402", "P2", 2, "purchase", 12.45),
        ("3", "403", "P3", 3, "refund", pytest.approx(34.9 / 3)),
    ]


@pytest.mark.parametrize("title", ["Auswertung Positionen", '"Auswertung; Positionen"'])
def test_lines_above_the_header_may_be_padded_with_delimiters(
    take: Take, rows: Rows, tmp_path: Path, title: str
) -> None:
    """As spreadsheets and ERPs save them: every line has the delimiters of the widest one."""
    lines = [f"0{n % 9 + 1}.06.2025;A{n};K{n % 3};P{n % 4};{n + 1};105,43" for n in range(12)]
    head = "Belegdatum;Auftragsnr.;Kundennr.;Artikelnr.;Menge;Einzelpreis EUR"
    above = [f"{title};;;;;", "Erstellt am;29.11.2026;;;;", ";;;;;"]
    (path := tmp_path / "export.csv").write_text("\n".join([*above, head, *lines, ""]), encoding="utf-8")
    taken = take(path)
    assert (taken.new, taken.rejected) == (12, 0)
    assert taken.understood["price"] == "Einzelpreis EUR"
    assert rows("SELECT sum(qty)::INTEGER, max(price) FROM events") == [(78, 105.43)]


def test_a_list_price_in_a_currency_is_a_price(take: Take, rows: Rows, tmp_path: Path) -> None:
    lines = "Artikelnr.;Bezeichnung;Warengruppe;Listenpreis EUR\n000001;Lager;Kugellager;1.302,42\n"
    (path := tmp_path / "items.csv").write_text(lines, encoding="utf-8")
    take(path)
    assert rows("SELECT item_id, price FROM items") == [("000001", 1302.42)]
