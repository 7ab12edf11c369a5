"""The owner's pages in German: by Accept-Language, every text of the scripts, and no English label in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.api import pages
from recsys_cli.api.pages import language_of
from tests.api.test_browser import browser, open_link, until

__all__ = ["browser"]

STATIC = Path(pages.__file__).parent / "static"
SPEAKING = ("page", "storefront", "finder", "dashboard", "owner", "placements")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"), ("de", "de"), ("de-AT,de;q=0.9,en;q=0.8", "de"), ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("fr,de;q=0.5", "de"), ("en;q=0.3, de;q=0.7", "de"), ("fr-FR", "en"), ("de;q=x", "de"), ("de;q=0", "en"),
        (",;,=" * 500, "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_one_that_the_browser_likes_best(accepted: str, language: str) -> None:
    assert language_of(accepted) == language


def test_a_page_says_which_language_it_is_in(server: Any) -> None:
    german = server.http.get("/", headers={"accept-language": "de-DE,de;q=0.9,en;q=0.5"})
    english = server.http.get("/", headers={"accept-language": "en"})
    assert '<html lang="de">' in german.text
    assert '<html lang="en">' in english.text
    assert german.headers["vary"] == "accept-language"
    assert german.headers["etag"] != english.headers["etag"]


def said(code: str) -> Iterator[str]:
    """The texts of a script: say('…'), and say`…` with {} for each value."""
    for quoted in re.findall(r"\bsay\(('(?:[^'\\]|\\.)*')\)", code):
        yield quoted[1:-1].replace("\\'", "'")
    for start in (m.end() for m in re.finditer(r"\bsay`", code)):
        yield template(code, start)[0]


def template(code: str, at: int) -> tuple[str, int]:
    """The text of a template from behind its first backtick, and where it ends."""
    text, depth = "", 0
    while depth or code[at] != "`":
        if code[at] == "`":
            at = template(code, at + 1)[1]
        elif code.startswith("${", at):
            text, depth, at = text + ("" if depth else "{}"), depth + 1, at + 1
        elif depth:
            depth += {"{": 1, "}": -1}.get(code[at], 0)
        else:
            text += code[at]
        at += 1
    return text, at


def test_every_text_of_the_scripts_has_its_german_and_no_other_is_kept() -> None:
    texts = {text for name in SPEAKING for text in said((STATIC / f"{name}.js").read_text(encoding="utf-8"))}
    german = (STATIC / "german.js").read_text(encoding="utf-8").partition("export const germanServer")[0]
    body = german.partition("export const german = {")[2]
    entry = re.compile(r"(?:^|, |\s)(?:'((?:[^'\\]|\\.)+)'|(\w+)): '", re.MULTILINE)
    held = {(quoted or bare).replace("\\'", "'") for quoted, bare in entry.findall(body)}
    assert texts - held == set()
    frame = (STATIC / "page.html").read_text(encoding="utf-8")
    counted = {key for key in held if re.fullmatch(r"\{\} [a-z ]+", key)}  # `many` puts these together
    assert {text for text in held - texts - counted if text not in frame} == set()


# What a browser shows of the dictionary's English: whole texts, or texts with values between at least three words.
ENGLISH = """
const done = arguments[arguments.length - 1];
import('/static/german.js').then(({ german }) => {
  const literal = (text) => text.replace(/[.*+?^${}()|[\\]\\\\]/g, '\\\\$&');
  const keys = Object.keys(german).filter((key) => german[key] !== key);
  const whole = new Set(keys.filter((key) => !key.includes('{') && !keys.some((k) => german[k] === key)));
  const parts = keys.filter((key) => (key.match(/[a-z]{3,}/g) ?? []).length > 2)
    .map((key) => new RegExp(`^${literal(key).replace(/\\\\\\{\\w*\\\\\\}/g, '.*')}$`, 's'));
  const shown = [];
  const walk = (root) => {
    const nodes = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
      if (node.nodeType === 3) shown.push(node.data);
      else {
        shown.push(...['aria-label', 'placeholder', 'title'].map((name) => node.getAttribute(name) ?? ''));
        if (node.shadowRoot) walk(node.shadowRoot);
      }
    }
  };
  walk(document.body);
  const english = (text) => whole.has(text) || parts.some((part) => part.test(text));
  done([...new Set(shown.map((text) => text.trim()).filter(english))]);
}, (error) => done([String(error)]));
"""

VIEWS = {
    "#/": "Für Sie",
    "#/item/t1": "In den Warenkorb",
    "#/dashboard": "Beantwortete Listen",
    "#/find/t4": "Warum nicht?",
    "#/find/t1": "Als ähnlich gezeigt",
    "#/placements": "Vorschau",
}


def test_a_german_browser_sees_no_english_label(server: Any, browser: Any) -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Accept-Language": "de-DE,de;q=0.9,en;q=0.8"}})
    try:
        open_link(browser, server)
        for view, expected in VIEWS.items():
            browser.execute_script("location.hash = arguments[0]", view)
            assert until(lambda text=expected: text in browser.execute_script("return document.body.innerText")), view
            assert until(lambda: "gefragt" not in browser.execute_script("return document.body.innerText")), view
            if view == "#/":
                browser.find_element("id", "why").click()
                assert until(lambda: reasons(browser))
                assert [one for one in reasons(browser) if re.search(r"\b(bought|with|in the|this)\b", one)] == []
            assert browser.execute_async_script(ENGLISH) == [], view
            assert browser.title.partition(" · ")[0] not in ("Storefront", "Dashboard", "Find", "Placements")
    finally:
        browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})


def reasons(browser: Any) -> list[str]:
    """The reasons that cards of the carousels show."""
    script = """
      const found = [];
      const walk = (root) => {
        for (const element of root.querySelectorAll('*')) {
          if (element.shadowRoot) walk(element.shadowRoot);
          if (element.className === 'why') found.push(element.lastChild.textContent);
        }
      };
      walk(document);
      return found;"""
    return [str(one) for one in browser.execute_script(script)]
