"""A shop from its platform's own exports: no list with what is sold out or with two variants, every card a link with a
picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.ingest import ingest
from recsys_cli.ingest.pipeline import Request as IngestRequest
from recsys_cli.serving import Engine, Request

PRODUCTS, SIZES = range(8), ("S", "M", "L")
SOLD_OUT = 2  # in all sizes; of product 1 only M is
Tables = dict[str, list[list[Any]]]


def stock(n: int, size: str) -> int:
    return 0 if n == SOLD_OUT or (n, size) == (1, "M") else 5


def sold() -> Iterable[tuple[int, str, str, int, str]]:
    """Number of the order, its time, who, what and in which size."""
    for order in range(120):
        for n in {order % 8, (order * 3 + 1) % 8, SOLD_OUT}:
            yield (
                order,
                f"2025-{order % 6 + 1:02d}-{order % 27 + 1:02d} 10:00:00",
                f"k{order % 30}",
                n,
                SIZES[order % 3],
            )


def shopify() -> Tables:
    items: list[list[Any]] = [
        ["Handle", "Title", "Type", "Vendor", "Published",
         "Option1 Name", "Option1 Value", "Variant SKU", "Variant Price",
         "Variant Inventory Tracker", "Variant Inventory Qty", "Variant Inventory Policy", "Image Src", "Status"]
    ]  # fmt: skip
    for n in PRODUCTS:
        for size in SIZES:
            once = [f"Shirt {n}", "Shirts", "Leaf", "true"] if size == "S" else ["", "", "", ""]
            image, status = (f"https://cdn.example/{n}.jpg", "active") if size == "S" else ("", "")
            items.append([f"shirt-{n}", *once, "Size", size, f"SH{n}-{size}", 20 + n, "shopify", stock(n, size), "deny",
                          image, status])  # fmt: skip
    orders: list[list[Any]] = [
        ["Name", "Email", "Financial Status", "Created at", "Lineitem quantity", "Lineitem name", "Lineitem sku"]
    ]
    orders += [
        [f"#{o}", f"{who}@example.org", "paid", at + " +0000", 1, f"Shirt {n} - {size}", f"SH{n}-{size}"]
        for o, at, who, n, size in sold()
    ]
    return {"products.csv": items, "orders.csv": orders}


def woocommerce() -> Tables:
    items: list[list[Any]] = [
        ["ID", "Type", "SKU", "Name", "Published", "Visibility in catalog", "In stock?", "Stock", "Backorders allowed?",
         "Regular price", "Categories", "Images", "Parent", "Permalink"]
    ]  # fmt: skip
    for n in PRODUCTS:
        page, picture = f"https://shop.example/shirt-{n}", f"https://shop.example/{n}.jpg"
        known = int(n != SOLD_OUT)
        items.append(
            [100 + n, "variable", f"SH{n}", f"Shirt {n}", 1, "visible", known, "", 0, "", "Shirts", picture, "", page]
        )
        for at, size in enumerate(SIZES):
            there = stock(n, size)
            items.append([1000 + 10 * n + at, "variation", f"SH{n}-{size}", f"Shirt {n} - {size}", 1, "visible",
                          int(there > 0), there, 0, 20 + n, "", "", f"SH{n}", ""])  # fmt: skip
    orders: list[list[Any]] = [
        ["order_number", "date", "status", "customer_id", "billing_email", "item_sku", "item_name", "item_quantity"]
    ]
    orders += [
        [o, at, "completed", who, f"{who}@example.org", f"SH{n}-{size}", f"Shirt {n}", 1]
        for o, at, who, n, size in sold()
    ]
    return {"products.csv": items, "orders.csv": orders}


def merchant_feed() -> Tables:
    """Google's feed, which every platform writes, beside orders in German."""
    items: list[list[Any]] = [
        ["id", "title", "link", "image_link", "availability", "price", "product_type", "item_group_id"]
    ]
    items += [
        [f"SH{n}-{size}", f"Shirt {n} {size}", f"https://shop.example/shirt-{n}?s={size}", f"https://shop.example/{n}.jpg",
         "in stock" if stock(n, size) else "out of stock", f"{20 + n}.00 EUR", "Shirts", f"SH{n}"]
        for n in PRODUCTS for size in SIZES
    ]  # fmt: skip
    orders: list[list[Any]] = [["Bestellnummer", "Bestelldatum", "Kundennummer", "Artikelnummer", "Menge", "Status"]]
    orders += [[o, at, who, f"SH{n}-{size}", 1, "Versendet"] for o, at, who, n, size in sold()]
    return {"feed.csv": items, "orders.csv": orders}


