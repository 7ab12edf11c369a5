"""Who may ask what, how often, and from which pages: decided here, and by nothing but keys."""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..artifacts.keys import ADMIN, PAGE, KeyRing, granted, verify
from ..errors import Refused, UsageError

if TYPE_CHECKING:
    from .tokens import Signed

_BUCKETS = 10_000  # callers whose rate is remembered
_STRANGERS = 0.1  # their share of a key's rate
_BURST = 2.0  # seconds' worth of requests that may come at once
SERVE = "serve"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_DEFAULT_PORTS = {"http": 80, "https": 443}


def read_origins(texts: Iterable[str]) -> tuple[str, ...]:
    """Web origins as browsers write them: scheme, host and an unusual port, in lower case.

    Raises
    ------
    UsageError
        One is not an origin: compared with what a browser sends, it would refuse every page without a word.
    """
    return tuple(_origin(text) for text in texts)


def _origin(text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:  # a port that is not a number, brackets that do not close; UnicodeError is one, too
        parts, host, port = urlsplit(""), "", None
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if not host or "*" in host or parts.scheme not in _DEFAULT_PORTS or more:
        near = _near(text)
        why = f"write it like {near}" if near else "name each page's own, like https://www.shop.example"
        raise UsageError(f"serve.cors_origins has '{text}', which is not a web origin: {why}.")
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
    """A key is needed, or this one is not valid."""

    code, http_status = "no_key", 401


class TooMany(Refused):
    """More than is taken from one caller, of one person, or in all."""

    code, http_status = "too_many", 429

    def __init__(self, seconds: float, what: str = "Too many requests.", setting: str = "serve.rate_limit") -> None:
        self.retry_after = max(1, math.ceil(seconds))
        super().__init__(what, f"Wait {self.retry_after} s, or raise {setting}.")


class Buckets:
    """Token buckets by name; the names used longest ago are forgotten, which only ever gives somebody more."""

    def __init__(self, names: int) -> None:
        self._names = names
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()

    def take(self, name: object, rate: float, most: float, count: float = 1.0) -> float:
        """Take `count` of what refills at `rate` a second up to `most`; the seconds to wait when there are too few."""
        now = time.monotonic()
        left, then = self._left.pop(name, (most, now))
        left = min(most, left + (now - then) * rate)
        short = count - left
        self._left[name] = (left if short > 0 else left - count, now)
        if len(self._left) > self._names:
            self._left.popitem(last=False)
        return max(short, 0.0) / rate


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as it is known.

    Parameters
    ----------
    scopes
        What the caller may do; empty for strangers.
    signing
        Secret of a page's key, with which a customer's id must be signed.
    name
        Of the key; empty for the owner's and for none.
    address
        For counting.
    role
        Of the key; empty for one that was given scopes by themselves.
    """

    scopes: frozenset[str] = frozenset()
    signing: str = ""
    name: str = ""
    address: str = ""
    role: str = ""

    @property
    def described(self) -> dict[str, Any]:
        """For the audit log: the key's name and what it may do, never an address."""
        name = self.name or ("owner" if ADMIN in self.scopes else "none")
        return {"key": name, "role": self.role} if self.role else {"key": name, "scopes": sorted(self.scopes)}

    def check(self, needed: str) -> None:
        """Stop a caller who may not do this.

        Raises
        ------
        NoKey
            Without any key.
        Refused
            With one for other things.
        """
        if not needed or needed in self.scopes or (needed == PAGE and SERVE in self.scopes):
            return
        if not self.signing and self.scopes <= VISITOR.scopes:
            hint = f"Send X-API-Key; make a key with recsys keys add NAME --scope {needed}."
            raise NoKey("This needs a key.", hint)
        raise Refused(f"This key lacks the scope '{needed}'.", "Make one that has it with recsys keys add.")

    def names(self, user_id: str | None, token: str | None) -> bool:
        """Check that the caller may speak of this customer; whether it is a page that does.

        Raises
        ------
        NoKey
            Without any key.
        Refused
            A page without a token for this customer.
        """
        if PAGE not in self.scopes:
            return False
        if user_id is None:
            return False
        if not self.signing:
            raise NoKey("A list for a customer needs a key.", "Send X-API-Key; session_id and items need none.")
        if not token:
            raise Refused("A page needs a user_token for this user_id.", "Make one with recsys keys sign USER.")
        if not verify(self.signing, user_id, token, time.time()):
            raise Refused("This user_token is for another customer or key, or has expired.", "Sign the user_id again.")
        return True


NOBODY = Caller()
VISITOR = Caller(frozenset((PAGE,)))  # on this machine, in a shop without keys


class Access:
    """Decides who may ask what: by keys, never by where a request comes from.

    Parameters
    ----------
    keys
        The keys there are. Without any, connections from this machine may ask for lists without a person. That is no
        trust in an address: a proxy here makes the whole internet come from this machine, and it may see those lists.
    rate
        Requests a second from one key; 0: no limit. An address without a key gets a tenth. The owner's key has no
        limit, nor have visitors on this machine as long as there are no keys.
    origins
        Web origins whose pages may ask.
    rates
        Requests a second from each key of a role, where it is not `rate`.
    signed
        Checks tokens, see `tokens.Tokens`; None takes none.
    proxies
        Networks whose X-Forwarded-For is believed when requests are counted; it opens nothing.
    """

    def __init__(
        self,
        keys: KeyRing,
        rate: float,
        origins: tuple[str, ...],
        proxies: Iterable[Network] = (),
        rates: Mapping[str, float] | None = None,
        signed: Callable[[str], Signed] | None = None,
    ) -> None:
        self.keys = keys
        self.origins = frozenset(origin.rstrip("/").encode() for origin in origins)
        self._proxies = tuple(proxies)
        self._rate, self._rates = rate, dict(rates or {})
        self._signed = signed
        self._buckets = Buckets(_BUCKETS)

    def caller(self, peer: str, headers: Mapping[bytes, bytes]) -> Caller:
        """Who asks.

        Parameters
        ----------
        peer
            Address of the other end of the connection.

        Raises
        ------
        NoKey, TooMany
        """
        presented = headers.get(b"x-api-key") or _bearer(headers.get(b"authorization", b""))
        if self._signed is not None and presented.count(b".") == 2:  # as no key has
            return self._by_token(self._signed, presented.decode("latin-1"), self.address(peer, headers))
        if presented:
            key = self.keys.find(presented.decode("latin-1"))
            if key is None:
                self._spend(self.address(peer, headers), self._rate * _STRANGERS)  # guessing is limited, too
                raise NoKey("This is not a valid key.", "Make one with recsys keys add.")
            if key.created_at:
                self._spend(f"key {key.name}", self._rates.get(key.role, self._rate))
            name = key.name if key.created_at else ""
            return Caller(granted(key.scopes), key.signing, name, self.address(peer, headers), key.role)
        address = self.address(peer, headers)
        if not self.keys.exists and _is_loopback(peer):
            if address != peer:
                self._spend(address, self._rate * _STRANGERS)
            return VISITOR
        self._spend(address, self._rate * _STRANGERS)
        return NOBODY

    def _by_token(self, signed: Callable[[str], Signed], text: str, address: str) -> Caller:
        try:
            said = signed(text)
        except NoKey:
            self._spend(address, self._rate * _STRANGERS)
            raise
        self._spend(f"token {said.name}", self._rates.get(said.role, self._rate))
        return Caller(granted(said.scopes), "", f"jwt {said.name}", address, said.role)

    def address(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """For counting and for the log: the last address that is not a configured proxy's."""
        if not self._proxies or not self._trusted(peer):
            return peer
        for hop in reversed(headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")):
            address = _host_of(hop.strip())
            if not address:
                break  # not an address: the hops before it prove nothing
            peer = address
            if not self._trusted(address):
                break
        return peer

    def _trusted(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)

    def _spend(self, caller: str, rate: float) -> None:
        if not rate:
            return
        if seconds := self._buckets.take(caller, rate, max(rate * _BURST, 1.0)):
            raise TooMany(seconds)

    def cors(self, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """Headers that let a page of a configured origin read the answer, and no other page."""
        origin = headers.get(b"origin")
        if origin is None or origin not in self.origins:
            return [(b"cross-origin-resource-policy", b"same-origin"), (b"vary", b"origin")]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"x-request-id, retry-after, etag"),
            (b"vary", b"origin"),
        ]

    def refuse_foreign_pages(self, headers: Mapping[bytes, bytes]) -> None:
        """Stop what a page of another site has its visitor's browser ask, before anything is looked up.

        Such a page could not read the answer, but could time it. Pages of configured origins send their Origin; who
        follows a link comes as a document.

        Raises
        ------
        Refused
        """
        if headers.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin"):
            return
        if headers.get(b"origin") in self.origins or headers.get(b"sec-fetch-dest") == b"document":
            return
        raise Refused("Pages of this origin are not allowed.", "See the setting serve.cors_origins.")


def read_proxies(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks as `serve.trusted_proxies` names them.

    Raises
    ------
    UsageError
        One is not an address.
    """
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            raise UsageError(
                f"serve.trusted_proxies has '{text}', which is not an address or network.",
                "Write it like 127.0.0.1 or 10.0.0.0/8.",
            ) from None
    return tuple(found)


def _bearer(header: bytes) -> bytes:
    kind, _, text = header.partition(b" ")
    return text.strip() if kind.lower() == b"bearer" else b""


def _host_of(hop: str) -> str:
    """The address in an element of X-Forwarded-For, which may carry a port; empty if it names none."""
    for text in (hop, hop.rpartition(":")[0], hop.partition("]")[0]):
        try:
            return str(ipaddress.ip_address(text.strip("[]")))
        except ValueError:
            continue
    return ""


@lru_cache(1024)
def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
