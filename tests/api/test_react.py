"""The React component in real pages of React 18 and 19, which npm brings into `.npm` (see `.ci/run`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.test_accessibility import MODULES
from tests.api.test_browser import browser, console, embedded, ids, page, spooled, until

__all__ = ["browser", "embedded", "page"]

# What the packages are made of, by the names that they ask for each other by.
FILES = {
    "18": {
        "react": "react18/cjs/react.production.min.js",
        "scheduler": "scheduler18/cjs/scheduler.production.min.js",
        "react-dom": "react-dom18/cjs/react-dom.production.min.js",
    },
    "19": {
        "react": "react19/cjs/react.production.js",
        "scheduler": "scheduler19/cjs/scheduler.production.js",
        "react-dom": "react-dom19/cjs/react-dom.production.js",
        "react-dom/client": "react-dom19/cjs/react-dom-client.production.js",
    },
}
# The packages are CommonJS: each is run once, when it is first asked for.
LOADER = """
const made = {}, process = {env: {NODE_ENV: 'production'}};
window.need = (name) => {
  if (!made[name]) {
    const module = made[name] = {exports: {}};
    new Function('module', 'exports', 'require', 'process', sources[name])(module, module.exports, need, process);
  }
  return made[name].exports;
};
const names = Object.keys(need('react')).filter((name) => /^[a-zA-Z]+$/.test(name));
const each = names.map((name) => `export const ${name} = all.${name};`).join('');
const shim = `const all = need('react'); ${each} export default all;`;
const map = document.createElement('script');
map.type = 'importmap';
map.textContent = JSON.stringify({imports: {react: URL.createObjectURL(new Blob([shim], {type: 'text/javascript'}))}});
document.head.append(map);
"""
APP = """
const { createElement: h, useState } = need('react');
const { createRoot } = need(CLIENT);
const { RecommendationCarousel } = await import(WIDGET);
function App() {
  const [turn, again] = useState(0);
  window.again = () => again((n) => n + 1);
  return h(RecommendationCarousel, {...PROPS, containerClassName: 'row', cardClassName: 'card', className: 'shelf',
    onItemClick: (item, event) => { event.preventDefault(); window.clicked = [item.item_id, turn]; },
    fetchItemDetails: async (id) => ({title: `Own ${id}`})});
}
window.root = createRoot(document.getElementById('app'));
root.render(h(App));
"""


@pytest.mark.parametrize("version", FILES)
def test_it_is_rendered_and_reports(embedded: Any, page: Any, browser: Any, version: str) -> None:
    if not (MODULES / f"react{version}").is_dir():
        pytest.skip(f"React {version} is not here; .ci/run has the line that brings it")
    sources = {name: (MODULES / file).read_text(encoding="utf-8") for name, file in FILES[version].items()}
    props = {"apiUrl": embedded.url, "sessionId": f"react{version}", "count": 4, "title": "Mine", "consent": "session",
             "apiKey": embedded.key, "currency": "none", "placement": "home"}  # fmt: skip
    client = "react-dom/client" if version == "19" else "react-dom"
    given = {"WIDGET": f"{embedded.url}/widget.react.js", "CLIENT": client, "PROPS": props}
    constants = "".join(f"const {name} = {json.dumps(value)};" for name, value in given.items())
    text = json.dumps(sources).replace("</", "<\\/")
    page.show(
        browser,
        f"<script>const sources = {text}; {LOADER}</script>",
        body=f"<div id=app></div><script type=module>{constants}{APP}</script>",
    )
    cards = "return [...document.querySelectorAll('.shelf .row .card')].map(li => li.dataset.item)"
    assert until(lambda: browser.execute_script(cards)), console(browser)
    shown = browser.execute_script(cards)
    assert shown == ids(embedded.get("/recommend", session_id="nobody", k=4))
    read = "return document.querySelector('.shelf').innerText"
    assert "Mine" in browser.execute_script(read)
    assert f"Own {shown[0]}" in browser.execute_script(read)
    browser.execute_script("window.kept = document.querySelector('.card'); again(); again()")
    browser.execute_script("document.querySelectorAll('.card button, .card a')[1].click()")
    assert until(lambda: browser.execute_script("return window.clicked")) == [shown[1], 2]
    assert browser.execute_script("return kept === document.querySelector('.card')")  # a render asks nothing again
    told = until(lambda: [e for e in spooled(embedded) if e.get("session_id") == f"react{version}"])
    assert ("click", shown[1]) in {(event["event_type"], event["item_id"]) for event in told}
    browser.execute_script("root.unmount()")
    assert browser.execute_script("return document.querySelector('.shelf')") is None
    assert console(browser) == []
