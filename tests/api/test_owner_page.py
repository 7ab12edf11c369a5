"""The dashboard's figures and what carousels do together, in a real browser."""

from __future__ import annotations

import time
from typing import Any

import pytest

from recsys_cli.artifacts import Artifacts
from recsys_cli.artifacts.running import report_file
from tests.api.test_browser import browser, card_ids, carousels, console, embedded, ids, page, snippet, spooled, until

__all__ = ["browser", "embedded", "page"]

_ROOT = "document.querySelector('recsys-carousel').shadowRoot"


def report() -> dict[str, Any]:
    """Figures of 40 days as the worker writes them; a placement and a product are named by somebody hostile."""
    days = [f"2026-{9 + n // 30:02d}-{n % 30 + 1:02d}" for n in range(40)]
    row = {"lists": 10, "items": 80, "fallbacks": 8, "looked": 9, "seen": 40, "clicks": 4, "carts": 1, "orders": 2,
           "buyers": 2, "revenue": 25.5, "refunds": 0.0,
           "ctr": 0.1, "fallback_share": 0.1,
           "per_thousand_seen": 637.5}  # fmt: skip
    labels = {"placement": "<b>home</b>", "version": "v000001", "experiment": "t", "arm": "a"}
    history = [{"day": d, "value": 0.5, "low": 0.5 - n, "high": 0.5 + n} for n, d in enumerate(days)]
    product = {"item_id": "p", "title": "<img src=x>", "seen": 90, "clicks": 9, "units": 3, "revenue": 30.0}
    return {
        "format": 1, "made_at": int(time.time()), "days": 40, "since": days[0], "until": days[-1],
        "totals": {**row, "buyers": 10, "buyers_touched": 4, "shop_revenue": 4000.0},
        "daily": [{**row, "day": d, "shop_orders": 5, "shop_revenue": 100.0} for d in days],
        "rows": [{**row, **labels, "day": d} for d in days],
        "exposure": {"shown": 5, "for_sale": 10, "coverage": 0.5, "top_tenth_share": 0.2, "top": [product],
                     "ignored": [product], "never_shown": [product], "never_shown_count": 5},
        "experiments": [{"name": "t", "state": "running", "days": 40.0, "arms": ["served", "popular"], "reason": "",
                         "sentence": "Not decided.", "measure": "revenue", "history": history}],
        "quality": [{"version": "v000001", "created_at": 1_790_000_000, "model": "als", "served": True,
                     "reason": "First.",
                     "quality": {"value": 0.2, "low": 0.1, "high": 0.3},
                     "popular": {"value": 0.1, "low": 0, "high": 0.2}}],
    }  # fmt: skip


def look(browser: Any, server: Any) -> str:
    browser.get(f"{server.url}/#key={server.key}")
    browser.get(f"{server.url}/#/dashboard")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = browser.execute_script("return document.querySelector('main').innerText")
        if "How the server is" in text and "Asking the server" not in text and "Ready" in text:
            return str(text)
        time.sleep(0.1)
    raise AssertionError(text)


def test_before_the_worker_ran_it_says_what_is_missing(embedded: Any, browser: Any) -> None:
    report_file(Artifacts(embedded.shop.settings.artifacts).root).path.unlink(missing_ok=True)
    assert "recsys update-worker, which has not run yet" in look(browser, embedded)


