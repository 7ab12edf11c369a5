"""The carousel and the shop owner's page as files: kinds, tags, headers, and nothing that comes from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.api import pages
from recsys_cli.api.pages import PAGES

STATIC = Path(pages.__file__).parent / "static"
KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml",
         "ts": "text/plain"}  # fmt: skip
each = pytest.mark.parametrize("path", PAGES)


@each
def test_a_page_has_its_kind_its_tag_and_a_tight_policy(server: Any, path: str) -> None:
    reply = server.http.get(path)
    assert reply.status_code == 200
    name = PAGES[path].name
    assert reply.content == (STATIC / name).read_bytes()
    assert reply.headers["content-type"].split(";")[0] == KINDS[name.rpartition(".")[2]]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert re.fullmatch(r"no-cache|public, max-age=\d+", reply.headers["cache-control"])
    policy = dict(part.strip().partition(" ")[::2] for part in reply.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in reply.headers["content-security-policy"]


@each
def test_a_page_that_is_known_is_not_sent_again(server: Any, path: str) -> None:
    tag = server.http.get(path).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = server.http.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert server.http.get(path, headers={"if-none-match": '"other"'}).status_code == 200


@each
def test_a_page_is_asked_for_in_other_ways(server: Any, path: str) -> None:
    head = server.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert server.http.get(f"{path}?v=3").status_code == 200  # shops add such things against old copies
    refused = server.http.post(path, json={})
    assert refused.status_code == 405
    assert refused.json()["error"]["code"] == "no_method"


@pytest.mark.parametrize("path", ["/static/", "/static/page.html", "/static/../app.py", "/static/%2e%2e%2fapp.py"])
def test_only_these_files_are_shown(server: Any, path: str) -> None:
    assert server.http.get(path).status_code == 404


def test_every_file_is_a_page_the_documentation_or_the_plugin() -> None:
    held = {path.name for path in STATIC.iterdir()}
    assert held == {page.name for page in PAGES.values()} | {"woocommerce.php"}


@each
def test_pages_name_nobody_elsewhere_and_hold_nothing_inline(path: str) -> None:
    text = (STATIC / PAGES[path].name).read_text(encoding="utf-8")
    far = [url for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s'\"]*", text) if "127.0.0.1" not in url]
    assert [url for url in far if not url.endswith("www.w3.org/2000/svg")] == []
    if path == "/":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert danger not in text


@each
def test_pages_store_nothing(path: str) -> None:
    code = re.sub(r"/\*.*?\*/", "", (STATIC / PAGES[path].name).read_text(encoding="utf-8"), flags=re.DOTALL)
    stores = {place for place in ("localStorage", "sessionStorage", "indexedDB", "document.cookie") if place in code}
    assert stores == ({"sessionStorage"} if path == "/static/page.js" else set()), "the owner's key, in its own page"


def test_status_says_what_is_served(server: Any) -> None:
    shown = server.get("/status")
    version = server.shop.version
    assert shown["version"] == shown["trained"]["version"] == version.name
    assert shown["model"] == "als"
    assert shown["data"]["items"] == version.manifest["data"]["items"]
    assert "t4" not in str(shown)  # a customer
