"""The snippets and the plugin that bring lists into a shop's pages."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from typing import Any

import pytest

from recsys_cli.artifacts.keys import sign
from recsys_cli.cli.widget import PLATFORMS, PLUGIN

URL = "https://rec.shop.example"
# What WordPress and WooCommerce give the plugin: just enough to load it and to ask it for HTML and events.
HARNESS = r"""<?php
define('ABSPATH', '/'); define('HOUR_IN_SECONDS', 3600); define('RECSYS_SIGNING_SECRET', 'signing');
define('RECSYS_PAGE_KEY', 'recsys_"page'); define('RECSYS_SERVER_KEY', 'server');
$hooks = []; $sent = [];
function add_action($name, $f) { global $hooks; $hooks[$name] = $f; }
function add_filter($name, $f) { global $hooks; $hooks[$name] = $f; }
function add_shortcode($name, $f) {}
function apply_filters($name, $value) { return $name === 'recsys_consent' ? $_SERVER['argv'][2] : $value; }
function shortcode_atts($pairs, $given) { return array_merge($pairs, array_intersect_key($given, $pairs)); }
function esc_url($text) { return $text; }
function esc_attr($text) { return htmlspecialchars($text, ENT_QUOTES); }
function get_current_user_id() { return 7; }
function as_schedule_single_action($at, $hook, $args) { global $sent; $sent[] = $args; }
class Product { function __construct(public $sku, public $id) {} function get_sku() { return $this->sku; }
  function get_id() { return $this->id; } }
class Line { function __construct(public $product, public $quantity, public $total) {}
  function get_product() { return $this->product; } function get_quantity() { return $this->quantity; }
  function get_total() { return $this->total; } function get_id() { return 55; } }
class When { function getTimestamp() { return 1750000000; } }
class Order { function get_customer_id() { return 0; } function get_billing_email() { return 'guest@shop.example'; }
  function get_items() {
    return [new Line(new Product('TEA', 1), 2, '9.00'), new Line(new Product('', 12), 1, '3.50')]; }
  function get_date_created() { return new When; } function get_order_number() { return 'A-1'; }
  function get_currency() { return 'EUR'; } }
function wc_get_order($id) { return new Order; }
require $_SERVER['argv'][1];
$hooks['woocommerce_order_status_completed'](31);
echo json_encode(['html' => recsys_carousel(['for' => 'popular', 'title' => '"<b>']),
  'token' => recsys_token('7'), 'sent' => $sent]);
"""
php = pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")


class Tags(HTMLParser):
    """The first tag's attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: dict[str, str | None] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes = self.attributes or dict(attrs)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_platform_gets_its_pages(platform: str, recsys: Any) -> None:
    done = recsys("widget", "--platform", platform, "--url", f"{URL}/", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [s["page"] for s in told["snippets"]] == ["home page", "product page", "cart"]
    assert told["ids"]
    for snippet in told["snippets"]:
        assert snippet["html"].startswith(f'<script src="{URL}/widget.js" data-for="')
        assert snippet["html"].endswith(" defer></script>")
        assert snippet["place"]


def test_lines_are_printed_whole(recsys: Any) -> None:
    done = recsys("widget", "--platform", "magento", "--url", URL)
    assert sum(line.startswith("<script") and line.endswith("</script>") for line in done.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--platform", "wix"), "no platform 'wix'"),
        (("--platform", "magento", "--plugin"), "no plugin for magento"),
        (("--url", "javascript:alert(1)"), "--url must be an address"),
        (("--url", 'https://x.example/"><script>'), "--url must be an address"),
    ],
)
def test_mistakes_are_told(arguments: tuple[str, ...], said: str, recsys: Any) -> None:
    done = recsys("widget", *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert done.stdout == ""


@pytest.fixture
def plugin(tmp_path: Any, recsys: Any) -> Any:
    path = tmp_path / "recsys.php"
    path.write_text(recsys("widget", "--platform", "woocommerce", "--plugin", "--url", URL).stdout)
    return path


@php
def test_the_plugin_is_php(plugin: Any) -> None:
    done = subprocess.run(["php", "-l", plugin], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert plugin.read_text().strip() == PLUGIN.read_text(encoding="utf-8").replace("@URL@", URL).strip()


@php
@pytest.mark.parametrize("consent", ["full", "none"])
def test_the_plugin_shows_lists_and_sends_orders(plugin: Any, tmp_path: Any, consent: str) -> None:
    (tmp_path / "harness.php").write_text(HARNESS)
    done = subprocess.run(
        ["php", "-d", "error_reporting=-1", "-d", "display_errors=stderr", tmp_path / "harness.php", plugin, consent],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    shown = Tags(said["html"]).attributes
    assert shown["src"] == f"{URL}/widget.js"
    assert (shown["data-for"], shown["data-title"], shown["data-key"]) == ("popular", '"<b>', 'recsys_"page')
    assert ("data-user" in shown, "data-token" in shown) == ((consent == "full"),) * 2
    assert said["token"] == sign("signing", "7", int(said["token"].split("-")[0]))
    [[method, path, body, tries]] = said["sent"]
    assert (method, path, tries) == ("POST", "/events", 0)
    first, second = body["events"]
    assert first == {
        "user_id": "guest@shop.example",
        "item_id": "TEA",
        "event_type": "purchase",
        "qty": 2,
        "ts": 1750000000,
        "order_id": "A-1",
        "price": 4.5,
        "currency": "EUR",
        "event_id": "woo-31-55",
    }
    assert second["item_id"] == "12"