@pytest.mark.parametrize("width", [320, 1200])
def test_the_owner_s_question_comes_first(embedded: Any, browser: Any, width: int) -> None:
    report_file(Artifacts(embedded.shop.settings.artifacts).root).write(report())
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        text = look(browser, embedded)
        assert text.index("Sales of 714.00 followed a list, 25.5 % of what the shop sold.") < text.index(
            "How the server is"
        )
        assert "4 of 10 buyers" in text
        assert "<b>home</b>" in text  # as text
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        plots = browser.execute_script("return document.querySelectorAll('svg.plot').length")
        assert plots == 5
        assert browser.execute_script("return document.querySelectorAll('main img').length") == 0
        browser.execute_script(
            "[...document.querySelectorAll('.ranges button')].find(b => /^7/.test(b.textContent)).click()"
        )
        assert "178.50" in browser.execute_script("return document.querySelector('.tile .value').textContent")
        assert browser.execute_script("return document.activeElement.textContent") == "7 days"
        browser.execute_script(
            "const [from] = document.querySelectorAll('input[type=date]'); from.value = '2026-10-01';"
            "from.dispatchEvent(new Event('change'))"
        )
        assert "255.00" in browser.execute_script("return document.querySelector('.tile .value').textContent")
        assert browser.execute_script("return document.querySelector('.ranges [aria-pressed=true]')") is None
        assert console(browser) == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_item_stands_twice_on_a_page(embedded: Any, page: Any, browser: Any) -> None:
    kinds = [snippet(embedded, **{"for": kind, "k": 4}) for kind in ("popular", "trending", "new")]
    page.show(browser, *kinds)
    time.sleep(1)
    shown = [card_ids(one) for one in carousels(browser, 3)]
    every = [item for one in shown for item in one]
    assert len(every) == len(set(every)) > 4
    # Whichever answer comes first, the carousel further up keeps what both have.
    assert shown[0] == ids(embedded.get("/popular", k=4))
    browser.execute_async_script("const done = arguments[0]; recsys.refresh({ k: 8 }).then(() => done())")
    shown = [card_ids(one) for one in carousels(browser, 3)]
    assert shown[0] == ids(embedded.get("/popular", k=8))
    every = [item for one in shown for item in one]
    assert len(every) == len(set(every))


def test_duplicates_where_they_are_wanted(embedded: Any, page: Any, browser: Any) -> None:
    page.show(browser, *[snippet(embedded, **{"for": "popular", "k": 3, "duplicates": ""})] * 2)
    first, second = carousels(browser, 2)
    assert card_ids(first) == card_ids(second) == ids(embedded.get("/popular", k=3))


