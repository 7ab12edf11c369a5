"""What tills and back offices write: numbers for states, the hour in a column of its own, payments, browsers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_cli.errors import InputError, UsageError
from recsys_cli.ingest import ingest
from recsys_cli.settings import Settings

from .conftest import Rows, Take

LINES = (
    "order_id,customer_id,sku,order_date,{}\n1,ann,TEA,2025-03-01,{}\n"
    "2,bob,TEA,2025-03-02,{}\n3,bob,CUP,2025-03-03,{}\n"
)
WHEN = "SELECT item_id, strftime(make_timestamp(ts * 1000000), '%Y-%m-%d %H:%M') FROM events ORDER BY ts"


@pytest.mark.parametrize(
    ("column", "states", "kinds", "told"),
    [
        ("status", (1, 2, 3), ["purchase"] * 3, "3 of 3 rows have a status that is not known and count as sales"),
        ("current_state", (5, 6, 8), ["purchase", "refund"], "read as PrestaShop numbers its states"),
        ("order_status_id", (5, 11, 1), ["purchase", "refund"], "read as OpenCart numbers its states"),
        ("orderStatusId", (7, 4, -1), ["purchase", "refund"], "read as Shopware 5 numbers its states"),
        ("cleared", (12, 35, 17), ["purchase", "refund"], "read as Shopware 5 numbers its states"),
    ],
)
def test_numbers_of_states_are_never_counted_in_silence(
    take: Take, rows: Rows, tmp_path: Path, column: str, states: tuple[int, ...], kinds: list[str], told: str
) -> None:
    (tmp_path / "orders.csv").write_text(LINES.format(column, *states))
    assert any(told in note for note in take(tmp_path / "orders.csv").notes)
    assert rows("SELECT event_type FROM events ORDER BY ts") == [(k,) for k in kinds]


def test_the_shop_says_what_its_states_mean(settings: Settings, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(LINES.format("status", 1, 2, 3))
    said = replace(settings, ingest=replace(settings.ingest, order_states={"2": "cancelled", "3": "unpaid"}))
    ingest(settings, [tmp_path / "orders.csv"])
    (report,) = ingest(said, [tmp_path / "orders.csv"]).files
    assert [r.name for r in report.reasons] == ["unpaid"]
    assert rows("SELECT event_type FROM events ORDER BY ts") == [("purchase",), ("refund",)]
    wrong = replace(settings, ingest=replace(settings.ingest, order_states={"2": "blue"}))
    with pytest.raises(UsageError, match="'blue' does not say how far an order got"):
        ingest(wrong, [tmp_path / "orders.csv"])


@pytest.mark.parametrize(
    ("day", "name", "hour", "read"),
    [
        ("14.03.2025", "Uhrzeit", "3:05 PM", "2025-03-14 15:05"),
        ("2025-03-14", "Sale Time", "15:05:11", "2025-03-14 15:05"),
        ("2025-03-14 00:00:00", "time", "9.05", "2025-03-14 09:05"),
        ("Mar-14-25", "Heure", "", "2025-03-14 00:00"),
    ],
)
def test_day_and_hour_in_two_columns_are_one_time(
    take: Take, rows: Rows, tmp_path: Path, day: str, name: str, hour: str, read: str
) -> None:
    (tmp_path / "till.csv").write_text(f"customer_id,sku,date,{name}\nann,TEA,{day},{hour}\nbob,CUP,,12:00\n")
    assert [r.name for r in take(tmp_path / "till.csv").reasons] == ["no_time"]
    assert rows(WHEN) == [("TEA", read)]


def test_squares_items_are_sales_and_its_payments_are_refused(take: Take, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(
        "Date,Time,Item,Qty,SKU,Gross Sales,Transaction ID,Event Type,Customer ID\n"
        "03/14/25,15:05:11,Latte,2,LAT,$8.00,t1,Payment,C1\n03/15/25,09:00:00,Tea,-1,,-$3.00,t2,Refund,\n"
    )
    assert take(tmp_path / "items.csv").preset == "square"
    found = rows("SELECT coalesce(user_id, session_id), item_id, qty, event_type, price FROM events ORDER BY ts")
    assert found == [("C1", "LAT", 2, "purchase", 4.0), ("t2", "Tea", 1, "refund", 3.0)]
    (tmp_path / "payments.csv").write_text(
        "Date,Gross Sales,Total Collected,Transaction ID,Payment ID,Customer ID\n03/14/25,$8.00,$8.00,t1,p1,C1\n"
    )
    with pytest.raises(InputError, match="Square's list of payments"):
        take(tmp_path / "payments.csv")


def test_browsers_of_analytics_are_guests_and_client_numbers_customers(take: Take, rows: Rows, tmp_path: Path) -> None:
    for name, client in (("web.csv", "1234567890.1735689600"), ("ventes.csv", "12")):
        (tmp_path / name).write_text(f"client_id,event_name,item_id,date\n{client},purchase,TEA,2025-03-01\n")
        take(tmp_path / name)
    assert rows("SELECT user_id, session_id FROM events ORDER BY user_id") == [
        ("12", None), (None, "1234567890.1735689600"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("is_cancelled", ("false", "true")), ("storniert", ("0", "1")), ("cancelled_at", ("", "2025-03-04")),
        ("returned_quantity", ("0", "1")), ("Belegart", ("Rechnung", "Gutschrift")),
        ("receipt_type", ("Sale", "Refund")),
    ],
)  # fmt: skip
def test_what_came_back_is_told_in_many_ways(
    take: Take, rows: Rows, tmp_path: Path, column: str, values: tuple[str, str]
) -> None:
    text = "order_id,customer_id,sku,order_date,quantity,{}\n1,ann,TEA,2025-03-01,1,{}\n2,bob,TEA,2025-03-02,1,{}\n"
    (tmp_path / "orders.csv").write_text(text.format(column, *values))
    take(tmp_path / "orders.csv")
    assert rows("SELECT event_type FROM events ORDER BY ts") == [("purchase",), ("refund",)]


@pytest.mark.parametrize(
    "text",
    [
        "Bestelnummer;Besteldatum;Klantnummer;Artikelcode;Aantal\n1;14-03-2025;ann;TEA;2\n1;14-03-2025;ann;CUP;1\n",
        "N° commande;Date de commande;Client;SKU;Quantité\n1;14/03/2025;ann;TEA;2\n1;14/03/2025;ann;CUP;1\n",
        "Id zamówienia;Data zakupu;Login kupującego;Id oferty;Liczba sztuk\n"
        "1;2025-03-14;ann;TEA;2\n1;2025-03-14;ann;CUP;1\n",
        "Order ID,Email,Created at,Lineitem sku,Lineitem quantity\n1,ann,2025-03-14,TEA,2\n1,,,CUP,1\n",
        "order_id;date;client;itemCode;itemAmount;orderItemType\n1;14.03.2025;ann;TEA;2;product\n"
        "1;14.03.2025;ann;DPD;1;shipping\n1;14.03.2025;ann;CUP;1;product\n",
    ],
)
def test_exports_of_further_countries(take: Take, rows: Rows, tmp_path: Path, text: str) -> None:
    (tmp_path / "export.csv").write_text(text.replace("itemCode", "sku"), encoding="utf-8")
    take(tmp_path / "export.csv")
    found = rows("SELECT order_id, user_id, item_id, qty, ts FROM events ORDER BY qty DESC")
    assert found == [("1", "ann", "TEA", 2, 1_741_910_400), ("1", "ann", "CUP", 1, 1_741_910_400)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Klant;Datum;Wat;Aantal\nann;14-03-2025;TEA;2\nbob;14-03-2025;CUP;1\n", "list of customers"),
        ("Date,Receipt number,SKU,Item\n2025-03-14,1,TEA,Tea\n2025-03-15,2,CUP,Cup\n", "has order lines"),
    ],
)
def test_sales_are_neither_customers_nor_products(take: Take, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "export.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        take(tmp_path / "export.csv")


def test_magentos_lines_are_known_by_their_article(take: Take, rows: Rows, tmp_path: Path) -> None:
    lines = [
        {"item_id": 1, "sku": "CUP-RED", "qty_ordered": 2, "price": 9.0},
        {"item_id": 2, "sku": "CUP-RED", "qty_ordered": 2, "price": 0, "parent_item_id": 1},
    ]
    order = {"increment_id": "1", "created_at": "2025-03-14 10:00:00", "customer_id": 7, "items": lines}
    (tmp_path / "orders.json").write_text(json.dumps({"items": [order], "total_count": 1}))
    take(tmp_path / "orders.json")
    assert rows("SELECT user_id, item_id, qty, price FROM events") == [("7", "CUP-RED", 2, 9.0)]


def test_money_that_went_back_is_a_refund_whatever_became_of_the_parcel(take: Take, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "bestellungen.csv").write_text(
        "Bestellnummer;Kundennummer;Artikelnummer;Bestelldatum;Bestellstatus;Zahlungsstatus\n"
        "1;ann;TEA;01.03.2025;Abgeschlossen;Bezahlt\n2;bob;TEA;02.03.2025;Versendet;Erstattet\n"
        "3;bob;CUP;03.03.2025;Versendet;Teilweise erstattet\n4;eva;CUP;14.03.2025;Versendet;Offen\n"
        "5;eva;TEA;15.03.2025;Rückläufer;Bezahlt\n"
    )
    report = take(tmp_path / "bestellungen.csv")
    assert "1 row is a refund by the payment, as 'Zahlungsstatus' says." in report.notes
    # On account: the parcel is under way before it is paid.
    assert [k for (k,) in rows("SELECT event_type FROM events ORDER BY ts")] == [
        "purchase", "refund", "purchase", "purchase", "refund"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "people", "told"),
    [
        (("anna@x.de", "jo@x.de", "jo2@x.de"), 3, "user_id is read from 'E-Mail', not from 'Kunde'"),
        (("red", "blue", "blue"), 2, "Customers are told apart by their names in 'Kunde'"),
    ],
)
def test_two_customers_of_one_name_are_two_where_the_file_can_tell(
    take: Take, rows: Rows, tmp_path: Path, extra: tuple[str, ...], people: int, told: str
) -> None:
    names = ("Meier, Anna", "Jo Schmidt", "Jo Schmidt")
    head = "E-Mail" if "@" in extra[0] else "Farbe"
    lines = (f"{n};{who};{e};A{n};2025-03-0{n}\n" for n, (who, e) in enumerate(zip(names, extra, strict=True), 1))
    (tmp_path / "orders.csv").write_text(f"Bestellnummer;Kunde;{head};Artikelnummer;Datum\n{''.join(lines)}")
    assert any(told in note for note in take(tmp_path / "orders.csv").notes)
    assert rows("SELECT count(DISTINCT user_id) FROM events") == [(people,)]


@pytest.mark.parametrize(
    ("values", "kinds", "told"),
    [
        (("web", "pos", "web"), ["purchase"] * 3, True),
        (("sale", "return", "swap"), ["purchase", "refund", "swap"], False),
    ],
)
def test_the_type_of_an_order_is_not_an_event(
    take: Take, rows: Rows, tmp_path: Path, values: tuple[str, ...], kinds: list[str], told: bool
) -> None:
    (tmp_path / "orders.csv").write_text(LINES.format("type", *values))
    said = "The column 'type' is not used: its values (pos, web) are not events."
    assert any(note.startswith(said) for note in take(tmp_path / "orders.csv").notes) is told
    assert [k for (k,) in rows("SELECT event_type FROM events ORDER BY ts")] == kinds


def test_orders_of_shopware_6_are_sales_until_they_are_cancelled(take: Take, rows: Rows, tmp_path: Path) -> None:
    orders = [
        {"orderNumber": n, "orderDateTime": f"2025-03-0{n}T10:00:00.000+00:00",
         "stateMachineState": {"technicalName": state}, "orderCustomer": {"customerNumber": who},
         "lineItems": [{"type": "product", "quantity": 1, "unitPrice": 9.5, "payload": {"productNumber": "SW1"}},
                       {"type": "promotion", "quantity": 1, "unitPrice": -2, "label": "Voucher"}]}
        for n, (who, state) in enumerate((("ann", "completed"), ("bob", "cancelled"), ("eva", "in_progress")), 1)
    ]  # fmt: skip
    (tmp_path / "orders.json").write_text(json.dumps({"data": orders}))
    take(tmp_path / "orders.json")
    assert rows("SELECT user_id, event_type FROM events ORDER BY ts") == [
        ("ann", "purchase"), ("bob", "refund"), ("eva", "purchase")
    ]  # fmt: skip
