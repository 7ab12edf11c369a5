"""Running servers follow erasures and choices, take the platforms' webhooks, and write no identifier anywhere."""

from __future__ import annotations

import pytest

from recsys_cli.artifacts import orders
from recsys_cli.gdpr import erase
from recsys_cli.gdpr.records import request_log as requests
from recsys_cli.gdpr.rights.consent import decide
from recsys_cli.identity import state_dir
from recsys_cli.store.reading import watermark

from .conftest import LONG, NUMBER, UUID, Shop, places
from .serving import Server, serving


@pytest.fixture
def server(shop: Shop):  # type: ignore[no-untyped-def]
    with serving(shop) as running:
        yield running


def passed(shop: Shop) -> dict[str, int]:
    from recsys_cli.gdpr import carry_out as passes

    with shop.store.reading() as con:
        mark = watermark(con)
    return passes.run(shop.store, shop.artifacts, shop.settings, mark).counts


def test_erasure_choices_and_webhooks_on_a_running_server(shop: Shop, server: Server) -> None:
    assert server.known(LONG)
    assert server.known(NUMBER)
    # An objection counts as soon as the server has looked, and events are refused.
    decide(shop.store, shop.artifacts, shop.settings, [NUMBER], "objected")
    server.seconds_until_unknown(NUMBER)
    event = {"item_id": "p1", "event_type": "view"}
    assert server.post("/events", event | {"user_id": NUMBER})[1]["refused"] == 1
    assert server.post("/events", event | {"user_id": LONG})[1]["accepted"] == 1
    # An erasure: not personalised any more, and what is still under way is refused.
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    server.seconds_until_unknown(LONG)
    assert server.post("/events", event | {"user_id": LONG})[1]["refused"] == 1
    assert not server.known(LONG)
    assert places(shop, LONG) == []
    # Shopify: only with the right signature.
    ask = {"shop_domain": "x.example", "customer": {"id": UUID, "email": "anna@example.org"}}
    path = "/webhooks/shopify/customers/redact"
    assert server.post(path, ask)[0] == 401
    assert server.post(path, ask, "X-Shopify-Hmac-Sha256", "wrong")[0] == 401
    assert server.known(UUID)
    assert server.post(path, ask, "X-Shopify-Hmac-Sha256")[0] == 200
    server.seconds_until_unknown(UUID)
    ask = {"customer": {"id": "c20050"}}
    status, answer = server.post("/webhooks/shopify/customers/data_request", ask, "X-Shopify-Hmac-Sha256")
    assert (status, answer["status"]) == (200, "noted")
    assert server.post("/webhooks/shopify/shop/redact", {"shop_domain": "x.example"}, "X-Shopify-Hmac-Sha256")[0] == 200
    # WordPress: the shapes its exporters and erasers answer.
    status, page = server.post("/webhooks/wordpress/export", {"user_id": "c20051"}, "X-Recsys-Hmac-Sha256")
    assert page["done"] is True
    assert page["data"][0]["group_id"] == "recsys"
    status, page = server.post("/webhooks/wordpress/erase", {"user_id": "c20052"}, "X-Recsys-Hmac-Sha256")
    assert page["items_removed"] is True
    # The worker's pass carries them out.
    assert passed(shop)["requests"] == 4
    assert places(shop, UUID) == []
    assert shop.count("events", "user_id = 'c20052'") == 0
    exports = list((state_dir(shop.settings.db) / "exports").iterdir())
    assert {(e / "data.json").exists() for e in exports} == {True}
    assert len(exports) == 2
    (waiting,) = orders.waiting(shop.artifacts.root)
    assert waiting.kind == orders.ERASE_SHOP
    assert [r.kind for r in requests.requests(shop.settings.db) if not r.closed_at] == ["erase the shop"]
    # Nothing that servers write names anybody.
    for one in (LONG, NUMBER, UUID, "anna@example.org", "c20052"):
        assert one not in server.said()
        assert one not in str(server.get("/ready"))


def test_a_webhook_by_address_erases_the_customer_whom_the_shop_counts_by_number(shop: Shop, server: Server) -> None:
    """As WordPress asks: it knows the address alone, and the profile says whose it is."""
    with shop.store.writing() as con:
        con.execute("""UPDATE users SET attributes = '{"email": "Anna@Example.org"}' WHERE user_id = ?""", [LONG])
        friend = '{"referred_by": "anna@example.org"}'
        con.execute("INSERT INTO users (user_id, attributes) VALUES ('c20060', ?)", [friend])
    others = shop.count("events", f"user_id <> '{LONG}'")
    assert server.known(LONG)
    status, answer = server.post("/webhooks/wordpress/erase", {"email": "anna@example.org"}, "X-Recsys-Hmac-Sha256")
    assert (status, answer["items_removed"]) == (200, True)
    (order,) = orders.waiting(shop.artifacts.root)
    assert order.id in answer["messages"][0]
    assert passed(shop)["requests"] == 1
    server.seconds_until_unknown(LONG)
    assert places(shop, LONG) == []
    assert places(shop, "Anna@Example.org") == []
    assert shop.count("events", f"user_id <> '{LONG}'") == others
    assert shop.count("users", "user_id = 'c20060'") == 1
    (request,) = requests.requests(shop.settings.db)
    assert (request.id, request.kind, request.outcome) == (order.id, "erasure", "done")
