"""A running server takes up rules and placements as recsys.toml changes, and refuses what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from recsys_cli.artifacts.keys import add_key, sign
from recsys_cli.serving.list_kinds import KINDS

PLACEMENT = '[placements.product]\nkind = "together"\nfallback = ["popular"]\nk = 3\ntitle = "Goes with it"\n'


def test_placements_and_rules_change_while_the_server_runs(
    start: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    server = start(config=PLACEMENT)
    path = server.log.parent / "recsys.toml"

    def shown(**more: Any) -> Any:
        return server.get("/recommend", placement="product", item_id="t0", **more)

    first = shown()
    assert [first["placement"], first["title"], first["items"][0]["item_id"]] == ["product", "Goes with it", "t1"]
    assert len(first["items"]) == 3
    assert [item["fallback"] for item in first["items"]] == [False, True, True]
    assert len(shown(k=7)["items"]) == 7
    assert "placement" not in server.get("/recommend", placement="elsewhere")  # a label for reports, as before
    refused = server.http.get("/recommend", params={"placement": "product"})
    assert refused.status_code == 400
    assert "needs item_id or items" in refused.json()["error"]["message"]

    path.write_text(PLACEMENT.replace("k = 3", "k = 5"), encoding="utf-8")
    assert eventually(lambda: len(shown()["items"]) == 5)
    assert server.get("/status")["settings"] == "ok"

    path.write_text(PLACEMENT.replace("k = 3", "k = 6\ntitel = 1"), encoding="utf-8")
    error = eventually(lambda: (said := server.get("/status")["settings"]) != "ok" and said)
    assert error == ("recsys.toml, line 5: Placement 'product' has 'titel', which is not known. Did you mean 'title'?")
    assert len(shown()["items"]) == 5  # the last good one stays
    assert "settings_refused" in server.log.read_text()
    path.write_text(PLACEMENT + "[[[", encoding="utf-8")
    assert eventually(lambda: "line 6" in server.get("/status")["settings"])

    ban = PLACEMENT + '[[rules.campaigns]]\naction = "ban"\nfilter = "category = \\"tea\\""\n'
    path.write_text(ban, encoding="utf-8")
    assert eventually(lambda: not {"t0", "t1", "t4"} & {i["item_id"] for i in server.get("/popular", k=60)["items"]})
    assert server.get("/status")["settings"] == "ok"
    assert all(item["source"] == "popular" for item in shown()["items"])


def test_the_first_change_says_what_waits_for_a_restart(
    start: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    server = start(config=PLACEMENT)
    (server.log.parent / "recsys.toml").write_text(PLACEMENT + "[serve]\nrate_limit = 7\n", encoding="utf-8")
    assert eventually(lambda: "settings_wait_for_a_restart" in server.log.read_text())
    assert '"settings":["serve.rate_limit"]' in server.log.read_text()


def test_a_page_is_told_what_a_customer_did_only_where_the_shop_says_so(start: Callable[..., Any]) -> None:
    server = start(config='[placements.again]\nkind = "buy-again"\n')
    key, signing = add_key(server.shop.settings.artifacts, "page", ["page"])
    token = sign(signing, "u0", int(time.time()) + 600)
    told = [name for name, kind in KINDS.items() if kind.tells]
    assert told == ["buy-again", "viewed", "because"]
    with httpx.Client(base_url=server.url, headers={"x-api-key": key}, timeout=60) as page:
        of_u0 = {"user_id": "u0", "user_token": token}
        until = time.monotonic() + 30
        while page.get("/recommend", params=of_u0).status_code != 200:
            assert time.monotonic() < until
        for kind in told:
            refused = page.get("/recommend", params={"kind": kind, "placement": "elsewhere", **of_u0})
            assert refused.status_code == 403, kind
            assert "reveals what the customer did" in refused.json()["error"]["message"]
            assert server.http.get("/recommend", params={"kind": kind, "user_id": "u0"}).status_code == 200
        assert page.get("/recommend", params={"placement": "again", **of_u0}).status_code == 200
        assert page.get("/recommend", params={"kind": "new-for-you", **of_u0}).status_code == 200
