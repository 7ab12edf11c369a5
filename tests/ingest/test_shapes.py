"""Order lines wherever they are, who counts as a customer, which orders count, and taking files back."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_cli.errors import InputError, UsageError
from recsys_cli.ingest import ingest
from recsys_cli.ingest.formats import Hints
from recsys_cli.settings import Settings
from recsys_cli.store import Store, batches, imports, merge

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
    "bulk.jsonl": "".join(json.dumps(o) + "\n" for o in [
        {"id": "gid://Order/1", "name": "#1", "createdAt": "2025-03-01T10:00:00Z", "customer": {"id": "ann"}},
        {"id": "gid://Line/1", "sku": "TEA-1", "quantity": 2, "__parentId": "gid://Order/1"},
        {"id": "gid://Line/2", "sku": "CUP-7", "quantity": 1, "__parentId": "gid://Order/1"},
        {"id": "gid://Order/2", "name": "#2", "createdAt": "2025-03-02T10:00:00Z", "customer": {"id": "bob"}},
        {"id": "gid://Line/3", "sku": "TEA-1", "quantity": 1, "__parentId": "gid://Order/2"},
    ]),
    "api.json": json.dumps({"data": [
        {"type": "event", "id": o["number"], "relationships": {"profile": {"data": {"id": o["customer"]["id"]}}},
         "attributes": {"datetime": o["created_at"], "event_properties": {"Items": o["lines"]}}} for o in ORDERS[:2]
    ]}),
    "units.csv": (
        "Bestellnr;Kundennr;Bestelldatum;Artikelnr;Menge\nA1;ann;Samstag, 1. März 2025, 10:05 Uhr;TEA-1;2 Stk.\n"
        "A1;ann;Samstag, 1. März 2025, 10:05 Uhr;CUP-7;1x\nA2;bob;Sonntag, 2. März 2025, 11:00 Uhr;TEA-1;1 Stück\n"
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


@pytest.mark.parametrize(("orders", "without"), [(2, 1), (3, 2), (1000, 1), (1000, 998)])
def test_a_key_that_some_lines_lack_is_read_where_it_is(
    take: Take, rows: Rows, tmp_path: Path, orders: int, without: int
) -> None:
    line = "Product ID: {0}, Product Qty: 2, Product Name: Cup, Product Unit Price: 5.00, Product Total Price: 10.00"
    cells = [line.format(1) + "|" + line.format(2)] * (orders - without)
    cells += ["Product ID: 1, Product Qty: 2, Product Name: Cup"] * without
    # What a name says once of many is no key.
    cells[0] = cells[0].replace("Name: Cup,", "Name: Cup, Edition: 3,", 1)
    text = "".join(f'{n},c{n % 5},2025-03-01,"{cell}"\n' for n, cell in enumerate(cells))
    (tmp_path / "f.csv").write_text(f"Order ID,Customer ID,Order Date,Product Details\n{text}")
    report = take(tmp_path / "f.csv")
    assert report.understood["price"] == "Product Details.Product Unit Price"
    assert report.unused == ("Product Details.Product Total Price",)
    priced = 2 * (orders - without)
    asked = "SELECT count(*), count(price), sum(price), sum(qty)::INTEGER FROM events"
    assert rows(asked) == [(priced + without, priced, 5.0 * priced, 2 * (priced + without))]


def test_a_key_of_one_line_in_a_thousand_is_part_of_a_name(take: Take, tmp_path: Path) -> None:
    cells = ["SKU: TEA, Qty: 1, Name: Tea", *["SKU: CUP, Qty: 1, Name: Cup"] * 999]
    cells[0] += ", Edition: 3"
    text = "".join(f'{n},c{n % 5},2025-03-01,"{cell}"\n' for n, cell in enumerate(cells))
    (tmp_path / "f.csv").write_text(f"Order ID,Customer ID,Order Date,Details\n{text}")
    report = take(tmp_path / "f.csv")
    assert not [name for name in (*report.understood.values(), *report.unused) if "Edition" in name]


def test_orders_and_lines_are_joined_also_from_an_archive(settings: Settings, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id,customer_id,created_at\nA1,ann,2025-03-01\nA2,bob,2025-03-02\n")
    with zipfile.ZipFile(tmp_path / "lines.zip", "w") as archive:
        archive.writestr("lines.csv", "order_id,sku,quantity\nA1,TEA-1,2\nA1,CUP-7,1\nA2,TEA-1,1\n")
    with pytest.raises(InputError, match="has order lines"):
        ingest(settings, [tmp_path / "lines.zip"])
    assert ingest(settings, [tmp_path / "orders.csv", tmp_path / "lines.zip"]).total("new") == 3
    assert rows("SELECT user_id, item_id, qty FROM events ORDER BY user_id, item_id DESC") == SOLD


def test_an_order_that_was_not_delivered_is_left_out_for_that(take: Take, tmp_path: Path) -> None:
    lines = "".join(
        f"{n},c{n},p,2025-03-01,{s}\n" for n, s in enumerate(("paid", "pending", "Nicht zugestellt", "paid"))
    )
    (tmp_path / "f.csv").write_text(f"order_id,customer_id,sku,date,status\n{lines}")
    reasons = {r.name: (r.sentence, r.rows) for r in take(tmp_path / "f.csv").reasons}
    assert reasons == {
        "unpaid": ("Its order was not paid for.", 1),
        "undelivered": ("Its order was not delivered.", 1),
    }


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
    assert any("are not sales by their status: annulé 1" in n for n in report.notes)


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


def test_the_notes_say_what_to_do(take: Take, rows: Rows, tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_text(
        "customer_id,sku,name,order_date\nann@example.com,CUP-7-RED-L,Cup,2025-03-01\n"
        "bob@example.com,CUP-7-RED,Cup,2025-03-01\nann@example.com,X-1,Tea,2025-03-02\nguest,CUP-7-RED,Cup,2025-03-02\n"
    )
    notes = take(orders, dry_run=True).notes
    assert any("no catalogue yet" in n and "--type items" in n for n in notes)
    assert [n for n in notes if "keyed hash" in n] == [
        "2 e-mail addresses were kept as keyed hashes; to keep addresses as they are: "
        'ingest.emails = "keep" in recsys.toml.'
    ]
    (tmp_path / "products.csv").write_text("sku,title,price\nCUP-7,Cup,9\nTEA-1,Tea,3\n")
    take(tmp_path / "products.csv")
    notes = take(orders).notes
    assert any(n.startswith("2 of them look like variants of catalogue items (CUP-7-RED of CUP-7).") for n in notes)
    assert any("ingest it again with --type items" in n for n in notes)
    assert not any("no catalogue yet" in n for n in notes)


def test_ratings_without_a_header_get_the_line_to_type(take: Take, rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "u.data"
    lines = [f"{1 + n % 7}\t{100 + n % 13}\t{1 + n % 5}\t{1_700_000_000 + n}" for n in range(60)]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"has no header; its columns are: column1 \(1\)") as refused:
        take(path)
    line = (
        "--no-header --map user_id=column1 --map item_id=column2 --map ts=column4 --map rating=column3 --ratings-from 4"
    )
    assert line in refused.value.hint
    said = {"user_id": "column1", "item_id": "column2", "ts": "column4"}
    assert any("look like ratings" in n for n in take(path, said={**said, "event_type": "column3"}).notes)
    taken = take(path, said={**said, "rating": "column3"}, ratings_from=4.0)
    assert any("what that brought in was taken back" in n for n in taken.notes)
    assert rows("SELECT event_type, count(*) FROM events GROUP BY 1 ORDER BY 1") == [("dislike", 24), ("like", 24)]


def test_the_line_to_type_names_neither_titles_as_times_nor_types_as_products(take: Take, tmp_path: Path) -> None:
    path = tmp_path / "steam.csv"
    path.write_text(
        "".join(
            f'{1000 + n % 9},"Game {n % 20}: Part 2, 2015",{("purchase", "play")[n % 2]},1.0,0\n' for n in range(80)
        )
    )
    with pytest.raises(InputError) as refused:
        take(path)
    line = "--no-header --map user_id=column1 --map item_id=column2 --date YYYY-MM-DD --map event_type=column3"
    assert line in refused.value.hint


def test_times_that_say_they_are_of_greenwich(settings: Settings, rows: Rows, tmp_path: Path) -> None:
    for name, also in (("date_created_gmt", ""), ("Order Date UTC", ""), ("date_created_gmt", "date_created")):
        path = tmp_path / f"{name}{also}.csv"
        path.write_text(
            f"order_id,customer_id,sku,{name},{also}\n1{also},ann,TEA-1,2025-07-01 10:00:00,2025-07-01 12:00:00\n"
        )
        berlin = replace(settings, ingest=replace(settings.ingest, timezone="Europe/Berlin"))
        file = ingest(berlin, [path]).files[0]
        assert (file.read, file.rejected) == (1, 0)
        assert "" not in file.unused  # the column without a name is nobody's
    assert rows("SELECT DISTINCT ts FROM events") == [(1751364000,)]


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        (
            "orders_id|customers_id|date_purchased|products_id|products_quantity|orders_status\n"
            "1|7|2025-03-01 10:00:00|9|2|3\n",
            {"user_id": "customers_id", "item_id": "products_id", "ts": "date_purchased", "qty": "products_quantity"},
        ),
        (
            "Bestellnummer;Bestelldatum;Kunde Email;Artikel SKU;Artikel Menge\nB1;01.03.2025 10:00;c@x.de;BB1;1\n",
            {"user_id": "Kunde Email", "item_id": "Artikel SKU", "ts": "Bestelldatum", "qty": "Artikel Menge"},
        ),
        (
            "order-number\tordered_at\tbuyer-email\tsku\n1\t2025-03-01T10:00:00Z\tc@x.de\tAM1\n",
            {"user_id": "buyer-email", "item_id": "sku", "ts": "ordered_at"},
        ),
        (  # an empty field in every row
            "Datum;Transaktionsnummer;Filiale;Kundennummer;Artikelnummer;Preis\n01.03.2025 10:00;T1;;K1;A1;9,90\n"
            "02.03.2025 10:00;T2;;K1;A2;9,90\n",
            {"user_id": "Kundennummer", "item_id": "Artikelnummer", "ts": "Datum"},
        ),
        (
            "Tilausnumero;Tilauspäivä;Asiakasnumero;Tuotekoodi;Yksikköhinta;Tilauksen tila\n"
            "1;24.10.2025 klo 14.05;K1;A1;9,90;Toimitettu\n",
            {"user_id": "Asiakasnumero", "price": "Yksikköhinta", "status": "Tilauksen tila"},
        ),
        (  # a code beside what it names
            "N.º encomenda;Data;Correio eletrónico;Referência;Produto\n1;24/10/2025 14h05;a@x.pt;C-1;Chá\n"
            "1;24/10/2025 14h05;a@x.pt;C-2;Taça\n2;25/10/2025 9h10;b@x.pt;C-1;Chá\n",
            {"user_id": "Correio eletrónico", "item_id": "Referência", "ts": "Data", "order_id": "N.º encomenda"},
        ),
        (
            "SHOP_DATE,PROD_CODE,CUST_CODE,BASKET_ID\n20060413,PRD1,CUST1,9\n20060414,PRD2,CUST2,10\n",
            {"user_id": "CUST_CODE", "item_id": "PROD_CODE", "ts": "SHOP_DATE", "order_id": "BASKET_ID"},
        ),
        (
            "order_id,customer_id,customer_unique_id,product_id,order_date\n1,a,u1,p,2018-01-01 10:00:00\n",
            {"user_id": "customer_unique_id"},
        ),
    ],
    ids=["xtcommerce", "billbee", "ordered_at", "empty-column", "finnish", "portuguese", "dunnhumby", "olist"],
)
def test_columns_of_further_platforms(take: Take, tmp_path: Path, text: str, understood: dict[str, str]) -> None:
    (tmp_path / "orders.csv").write_text(text)
    file = take(tmp_path / "orders.csv")
    assert understood.items() <= file.understood.items()
    assert (file.kind, file.rejected) == ("events", 0)


def test_an_example_of_two_readings_has_two(take: Take, tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("user_id,item_id,date\na,p,01/01/2026\na,q,03/04/2026\nb,p,05/06/2026\n")
    with pytest.raises(InputError, match=r"Dates like (03/04|05/06)/2026 in column 'date'"):
        take(path)


def test_nesting_without_end_is_refused_in_a_sentence(take: Take, tmp_path: Path) -> None:
    for depth in (300, 5000):
        path = tmp_path / f"{depth}.jsonl"
        path.write_text('{"user_id": "u", "item_id": "p", "ts": 1, "a": ' + '{"b":' * depth + "1" + "}" * depth + "}\n")
        with pytest.raises(InputError, match=r"levels deep|depth"):
            take(path)


@pytest.mark.parametrize("name", ["lines.jsonl", "array.json"])
def test_taking_a_file_apart_keeps_to_the_memory_limit(settings: Settings, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    long = [
        {**ORDERS[0], "number": f"A{n}", "customer": {"id": f"c{n % 900}"}, "note": "x" * 3000} for n in range(8000)
    ]
    path.write_text(json.dumps(long) if "array" in name else "".join(json.dumps(o) + "\n" for o in long))
    small = replace(settings, store=replace(settings.store, memory_limit="8MB"))
    with pytest.raises(InputError, match=r"store\.memory_limit \(8MB\)"):
        ingest(small, [path])


def test_another_sheet_of_a_workbook_takes_nothing_back(take: Take, rows: Rows, tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book, path = openpyxl.Workbook(), tmp_path / "year.xlsx"
    for sheet, name, sold in ((book.active, "March", 3), (book.create_sheet("April"), "April", 2)):
        sheet.title = name
        sheet.append(["customer_id", "sku", "order_date"])
        for n in range(sold):
            sheet.append([f"{name}-{n}", "TEA-1", f"2025-03-0{n + 1}"])
    book.save(path)
    for sheet in (None, "April", "March"):
        take(path, hints=Hints(sheet=sheet))
    assert rows("SELECT count(*), count(DISTINCT user_id) FROM events") == [(5, 5)]


def test_shopifys_products_by_its_api_are_variants_of_products(take: Take, rows: Rows, tmp_path: Path) -> None:
    variants = [
        {"id": 80 + n, "title": size, "price": "9.00", "sku": sku, "option1": size, "inventory_policy": "deny",
         "inventory_management": "shopify", "inventory_quantity": n}
        for n, (size, sku) in enumerate([("S", "CUP-S"), ("L", None)])
    ]  # fmt: skip
    product = {"id": 6, "title": "Cup", "handle": "cup", "status": "active", "created_at": "2025-01-01T00:00:00Z",
               "image": {"src": "/cup.jpg"}, "variants": variants}  # fmt: skip
    path = tmp_path / "products.json"
    path.write_text(json.dumps({"products": [product]}))
    assert take(path).preset == "shopify"
    assert rows("SELECT item_id, title, parent_id, availability, img_url FROM items ORDER BY 1") == [
        ("81", "Cup - L", "cup", True, "/cup.jpg"),
        ("CUP-S", "Cup - S", "cup", False, "/cup.jpg"),
    ]


def test_events_that_came_over_http_are_no_import_to_undo(settings: Settings) -> None:
    with Store(settings.db, settings.store).writing() as con, merge.transaction(con):
        number = batches.open_batch(con, "spool", "events", "0000.log:0-17", 0)
        with pytest.raises(UsageError, match="arrived over HTTP"):
            imports.undo(con, number)


def test_a_list_of_returns_is_of_refunds(take: Take, rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "rma.csv"
    path.write_text("RMA,Order,Customer email,SKU,Reason,Return date\nR1,7,a@x.de,T1,small,2025-03-01\n")
    assert any("is read as a refund" in note for note in take(path).notes)
    assert rows("SELECT event_type FROM events") == [("refund",)]


def test_what_was_said_of_all_rows_holds_also_with_a_date(take: Take, rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "played.jsonl"
    path.write_text(json.dumps({"user_id": "7", "items": [{"item_id": "10"}, {"item_id": "11"}]}) + "\n")
    take(path, date=1_700_000_000, event_type="view")
    assert rows("SELECT DISTINCT event_type, ts FROM events") == [("view", 1_700_000_000)]


def test_the_line_to_type_names_no_place_as_a_person(take: Take, tmp_path: Path) -> None:
    path = tmp_path / "checkins.txt"
    line = "{}\t2010-10-{:02d}T23:55:27Z\t30.23\t-97.79\t{}\n"
    path.write_text("".join(line.format(k % 9, k % 28 + 1, 22847 + k % 8) for k in range(60)))
    with pytest.raises(InputError) as refused:
        take(path)
    assert "--map user_id=column1 --map item_id=column5 --map ts=column2" in refused.value.hint


def test_what_somebody_wrote_on_a_film_is_no_purchase(take: Take, tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text(
        "userId,movieId,tag,timestamp\n2,60756,funny,1445714994\n3,60757,dry,1445714996\n"
    )
    with pytest.raises(InputError, match="has the column 'tag' and no type of events"):
        take(tmp_path / "tags.csv")
    assert take(tmp_path / "tags.csv", event_type="view").new == 2


@pytest.mark.parametrize("beside", ["readme.txt", "export/LICENSE.md", "orders.pdf"])
def test_what_explains_a_table_is_no_other_table(take: Take, tmp_path: Path, beside: str) -> None:
    with zipfile.ZipFile(tmp_path / "o.zip", "w") as archive:
        archive.writestr("orders.csv", "customer_id,sku,order_date\nu,P,2025-03-14\n")
        archive.writestr(beside, "Thank you for exporting.\n")
    assert take(tmp_path / "o.zip").new == 1


def test_pieces_are_not_proposed_as_ratings(take: Take, tmp_path: Path) -> None:
    pieces = (1, 1, 2, 1, 3, 1, 1, 5, 1, 1, 2, 1)
    (tmp_path / "buys.dat").write_text("".join(f"{n % 3},20{n},17419437{n:02},{q}\n" for n, q in enumerate(pieces)))
    with pytest.raises(InputError, match="has no header") as refused:
        take(tmp_path / "buys.dat")
    assert "rating" not in str(refused.value)


def test_a_discount_below_an_order_is_no_refund_of_a_product(take: Take, rows: Rows, tmp_path: Path) -> None:
    head = "orderId;customerId;orderTime;articleordernumber;articleName;quantity;price\n"
    lines = ("TEA-1;Tee;1;4,90", "SHIPPINGDISCOUNT;Warenkorbrabatt;1;-3,00", "sw-payment;Treuerabatt;1;-1,00")
    (tmp_path / "o.csv").write_text(head + "".join(f"1;u;2025-03-14 09:15:07;{line}\n" for line in lines))
    take(tmp_path / "o.csv")
    assert rows("SELECT item_id, event_type FROM events") == [("TEA-1", "purchase")]
