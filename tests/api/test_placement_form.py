"""The form for placements in a real browser: preview, faults at their fields, saving, undo; and its route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recsys_cli.artifacts.keys import add_key
from tests.api.test_browser import browser, console, open_link, until

__all__ = ["browser"]

CONFIG = '# ours\n[placements.home]\nkind = "popular"\nk = 2\ntitle = "Best"\n'
PREVIEW = "return [...document.querySelectorAll('.previewed li strong')].map(e => e.textContent)"
WRONG = """const e = document.querySelector('[aria-invalid=true]');
const place = e && `${e.id}-wrong`;
return e && [e.name, document.getElementById(place).textContent, e.getAttribute('aria-describedby').includes(place)]"""

GONE_ONCE = """window.real = window.fetch;
window.fetch = (url, how) => {
  if (how?.method !== 'DELETE') return window.real(url, how);
  window.fetch = window.real;
  return Promise.reject(new TypeError('the server is away'));
};"""


def wrong_at(browser: Any, name: str, said: str) -> Any:
    found = browser.execute_script(WRONG)
    return found if found and found[0] == name and said in found[1] else None


def write(browser: Any, name: str, text: str) -> None:
    field = browser.find_element("id", f"place-{name}")
    field.clear()
    field.send_keys(text)


def test_a_placement_is_previewed_saved_and_taken_back(start: Callable[..., Any], browser: Any) -> None:
    server = start(config=CONFIG)
    file = server.log.parent / "recsys.toml"
    open_link(browser, server, "#/placements")
    assert until(lambda: len(browser.execute_script(PREVIEW)) == 2)
    write(browser, "k", "4")
    assert until(lambda: len(browser.execute_script(PREVIEW)) == 4)
    assert file.read_text() == CONFIG, "a preview writes nothing"
    write(browser, "filter", 'category = "coffee"')
    assert until(lambda: all("offee" in one or one[0] == "c" for one in browser.execute_script(PREVIEW)))
    for name, text, said in (
        ("filter", "price <", "column"),
        ("filter", "colour_of_moon = 1", "colour_of_moon"),
        ("k", "999", "at most 200"),
        ("fallback", "popular, nonsense", "must be a kind of list"),
    ):
        write(browser, name, text)
        found = until(lambda name=name, said=said: wrong_at(browser, name, said))
        assert found, browser.execute_script(WRONG)
        assert found[2], "a screen reader is told with the field"
        write(browser, name, {"filter": "price < 6", "k": "3", "fallback": "new"}[name])
        assert until(lambda: browser.execute_script(WRONG) is None)
    browser.find_element("id", "place-k").send_keys("\n")  # by keyboard
    assert until(lambda: 'filter = "price < 6"' in file.read_text())
    assert file.read_text().startswith("# ours\n[placements.home]\n")
    assert until(lambda: len(server.get("/recommend", placement="home")["items"]) == 3)
    undo = next(b for b in browser.find_elements("css selector", ".place button") if b.text == "Undo")
    undo.click()
    assert until(lambda: file.read_text() == CONFIG)
    # Its list is made again after every change.
    browser.execute_script("document.querySelector('.names button:last-child').click()")
    write(browser, "name", "new place")
    browser.find_element("css selector", ".place .primary").click()
    assert until(lambda: (browser.execute_script(WRONG) or [""])[0] == "name")
    write(browser, "name", "basket")
    browser.find_element("css selector", ".place .primary").click()
    assert until(lambda: "[placements.basket]" in file.read_text())
    browser.execute_script(GONE_ONCE)
    assert until(undo.is_enabled)
    undo.click()
    assert until(lambda: browser.execute_script("return window.fetch === window.real") and undo.is_enabled())
    undo.click()  # what could not be undone may be tried again
    assert until(lambda: file.read_text() == CONFIG)
    assert console(browser) == []


def test_the_preview_of_a_placement(shop: Any, start: Callable[..., Any]) -> None:
    with shop.artifacts.exclusive():
        key, _ = add_key(shop.settings.artifacts, "kim", ["merchandise"])
    server = start()

    def preview(placement: dict[str, Any], **more: Any) -> Any:
        body = {"placement": placement, **more}
        return server.http.post("/preview-placement", json=body, headers={"x-api-key": key})

    found = preview({"kind": "similar", "fallback": ["popular"], "k": 3}, item_id="t0").json()
    assert (len(found["items"]), found["wrong"]) == (3, None)
    assert all(item["reason"] for item in found["items"])
    for placement, field in (
        ({"kind": "nonsense"}, "kind"),
        ({"colour": 1}, "colour"),
        ({"filter": "moon = 1"}, "filter"),
        ({"rules": {"diversity": 7}}, "rules"),
        ({"version": "v999999"}, "version"),
        ({"kind": "similar", "fallback": []}, "item_id"),
    ):
        wrong = preview(placement).json()["wrong"]
        assert wrong["field"] == field, placement
        assert wrong["message"]
    refused = preview({"kind": "personal"}, user_id="t4")
    assert refused.status_code == 403, "whose list it is, a key for placements alone does not see"
