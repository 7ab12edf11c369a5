"""Requests about people from the shop's platform: noted on disk for the worker, and in force here at once.

Shopify demands three webhooks of every app; WordPress asks plugins to export and erase by e-mail address. Each call is
signed with the shared secret over its exact bytes, so the plugins stay thin and nobody else can have a person erased.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from ..artifacts.choices import RESTRICTED, Choice, change, hash_of
from ..artifacts.orders import ERASE, ERASE_SHOP, EXPORT, put
from ..errors import InputError, Refused
from ..identity import pseudonym
from ..serving.live_events import customer_key
from .call import Call, Reply
from .service import Service

SHOPIFY, OURS = b"x-shopify-hmac-sha256", b"x-recsys-hmac-sha256"
_SHOWN = 500  # events in an answer; the worker's export has all


class BadSignature(Refused):
    """A webhook that the platform has not signed."""

    code, http_status = "bad_signature", 401


async def customers_data_request(service: Service, call: Call) -> Reply:
    """Shopify: a customer asks for their data. The worker writes the export; the shop finds it by the request's id."""
    return await _note(service, call, SHOPIFY, EXPORT, _shopify_customer(call.body))


async def customers_redact(service: Service, call: Call) -> Reply:
    """Shopify: erase a customer. No longer used from now on, and erased by the worker's next pass."""
    return await _note(service, call, SHOPIFY, ERASE, _shopify_customer(call.body))


async def shop_redact(service: Service, call: Call) -> Reply:
    """Shopify: the shop has left. Noted in the log of requests, for a human to carry out."""
    return await _note(service, call, SHOPIFY, ERASE_SHOP, [])


async def personal_data_export(service: Service, call: Call) -> Reply:
    """WordPress: what is known of a person, in the shape its exporters answer; the worker writes the full export."""
    people = _wordpress_person(call.body)
    await _note(service, call, OURS, EXPORT, people)
    engine = service.live.ready()
    secret = service.live.secret
    ids = dict.fromkeys(form for one in people for form in (one, pseudonym(secret, one)))
    rows = [row for one in ids for row in engine.history(one, _SHOWN)]
    data = [
        {
            "group_id": "recsys",
            "group_label": "Recommendations",
            "item_id": f"recsys-{n}",
            "data": [{"name": name, "value": value} for name, value in row.items() if value not in (None, "")],
        }
        for n, row in enumerate(rows, 1)
    ]
    return Reply.of({"data": data, "done": True})


async def personal_data_erase(service: Service, call: Call) -> Reply:
    """WordPress: erase a person, in the shape its erasers answer."""
    await _note(service, call, OURS, ERASE, _wordpress_person(call.body))
    message = "Recommendations no longer use this person's data, and erase it within minutes."
    return Reply.of({"items_removed": True, "items_retained": False, "messages": [message], "done": True})


async def _note(service: Service, call: Call, header: bytes, kind: str, people: Sequence[str]) -> Reply:
    _check_signature(service.settings.webhook_secret, call, header)
    if kind != ERASE_SHOP and not people:
        raise InputError("The request names nobody.", "Send the customer's id or e-mail address.")
    source = "shopify" if header == SHOPIFY else "wordpress"
    asked = await asyncio.to_thread(_keep, service, kind, people, source)
    return Reply.of({"status": "noted", "request": asked})


def _keep(service: Service, kind: str, people: Sequence[str], source: str) -> str:
    artifacts, secret = service.live.artifacts, service.live.secret
    if kind == ERASE:
        keys = {customer_key(secret, form) for one in people for form in (one, pseudonym(secret, one))}
        with artifacts.exclusive():
            change(artifacts.root, {hash_of(secret, key): Choice(RESTRICTED) for key in keys})
    return put(artifacts.root, kind, people, source).id


def _check_signature(secret: str, call: Call, header: bytes) -> None:
    if not secret:
        raise Refused("No secret for webhooks is set.", "Set serve.webhook_secret to the one the platform signs with.")
    digest = hmac.new(secret.encode(), call.raw, hashlib.sha256).digest()
    if not hmac.compare_digest(base64.b64encode(digest), call.headers.get(header, b"").strip()):
        raise BadSignature("The signature does not fit the body.", "Sign the exact bytes with serve.webhook_secret.")


def _shopify_customer(body: Any) -> list[str]:
    customer = body.get("customer") if isinstance(body, dict) else None
    if not isinstance(customer, dict):
        return []
    return [str(customer[name]) for name in ("id", "email") if isinstance(customer.get(name), str | int)]


def _wordpress_person(body: Any) -> list[str]:
    if not isinstance(body, dict):
        return []
    return [str(body[name]) for name in ("user_id", "email") if isinstance(body.get(name), str | int)]
