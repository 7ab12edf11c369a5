"""Requests about people from the shop's platform: noted on disk for the worker, and in force here at once.

Shopify demands three webhooks of every app; WordPress asks plugins to export and erase by e-mail address. Each call is
signed with the shared secret, so the plugins stay thin and nobody else can have a person erased.

A signature is good for one route, once. Ours covers time, path and body, and is refused when it is old or comes again.
Shopify's covers the body alone: what it holds tells the topics apart, and one that comes again, as it does when an
answer was lost, is answered as before and changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...artifacts.choices import RESTRICTED, Choice, change, hash_of
from ...artifacts.orders import ERASE, ERASE_SHOP, EXPORT, put
from ...durable_files import private_dir, write_atomic
from ...errors import InputError, Refused
from ...identity import pseudonym
from ...serving.live_events import customer_key
from ..call import Call, Reply
from ..service import Service

SHOPIFY, OURS, STAMP = b"x-shopify-hmac-sha256", b"x-recsys-hmac-sha256", b"x-recsys-timestamp"
_OTHER_TOPIC = "The signed body is of another topic.", "Send each topic to the route of the same name."
_WINDOW = 300  # seconds by which clocks may differ and requests be late
_REMEMBERED = 400 * 86_400  # seconds that a used signature is remembered
_SHOWN = 500  # events in an answer; the worker's export has all


class BadSignature(Refused):
    """A webhook that the platform has not signed."""

    code, http_status = "bad_signature", 401


async def customers_data_request(service: Service, call: Call) -> Reply:
    """Shopify: a customer asks for their data. The worker writes the export; the shop finds it by the request's id."""
    return await _note_shopify(service, call, EXPORT, ("orders_to_redact",))


async def customers_redact(service: Service, call: Call) -> Reply:
    """Shopify: erase a customer. No longer used from now on, and erased by the worker's next pass."""
    return await _note_shopify(service, call, ERASE, ("data_request", "orders_requested"))


async def shop_redact(service: Service, call: Call) -> Reply:
    """Shopify: the shop has left. Noted in the log of requests, for a human to carry out."""
    return await _note_shopify(service, call, ERASE_SHOP, ("customer",))


async def personal_data_export(service: Service, call: Call) -> Reply:
    """WordPress: what is known of a person, in the shape its exporters answer; the worker writes the full export."""
    people = _wordpress_person(call.body)
    await _note_ours(service, call, EXPORT, "export", people)
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
    request = await _note_ours(service, call, ERASE, "erase", _wordpress_person(call.body))
    # The server knows no profiles: which customer has the address, the worker finds out.
    message = (
        f"Recorded as request {request}. The update worker erases this person's recommendation data within minutes."
    )
    return Reply.of({"items_removed": True, "items_retained": False, "messages": [message], "done": True})


async def _note_shopify(service: Service, call: Call, kind: str, of_others: Sequence[str]) -> Reply:
    given = call.headers.get(SHOPIFY, b"").strip()
    _check_signature(service.settings.webhook_secret, call.raw, given)
    body = call.body if isinstance(call.body, dict) else {}
    if any(name in body for name in of_others):
        raise BadSignature(*_OTHER_TOPIC)
    people = _shopify_customer(body)
    if kind != ERASE_SHOP and not people:
        raise InputError("The request names no person.", "Send the customer's id or e-mail address.")
    asked = await asyncio.to_thread(_keep, service, kind, people, "shopify", given)
    return Reply.of({"status": "noted", "request": asked})


async def _note_ours(service: Service, call: Call, kind: str, topic: str, people: Sequence[str]) -> str:
    given, stamp = call.headers.get(OURS, b"").strip(), call.headers.get(STAMP, b"").strip()
    signed = b"%b\n/webhooks/wordpress/%b\n%b" % (stamp, topic.encode(), call.raw)
    _check_signature(service.settings.webhook_secret, signed, given)
    if not stamp.isdigit() or len(stamp) > 12 or abs(int(stamp) - time.time()) > _WINDOW:
        raise BadSignature("The signature is too old.", f"Sign within {_WINDOW} s, with epoch seconds.")
    if not people:
        raise InputError("The request names no person.", "Send the customer's id or e-mail address.")
    if _seen(service, given).exists():
        raise BadSignature("This request was sent before.", "Sign each request separately, with the current time.")
    return await asyncio.to_thread(_keep, service, kind, people, "wordpress", given)


def _keep(service: Service, kind: str, people: Sequence[str], source: str, signature: bytes) -> str:
    artifacts, secret = service.live.artifacts, service.live.secret
    seen = _seen(service, signature)
    if seen.exists():
        before, _, asked = seen.read_text(encoding="ascii").partition(" ")
        if before != kind:
            raise BadSignature(*_OTHER_TOPIC)
        return asked
    if kind == ERASE:
        keys = {customer_key(secret, form) for one in people for form in (one, pseudonym(secret, one))}
        with artifacts.exclusive():
            change(artifacts.root, {hash_of(secret, key): Choice(RESTRICTED) for key in keys})
    asked = put(artifacts.root, kind, people, source).id
    # Marked only now: killed before, the platform sends it again, and a second order of the same changes nothing.
    private_dir(seen.parent)
    write_atomic(seen, f"{kind} {asked}".encode())
    for old in seen.parent.iterdir():
        if old.stat().st_mtime < time.time() - _REMEMBERED:
            old.unlink(missing_ok=True)
    return asked


def _seen(service: Service, signature: bytes) -> Path:
    """Where it is noted that a signature was used; tells nothing of whom it was about."""
    return service.live.artifacts.root / "webhooks" / hashlib.sha256(signature).hexdigest()


def _check_signature(secret: str, signed: bytes, given: bytes) -> None:
    if not secret:
        raise Refused(
            "No secret for webhooks is set.", "Set serve.webhook_secret to the secret that the platform signs with."
        )
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    if not hmac.compare_digest(base64.b64encode(digest), given):
        raise BadSignature(
            "The signature does not match the request.", "Sign as the README says, with the same secret."
        )


def _shopify_customer(body: Any) -> list[str]:
    customer = body.get("customer") if isinstance(body, dict) else None
    if not isinstance(customer, dict):
        return []
    return [str(customer[name]) for name in ("id", "email") if isinstance(customer.get(name), str | int)]


def _wordpress_person(body: Any) -> list[str]:
    if not isinstance(body, dict):
        return []
    return [str(body[name]) for name in ("user_id", "email") if isinstance(body.get(name), str | int)]
