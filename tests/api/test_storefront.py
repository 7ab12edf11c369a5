"""The demo storefront: what is known of a visitor beside their list, honest states, and everything by keyboard."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.api.test_browser import Start, browser, card_ids, carousels, ids, mine, open_link, spooled, until

__all__ = ["browser"]

PAST = "return document.querySelector('.past')?.innerText ?? ''"
MAIN = "return document.querySelector('main').innerText"
NOTICE = "const n = document.querySelector('#notice'); return n.hidden ? '' : n.textContent"


def says(browser: Any, script: str, *words: str) -> None:
    """Wait until a text has all the words."""
    assert until(lambda: all(one in browser.execute_script(script) for one in words)), browser.execute_script(script)


def look_as(browser: Any, user: str) -> None:
    field = browser.find_element("id", "who")
    field.clear()
    field.send_keys(f"{user}\n")


def test_what_a_customer_did_stands_beside_their_list(server: Any, browser: Any) -> None:
    open_link(browser, server)
    says(browser, PAST, "Nothing yet")
    look_as(browser, "t4")
    (newest, *_) = server.get("/users/t4", n=4)["history"]
    says(browser, PAST, newest["title"], newest["event_type"])
    assert until(lambda: mine(browser) == ids(server.get("/recommend", user_id="t4", k=12)))


def test_an_unknown_customer_is_not_everything_known_of_them(server: Any, browser: Any) -> None:
    open_link(browser, server)
    look_as(browser, "nobody<b>")
    says(browser, MAIN, "Customer nobody<b> is not known", "Nothing.")
    assert "everything known" not in browser.execute_script(MAIN)


LIBRARY = """
[serve]
currency = "EUR"
[ingest.event_types]
loan = "purchase"
[rules.words]
product = "book"
customer = "owl"
bought = "borrowed"
buy = "borrow"
[placements.shelf]
kind = "popular"
title = "Most borrowed"
"""


def test_prices_have_the_shops_currency_and_texts_its_words(start: Start, browser: Any) -> None:
    server = start(config=LIBRARY)
    assert server.get("/ready")["currency"] == "EUR"
    open_link(browser, server)
    shown = carousels(browser, 4)
    assert all(card["price"].startswith("€") for one in shown for card in one["cards"])
    open_link(browser, server, "#/item/t4")
    says(browser, MAIN, "€5.00", "Borrow", "this book")
    open_link(browser, server, "#/find")
    says(browser, MAIN, "Id of an owl or a book")
    assert server.post("/events", {"user_id": "x", "item_id": "t0", "event_type": "loan"})["accepted"] == 1
    refused = server.http.post("/events", json={"user_id": "x", "item_id": "t0", "event_type": "lone"}).json()["error"]
    assert refused["message"].endswith("impression, like, dislike, loan, got 'lone'.")
    assert server.get("/popular", k=1, explain=True)["items"][0]["reason"].startswith("Borrowed by ")
    placed = server.get("/recommend", placement="shelf", k=1)
    assert (placed["title"], placed["kind"]) == ("Most borrowed", "popular")


def test_not_interested_is_tried_out_and_then_reported(start: Start, browser: Any) -> None:
    server = start()
    open_link(browser, server)
    press = (
        "const b = document.querySelector('.for-you recsys-carousel').shadowRoot.querySelector('button.dismiss');"
        "const id = b.closest('li').dataset.item; b.click(); return id"
    )
    assert until(lambda: mine(browser))
    gone = browser.execute_script(press)
    says(browser, PAST, "not interested in")
    assert gone not in mine(browser)
    assert spooled(server) == []
    browser.execute_script("document.querySelector('.real').click()")
    gone = browser.execute_script(press)
    told = until(lambda: spooled(server))
    assert [(event["event_type"], event["item_id"]) for event in told] == [("dislike", gone)]


def test_no_item_stands_twice_and_the_last_shelf_goes_on(server: Any, browser: Any) -> None:
    open_link(browser, server)
    last = "document.querySelector('[data-shelf=popular] recsys-carousel').shadowRoot.querySelector('ul')"
    assert until(lambda: len(carousels(browser, 4)[3]["cards"]) > 0)
    browser.execute_script(f"{last}.scrollTo({{ left: {last}.scrollWidth, behavior: 'instant' }})")
    shown = [item for one in carousels(browser, 4) for item in card_ids(one)]
    assert len(shown) == len(set(shown)) > 30


def test_the_search_is_a_combobox(server: Any, browser: Any) -> None:
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    open_link(browser, server)
    field = browser.find_element("id", "search")
    field.send_keys("garden")
    chosen = (
        "const f = document.activeElement, id = f.getAttribute('aria-activedescendant');"
        "return [f.getAttribute('aria-expanded'), id && document.getElementById(id).getAttribute('aria-selected'),"
        "id && document.getElementById(id).firstChild.getAttribute('href')]"
    )
    results = "return document.querySelectorAll('#results [role=option]').length"
    assert until(lambda: browser.execute_script(results) > 2)
    assert browser.execute_script(chosen) == ["true", None, None]
    field.send_keys(keys.ARROW_DOWN, keys.ARROW_DOWN)
    expanded, selected, second = browser.execute_script(chosen)
    assert (expanded, selected) == ("true", "true")
    field.send_keys(keys.ESCAPE)
    assert browser.execute_script(chosen)[:2] == ["false", None]
    field.send_keys("garden")  # the browser has emptied the field
    assert until(lambda: browser.execute_script(chosen)[0] == "true")
    field.send_keys(keys.ARROW_DOWN, keys.ARROW_DOWN, keys.ENTER)
    assert until(lambda: browser.execute_script("return location.hash") == second)


def test_slow_is_not_blank_and_dead_is_not_no_such_product(start: Start, browser: Any) -> None:
    server = start()
    open_link(browser, server)
    assert until(lambda: mine(browser))
    server.process.send_signal(signal.SIGSTOP)
    try:
        browser.execute_script("location.hash = '#/item/t4'")
        says(browser, MAIN, "Asking the server…")
    finally:
        server.process.send_signal(signal.SIGCONT)
    says(browser, MAIN, 'Tea "4"')
    browser.execute_script("location.hash = '#/'")
    assert until(lambda: mine(browser))
    server.stop()
    look_as(browser, "t4")
    says(browser, MAIN, "No list: the server did not answer.", "The server did not say.")
    says(browser, NOTICE, "The server does not answer")
    browser.execute_script("location.hash = '#/item/t5'")
    says(browser, MAIN, "The server did not say what “t5” is")
    assert "No such product" not in browser.execute_script(MAIN)
