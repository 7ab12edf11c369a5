"""How the letter's page writes dates, prices, products and what happened, in English and German."""

from __future__ import annotations

import re
from typing import Any

import pytest

from recsys_cli.gdpr.records.letter import folder_of
from recsys_cli.settings_sources import load

BOUGHT = {
    "user_id": "4711", "item_id": "TEA-1", "title": "Tee & <b>Tasse</b>", "ts": 1_762_210_800, "event_type": "purchase",
    "qty": 2, "price": 1234.5, "currency": "EUR", "order_id": "A-17", "value": None,
}  # fmt: skip
PROFILE = {"user_id": "4711", "attributes": {"loyalty_level": "view"}, "consent": "objected"}


def page(language: str, **parts: Any) -> str:
    settings = load({"ingest.timezone": "Europe/Berlin"}, environ={})
    document = {
        "made_at": "2025-11-04T08:00:00Z",
        "asked_for": ["4711 <x>"],
        "counts": {},
        "sources": ["shop"],
        **parts,
    }
    return folder_of(document, b"{}", settings, language)["index.html"].decode()


@pytest.mark.parametrize(
    ("language", "headings", "cells"),
    [
        ("en", ["When", "What", "Product", "Pieces", "Price", "Order"],
         ["2025-11-04 00:00", "bought", "2", "1,234.50 EUR", "A-17"]),
        ("de", ["Wann", "Was", "Produkt", "Stück", "Preis", "Bestellung"],
         ["04.11.2025 00:00", "gekauft", "2", "1.234,50 EUR", "A-17"]),
    ],
)  # fmt: skip
def test_a_row_in_the_persons_words(language: str, headings: list[str], cells: list[str]) -> None:
    """The shop's clock, the language's dates and commas, the product's title; no column names, no markup of others."""
    shown = page(language, events=[BOUGHT])
    assert [h for h in re.findall("<th>(.*?)</th>", shown) if h in headings] == headings
    told = re.findall("<td>(.*?)</td>", shown)
    assert [t for t in told if t in cells] == cells
    assert "Tee &amp; &lt;b&gt;Tasse&lt;/b&gt;" in told
    assert "4711 &lt;x&gt;" in shown
    assert not re.search("TEA-1|event_type|user_id|order_id|None", shown)
    assert f'<html lang="{language}">' in shown
    assert ("04.11.2025." in shown) is (language == "de")  # the day it was made


@pytest.mark.parametrize(
    ("language", "objected"), [("en", "no personal recommendations"), ("de", "keine persönlichen")]
)
def test_the_shops_own_words_stay_as_they_are(language: str, objected: str) -> None:
    shown = page(language, profile=[PROFILE])
    assert "<th>Loyalty level</th>" in shown
    assert "<td>view</td>" in shown
    assert f"<td>{objected}" in shown


@pytest.mark.parametrize(("language", "more"), [("en", "And 50 more in the files."), ("de", "Und 50 weitere")])
def test_a_long_table_is_cut_on_the_page_and_whole_in_the_files(language: str, more: str) -> None:
    settings = load({}, environ={})
    document = {"made_at": "2025-11-04T08:00:00Z", "asked_for": ["4711"], "counts": {}, "events": [BOUGHT] * 250}
    folder = folder_of(document, b"{}", settings, language)
    assert more in folder["index.html"].decode()
    assert folder["events.csv"].count(b"A-17") == 250


def test_a_formula_in_a_cell_stays_text() -> None:
    folder = folder_of(
        {"made_at": "2025-11-04T08:00:00Z", "asked_for": ["1"], "counts": {}, "events": [BOUGHT | {"title": "=1+1"}]},
        b"{}",
        load({}, environ={}),
        "en",
    )
    assert b"'=1+1" in folder["events.csv"]
