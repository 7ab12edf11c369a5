"""Who may ask, how often, and from which pages."""

from __future__ import annotations

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from ..artifacts.keys import SCOPES, KeyRing
from ..errors import Refused, UsageError

_BUCKETS = 10_000  # callers whose rate is remembered
_STRANGERS = 0.1  # their share of a key's rate
_BURST = 2.0  # seconds' worth of requests that may come at once
ALL = frozenset(SCOPES)
NOBODY: frozenset[str] = frozenset()
_LOCAL_NAMES = frozenset((b"localhost", b"127.0.0.1", b"[::1]", b""))
_DEFAULT_PORTS = {"http": 80, "https": 443}


def read_origins(texts: Iterable[str]) -> tuple[str, ...]:
    """Web origins as browsers write them: scheme, host and an unusual port, in lower case.

    Raises
    ------
    UsageError
        One is none: compared with what a browser sends, it would refuse every page without a word.
    """
    return tuple(_origin(text) for text in texts)


def _origin(text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:  # a port that is no number, brackets that do not close; UnicodeError is one, too
        parts, host, port = urlsplit(""), "", None
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if not host or "*" in host or parts.scheme not in _DEFAULT_PORTS or more:
        near = _near(text)
        why = f"write it like {near}" if near else "name each page's own, like https://www.shop.example"
        raise UsageError(f"serve.cors_origins has '{text}', which is no web origin: {why}.")
    bare = f"[{host}]" if ":" in host else host
    usual = port in (None, _DEFAULT_PORTS[parts.scheme])  # browsers leave it out
    return f"{parts.scheme}://{bare}" if usual else f"{parts.scheme}://{bare}:{port}"


def _near(text: str) -> str:
    """The origin that was meant, probably."""
    scheme, there, rest = text.strip().rpartition("://")
    host = re.split("[/?#]", rest if there else text.strip())[0].rpartition("@")[2].lower()
    host = host if host.startswith("[") else re.sub(r":(?!\d+$).*", "", host)
    if not host or "*" in host or host == "null" or " " in host:
        return ""
    return f"{scheme.lower() if scheme.lower() in _DEFAULT_PORTS else 'https'}://{host}"


class NoKey(Refused):
    """A key is needed, or this is none."""

    code, http_status = "no_key", 401


class TooMany(Refused):
    """More requests than are taken from one caller."""

    code, http_status = "too_many", 429

    def __init__(self, seconds: float) -> None:
        self.retry_after = max(1, round(seconds))
        super().__init__("Too many requests from you.", f"Wait {self.retry_after} s, or raise serve.rate_limit.")


class Guard:
    """Checks what comes before any route.

    Parameters
    ----------
    keys
        The keys there are. Without any, only this machine may ask, and it may everything.
    rate
        Requests a second from one key; 0 for no limit. An address without a key gets a tenth: all it may ask is how
        the server is. This machine is not limited as long as there are no keys.
    origins
        Web origins whose pages may ask.
    """

    def __init__(self, keys: KeyRing, rate: float, origins: tuple[str, ...]) -> None:
        self.keys = keys
        self.origins = frozenset(origin.rstrip("/").encode() for origin in origins)
        self._rate = rate
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def scopes(self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes]) -> frozenset[str]:
        """What the caller may do.

        Raises
        ------
        NoKey, TooMany
        """
        client = scope.get("client")
        address = client[0] if client else ""
        presented = headers.get(b"x-api-key") or _bearer(headers.get(b"authorization", b""))
        if presented:
            key = self.keys.find(presented.decode("latin-1"))
            if key is None:
                self._spend(address, self._rate * _STRANGERS)  # guessing is limited, too
                raise NoKey("This is no valid key.", "Make one with recsys keys add.")
            self._spend(f"key {key.name}", self._rate)
            return frozenset(key.scopes)
        if not self.keys.exists and _is_here(address, headers):
            return ALL
        self._spend(address, self._rate * _STRANGERS)
        return NOBODY

    def _spend(self, caller: str, rate: float) -> None:
        if not rate:
            return
        now = time.monotonic()
        most = max(rate * _BURST, 1.0)
        left, then = self._tokens.pop(caller, (most, now))
        left = min(most, left + (now - then) * rate)
        if left < 1:
            self._tokens[caller] = (left, now)
            raise TooMany((1 - left) / rate)
        self._tokens[caller] = (left - 1, now)
        if len(self._tokens) > _BUCKETS:
            self._tokens.popitem(last=False)

    def cors(self, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """Headers that let a page of a configured origin read the answer."""
        origin = headers.get(b"origin")
        if origin is None or origin not in self.origins:
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"x-request-id, retry-after, etag"),
            (b"vary", b"origin"),
        ]


def refuse_without(needed: str, scopes: frozenset[str]) -> None:
    """Stop a caller who may not do this.

    Raises
    ------
    NoKey
        Without any key.
    Refused
        With one for other things.
    """
    if not needed or needed in scopes:
        return
    if not scopes:
        raise NoKey("A key is needed.", "Send X-API-Key; make one with recsys keys add NAME --scope " + needed + ".")
    raise Refused(f"This key may not do that: it lacks the scope '{needed}'.", "Make one that may: recsys keys add.")


def _bearer(header: bytes) -> bytes:
    kind, _, text = header.partition(b" ")
    return text.strip() if kind.lower() == b"bearer" else b""


def _is_here(address: str, headers: dict[bytes, bytes]) -> bool:
    """The request was made on this machine: not passed on by a proxy, and not by a page that renamed itself here."""
    if b"x-forwarded-for" in headers or b"forwarded" in headers:
        return False
    host = headers.get(b"host", b"")
    name = host.rpartition(b":")[0] if host.rpartition(b":")[2].isdigit() else host
    if name.lower() not in _LOCAL_NAMES:
        return False
    try:
        return not address or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