def magento() -> Tables:
    """Sizes are products that are not shown by themselves; what they are sizes of lists them."""
    items: list[list[Any]] = [
        ["sku", "store_view_code", "attribute_set_code", "product_type", "categories", "name", "product_online",
         "visibility", "price", "url_key", "base_image", "created_at", "is_in_stock", "configurable_variations"]
    ]  # fmt: skip
    for n in PRODUCTS:
        of = ["Default Category/Shirts", f"Shirt {n}", 1]
        for size in SIZES:
            items.append([f"SH{n}-{size}", "", "Top", "simple", *of, "Not Visible Individually", 20 + n,
                          f"shirt-{n}-{size}", f"/s/h/{n}.jpg", "1/10/25, 4:05 PM", int(stock(n, size) > 0),
                          ""])  # fmt: skip
        sizes = "|".join(f"sku=SH{n}-{size},size={size}" for size in SIZES)
        items.append([f"SH{n}", "", "Top", "configurable", *of, "Catalog, Search", "", f"shirt-{n}", f"/s/h/{n}.jpg",
                      "1/10/25, 4:05 PM", 1, sizes])  # fmt: skip
    orders: list[list[Any]] = [["increment_id", "created_at", "status", "customer_id", "sku", "name", "qty_ordered"]]
    orders += [[f"{o:09d}", at, "complete", who, f"SH{n}-{size}", f"Shirt {n}", 1] for o, at, who, n, size in sold()]
    return {"products.csv": items, "orders.csv": orders}


def shopware() -> Tables:
    """A size says what differs from its product alone."""
    items: list[list[Any]] = [
        ["id", "parent_id", "product_number", "active", "stock", "name", "price_gross", "cover_media_url",
         "category_names"]
    ]  # fmt: skip
    for n in PRODUCTS:
        picture = f"https://shop.example/{n}.jpg"
        items.append([f"SH{n}", "", f"A{n}", 1, 0, f"Shirt {n}", 20 + n, picture, "Home > Shirts"])
        items += [[f"SH{n}-{size}", f"SH{n}", f"A{n}.{size}", "", stock(n, size), "", "", "", ""] for size in SIZES]
    items.append(["SH9", "", "A9", 0, 0, "Shirt 9", 29, "https://shop.example/9.jpg", "Home > Shirts"])
    items.append(["SH9-S", "SH9", "A9.S", "", 7, "", "", "", ""])  # of a product that is switched off
    orders: list[list[Any]] = [["id", "order_number", "customer_email", "line_items", "order_date_time"]]
    orders += [[o, 1000 + o, f"{who}@x.example", f"1x SH{n}-{size}", at] for o, at, who, n, size in sold()]
    orders += [[900, 1900, "k1@x.example", "1x SH9-S|1x SH0-S", "2025-06-01 10:00:00"]]
    return {"products.csv": items, "orders.csv": orders}


