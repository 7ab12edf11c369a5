"""Every page by axe-core, light and dark, from 320 to 3840 px: no violation, nothing cut off, nothing from elsewhere.

axe-core comes by npm into `.npm` (see `.ci/run`); without it these tests are skipped.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.artifacts import Artifacts
from recsys_cli.artifacts.running import report_file
from recsys_cli.experiments import report_page
from recsys_cli.experiments.sales_report import make_report
from recsys_cli.schema import DAY
from recsys_cli.settings import Settings, StoreSettings
from recsys_cli.store import Store
from tests.api.test_browser import _api, browser, console, open_link, until
from tests.api.test_owner_page import report
from tests.experiments.shop import START, Shop

__all__ = ["browser"]

MODULES = Path(__file__).resolve().parents[2] / ".npm" / "node_modules"
WIDTHS = (320, 768, 1440, 3840)
VIEWS = {
    "#/": "recsys-carousel",
    "#/item/t0": ".product h1",
    "#/dashboard": ".said",
    "#/find": "#find-id",
    "#/find/t1": "#why-item",
    "#/find/t0": ".found",
    "#/placements": ".previewed",
    "docs": "#routes h2",
}
AXE = """const done = arguments[0]; axe.run(document).then(({violations}) => done(violations.map(v =>
    [v.id, ...v.nodes.slice(0, 3).map(n => `${n.target} ${n.failureSummary}`)])), e => done([String(e)]))"""


@pytest.fixture(scope="module")
def axe() -> str:
    file = MODULES / "axe-core" / "axe.min.js"
    if not file.exists():
        pytest.skip("axe-core is not here: npm install --prefix .npm axe-core")
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def owner(one_shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server that has a report to show."""
    shop = _api.copy_of(one_shop, tmp_path_factory.mktemp("owner") / "copy")
    report_file(Artifacts(shop.settings.artifacts).root).write(report())
    made = _api.Server(shop, tmp_path_factory.mktemp("log") / "log")
    yield made
    made.stop()


def judged(browser: Any, axe: str) -> None:
    """No violation in light and dark, and nothing wider than the window."""
    with contextlib.ExitStack() as after:
        after.callback(browser.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})
        after.callback(browser.execute_cdp_cmd, "Emulation.setEmulatedMedia", {"features": []})
        browser.execute_script(axe)
        for width in WIDTHS:
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width
        for width, scheme in ((320, "dark"), (1440, "light"), (1440, "dark")):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            features = [
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            found = browser.execute_async_script(AXE)
            assert found == [], f"{width} px, {scheme}: {json.dumps(found, indent=1)}"


@pytest.mark.parametrize("view", VIEWS)
def test_no_violation(owner: Any, browser: Any, axe: str, view: str) -> None:
    browser.get("about:blank")
    if view.startswith("#"):
        open_link(browser, owner, view)
    else:
        browser.get(f"{owner.url}/{view}")
    assert until(lambda: browser.execute_script("return !!document.querySelector(arguments[0])", VIEWS[view]))
    still = "return document.getElementsByClassName('waiting').length === 0"
    assert until(lambda: browser.execute_script(still))
    judged(browser, axe)
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(url.startswith(f"{owner.url}/") for url in asked)
    assert console(browser) == []


def test_no_violation_in_the_report(tmp_path: Path, values: Settings, browser: Any, axe: str) -> None:
    store = Store(tmp_path / "shop.duckdb", StoreSettings(lock_timeout=5, threads=2))
    Shop(1, visitors=80).fill(store)
    shown = make_report(store, Artifacts(tmp_path / "none"), values, 28, now=START + 20 * DAY)
    file = tmp_path / "report.html"
    file.write_text(report_page.page(shown, report()["experiments"]), encoding="utf-8")
    browser.get(file.as_uri())
    judged(browser, axe)
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert console(browser) == []
