"""A running server takes up rules and placements as recsys.toml changes, and refuses what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
