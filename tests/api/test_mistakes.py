"""Requests that are nearly right are told what was probably meant, and never answered with something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CONFIG = '[placements.product-page]\nkind = "similar"\nfallback = ["popular"]\n'


def test_what_was_meant_is_told(start: Callable[..., Any]) -> None:
    server = start(config=CONFIG)

    def error(path: str, status: int = 400, **params: Any) -> str:
        reply = server.http.get(path, params=params)
        assert reply.status_code == status, reply.text
        told = reply.json()["error"]
        return f"{told['message']} {told['hint']}"

    for mistyped in ("product_page", "prodct-page", "Product-Page"):
        said = error("/recommend", 404, placement=mistyped, item_id="t0")
        assert said == f"There is no placement '{mistyped}'. Did you mean 'product-page'?"
    # Reports tell places apart by any name, of which the file need know nothing.
    assert server.get("/recommend", placement="newsletter", k=2)["items"]
    # Carousels with data-placement, data-item and data-view send both, and would go from the page at a refusal.
    assert server.get("/recommend", placement="newsletter", item_id="t0", k=2)["items"]
    assert server.get("/recommend", placement="product-page", item_id="t0", k=2)["kind"] == "similar"
    assert server.get("/recommend", kind="similar", item_id="t0", k=2)["items"]
    assert "names neither. Add kind=similar or placement=NAME" in error("/recommend", item_id="t0")
    assert error("/recommend", usr="x") == "/recommend has no parameter 'usr'. Did you mean 'user_id'?"
    said = error("/recommend", user="DE")
    assert said == "'user' alone is not a parameter. Write user.country=DE. Or did you mean 'user_id'?"
    for path, body in (("/events", "[]"), ("/events", '[{"item_id": "t0"}]')):
        told = server.http.post(path, content=body, headers={"content-type": "application/json"}).json()["error"]
        assert told["message"] == "The body must be a JSON object, got a list."
        assert told["hint"] == 'Send {"events": [...]}.'
    many = {"events": [{"user_id": "t4", "item_id": "t0"}] * 1001}
    told = server.http.post("/events", json=many).json()["error"]
    assert told["message"].endswith("must be a list of 1 to 1,000 entries, got 1,001."), told
    assert told["hint"] == "Send fewer at a time."
    told = server.http.patch("/items/t0", json={"url": "java\nscript:alert(1)"}).json()["error"]["message"]
    assert told == "The body: url must be a web address, not a script or data."
    file = server.log.parent / "recsys.toml"
    told = server.http.patch("/rules", json={"diversity": 7}).json()["error"]["message"]
    assert told.startswith("rules.diversity"), "a line that nobody wrote is not quoted"
    told = server.http.put("/placements/home", json={"filter": "moon = 1"}).json()["error"]["message"]
    assert told.startswith("Placement 'home'"), told
    assert file.read_text() == CONFIG
