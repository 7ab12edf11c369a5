"""Asking the shop's own product service for details of items; the one place of the server that asks anybody anything.

    GET {details.url}?id=TEA-001&id=KIT-002      If-None-Match: "7f3a"
    200 {"items": [{"item_id": "TEA-001", "price": 8.49, "delivery": "tomorrow"}]}      ETag: "7f3b"
    304

Only the ids of items are sent: nothing of who sees them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
import orjson
from msgspec import UNSET, Meta, UnsetType

from ..connections import DetailsSettings
from ..errors import MissingDependency, Unreachable
from .payloads import Price

MOST_IDS = 50  # of one request, so that its address stays short
_MOST_BYTES = 1_000_000  # of an answer
_MOST_OF_ITEM = 4096  # bytes of what an item has beside the known fields
_Short = Annotated[str, Meta(max_length=2000)]


class _Known(msgspec.Struct):
    """Fields that stand for those of the catalogue."""

    title: _Short | UnsetType | None = UNSET
    category: _Short | UnsetType | None = UNSET
    brand: _Short | UnsetType | None = UNSET
    price: Price | UnsetType | None = UNSET
    img_url: _Short | UnsetType | None = UNSET
    url: _Short | UnsetType | None = UNSET


_FIELDS = frozenset(_Known.__struct_fields__)


@dataclass(frozen=True)
class Details:
    """What the service says of one item.

    Parameters
    ----------
    known
        Fields that replace those of the catalogue.
    more
        The others, shown as `details`.
    """

    known: dict[str, Any]
    more: dict[str, Any]


NOTHING = Details({}, {})  # of items that the service does not know


@dataclass(frozen=True)
class Told:
    """One answer of the service.

    Parameters
    ----------
    items
        By id, of those that were asked for; None when nothing has changed since `etag` was given.
    left_out
        Items with values of the wrong type or size.
    """

    items: dict[str, Details] | None
    etag: str
    left_out: int = 0


def library() -> Any:
    """httpx.

    Raises
    ------
    MissingDependency
    """
    try:
        import httpx
    except ImportError:
        raise MissingDependency("httpx", "details", "details.url") from None
    return httpx


class ProductService:
    """The service at one address, the only one that is ever asked: redirects are not followed, proxies not used.

    Parameters
    ----------
    settings
        With an address.

    Raises
    ------
    UsageError, StoreError
        The settings cannot be used.
    MissingDependency
    """

    def __init__(self, settings: DetailsSettings) -> None:
        httpx = library()
        settings.place()
        self._settings, self._errors = settings, (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "recsys"}
        if token := settings.token():
            headers["authorization"] = f"Bearer {token}"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=settings.timeout,
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=8),
            follow_redirects=False,
            trust_env=False,  # no proxy, no netrc: what the environment names the shop did not name
            verify=settings.trust(),
        )

    async def ask(self, ids: Sequence[str], etag: str = "") -> Told:
        """Details of these items, `MOST_IDS` at most.

        Raises
        ------
        Unreachable
            No usable answer came in `details.timeout` seconds.
        """
        headers = {"if-none-match": etag} if etag else {}
        try:
            async with asyncio.timeout(self._settings.timeout):  # over all: a drip of bytes must not go on for ever
                async with self._client.stream("GET", self._address(ids), headers=headers) as reply:
                    status, given = reply.status_code, reply.headers
                    if status == 304 and etag:
                        return Told(None, etag)
                    if status != 200:
                        raise Unreachable(f"The product service answered {status}.")
                    if given.get("content-encoding", "identity") != "identity":
                        raise Unreachable("The product service answered packed, though that was not asked for.")
                    body = await _read(reply)
        except TimeoutError:
            raise Unreachable(f"The product service took over {self._settings.timeout:g} s.") from None
        except (*self._errors, OSError) as e:
            text = str(e) or type(e).__name__
            raise Unreachable(f"The product service does not answer: {text[:200].rstrip('.')}.") from None
        return _understood(body, set(ids), given.get("etag", "")[:200])

    def _address(self, ids: Sequence[str]) -> str:
        url = self._settings.url
        return f"{url}{'&' if '?' in url else '?'}{urlencode([('id', one) for one in ids])}"

    async def close(self) -> None:
        """Let go of its connections."""
        await self._client.aclose()


async def _read(reply: Any) -> bytes:
    body = bytearray()
    async for part in reply.aiter_raw():
        body += part
        if len(body) > _MOST_BYTES:
            raise Unreachable(f"The product service answered with more than {_MOST_BYTES:,} bytes.")
    return bytes(body)


def _understood(body: bytes, asked: set[str], etag: str) -> Told:
    try:
        listed = orjson.loads(body)["items"]
        if not isinstance(listed, list):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise Unreachable('The product service did not answer with JSON like {"items": [...]}.') from None
    items: dict[str, Details] = {}
    foreign = left_out = 0
    for one in listed:
        item_id = one.get("item_id") if isinstance(one, dict) else None
        if not isinstance(item_id, str) or item_id not in asked:
            foreign += 1
            continue
        try:
            items[item_id] = _details(one)
        except ValueError:
            left_out += 1
    if (foreign or left_out) and not items:
        why = "items that were not asked for" if foreign else "values of the wrong type or size"
        raise Unreachable(f"The product service answered with nothing but {why}.")
    return Told(items, etag, left_out)


def _details(one: dict[str, Any]) -> Details:
    """What is said of an item.

    Raises
    ------
    ValueError
        A field of the wrong type, or too much.
    """
    known = msgspec.convert({name: one[name] for name in _FIELDS & one.keys()}, _Known)
    more = {name: value for name, value in one.items() if name not in _FIELDS and name != "item_id"}
    try:
        size = len(orjson.dumps(more)) if more else 0
    except TypeError as e:  # nested deeper than it writes
        raise ValueError from e
    if size > _MOST_OF_ITEM:
        raise ValueError
    fields = {name: value for name in _FIELDS if (value := getattr(known, name)) is not UNSET and value is not None}
    return Details(fields, more)
