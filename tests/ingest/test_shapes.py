"""Order lines wherever they are, who counts as a customer, which orders count, and taking files back."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from recsys_cli.errors import InputError
from recsys_cli.ingest import ingest
from recsys_cli.settings import Settings
from recsys_cli.store import Store, imports, merge

from .conftest import Rows, Take

SOLD = [("ann", "TEA-1", 2), ("ann", "CUP-7", 1), ("bob", "TEA-1", 1)]
ORDERS = [
    {"number": "A1", "created_at": "2025-03-01T10:00:00Z", "customer": {"id": "ann"}, "shipping": {"price": 4.9},
     "lines": [{"sku": "TEA-1", "quantity": 2, "price": 3.5}, {"sku": "CUP-7", "quantity": 1, "price": 9}]},
    {"number": "A2", "created_at": "2025-03-02T10:00:00Z", "customer": {"id": "bob"}, "shipping": {"price": 4.9},
     "lines": [{"sku": "TEA-1", "quantity": 1, "price": 3.5}]},
    {"number": "A3", "created_at": "2025-03-02T11:00:00Z", "customer": {"id": "bob"}, "lines": []},
]  # fmt: skip
HEAD = "order_no;customer_no;ordered;{}\n"


def packed(name: str, first: str, second: str) -> str:
    return f"order_no;customer_no;order_date;{name}\nA1;ann;2025-03-01;{first}\nA2;bob;2025-03-02;{second}\n"


SHAPES = {
    "lines.jsonl": "".join(json.dumps(o) + "\n" for o in ORDERS),
    "array.json": json.dumps(ORDERS),
    "answer.json": json.dumps({"data": {"orders": ORDERS}, "count": 3}),
    "counted.csv": packed("items", "2x TEA-1|1x CUP-7", "1x TEA-1"),
    "after.csv": packed("products", "TEA-1 x 2, CUP-7 x 1", "TEA-1 x 1"),
    "keyed.csv": packed(
        "details", "SKU: TEA-1, Qty: 2, Name: Tea|SKU: CUP-7, Qty: 1, Name: Cup", "SKU: TEA-1, Qty: 1, Name: Tea"
    ),
    "json.csv": packed(
        "cart", '"[{""sku"":""TEA-1"",""qty"":2},{""sku"":""CUP-7"",""qty"":1}]"', '"[{""sku"":""TEA-1"",""qty"":1}]"'
    ),
    "heads.csv": (
        "receipt_no,customer_no,order_date,sku,quantity,row\nA1,ann,2025-03-01,,,Sale\nA1,,2025-03-01,TEA-1,2,Line\n"
        "A1,,2025-03-01,CUP-7,1,Line\nA1,,2025-03-01,,,Payment\nA2,bob,2025-03-02,,,Sale\nA2,,2025-03-02,TEA-1,1,Line\n"
    ),
    "report.csv": (
        '"Sales of March"\n"All amounts in EUR"\n"order_no","customer_no","order_date","sku","quantity"\n'
        '"A1","ann","2025-03-01","TEA-1","2"\n"A1","ann","2025-03-01","CUP-7","1"\n"A2","bob","2025-03-02","TEA-1","1"\n'
    ),
    "colons.dat": (
        "customer_no::sku::order_date::quantity\nann::TEA-1::2025-03-01::2\nann::CUP-7::2025-03-01::1\n"
        "bob::TEA-1::2025-03-02::1\n"
    ),
    "feed.xml": "<orders>" + "".join(
        f"<order><customer_no>{u}</customer_no><sku>{i}</sku><quantity>{n}</quantity>"
        "<order_date>2025-03-01</order_date></order>" for u, i, n in SOLD
    ) + "</orders>",
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_order_lines_are_found_wherever_they_are(take: Take, rows: Rows, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SHAPES[name], encoding="utf-8")
    assert take(tmp_path / name).new == 3
    assert rows("SELECT user_id, item_id, qty FROM events ORDER BY user_id, item_id DESC") == SOLD


def test_orders_and_lines_are_joined_also_from_an_archive(settings: Settings, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id,customer_id,created_at\nA1,ann,2025-03-01\nA2,bob,2025-03-02\n")
    with zipfile.ZipFile(tmp_path / "lines.zip", "w") as archive:
        archive.writestr("lines.csv", "order_id,sku,quantity\nA1,TEA-1,2\nA1,CUP-7,1\nA2,TEA-1,1\n")
    with pytest.raises(InputError, match="has order lines"):
        ingest(settings, [tmp_path / "lines.zip"])
    assert ingest(settings, [tmp_path / "orders.csv", tmp_path / "lines.zip"]).total("new") == 3
    assert rows("SELECT user_id, item_id, qty FROM events ORDER BY user_id, item_id DESC") == SOLD


def test_baskets_are_no_products(take: Take, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("user_id,item_id,ts\nu,a:1:{i:0;s:1;},1700000000\n")
    with pytest.raises(InputError, match=r"'item_id'.*serialised"):
        take(tmp_path / "f.csv")


def test_states_and_nobody(take: Take, rows: Rows, tmp_path: Path) -> None:
    states = ["bezahlt", "storniert", "annulé", "en attente de paiement", "Awaiting Shipment", "zurückgesendet?"]
    lines = "".join(
        f"{n},{u},p{n},2025-03-0{n + 1},{s}\n" for n, (u, s) in enumerate(zip("abcdef", states, strict=True))
    )
    (tmp_path / "f.csv").write_text(f"order_id,customer_id,sku,date,status\n{lines}9,Gast,p9,2025-03-01,bezahlt\n")
    report = take(tmp_path / "f.csv")
    assert {r.name for r in report.reasons} == {"unpaid", "no_user"}
    assert rows("SELECT event_type, count(*) FROM events GROUP BY 1 ORDER BY 1") == [("purchase", 2), ("refund", 3)]
    assert any("are no sales by their status: annulé 1" in n for n in report.notes)


def test_an_edited_order_replaces_itself_and_can_be_taken_back(
    settings: Settings, take: Take, rows: Rows, tmp_path: Path
) -> None:
    head = "order_id,customer_id,sku,quantity,order_date\n"
    (tmp_path / "a.csv").write_text(head + "1,u,x,1,2025-03-01 10:00:07\n1,u,y,1,2025-03-01 10:00:07\n")
    (tmp_path / "b.csv").write_text(head + "1,u,x,3,2025-03-01 10:00\n1,u,y,1,2025-03-01 10:00:07\n")
    take(tmp_path / "a.csv")
    edited = take(tmp_path / "b.csv")
    assert (edited.new, edited.changed, edited.known) == (1, 1, 1)
    assert rows("SELECT item_id, qty FROM events ORDER BY 1") == [("x", 3), ("y", 1)]
    with Store(settings.db, settings.store).writing() as con, merge.transaction(con):
        assert [i.number for i in imports.listed(con)] == [2, 1]
        imports.undo(con, 2)
    assert rows("SELECT item_id, qty FROM events ORDER BY 1") == [("x", 1), ("y", 1)]
