"""Lists over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from recsys_cli.serving.stopwatch import STEPS


def ids(body: Any) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def test_a_known_customer(server: Any) -> None:
    body = server.get("/recommend", user_id="t4", k=2)
    assert {i[0] for i in ids(body)} == {"t"}
    assert body["known"]
    assert not body["fallback"]
    item = body["items"][0]
    assert list(item) == [
        "item_id", "title", "category", "brand", "price", "img_url", "url", "score", "source", "fallback",
    ]  # fmt: skip
    assert item["title"].startswith('Tea "')
    assert item["source"] == "als"
    assert body["version"] == "v000001"


def test_a_stranger_gets_popular_items_and_200(server: Any) -> None:
    body = server.get("/recommend", user_id="nobody", k=3)
    assert body["fallback"]
    assert all(item["fallback"] and item["source"] == "popular" for item in body["items"])
    assert ids(body) == ids(server.get("/recommend", user_id="", k=3)) == ids(server.get("/recommend", k=3))


def test_filters_and_pages(server: Any) -> None:
    whole = server.get("/recommend", user_id="c7", k=20, category=["coffee", "dogs"], max_price=8)
    assert {item["category"] for item in whole["items"]} == {"coffee", "dogs"}
    assert max(item["price"] for item in whole["items"]) <= 8
    second = server.get("/recommend", user_id="c7", k=5, offset=5, category=["coffee", "dogs"], max_price=8)
    assert ids(second) == ids(whole)[5:10]
    some = server.get("/recommend", k=5, include="d1,d2,c1", exclude="d2")
    assert set(ids(some)) == {"d1", "c1"}


def test_reasons_and_stages(server: Any) -> None:
    body = server.get("/recommend", items="t0", k=2, explain="true")
    assert ids(body)[0] == "t1"
    assert "orders" in body["items"][0]["reason"] or "basket" in body["items"][0]["reason"]
    assert body["stages"][0]["stage"] == "filters"


def test_the_time_of_the_steps(server: Any) -> None:
    """In the reasons of one list, and as histograms of all."""
    body = server.get("/recommend", user_id="c7", k=5, explain="true", exclude="d2")
    told = next(stage["ms"] for stage in body["stages"] if stage["stage"] == "time")
    assert list(told) == list(STEPS)
    assert told["candidates"] > 0
    assert told["rules"] > 0
    assert all(0 <= ms < 10_000 for ms in told.values())
    text = server.http.get("/metrics").text
    for step in ("visitor", "filters", "candidates", "rules"):
        assert f'recsys_step_seconds_count{{step="{step}"}}' in text


def test_rules_of_a_request(server: Any) -> None:
    body = server.get("/recommend", user_id="t4", k=8, max_per_category=2)
    assert sorted(item["category"] for item in body["items"]) == sorted(["tea", "coffee", "garden", "dogs"] * 2)


def test_the_other_lists(server: Any) -> None:
    assert {i[0] for i in ids(server.get("/similar-items", item_id="d1", k=3))} == {"d"}
    assert ids(server.get("/bought-together", item_id="t0", k=1)) == ["t1"]
    assert ids(server.get("/trending", k=1)) == ["c9"]
    assert ids(server.get("/new", k=1)) == ["new0"]
    assert not server.get("/popular", k=1)["fallback"]
    ranked = server.post("/rank", {"items": ["g1", "t5", "zzz"], "user_id": "t4"}, 200)
    assert ids(ranked) == ["t5", "g1"]
    assert ranked["unknown"] == ["zzz"]


@pytest.mark.parametrize("path", ["/similar-items", "/bought-together", "/items/nope"])
def test_unknown_items_are_404(server: Any, path: str) -> None:
    reply = server.http.get(path, params={} if path.startswith("/items") else {"item_id": "nope"})
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "not_found"


def test_public_lists_have_a_tag(server: Any) -> None:
    first = server.http.get("/popular?k=3")
    assert first.headers["cache-control"] == "public, max-age=30"
    again = server.http.get("/popular?k=3", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    other = server.http.get("/popular?k=4", headers={"if-none-match": first.headers["etag"]})
    assert other.status_code == 200


def test_personal_lists_are_not_kept(server: Any) -> None:
    reply = server.http.get("/recommend?user_id=t4")
    assert reply.headers["cache-control"] == "no-store"
    assert "etag" not in reply.headers


def test_every_answer_has_an_id_of_its_own(server: Any) -> None:
    replies = [server.http.get(p) for p in ("/recommend", "/recommend", "/nothing", "/items/t0", "/health", "/docs")]
    names = [r.headers["x-request-id"] for r in replies]
    assert len(set(names)) == len(names)
    assert replies[0].json()["request_id"] == names[0]


def test_the_documentation_fetches_nothing_from_elsewhere(server: Any) -> None:
    page = server.http.get("/docs").text
    assert "<main" in page
    assert "//" not in page.replace("<!doctype", "")
    assert "/recommend" in server.get("/openapi.json")["paths"]


def test_features_of_an_item_and_a_customer(server: Any) -> None:
    item = server.get("/features", item_id="t0")
    assert set(item) == {"item_id", "version", "item"}
    both = server.get("/features", item_id="t0", user_id="t4")
    assert both["item"] == item["item"]
    assert both["customer"]["orders"] > 0
    assert both["pair"]["own_days"] > 0
    assert both["pair"]["own_interval"] is None


def test_profiles(server: Any) -> None:
    body = server.get("/users/t4", n=2)
    assert len(body["history"]) == 2
    assert server.http.get("/users/nobody").status_code == 404


def test_written_filters_over_http(server: Any) -> None:
    red = server.get("/popular", k=60, filter='colour = user.colour and category = "tea"', **{"user.colour": "red"})
    assert {item["item_id"] for item in red["items"]} == {"t1", "t5", "t7", "t9"}
    found = server.post("/rank", {"items": ["t1", "t4", "zz", "c3"], "filter": 'colour = "red"'}, 200)
    assert [sorted(i["item_id"] for i in found["items"]), found["unknown"], found["left_out"]] == [
        ["c3", "t1"],
        ["zz"],
        ["t4"],
    ]
    body = {"items": ["t1", "t4", "c3"], "filter": "colour = user.colour"}
    for query, more in (("?user.colour=red", {}), ("?user.colour=blue", {"user": {"colour": "red"}})):
        assert server.post(f"/rank{query}", {**body, **more}, 200)["left_out"] == ["t4"]
    for route, query in (("/recommend", {}), ("/similar-items", {"item_id": "t1"}), ("/new", {}), ("/session/s", {})):
        reply = server.http.get(route, params={**query, "filter": "price < 5 and colur = 1"})
        assert reply.status_code == 400
        assert reply.json()["error"] == {
            "code": "filter",
            "message": "filter, column 15: no item has an attribute 'colur'.",
            "hint": "Did you mean colour?",
        }
    assert server.http.get("/popular", params={"filter": "user.country = 1"}).status_code == 400
    assert (
        server.http.get("/popular", params={"colour.x": "1"}).json()["error"]["message"].startswith("/popular has no")
    )


def test_a_kind_of_list_without_a_placement(server: Any) -> None:
    body = server.get("/recommend", kind="because", user_id="t4", k=2)
    assert [body["kind"], len(body["items"])] == ["because", 2]
    assert body["title"].startswith('Because you bought Tea "')
    assert "placement" not in body
    assert set(ids(server.get("/recommend", kind="cheaper", item_id="c2", placement="product"))) == {"c0", "c1"}
    assert server.http.get("/recommend", params={"kind": "cheaper"}).status_code == 400
    refused = server.http.get("/recommend", params={"kind": "cheapest"})
    assert refused.status_code in (400, 422)
    assert "cheaper" in refused.text
