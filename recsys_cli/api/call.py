"""One request as handlers see it, its answer, and the declaration of a route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from ..errors import RecsysError
from .access import NOBODY, Caller, TooMany
from .answers import ListAnswer
from .decoding import Query
from .payloads import Nothing

if TYPE_CHECKING:
    from .service import Service

JSON = b"application/json"
PRIVATE = b"no-store"
_OF_PAGES = ("page", "serve", "ingest")


@dataclass(slots=True)
class Call:
    """One request, checked as its route says.

    Parameters
    ----------
    query
        Every parameter of the route, with its default where it was not given.
    path
        Parts of the path that vary, by name.
    body
        What the route's `body` says; None without one.
    request_id
        Told in the answer, and used by clicks and impressions later.
    caller
        Who asks, and so whose customers' ids count.
    raw, headers
        The body's bytes and the headers as they came, for signatures.
    """

    query: dict[str, Any]
    path: Mapping[str, str]
    body: Any
    request_id: str
    caller: Caller = NOBODY
    if_none_match: bytes = b""
    query_string: bytes = b""
    raw: bytes = b""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Reply:
    """One answer, ready to be sent: an ASGI application, as Starlette's responses are, that writes nothing twice."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    cache: bytes = PRIVATE
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    source: str = ""
    fallback: bool = False
    version: str = ""

    @staticmethod
    def of(value: Any, status: int = 200) -> Reply:
        """An answer from anything that can be JSON."""
        return Reply(orjson.dumps(value), status)

    @staticmethod
    def error(error: RecsysError) -> Reply:
        """The one shape of errors."""
        reply = Reply(orjson.dumps(error.body()), error.http_status)
        if isinstance(error, TooMany):
            reply.headers.append((b"retry-after", str(error.retry_after).encode()))
        return reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write it."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", self.cache),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


Handler = Callable[["Service", Call], Reply] | Callable[["Service", Call], Awaitable[Reply]]


@dataclass(frozen=True)
class Route:
    """One route: how it is asked, what it answers, and who may.

    Parameters
    ----------
    path
        With names in braces for the parts that vary.
    scope
        What a key must be allowed; empty for everybody.
    query, body, answer
        Types from `payloads`; a body that is one of two is a pair of an object and a list of such.
    shows
        Whether the answer shows a person, so that who asked is noted in the audit log; whatever changes something that
        is not news of a page or till is noted anyway.
    tries
        Whether it only tries something out, which is not noted.
    errors
        Statuses besides 200 (or `status`) and those every route can have.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: Any
    scope: str = "page"
    query: type[Struct] = Nothing
    body: Any = None
    status: int = 200
    errors: tuple[int, ...] = ()
    content_type: str = "application/json"
    shows: bool = False
    tries: bool = False
    reader: Query = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", Query(self.query, self.path))

    @property
    def lists(self) -> bool:
        """Whether it answers with items that have details."""
        return isinstance(self.answer, type) and issubclass(self.answer, ListAnswer)

    @property
    def audited(self) -> bool:
        """Whether every call stands in the audit log."""
        changes = self.method != "GET" and not self.tries
        return self.shows or (changes and self.scope not in _OF_PAGES)