def test_what_is_not_wanted_goes_and_is_reported(embedded: Any, page: Any, browser: Any) -> None:
    who = {"session": "not-this", "consent": "session", "dismiss": "No, thanks", "placement": "home"}
    page.show(browser, snippet(embedded, **{"for": "recommend", "k": 4, "link": "/p/{item_id}"}, **who))
    (shown,) = carousels(browser)
    gone = card_ids(shown)[1]
    label = browser.execute_script(
        f"const b = {_ROOT}.querySelectorAll('button.dismiss')[1]; b.focus(); b.click();"
        "return b.getAttribute('aria-label')"
    )
    assert label.startswith("No, thanks: ")
    assert gone not in card_ids(carousels(browser)[0])
    assert browser.execute_script(f"return {_ROOT}.activeElement?.className") == "dismiss"
    deadline = time.monotonic() + 30
    while not (told := [e for e in spooled(embedded) if e["event_type"] == "dislike"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [(e["item_id"], e["session_id"]) for e in told] == [(gone, "not-this")]


def test_an_endless_list_repeats_nothing(embedded: Any, page: Any, browser: Any) -> None:
    page.show(browser, snippet(embedded, **{"for": "popular", "k": 3, "endless": ""}))
    carousels(browser)

    def scrolled() -> list[str]:
        browser.execute_script(
            f"const u = {_ROOT}.querySelector('ul'); u.scrollTo({{ left: u.scrollWidth, behavior: 'instant' }})"
        )
        return card_ids(carousels(browser)[0])

    assert until(lambda: len(scrolled()) > 6)
    seen = scrolled()
    assert len(seen) == len(set(seen))
    assert seen == ids(embedded.get("/popular", k=len(seen)))


def test_the_page_is_told_of_a_click_and_may_keep_it(embedded: Any, page: Any, browser: Any) -> None:
    body = "<script>addEventListener('recsys-click', (e) => { window.told = e.detail; e.preventDefault(); })</script>"
    page.show(browser, snippet(embedded, **{"for": "popular", "k": 3, "link": "/p/{item_id}"}), body=body)
    (shown,) = carousels(browser)
    browser.execute_script(f"{_ROOT}.querySelectorAll('a')[2].click()")
    told = browser.execute_script("return window.told")
    assert (told["item"]["item_id"], told["position"]) == (card_ids(shown)[2], 3)
    assert told["request_id"]
    assert browser.current_url.endswith("/shop")


def test_a_react_page_can_have_the_component(server: Any) -> None:
    """What it is made of; it is rendered by React 18 and 19 where these can be had."""
    module = server.http.get("/widget.react.js")
    assert module.headers["content-type"].startswith("text/javascript")
    types = server.http.get("/widget.react.d.ts").text
    for prop in ("apiUrl", "userId", "count", "title", "className", "containerClassName", "cardClassName",
                 "onItemClick", "fetchItemDetails"):  # fmt: skip
        assert f"  {prop}" in types
        assert prop in module.text


def found(browser: Any, server: Any, id: str, expect: str) -> str:
    browser.get(f"{server.url}/#key={server.key}")
    browser.get(f"{server.url}/#/find/{id}")
    read = "return document.querySelector('main').innerText"
    assert until(lambda: expect in browser.execute_script(read)), browser.execute_script(read)
    return str(browser.execute_script(read))


def test_a_customer_is_found_with_their_history_beside_their_list(embedded: Any, browser: Any) -> None:
    text = found(browser, embedded, "t1", "Why not?")
    answer = embedded.get("/recommend", user_id="t1", k=10, explain="true")
    for item in answer["items"]:
        assert item["title"] in text
        assert item["reason"] in text
    assert 'Tea "0"' in text  # bought
    asked = (
        "const f = document.getElementById('why-item'); f.value = arguments[0]; f.form.requestSubmit();"
        "return document.querySelector('[aria-label=\"Why not?\"]').innerText"
    )
    said = "return document.querySelector('[aria-label=\"Why not?\"]').innerText"
    for item, words in (
        ("t0", "Bought on 20"),
        ("t2", "sold out"),
        (answer["items"][2]["item_id"], "is in the list, at place 3"),
        ("<b>none", "There is no product with the id “<b>none”."),
    ):
        browser.execute_script(asked, item)
        assert until(lambda words=words: words in browser.execute_script(said)), item


@pytest.mark.parametrize("width", [320, 1200])
def test_a_product_is_found_with_what_stands_beside_it(embedded: Any, browser: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        text = found(browser, embedded, "t0", "Shown as bought with it")
        assert "Shown as like it" in text
        assert "for sale" in text
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert "Neither a customer with a history nor a product" in found(browser, embedded, "nobody%2F%3Cb", "Neither")


def test_few_lists_are_too_few_to_say(embedded: Any, browser: Any) -> None:
    file = report_file(Artifacts(embedded.shop.settings.artifacts).root)
    file.path.unlink(missing_ok=True)
    for _ in range(3):
        embedded.get("/recommend", user_id="stranger")
    tile = "return document.querySelector('[data-tile=\"Only popular items\"]')?.innerText ?? ''"
    look(browser, embedded)
    asked = sum(
        float(line.split()[-1])
        for line in embedded.http.get("/metrics").text.splitlines()
        if line.startswith("recsys_answers_total") and ('route="/recommend"' in line or 'route="/session/' in line)
    )
    if asked < 20:
        assert until(lambda: "Too few to say" in browser.execute_script(tile))
    # What the worker counted is known to a server that has just been started, and is judged.
    told = report()
    for row in told["daily"]:
        row["fallbacks"] = row["items"]
    file.write(told)
    if asked < 20:
        assert until(lambda: "100 %" in browser.execute_script(tile))
        assert "Look" in browser.execute_script(tile)
        assert "Fine" not in browser.execute_script(tile)
