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


@pytest.mark.parametrize("platform", [shopify, woocommerce, merchant_feed])
def test_lists_of_a_shop_as_its_platform_exports_it(tmp_path: Path, platform: Callable[[], Tables]) -> None:
    from shop_of_tests import Shop, make_settings

    settings = make_settings(tmp_path)
    for name, rows in platform().items():
        with io.StringIO() as text:
            csv.writer(text).writerows(rows)
            (tmp_path / name).write_text(text.getvalue(), encoding="utf-8")
        assert not ingest(settings, [tmp_path / name]).total("rejected")
    shop = Shop(settings)
    shop.publish()
    engine = Engine.open(shop.version, shop.secret)
    everything = Request(k=50)
    answers = [engine.popular(everything), engine.shelf("trending", everything)]
    answers += [engine.similar(f"SH{n}-S", 50) for n in PRODUCTS]
    answers += [engine.recommend(Request(items=(f"SH{n}-L",), k=50)) for n in PRODUCTS]
    assert len(answers[0].item_ids) == len(PRODUCTS) - 1
    for answer in answers:
        cards = engine.describe(answer)
        products = [card["title"][: len("Shirt 1")] for card in cards]
        assert products
        assert len(set(products)) == len(products)
        assert f"Shirt {SOLD_OUT}" not in products
        assert "SH1-M" not in answer.item_ids
        for card in cards:
            assert card["url"].startswith(("https://", "/products/shirt-"))
            assert card["img_url"].startswith("https://")
