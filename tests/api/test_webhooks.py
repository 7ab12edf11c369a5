"""Webhooks of platforms: a signature is good for one route, once, and ours for a few minutes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from recsys_cli.artifacts import orders

Start = Callable[..., Any]
SECRET = "shared with the platform"
CONFIG = f'[serve]\nwebhook_secret = "{SECRET}"'


def signature(signed: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


def shopify(server: Any, topic: str, body: Any, secret: str = SECRET) -> Any:
    data = json.dumps(body).encode()
    headers = {"content-type": "application/json", "x-shopify-hmac-sha256": signature(data, secret)}
    return server.http.post(f"/webhooks/shopify/{topic}", content=data, headers=headers)


def wordpress(server: Any, topic: str, body: Any, signed_for: str = "", late: int = 0) -> Any:
    data, stamp = json.dumps(body).encode(), str(int(time.time()) - late)
    signed = f"{stamp}\n/webhooks/wordpress/{signed_for or topic}\n".encode() + data
    headers = {"x-recsys-hmac-sha256": signature(signed), "x-recsys-timestamp": stamp}
    headers |= {"content-type": "application/json"}
    return lambda: server.http.post(f"/webhooks/wordpress/{topic}", content=data, headers=headers)


def test_shopify(start: Start) -> None:
    server = start(config=CONFIG)
    redact = {"shop_domain": "x.example", "customer": {"id": "t4"}, "orders_to_redact": []}
    assert shopify(server, "customers/redact", redact, "wrong").status_code == 401
    first = shopify(server, "customers/redact", redact)
    assert (first.status_code, first.json()["status"]) == (200, "noted")
    again = shopify(server, "customers/redact", redact)
    assert again.json() == first.json(), "an answer was lost, and the platform asks again"
    assert shopify(server, "customers/data_request", redact).status_code == 401
    asks = {"customer": {"id": "t5"}, "orders_requested": [], "data_request": {"id": 1}}
    for topic in ("customers/redact", "shop/redact"):
        assert shopify(server, topic, asks).status_code == 401, "a request for data must erase nobody"
    bare = {"customer": {"id": "t6"}}  # of which nothing tells the topic
    assert shopify(server, "customers/data_request", bare).status_code == 200
    assert shopify(server, "customers/redact", bare).status_code == 401
    waiting = orders.waiting(server.shop.settings.artifacts)
    assert sorted(one.people for one in waiting) == [["t4"], ["t6"]]


@pytest.mark.parametrize("topic", ["export", "erase"])
def test_wordpress(start: Start, topic: str) -> None:
    server = start(config=CONFIG)
    other = {"export": "erase", "erase": "export"}[topic]
    for wrong in ({"signed_for": other}, {"late": 400}, {"late": -400}):
        assert wordpress(server, topic, {"user_id": "t4"}, **wrong)().status_code == 401, wrong
    assert orders.waiting(server.shop.settings.artifacts) == []
    send = wordpress(server, topic, {"user_id": "t4"})
    answer = send()
    assert (answer.status_code, answer.json()["done"]) == (200, True)
    again = send()
    assert again.status_code == 401
    assert "sent before" in again.json()["error"]["message"]
    assert len(orders.waiting(server.shop.settings.artifacts)) == 1
