"""The carousel in a shop's page and the shop owner's page, in a real browser."""

from __future__ import annotations

import contextlib
import html
import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from recsys_cli.artifacts import SpoolWriter, worker_state

_spec = importlib.util.spec_from_file_location("api_conftest_of_browser", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
_api = sys.modules.setdefault("api_conftest_of_browser", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(_api)

Start = Callable[..., Any]
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

# Nothing but what we ask for goes out of the browser either.
_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1200,1000"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver, program = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or program is None:
        pytest.skip("there is no chromium with its chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*_FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Named, or selenium would look for one to download.
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield made
    made.quit()


class Page:
    """A shop's own web page, of another origin than the server."""

    def __init__(self) -> None:
        page = self
        self.text = ""
        self.paths: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.paths.append(self.path)
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(page.text.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def show(self, browser: Any, *scripts: str, body: str = "", head: str = "") -> None:
        self.text = (
            "<!doctype html><html lang=en><link rel=icon href='data:,'><title>Shop</title>{head}"
            f"<style>* {{ color: red }}</style><body><p id=before>Before</p>{''.join(scripts)}"
            f"<p id=after>After</p>{body}"
        )
        browser.get_log("browser")  # what the page before may have left
        browser.get(f"{self.origin}/shop")

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.close()


@pytest.fixture(scope="module")
def embedded(one_shop: Any, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server for the page, for all tests that leave it as it was."""
    shop = _api.copy_of(one_shop, tmp_path_factory.mktemp("embedded") / "copy")
    log = tmp_path_factory.mktemp("log") / "log"
    log.with_name("recsys.toml").write_text(f'[serve]\ncors_origins = ["{page.origin}"]\n', encoding="utf-8")
    made = _api.Server(shop, log)
    yield made
    made.stop()


def snippet(server: Any, **data: Any) -> str:
    data = {"key": server.key, **data}
    given = " ".join(f'data-{name.replace("_", "-")}="{html.escape(str(value))}"' for name, value in data.items())
    return f'<script src="{server.url}/widget.js" {given} defer></script>'


def serve(start: Start, page: Page, more: str = "") -> Any:
    return start(config=f'[serve]\ncors_origins = ["{page.origin}"]\n{more}')


until = _api.eventually


SHOWN = """return [...document.querySelectorAll('recsys-carousel')].map(({shadowRoot: root}) => ({
    heading: root.querySelector('h2').textContent,
    waiting: root.querySelectorAll('.waiting').length,
    cards: [...root.querySelectorAll('li:not(.waiting)')].map(li => ({
        id: li.dataset.item, title: li.querySelector('.title').textContent,
        price: li.querySelector('.price').textContent, href: li.querySelector('a')?.getAttribute('href') ?? null,
        markup: li.querySelectorAll('script, .title *').length,
        why: li.querySelector('.why')?.textContent ?? null})),
}))"""


def carousels(browser: Any, count: int = 1) -> list[dict[str, Any]]:
    """What all carousels of the page show, once `count` of them have their answers."""

    def look() -> Any:
        shown = browser.execute_script(SHOWN)
        return shown if len(shown) == count and not any(c["waiting"] for c in shown) else None

    found = until(look)
    assert found, browser.execute_script(SHOWN)
    return found


def ids(body: Any) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def card_ids(carousel: dict[str, Any]) -> list[str]:
    return [card["id"] for card in carousel["cards"]]


def console(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


def spooled(server: Any) -> list[dict[str, Any]]:
    paths = sorted(server.shop.artifacts.spool_dir.glob("*.jsonl"))
    lines = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
    return [line for line in lines if line["t"] == "event"]


# -- in a shop's page


def test_the_list_appears_in_its_place_and_order(embedded: Any, page: Page, browser: Any) -> None:
    server = embedded
    wanted = ids(server.get("/recommend", user_id="t4", k=5))
    page.show(browser, snippet(server, **{"for": "recommend", "user": "t4", "k": 5, "link": "/p/{item_id}?a=1"}))
    (shown,) = carousels(browser)
    assert card_ids(shown) == wanted
    assert shown["heading"] == "Recommended for you"
    assert shown["cards"][0]["href"] == f"{page.origin}/p/{wanted[0]}?a=1"
    around = browser.execute_script(
        "const c = document.querySelector('recsys-carousel');"
        "return [c.previousElementSibling.previousElementSibling.id, c.nextElementSibling.id]"
    )
    assert around == ["before", "after"]
    titles = browser.execute_script(
        "const r = document.querySelector('recsys-carousel').shadowRoot;"
        "return [getComputedStyle(r.querySelector('.title')).height, r.querySelector('section').ariaLabelledByElements,"
        " r.querySelector('ul').getAttribute('role')]"
    )
    assert titles[2] == "list"
    assert console(browser) == []
    assert set(page.paths) == {"/shop"}


@pytest.mark.parametrize(
    ("data", "path", "query"),
    [
        ({"for": "similar-items", "item": "t0"}, "/similar-items", {"item_id": "t0"}),
        ({"for": "bought-together", "item": "t0"}, "/bought-together", {"item_id": "t0"}),
        ({"for": "recommend", "items": "c0,c1"}, "/recommend", {"items": "c0,c1"}),
        ({"for": "popular", "category": "garden"}, "/popular", {"category": "garden"}),
        ({"for": "trending"}, "/trending", {}),
        ({"for": "new"}, "/new", {}),
    ],
    ids=lambda x: x.get("for") if isinstance(x, dict) else None,
)
def test_every_list_can_be_asked_for(
    embedded: Any, page: Page, browser: Any, data: dict[str, str], path: str, query: dict[str, str]
) -> None:
    server = embedded
    page.show(browser, snippet(server, k=4, **data))
    (shown,) = carousels(browser)
    assert card_ids(shown) == ids(server.get(path, k=4, **query))


def test_several_carousels_and_later_ones(embedded: Any, page: Page, browser: Any) -> None:
    server = embedded
    wanted = [{"for": what, "k": k, "link": "/p/{id}"} for what, k in (("popular", 3), ("new", 2))]
    page.show(browser, *(snippet(server, **data) for data in wanted))
    assert [len(c["cards"]) for c in carousels(browser, 2)] == [3, 2]
    browser.execute_script(
        "const s = document.createElement('script'); s.src = arguments[0];"
        "Object.assign(s.dataset, {for: 'trending', k: 4, link: '/p/{id}'});"
        "document.querySelector('#after').after(s);"
        "const more = {for: 'popular', k: 1, title: 'Best', link: '/p/{id}'};"
        "window.recsys.mount(document.querySelector('#after'), more);",
        f"{server.url}/widget.js",
    )
    shown = carousels(browser, 4)
    assert sorted(len(c["cards"]) for c in shown) == [1, 2, 3, 4]
    assert "Best" in [c["heading"] for c in shown]
    assert console(browser) == []


def test_refresh_asks_again(start: Start, page: Page, browser: Any) -> None:
    server = serve(start, page)
    page.show(browser, snippet(server, **{"for": "session", "session": "s1", "k": 4}))
    (before,) = carousels(browser)
    assert before["heading"] == "Popular now"
    server.post("/events", {"session_id": "s1", "item_id": "g1", "event_type": "view"})
    assert until(lambda: server.get("/session/s1", k=4)["known"])
    browser.execute_async_script("window.recsys.refresh().then(arguments[0])")
    (after,) = carousels(browser)
    assert after["heading"] == "Picked from your visit"
    assert card_ids(after) == ids(server.get("/session/s1", k=4)) != card_ids(before)


def test_it_speaks_the_language_of_the_page(embedded: Any, page: Page, browser: Any) -> None:
    page.show(
        browser,
        snippet(embedded, **{"for": "popular", "k": 2, "lang": "de-AT", "link": "/p/{handle}?id={id}"}),
        snippet(embedded, **{"for": "new", "k": 2, "lang": "fr"}),
    )
    german, other = carousels(browser, 2)
    assert (german["heading"], other["heading"]) == ("Gerade beliebt", "New in")
    item = ids(embedded.get("/popular", k=1))[0]
    assert german["cards"][0]["href"].endswith(f"/p/{item}?id={item}")


def test_a_fallback_is_called_what_it_is(embedded: Any, page: Page, browser: Any) -> None:
    server = embedded
    own = {"title": "Für Sie", "title_fallback": "Beliebt", "lang": "de", "currency": "EUR"}
    page.show(
        browser,
        snippet(server, **{"for": "recommend", "user": "nobody", "k": 2}),
        snippet(server, **{"for": "recommend", "user": "nobody", "k": 2}, **own),
        snippet(server, **{"for": "recommend", "user": "t4", "k": 2}, **own),
    )
    shown = carousels(browser, 3)
    assert [c["heading"] for c in shown] == ["Popular now", "Beliebt", "Für Sie"]
    assert shown[1]["cards"][0]["price"].endswith(",00\xa0€")


def test_hostile_titles_and_addresses_stay_text(start: Start, page: Page, browser: Any) -> None:
    server = serve(start, page)
    title = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
    bad = {
        "t0": "javascript:window.hit=1",
        "t1": " java\nscript:window.hit=1",
        "t4": "data:text/html,<script>1</script>",
    }
    lines = [{"t": "item", "item_id": i, "title": title, "url": url, "img_url": url} for i, url in bad.items()]
    # Not over HTTP, which refuses them: a page must not rely on that.
    SpoolWriter(server.shop.artifacts.spool_dir).append([json.dumps(line).encode() for line in lines])
    assert server.http.patch("/items/t5", json={"url": "https://shop.example/p?a=1&b=\"'>"}).status_code == 202
    assert until(lambda: server.get("/items/t5").get("url"))  # the last of those that were sent
    k = len(ids(server.get("/popular", category="tea", k=20)))
    hostile = {"for": "popular", "category": "tea", "k": k, "title": title, "link": "javascript:hit=1//{item_id}"}
    page.show(browser, snippet(server, **hostile))
    (shown,) = carousels(browser)
    cards = {card["id"]: card for card in shown["cards"]}
    assert shown["heading"] == title
    for item in bad:
        assert (cards[item]["title"], cards[item]["href"], cards[item]["markup"]) == (title, None, 0)
    assert cards["t5"]["href"].startswith("https://shop.example/p?a=1&b=")
    assert all(card["href"] is None for item, card in cards.items() if item != "t5")
    assert browser.execute_script("return window.hit") is None
    images = "return document.querySelector('recsys-carousel').shadowRoot.querySelectorAll('img').length"
    assert browser.execute_script(images) == 0


def test_ids_are_encoded(embedded: Any, page: Page, browser: Any) -> None:
    server = embedded
    user = 'a&k=1#/ü"><b>'
    page.show(browser, snippet(server, **{"for": "recommend", "user": user, "k": 3, "link": "p/{item_id}"}))
    (shown,) = carousels(browser)
    assert len(shown["cards"]) == 3


LOOK = "document.querySelector('recsys-carousel').scrollIntoView()"
# Followed, the link would take the page away before what it shows can be looked at.
CLICK = (
    "document.addEventListener('click', e => e.preventDefault());"
    "document.querySelector('recsys-carousel').shadowRoot.querySelectorAll('a')[1].click()"
)


@pytest.mark.parametrize("consent", [{}, {"consent": "none"}])
def test_without_consent_nothing_is_sent_or_kept(
    start: Start, page: Page, browser: Any, consent: dict[str, str]
) -> None:
    server = serve(start, page)
    page.show(browser, snippet(server, **{"for": "recommend", "user": "t4", "session": "s", "link": "p"}, **consent))
    carousels(browser)
    browser.execute_script(LOOK)
    time.sleep(1.8)
    browser.execute_script(CLICK)
    time.sleep(0.5)
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert not [url for url in asked if "/events" in url]
    assert spooled(server) == []
    kept = "return [document.cookie, localStorage.length, sessionStorage.length]"
    assert browser.execute_script(kept) == ["", 0, 0]


def test_with_consent_what_was_seen_and_clicked_arrives(start: Start, page: Page, browser: Any) -> None:
    server = serve(start, page)
    page.show(
        browser,
        snippet(server, **{"for": "recommend", "user": "t4", "session": "s", "k": 30, "link": "p", "consent": "full"}),
    )
    (shown,) = carousels(browser)
    browser.execute_script(LOOK)
    request = "return [...document.querySelectorAll('recsys-carousel')][0].shadowRoot && true"
    assert browser.execute_script(request)

    def impressions() -> list[dict[str, Any]]:
        return [e for e in spooled(server) if e["event_type"] == "impression"]

    # They may come in several requests, where the browser is slow.
    assert until(lambda: len(impressions()) >= 3)
    seen, order = impressions(), card_ids(shown)
    # What has to be scrolled to was not seen.
    assert len(seen) < len(order)
    for event in seen:
        assert order[event["position"] - 1] == event["item_id"]
        assert (event["user_id"], event["session_id"]) == ("t4", "s")
    assert len({e["request_id"] for e in seen}) == 1
    browser.execute_script(CLICK)
    (click,) = until(lambda: [e for e in spooled(server) if e["event_type"] == "click"])
    assert (click["item_id"], click["position"], click["request_id"]) == (order[1], 2, seen[0]["request_id"])
    time.sleep(1.5)
    again = [e["item_id"] for e in impressions()]
    assert len(again) == len(set(again))


def test_how_long_the_product_was_looked_at_is_told_once(start: Start, page: Page, browser: Any) -> None:
    server = serve(start, page)
    given = {"for": "similar-items", "item": "t0", "session": "s", "k": 3, "link": "p", "view": ""}

    def visit(consent: str, seconds: float) -> float:
        since = time.monotonic()
        pair = [
            snippet(server, **given | {"for": kind, "consent": consent}) for kind in (given["for"], "bought-together")
        ]
        page.show(browser, *pair)
        carousels(browser, 2)
        time.sleep(seconds)
        browser.get("about:blank")
        return (time.monotonic() - since) * 1000

    visit("none", 0)
    most = visit("session", 0.4)
    (view,) = until(lambda: [e for e in spooled(server) if e["event_type"] == "view"])
    assert (view["item_id"], view["session_id"], "user_id" in view) == ("t0", "s", False)
    assert 400 <= view["duration_ms"] <= most
    time.sleep(0.5)
    assert [e["event_type"] for e in spooled(server)].count("view") == 1


def test_with_consent_for_the_session_the_customer_is_not_named(start: Start, page: Page, browser: Any) -> None:
    server = serve(start, page)
    given = {"for": "recommend", "user": "t4", "session": "s", "k": 3, "link": "p", "consent": "session"}
    page.show(browser, snippet(server, **given))
    carousels(browser)
    browser.execute_script(CLICK)
    (click,) = until(lambda: [e for e in spooled(server) if e["event_type"] == "click"])
    assert "user_id" not in click
    assert click["session_id"] == "s"


def test_a_server_that_is_down_leaves_no_trace(start: Start, page: Page, browser: Any) -> None:
    server = serve(start, page)
    # The script is still there, in a cache say, when the server is not.
    page.show(
        browser,
        "<div id=place></div>",
        f'<script src="{server.url}/widget.js"></script>',
        body="<p id=end style='margin:0'>End</p>",
    )
    top = "return document.querySelector('#end').getBoundingClientRect().top"
    before = browser.execute_script(top)
    server.stop()
    browser.execute_script("recsys.mount(document.querySelector('#place'), {for: 'popular'})")
    assert until(lambda: not browser.execute_script("return document.querySelector('recsys-carousel')"))
    assert browser.execute_script(top) == before
    ours = [message for message in console(browser) if "recsys: " in message]
    assert len(ours) == 1


@pytest.mark.parametrize("data", [{"for": "similar-items", "item": "none"}, {"for": "session"}, {"for": "everything"}])
def test_an_error_leaves_no_trace(embedded: Any, page: Page, browser: Any, data: dict[str, str]) -> None:
    server = embedded
    page.show(browser, snippet(server, **data))
    ours: list[str] = []
    assert until(lambda: ours.extend(m for m in console(browser) if "recsys: " in m) or ours)
    assert until(lambda: browser.execute_script("return !document.querySelector('recsys-carousel')"))
    ours += [message for message in console(browser) if "recsys: " in message]
    assert len(ours) == 1


def test_what_is_wrong_in_the_page_is_said_in_its_console(embedded: Any, page: Page, browser: Any) -> None:
    def said(*scripts: str, text: str = "", code: str = "") -> list[str]:
        page.show(browser, *scripts)
        browser.execute_script(code)
        messages: list[str] = []

        def look() -> bool:
            """Whether `text` was said, and no list has yet to be answered, of which more might be said."""
            waiting = any(shown["waiting"] for shown in browser.execute_script(SHOWN))
            ours = (message.partition("recsys: ")[2] for message in console(browser) if "recsys: " in message)
            messages.extend(message.replace('\\"', '"').rstrip('"') for message in ours)
            return not waiting and (not text or any(text in message for message in messages))

        until(look)
        return messages

    good = {"for": "popular", "k": 3, "link": "/product/{item_id}"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({**good, "consent": "ful"}, 'data-consent="ful" is none of none, session, full'),
        ({**good, "k": "many"}, 'data-k="many" is not a number between 1 and 200'),
        ({**good, "k": 0}, 'data-k="0" is not a number between 1 and 200'),
        ({"k": 3}, "data-for is missing; it is one of recommend,"),
        ({"fro": "popular"}, "the attribute data-fro is not known; did you mean data-for?"),
        ({**good, "catgory": "tea"}, "the attribute data-catgory is not known; did you mean data-category?"),
        ({**good, "user_id": "t4"}, "the attribute data-user-id is not known; did you mean data-user?"),
        ({**good, "into": "#1[ ("}, 'data-into="#1[ (" is no CSS selector'),
        ({**good, "into": "#nowhere"}, 'data-into="#nowhere": there is no such element'),
        ({**good, "category": "none"}, "nothing to show (popular, k=3&category=none)"),
        ({"for": "similar-items", "item": "none"}, "no list (the server answers 404: There is no item 'none'"),
    ]
    for data, text in cases:
        messages = said(snippet(embedded, **data), text=text)
        assert [m for m in messages if text in m], (data, messages)
        assert len(messages) == (2 if "fro" in data else 1), messages
    assert said(snippet(embedded, **good, consent="none", rocket_src="x")) == []
    script, code = f'<script src="{embedded.url}/widget.js"></script>', "recsys.mount(null, {for: 'popular'})"
    (message,) = said(script, text="recsys.mount was given null", code=code)
    assert "recsys.mount was given null" in message


def test_room_is_kept_before_the_answer(embedded: Any, page: Page, browser: Any) -> None:
    server = embedded
    page.show(browser, f'<script src="{server.url}/widget.js"></script>')
    before, after = browser.execute_async_script(
        "const done = arguments[0]; const place = document.querySelector('#before');"
        "const c = window.recsys.mount(place, {for: 'popular', k: 8}); const h = place.offsetHeight;"
        "c.host.addEventListener('recsys:answer', () => setTimeout(() => done([h, place.offsetHeight]), 100))"
    )
    assert before == after > 100


RANK = """
const done = arguments[arguments.length - 1], [options, move] = arguments;
const grid = document.querySelector('#grid'), after = document.querySelector('#after');
const now = () => [...grid.children].map((card) => card.dataset.item ?? card.id);
let shifted = 0;
const add = (list) => list.getEntries().forEach((e) => { shifted += e.value; });
new PerformanceObserver(add).observe({type: 'layout-shift'});
const frames = (then) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(then, 100)));
frames(async () => {
  const before = after.getBoundingClientRect().top;
  const did = move ? grid.append(grid.children[0]) : await window.recsys.rank(grid, options);
  frames(() => done({did, now: now(), shifted, moved: after.getBoundingClientRect().top - before,
                     seen: getComputedStyle(grid).visibility}));
});
"""


def test_a_grid_is_ordered_in_place_and_nothing_is_seen_to_move(embedded: Any, page: Page, browser: Any) -> None:
    listed = ["c5", "t6", "c0", "t1", "t5", "d3"]
    cards = "".join(f'<a href="#{i}" data-item="{i}" style="height:9em;background:#ccc">{i}</a>' for i in listed)
    style = "display:grid;grid-template-columns:repeat(3,1fr);gap:1em"
    script = f'<script src="{embedded.url}/widget.js"></script>'
    grid = f'<div id=grid style="{style}">{cards}<p id=banner>Sale</p></div>'
    options = {"user": "t4", "key": embedded.key, "patience": 30_000}
    body = {"items": listed, "user_id": "t4"}
    wanted = [i["item_id"] for i in embedded.http.post("/rank", json=body).json()["items"]]
    assert wanted != listed

    def ranked(given: dict[str, Any], move: bool = False) -> Any:
        page.show(browser, script, grid)
        return browser.execute_async_script(RANK, given, move)

    assert ranked(options) == {"did": True, "now": [*wanted, "banner"], "shifted": 0, "moved": 0, "seen": "visible"}
    assert ranked(options | {"given": 1})["now"] == [*listed, "banner"]
    assert ranked({}, move=True)["shifted"] > 0, "what moves while it is seen is noticed"
    for wrong in ({"patience": 0}, {"key": "wrong"}):
        stays = ranked(options | wrong)
        assert stays == {"did": False, "now": [*listed, "banner"], "shifted": 0, "moved": 0, "seen": "visible"}


def test_a_shop_with_a_strict_policy_gets_it_whole(embedded: Any, page: Page, browser: Any) -> None:
    url = embedded.url
    policy = f"default-src 'none'; script-src {url}; connect-src {url}; img-src {url}"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    page.show(browser, snippet(embedded, **{"for": "popular", "k": 3}), head=meta)
    (shown,) = carousels(browser)
    assert len(shown["cards"]) == 3
    look = "getComputedStyle(document.querySelector('recsys-carousel').shadowRoot.querySelector('ul')).display"
    assert browser.execute_script(f"return {look}") == "flex"


def test_the_keyboard_goes_through_the_list(embedded: Any, page: Page, browser: Any) -> None:
    page.show(browser, snippet(embedded, **{"for": "popular", "k": 12, "link": "/p/{item_id}"}))
    (shown,) = carousels(browser)
    order = card_ids(shown)
    here = "return document.querySelector('recsys-carousel').shadowRoot.activeElement.closest('li')?.dataset.item"
    browser.execute_script(
        "document.querySelector('recsys-carousel').shadowRoot.querySelector('a').focus({preventScroll: true})"
    )
    keys = webdriver.common.keys.Keys
    for key, place in ((keys.ARROW_RIGHT, 1), (keys.END, 11), (keys.ARROW_LEFT, 10), (keys.HOME, 0)):
        webdriver.ActionChains(browser).send_keys(key).perform()
        assert until(lambda place=place: browser.execute_script(here) == order[place])
    webdriver.ActionChains(browser).key_down(keys.SHIFT).send_keys(keys.TAB).key_up(keys.SHIFT).perform()
    name = "return document.querySelector('recsys-carousel').shadowRoot.activeElement.ariaLabel"
    assert until(lambda: browser.execute_script(name) == "Next")


# -- the shop owner's page


def buttons(browser: Any, kind: str) -> None:
    browser.execute_script(f"document.querySelector('[data-event={kind}]').click()")


def open_link(browser: Any, server: Any, view: str = "") -> None:
    """The link that serve prints, and a view."""
    (link,) = [word for word in server.log.read_text().split() if "/#key=" in word]
    browser.get(link)
    browser.execute_script("location.hash = arguments[0]", view or "#/")


def mine(browser: Any) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelector('[data-shelf=recommend] recsys-carousel')?.shadowRoot"
        ".querySelectorAll('li:not(.waiting)') ?? []].map(li => li.dataset.item)"
    )


def assert_kept_to_itself(browser: Any, server: Any) -> None:
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked
    assert all(url.startswith(f"{server.url}/") for url in asked)
    assert console(browser) == []


def test_the_storefront_shows_shelves_and_products(server: Any, browser: Any) -> None:
    open_link(browser, server)
    shown = carousels(browser, 4)
    assert [c["heading"] for c in shown] == ["Popular now", "Trending", "New in", "Best sellers"]
    field = browser.find_element("id", "who")
    field.send_keys("t4\n")
    assert until(lambda: mine(browser) == ids(server.get("/recommend", user_id="t4", k=12)))
    browser.execute_script("document.querySelector('#why').click()")
    assert until(lambda: all(card["why"] for c in browser.execute_script(SHOWN) for card in c["cards"]))
    search = browser.find_element("id", "search")
    search.send_keys("garden 3")
    assert until(lambda: browser.execute_script("return document.querySelector('#results a')?.textContent"))
    search.send_keys("\n")
    heading = "return document.querySelector('.product h1')?.textContent"
    assert until(lambda: browser.execute_script(heading)) == 'Garden "3"'
    assert_kept_to_itself(browser, server)


def test_buying_changes_the_list_at_once(start: Start, browser: Any) -> None:
    server = start()
    open_link(browser, server, "#/item/t0")
    before = until(lambda: mine(browser))
    assert until(lambda: browser.execute_script("return document.querySelector('[data-event=purchase]') && true"))
    said = "return document.querySelector('.counted').textContent"
    buttons(browser, "view")
    assert until(lambda: "Tried out, nothing reported" in browser.execute_script(said)), browser.execute_script(said)
    assert spooled(server) == []  # a dry run, until it is switched off
    browser.execute_script("document.querySelector('.product .real').click()")
    buttons(browser, "purchase")
    assert until(lambda: "Purchase counted after" in browser.execute_script(said)), browser.execute_script(said)
    assert mine(browser) != before
    assert "t0" not in mine(browser)
    (event,) = spooled(server)
    assert (event["event_type"], event["item_id"]) == ("purchase", "t0")
    assert event["session_id"].startswith("demo-")
    assert browser.execute_script("return [document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 1]
    assert server.key not in browser.current_url
    assert_kept_to_itself(browser, server)


def test_the_dashboard_says_how_it_is(server: Any, browser: Any) -> None:
    for _ in range(3):
        server.get("/recommend", user_id="t4")
    open_link(browser, server, "#/dashboard")
    tile = "return document.querySelector('[data-tile=served]')?.textContent"
    text = until(lambda: browser.execute_script(tile))
    assert f"serves {server.shop.version.name}" in text
    text = browser.execute_script("return document.querySelector('main').innerText")
    assert "als" in text
    assert "/recommend" in text
    assert "recsys update-worker --once" in text  # it has never run here
    assert "t4" not in text.split()
    assert_kept_to_itself(browser, server)


def test_the_dashboard_says_what_to_do(start: Start, browser: Any) -> None:
    server = start()
    passed = time.time() - 4 * 3600
    worker_state.write(
        server.shop.settings.artifacts, worker_state.Health(ended_at=passed, outcome="nothing new", passes=3)
    )
    open_link(browser, server, "#/dashboard")
    text = "return document.querySelector('main').innerText"
    assert until(lambda: "The last worker pass was 4 hours ago: is cron running?" in browser.execute_script(text))
    failed = worker_state.Health(ended_at=time.time(), outcome="failed", failures=3, passes=6)
    worker_state.write(server.shop.settings.artifacts, failed)
    assert until(lambda: "3 failures in a row" in browser.execute_script(text))
    assert "recsys status says why" in browser.execute_script(text)
    server.stop()
    assert until(lambda: "Is recsys serve running?" in browser.execute_script(text))


def test_a_server_that_wants_keys_is_given_one(start: Start, browser: Any, recsys: Any) -> None:
    server = start()
    state = {"RECSYS_ARTIFACTS": str(server.shop.settings.artifacts)}
    made = recsys("keys", "add", "page", "--scope", "serve", "--json", **state)
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["key"]
    assert until(lambda: httpx.get(f"{server.url}/recommend", timeout=60).status_code == 401)
    browser.get(f"{server.url}/")
    notice = "const n = document.querySelector('#notice'); return n.hidden ? '' : n.textContent"
    assert until(lambda: "a key" in browser.execute_script(notice))
    browser.find_element("id", "key-text").send_keys("wrong\n")
    assert until(lambda: "does not know this key" in browser.execute_script(notice))
    browser.find_element("id", "key-text").send_keys(f"{key}\n")
    carousels(browser, 4)
    assert browser.execute_script(notice) == ""
    browser.execute_script("location.hash = '#/dashboard'")
    assert until(lambda: "lacks the scope 'view'" in browser.execute_script(notice))
    assert key not in browser.execute_script("return document.documentElement.outerHTML")


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("view", ["", "#/item/t0", "#/dashboard"])
def test_nothing_is_cut_off_at_the_side(server: Any, browser: Any, view: str, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    with contextlib.ExitStack() as after:
        after.callback(browser.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})
        browser.get("about:blank")
        open_link(browser, server, view)
        assert until(lambda: browser.execute_script("return document.querySelector('recsys-carousel, .tile') && true"))
        time.sleep(0.3)
        wide, room = browser.execute_script("const e = document.documentElement; return [e.scrollWidth, e.clientWidth]")
        assert wide <= room <= width


def test_pictures_that_fail_leave_a_calm_place(start: Start, page: Page, browser: Any) -> None:
    server = serve(start, page)
    assert server.http.patch("/items/t0", json={"img_url": f"{server.url}/none.png"}).status_code == 202
    assert until(lambda: server.get("/items/t0").get("img_url"))
    page.show(browser, snippet(server, **{"for": "popular", "category": "tea", "k": 3}))
    (shown,) = carousels(browser)
    assert "t0" in card_ids(shown)
    images = "return document.querySelector('recsys-carousel').shadowRoot.querySelectorAll('img').length"
    assert until(lambda: browser.execute_script(images) == 0)
