"""The exports of the usual platforms as they come; each also with a column renamed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_cli.errors import InputError
from recsys_cli.identity import load_secret, pseudonym
from recsys_cli.ingest import FileReport
from recsys_cli.settings import Settings

from .conftest import FIXTURES, Rows, Take


def reasons(report: FileReport) -> dict[str, tuple[int, int]]:
    """Reason to how many rows and the first of them."""
    return {r.name: (r.rows, r.examples[0].row) for r in report.reasons}


def test_shopify_orders(take: Take, rows: Rows, settings: Settings) -> None:
    report = take(FIXTURES / "shopify_orders.csv")
    assert (report.preset, report.kind, report.read, report.new) == ("shopify", "events", 13, 9)
    assert reasons(report) == {"unpaid": (2, 7), "bad_qty": (1, 12), "no_user": (1, 14)}
    anna = pseudonym(load_secret(settings.db), "anna.beispiel@example.org")
    assert rows(f"SELECT item_id, ts, qty, event_type, price, order_id FROM events WHERE user_id = '{anna}'") == [
        ("LS-S-W", 1740819026, 1, "purchase", 49.9, "#1001"),
        ("CANDLE-1", 1740819026, 2, "purchase", 12.5, "#1001"),
        ("NOTE", 1740819026, 1, "purchase", 0.0, "#1001"),
        ("CANDLE-1", 1743609600, 1, "refund", 12.5, "#1003"),
    ]
    # Summer time: +02:00 an hour after the clock was put forward.
    assert rows("SELECT ts FROM events WHERE order_id = '#1002'") == [(1743297000,)]
    # Half of the order was refunded: nobody knows which half, so what was bought stays bought.
    assert rows("SELECT item_id, event_type FROM events WHERE order_id = '#1005'") == [
        ("CANDLE-1", "purchase"),
        ("Soap Dish", "purchase"),
    ]


def test_shopify_products_go_by_the_names_that_orders_use(take: Take, rows: Rows) -> None:
    report = take(FIXTURES / "shopify_products.csv")
    assert (report.preset, report.kind, report.new) == ("shopify", "items", 5)
    assert reasons(report) == {"picture": (1, 4)}
    assert rows("SELECT item_id, title, category, brand, price, img_url, availability FROM items ORDER BY 1") == [
        ("CANDLE-1", "Beeswax Candle", "Candles", "Hivelight", 12.5, "https://cdn.example.com/candle.jpg", True),
        ("LS-M-W", "Linen Shirt - M / White", "Shirts", "Leafwork", 49.9, "https://cdn.example.com/linen-m.jpg", True),
        ("LS-S-W", "Linen Shirt - S / White", "Shirts", "Leafwork", 49.9, "https://cdn.example.com/linen-1.jpg", True),
        ("NOTE", "Gift Note", "Extras", "Leafwork", None, None, False),
        ("Soap Dish", "Soap Dish", "Bath", "Hivelight", 9.0, "https://cdn.example.com/dish.jpg", True),
    ]


def test_woocommerce_orders(take: Take, rows: Rows, settings: Settings) -> None:
    report = take(FIXTURES / "woocommerce_orders.csv")
    assert (report.preset, report.read, report.new) == ("woocommerce", 9, 7)
    assert reasons(report) == {"unpaid": (1, 6), "bad_time": (1, 10)}
    guest = pseudonym(load_secret(settings.db), "gast.besteller@example.net")
    assert rows("SELECT user_id, item_id, qty, event_type, price, order_id FROM events") == [
        ("17", "RUCK-30", 1, "purchase", 89.9, "2001"),
        ("17", "FL-BLAU", 2, "purchase", 14.9, "2001"),
        (guest, "FL-BLAU", 1, "purchase", 14.9, "2002"),
        ("17", "RUCK-30", 1, "refund", 1089.9, "2003"),
        ("18", "33", 1, "purchase", 249.0, "2005"),
        ("18", "FL-BLAU", 3, "purchase", 14.9, "2005"),
        (guest, "FL-BLAU", 1, "refund", 14.9, "2006"),
    ]


def test_woocommerce_orders_of_the_widespread_plugin(take: Take, rows: Rows) -> None:
    report = take(FIXTURES / "woocommerce_orders_plugin.csv")
    assert (report.preset, report.format, report.new) == ("woocommerce", "CSV, semicolon, cp1252", 2)
    assert reasons(report) == {"unpaid": (1, 4)}
    assert rows("SELECT item_id, ts, qty, price FROM events") == [
        ("RUCK-30", 1748772000, 1, 89.9),
        ("FL-BLAU", 1748772000, 2, 14.9),
    ]


def test_woocommerce_products(take: Take, rows: Rows) -> None:
    report = take(FIXTURES / "woocommerce_products.csv")
    assert (report.preset, report.kind, report.new) == ("woocommerce", "items", 6)
    assert any("1 price cannot be read" in note for note in report.notes)
    assert rows("SELECT item_id, category, brand, price, img_url, availability FROM items ORDER BY 1") == [
        ("33", "Outdoor", None, 1249.0, "https://shop.example.org/z.jpg", False),
        ("FL", "Outdoor", None, None, "https://shop.example.org/f.jpg", True),
        ("FL-BLAU", None, None, 14.9, "https://shop.example.org/f-blau.jpg", True),
        ("FL-ROT", None, None, 14.9, None, False),
        ("KOCHER", "Outdoor", None, None, None, True),
        ("RUCK-30", "Outdoor", "Bergfex", 89.9, "https://shop.example.org/r1.jpg", True),
    ]


def test_prestashop_orders(take: Take, rows: Rows) -> None:
    report = take(FIXTURES / "prestashop_orders.csv")
    assert (report.preset, report.read, report.new) == ("prestashop", 7, 5)
    assert reasons(report) == {"currency": (1, 8), "unpaid": (1, 7)}
    assert rows("SELECT user_id, item_id, qty, event_type, price, currency FROM events") == [
        ("5", "1", 1, "purchase", 22.94, "EUR"),
        ("5", "7", 2, "purchase", 14.28, "EUR"),
        ("6", "7", 1, "purchase", 14.28, "EUR"),
        ("6", "1", 1, "refund", 22.94, "EUR"),
        ("5", "7", 1, "refund", 14.28, "EUR"),
    ]


def test_prestashop_products(take: Take, rows: Rows) -> None:
    report = take(FIXTURES / "prestashop_products.csv")
    assert (report.preset, report.new) == ("prestashop", 3)
    assert reasons(report) == {"no_item": (1, 5)}
    assert rows("SELECT item_id, title, category, price, availability FROM items ORDER BY 1") == [
        ("1", "T-shirt colibri", "Hommes", 22.94, True),
        ("7", "Mug «\u00a0Colibri\u00a0»", "Accessoires", 14.28, False),
        ("8", "Affiche encadrée", "Art", 1034.8, False),
    ]


@pytest.mark.parametrize("asked", [{}, {"preset": "prestashop"}])
def test_the_catalogue_in_prestashops_format_of_imports(take: Take, rows: Rows, asked: dict[str, str]) -> None:
    report = take(FIXTURES / "prestashop_import.csv", **asked)
    assert (report.preset, report.new) == ("prestashop", 5)
    assert rows("SELECT item_id, category, brand, price, img_url, availability FROM items ORDER BY 1") == [
        ("1", "Women", "Studio Design", 23.9, "https://boutique.example.org/1.jpg", True),
        ("2", "Women", "Studio Design", 28.68, "https://boutique.example.org/3.jpg", False),  # not active
        ("3", "Art", "Graphic Corner", 12.0, "https://boutique.example.org/4.jpg", True),  # no price with taxes
        ("4", "Art", None, 9.0, None, False),  # shown in no list
        ("5", "Home", None, 5.0, None, True),  # none left, and sold all the same
    ]
    assert rows("SELECT title, tags FROM items WHERE item_id = '1'") == [("Colibri T-shirt", "bird, shirt")]


def test_columns_that_say_how_values_are_written(take: Take, rows: Rows, tmp_path: Path) -> None:
    head = "Reference #;Name *;Active (0/1);Categories (x,y,z...);Price tax excluded;Date created (dd/mm/yyyy)"
    (tmp_path / "f.csv").write_text(f"{head}\nA;Tea;1;Drinks, Hot;3.50;01/02/2025\nB;Cup;0;Home, Cups;9;13/02/2025\n")
    assert take(tmp_path / "f.csv").preset is None
    assert rows("SELECT item_id, title, category, price, availability, created_at FROM items ORDER BY 1") == [
        ("A", "Tea", "Drinks", 3.5, True, 1738368000),
        ("B", "Cup", "Cups", 9.0, False, 1739404800),
    ]


def test_magento_orders(take: Take, rows: Rows, settings: Settings) -> None:
    report = take(FIXTURES / "magento_orders.csv")
    assert (report.preset, report.read, report.new) == ("magento", 8, 5)
    assert reasons(report) == {"no_item": (1, 9), "part_of_line": (1, 3), "unpaid": (1, 8)}
    guest = pseudonym(load_secret(settings.db), "guest.buyer@example.net")
    assert rows("SELECT user_id, item_id, qty, event_type, price FROM events") == [
        ("3", "WS12-XS-Blue", 1, "purchase", 22.0),
        ("3", "24-WB04", 2, "purchase", 45.0),
        (guest, "24-WB04", 1, "purchase", 45.0),
        ("3", "24-WB04", 1, "refund", 45.0),
        ("4", "24-WB04", 1, "refund", 45.0),
    ]


def test_magento_products(take: Take, rows: Rows) -> None:
    report = take(FIXTURES / "magento_products.csv")
    assert (report.preset, report.new) == ("magento", 4)
    assert reasons(report) == {"translation": (1, 3)}
    # A disabled product is known by its title and never shown.
    assert rows("SELECT item_id FROM items WHERE NOT coalesce(availability, true)") == [("OLD-1",)]
    assert rows("SELECT item_id, title, category, price, created_at FROM items ORDER BY 1") == [
        ("24-WB04", "Push It Messenger Bag", "Gear", 39.0, 1736525100),
        ("OLD-1", "Old Bottle", "Gear", None, 1736525100),
        ("WS12", "Radiant Tee", "Women", None, 1736758800),
        ("WS12-XS-Blue", "Radiant Tee-XS-Blue", "Women", 22.0, 1736758800),
    ]


def test_the_order_list_of_prestashop_says_what_to_export_instead(take: Take) -> None:
    with pytest.raises(InputError, match=r"holds no products.*SQL Manager"):
        take(FIXTURES / "prestashop_order_list.csv")


RENAMED = [
    ("shopify", "shopify_orders.csv", "Created at", "Ordered at", "ts", "--map ts='Ordered at'"),
    ("shopify", "shopify_products.csv", "Title", "Product Title", "title", "--map title='Product Title'"),
    ("woocommerce", "woocommerce_orders.csv", ",date,", ",order date utc,", "ts", "--map ts='order date utc'"),
    ("woocommerce", "woocommerce_products.csv", ",Name,", ",Product Name,", "title", "--map title='Product Name'"),
    ("prestashop", "prestashop_orders.csv", "date_add", "added_on", "ts", "--map ts=added_on"),
    ("prestashop", "prestashop_products.csv", "Product ID", "Product Number", "item_id", "'Product Number'"),
    ("magento", "magento_orders.csv", "increment_id,created_at", "increment_id,createdat", "ts", "--map ts=createdat"),
    ("magento", "magento_products.csv", ",name,", ",product_name,", "title", "--map title=product_name"),
]


@pytest.mark.parametrize(("platform", "file", "old", "new", "field", "line"), RENAMED)
def test_a_renamed_column_is_named_with_the_line_to_type(
    take: Take, tmp_path: Path, platform: str, file: str, old: str, new: str, field: str, line: str
) -> None:
    text = (FIXTURES / file).read_bytes().decode("utf-8-sig")
    assert old in text.splitlines()[0]
    renamed = tmp_path / file
    renamed.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        take(renamed, preset=platform)
    assert f"({field})" in caught.value.message
    assert line in caught.value.hint
    # The line that the message gives works.
    name = new.strip(",").split(",")[-1]
    assert take(renamed, preset=platform, said={field: name}).new


def test_the_plain_contract_has_a_preset_too(take: Take, tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_text("user_id,item_id,ts,email\nu,a,1700000000,x@example.org\n")
    assert take(file, preset="recsys").understood == {"user_id": "user_id", "item_id": "item_id", "ts": "ts"}
    with pytest.raises(InputError, match="not a known export of magento"):
        take(file, preset="magento")


SHOPIFY_SALE = (
    "Handle,Title,Type,Option1 Value,Variant SKU,Variant Price,Variant Compare At Price\n"
    "cup,Cup,Cups,S,CUP-S,8.00,10.00\ncup,,,L,CUP-L,9.00,\npot,Pot,Pots,Default Title,POT,20.00,20.00\n"
)
WOO_SALE = (
    "ID,Type,SKU,Name,Published,In stock?,Sale price,Regular price,Categories\n"
    "1,simple,CUP-S,Cup,1,1,8.00,10.00,Cups\n2,simple,POT,Pot,1,1,,20.00,Pots\n"
)


@pytest.mark.parametrize("written", [SHOPIFY_SALE, WOO_SALE])
def test_the_price_before_a_sale_is_kept_of_shopify_and_woocommerce(
    take: Take, rows: Rows, tmp_path: Path, written: str
) -> None:
    (tmp_path / "products.csv").write_text(written, encoding="utf-8")
    take(tmp_path / "products.csv")
    found = rows("SELECT item_id, price, attributes->>'regular_price' FROM items WHERE item_id IN ('CUP-S', 'POT')")
    assert {item: (price, usual and float(str(usual))) for item, price, usual in found} == {
        "CUP-S": (8.0, 10.0),
        "POT": (20.0, None),
    }


def test_the_price_before_a_sale_is_kept_beside_the_special_one(take: Take, rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "catalog_product.csv"
    path.write_text(
        "sku,attribute_set_code,product_type,name,price,special_price\n"
        "a,Default,simple,Cup,10.00,8.00\nb,Default,simple,Pot,20.00,\nc,Default,simple,Tray,30.00,30.00\n",
        encoding="utf-8",
    )
    take(path)
    found = rows("SELECT item_id, price, attributes->>'regular_price' FROM items ORDER BY item_id")
    assert [(item, price, float(str(usual)) if usual else None) for item, price, usual in found] == [
        ("a", 8.0, 10.0),
        ("b", 20.0, None),
        ("c", 30.0, None),
    ]


def test_woocommerces_products_by_its_api(take: Take, rows: Rows, tmp_path: Path) -> None:
    product = {"id": 501, "name": "Tea", "permalink": "https://x/tea", "type": "simple", "status": "publish",
               "catalog_visibility": "visible", "sku": "TEA-1", "price": "4.90", "regular_price": "5.90",
               "sale_price": "4.90", "stock_quantity": None, "stock_status": "instock",
               "categories": [{"id": 9, "name": "Drinks", "slug": "d"}],
               "images": [{"id": 1, "src": "https://x/1.jpg"}, {"id": 2, "src": "https://x/2.jpg"}]}  # fmt: skip
    several = {**product, "sku": "TEA-2", "type": "variable", "regular_price": "", "sale_price": ""}
    others = [{**product, "sku": "DRAFT", "status": "draft"}, {**product, "sku": "GONE", "stock_status": "outofstock"}]
    (tmp_path / "products.json").write_text(json.dumps([product, several, *others]))
    assert take(tmp_path / "products.json").preset == "woocommerce"
    told = "item_id, price, category, img_url, availability"
    assert rows(f"SELECT {told} FROM items ORDER BY 1") == [
        ("DRAFT", 4.9, "Drinks", "https://x/1.jpg", False), ("GONE", 4.9, "Drinks", "https://x/1.jpg", False),
        ("TEA-1", 4.9, "Drinks", "https://x/1.jpg", True), ("TEA-2", 4.9, "Drinks", "https://x/1.jpg", True),
    ]  # fmt: skip


def test_the_list_of_products_that_every_shopify_shop_shows(take: Take, rows: Rows, tmp_path: Path) -> None:
    variants = [{"id": n, "title": "S", "sku": f"CUP-{n}", "available": n == 1, "price": "9.00"} for n in (1, 2)]
    product = {"id": 7, "title": "Cup", "handle": "cup", "body_html": "", "vendor": "Acme", "variants": variants}
    (tmp_path / "products.json").write_text(json.dumps({"products": [product]}))
    take(tmp_path / "products.json")
    assert rows("SELECT item_id, availability FROM items ORDER BY 1") == [("CUP-1", True), ("CUP-2", False)]
