"""Catalogues whose variants stand below the product that has the name."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Rows, Take

TOLD = "SELECT item_id, title, category, price, parent_id FROM items ORDER BY 1"


def test_variants_that_leave_empty_what_the_product_said(take: Take, rows: Rows, tmp_path: Path) -> None:
    head = "Product ID [Non Editable],Variant,Page,Title,SKU,Price,Categories\n"
    text = head + "P1,V1,cup,Cup,CUP-S,7.95,Mugs\n,V2,,,CUP-L,8.95,\nP2,V3,tea,Tea,TEA-1,4.90,Drinks\n"
    (tmp_path / "products.csv").write_text(text)
    assert any("read from the first row of each product" in note for note in take(tmp_path / "products.csv").notes)
    assert rows(TOLD) == [
        ("CUP-L", "Cup", "Mugs", 8.95, "P1"), ("CUP-S", "Cup", "Mugs", 7.95, "P1"),
        ("TEA-1", "Tea", "Drinks", 4.9, "P2"),
    ]  # fmt: skip


def test_variants_that_repeat_the_number_of_the_product(take: Take, rows: Rows, tmp_path: Path) -> None:
    text = "sku,name,handleId,price,collection\nCUP-S,Cup,p1,7.95,Mugs\nCUP-L,,p1,8.95,\nTEA-1,Tea,p2,4.90,Drinks\n"
    (tmp_path / "products.csv").write_text(text)
    take(tmp_path / "products.csv")
    assert rows(TOLD)[0] == ("CUP-L", "Cup", "Mugs", 8.95, "p1")


@pytest.mark.parametrize(
    "text",
    [
        "sku,name,ean,price,category\nCUP,Cup,401,7.95,Mugs\nTEA,,402,4.90,Drinks\nBAG,Bag,403,9.90,\n",
        "sku,name,page_id,price,category\nCUP,Cup,1,7.95,Mugs\nTEA,,,4.90,Drinks\nBAG,Bag,3,9.90,\n",
        "sku,name,ean,supplier_no,price\nCUP,Cup,401,S1,7.95\nTEA,,,,4.90\nBAG,Bag,403,S3,9.90\n",
    ],
)
def test_a_product_without_a_name_is_not_called_as_the_one_above(
    take: Take, rows: Rows, tmp_path: Path, text: str
) -> None:
    (tmp_path / "products.csv").write_text(text)
    take(tmp_path / "products.csv")
    assert rows("SELECT title, parent_id FROM items WHERE item_id = 'TEA'") == [(None, None)]