def bigcommerce() -> Tables:
    """Options and pictures are rows below the product's; orders name products by their number."""
    items: list[list[Any]] = [
        ["Item", "ID", "Name", "SKU", "Options", "Inventory Tracking", "Current Stock", "Price", "Categories",
         "Product URL", "Is Visible", "Image URL (Import)"]
    ]  # fmt: skip
    for n in PRODUCTS:
        items.append(["Product", 100 + n, f"Shirt {n}", f"SH{n}", "", "variant", 0, 20 + n, 23,
                      f"https://shop.example/shirt-{n}/", "TRUE", ""])  # fmt: skip
        for at, size in enumerate(SIZES):
            items.append(["Variant", 100 + at, "", f"SH{n}-{size}", f"Name=Size|Value={size}", "", stock(n, size),
                          *[""] * 5])  # fmt: skip
        items.append(["Image", n, *[""] * 9, f"https://shop.example/{n}.jpg"])
    orders: list[list[Any]] = [["Order ID", "Customer ID", "Order Date", "Order Status", "Product Details"]]
    line = "Product ID: {}, Product Qty: 1, Product SKU: SH{}-{}, Product Name: Shirt {}, Product Unit Price: 20.00"
    orders += [[o, who, at, "Completed", line.format(100 + n, n, size, n)] for o, at, who, n, size in sold()]
    return {"products.csv": items, "orders.csv": orders}


def prestashop() -> Tables:
    """Orders name the product, whatever its combination; its list tells no addresses."""
    items: list[list[Any]] = [
        ["Product ID", "Image", "Name", "Reference", "Category", "Price (tax incl.)", "Quantity", "Status"]
    ]
    items += [
        [100 + n, f"https://shop.example/{n}.jpg", f"Shirt {n}", f"SH{n}", "Shirts", 20 + n,
         sum(stock(n, size) for size in SIZES), 1]
        for n in PRODUCTS
    ]  # fmt: skip
    orders: list[list[Any]] = [
        ["id_order", "reference", "date_add", "order_state", "id_customer", "product_id", "product_attribute_id",
         "product_reference", "product_name", "product_quantity"]
    ]  # fmt: skip
    orders += [
        [o, f"R{o}", at, "Delivered", who, 100 + n, 9, f"SH{n}-{size}", f"Shirt {n} : Size - {size}", 1]
        for o, at, who, n, size in sold()
    ]
    return {"products.csv": items, "orders.csv": orders}


@pytest.mark.parametrize("platform", [shopify, woocommerce, merchant_feed, magento, shopware, bigcommerce, prestashop])
def test_lists_of_a_shop_as_its_platform_exports_it(tmp_path: Path, platform: Callable[[], Tables]) -> None:
    from shop_of_tests import Shop, make_settings

    settings = make_settings(tmp_path)
    for name, rows in platform().items():
        with io.StringIO() as text:
            csv.writer(text).writerows(rows)
            (tmp_path / name).write_text(text.getvalue(), encoding="utf-8")
        said = {"item_id": "id"} if platform is shopware and name == "products.csv" else {}
        (report,) = ingest(settings, [tmp_path / name], IngestRequest(said=said)).files
        assert {reason.name for reason in report.reasons} <= {"part_of_product"}
    shop = Shop(settings)
    shop.publish()
    engine = Engine.open(shop.version, shop.secret)
    everything = Request(k=50)
    answers = [engine.popular(everything), engine.shelf("trending", everything)]
    whole = platform in (bigcommerce, prestashop)  # known by the product alone
    answers += [engine.similar(f"{100 + n}" if whole else f"SH{n}-S", 50) for n in PRODUCTS]
    answers += [engine.recommend(Request(items=(f"{100 + n}" if whole else f"SH{n}-L",), k=50)) for n in PRODUCTS]
    assert len(answers[0].item_ids) == len(PRODUCTS) - 1
    for answer in answers:
        cards = engine.describe(answer)
        products = [card["title"][: len("Shirt 1")] for card in cards]
        assert products
        assert len(set(products)) == len(products)
        assert not {f"Shirt {SOLD_OUT}", "Shirt 9"} & set(products)
        assert "SH1-M" not in answer.item_ids
        for card in cards:
            unlinked = platform in (shopware, prestashop)  # whose cards have the address that data-link makes
            assert unlinked or card["url"].startswith(("https://", "/products/shirt-", "/shirt-"))
            assert card["img_url"].startswith(("https://", "/media/catalog/product/s/h/"))
