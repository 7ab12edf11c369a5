"""The way in and out of every request: its id, who asks, its limits, its route, its metrics, and one shape of errors.

Routes with a fixed path are answered here directly; FastAPI's own way to a handler takes as long as a whole answer.
All others (and the documentation) go through FastAPI, to the same handlers. It takes longer to load than a version, so
that is done when the server is ready.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote

import orjson

from ..errors import InputError, RecsysError, Refused, UsageError
from . import prometheus
from .access import Access, TooMany
from .call import Call, Reply, Route
from .service import Service

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_PART = 256  # characters of a part of the path
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"content-type, x-api-key, authorization"),
    (b"access-control-max-age", b"600"),
]


class TooLarge(Refused):
    """A body above the limit."""

    code, http_status = "too_large", 413


class TooSlow(Refused):
    """A body that did not arrive in time."""

    code, http_status = "too_slow", 408


class Busy(Refused):
    """More is arriving than the server holds."""

    code, http_status = "busy", 503


class NotJson(Refused):
    """A body of another kind."""

    code, http_status = "not_json", 415


class NoRoute(RecsysError):
    """No such path."""

    code, http_status = "no_route", 404


class NoMethod(RecsysError):
    """No such method on this path."""

    code, http_status = "no_method", 405


class Internal(RecsysError):
    """A fault of ours."""

    code, http_status = "internal", 500


async def answer(route: Route, service: Service, scope: Scope, receive: Receive, path: dict[str, str]) -> Reply:
    """Check the request as its route says, and let its handler answer; every known error becomes a reply."""
    try:
        caller, headers = scope["recsys.caller"], scope["recsys.headers"]
        if route.scope:
            service.access.refuse_foreign_pages(headers)
        caller.check(route.scope)
        for name, value in path.items():
            if len(value) > MAX_PART:
                raise UsageError(f"The {name} in the path is longer than {MAX_PART} characters.", "Shorten it.")
        raw = await _json_bytes(headers, receive, service) if route.body is not None else b""
        body = _parsed(raw) if route.body is not None else None
        call = Call(
            route.query(scope["query_string"]),
            path,
            body,
            scope["recsys.request_id"],
            caller,
            headers.get(b"if-none-match", b""),
            scope["query_string"],
            raw,
            headers,
        )
        reply = route.handler(service, call)
        if inspect.isawaitable(reply):
            reply = await reply
    except RecsysError as e:
        reply = Reply.error(e)
        if isinstance(e, TooMany):
            reply.headers.append((b"retry-after", str(e.retry_after).encode()))
        if isinstance(e, TooSlow | TooLarge | Busy):
            # The rest of the body may still come: this connection is good for nothing else.
            reply.headers.append((b"connection", b"close"))
    scope["recsys.reply"] = reply
    return reply


def path_values(template: str, scope: Scope) -> dict[str, str]:
    """The parts of a path that vary, by their names in the route's template, to which the path fits.

    From the path as it was sent: in the decoded one, the slash of an item id AB/12 cannot be told from the others.
    """
    pairs = zip(template.split("/"), scope["raw_path"].decode("ascii").split("/"), strict=True)
    return {name[1:-1]: unquote(part) for name, part in pairs if name.startswith("{")}


def _path_to_match(scope: Scope) -> str:
    """The decoded path, in which slashes inside a part stay %2F, so that an id with a slash is one part."""
    raw: bytes = scope["raw_path"]
    if b"%2f" not in raw.lower():
        return str(scope["path"])
    return "/".join(unquote(part).replace("/", "%2F") for part in raw.decode("ascii").split("/"))


async def _json_bytes(headers: dict[bytes, bytes], receive: Receive, service: Service) -> bytes:
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    # A page elsewhere can post a form or plain text to this machine without asking; JSON makes its browser ask first.
    if kind != b"application/json":
        raise NotJson("The body is not application/json.", "Send JSON with that Content-Type.")
    limit = service.settings.max_body
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > limit:
        raise TooLarge(f"The body is larger than {limit} bytes.", "Send fewer events at a time.")
    try:
        async with asyncio.timeout(service.settings.read_timeout):
            return await _read(receive, limit, service)
    except TimeoutError:
        raise TooSlow("The body did not arrive in time.", "Send it again.") from None


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as e:
        raise InputError(f"The body is not valid JSON: {e}.", "Mend it.") from None


async def _read(receive: Receive, limit: int, service: Service) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise InputError("The client went away before its request was complete.")
            part = message.get("body", b"")
            size += len(part)
            service.buffered += len(part)
            if size > limit:
                raise TooLarge(f"The body is larger than {limit} bytes.", "Send fewer events at a time.")
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
            if service.buffered > service.settings.max_buffered:
                raise Busy("Too many requests are arriving at once.", "Try again later.")
    finally:
        service.buffered -= size


class Front:
    """The ASGI application of one server process; its lifespan starts and stops `service`.

    Parameters
    ----------
    service
        What handlers work with.
    routes
        All routes.
    access
        Who may ask.
    load
        Gives the FastAPI application, for what is not answered here; called once, in a thread.
    """

    def __init__(self, service: Service, routes: Iterable[Route], access: Access, load: Callable[[], Any]) -> None:
        self.service = service
        self._load = load
        self._inner: asyncio.Future[Any] | None = None
        self._access = access
        self._direct = {(r.method, r.path): r for r in routes if "{" not in r.path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.service.start()
        await send({"type": "lifespan.startup.complete"})
        inner = self._inner_app()
        await receive()
        await self.service.stop()
        await asyncio.wait([inner])
        await send({"type": "lifespan.shutdown.complete"})

    def _inner_app(self) -> asyncio.Future[Any]:
        if self._inner is None:
            self._inner = asyncio.ensure_future(asyncio.to_thread(self._load))
        return self._inner

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        if scope["method"] == "HEAD":
            # A copy: the server below must still know that the answer has no body.
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        scope["path"] = _path_to_match(scope)
        scope["recsys.request_id"] = os.urandom(8).hex()
        scope["recsys.headers"] = headers = dict(scope["headers"])
        scope["recsys.extra"] = self._access.cors(headers)
        route = self._direct.get((scope["method"], scope["path"]))
        try:
            reply = await self._enter(scope, headers)
            if reply is None and route is not None:
                reply = await answer(route, self.service, scope, receive, {})
        except Exception as e:  # noqa: BLE001 - the last place where a fault of ours can become an answer
            self.service.log("fault", route=scope["path"], error=repr(e), request_id=scope["recsys.request_id"])
            reply = Reply.error(Internal("The server failed to answer.", "Its log says more, by the request's id."))
        if reply is None:
            await self._through(scope, receive, send, started)
            return
        await _send(send, reply, scope)
        self._observe(route.path if route else "other", reply, started)

    async def _enter(self, scope: Scope, headers: dict[bytes, bytes]) -> Reply | None:
        """Who asks; an answer already when they may not, or when a browser only asks whether it may."""
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            if headers.get(b"origin") in self._access.origins:
                return Reply(b"", 204, headers=list(_PREFLIGHT))
            return Reply.error(Refused("Pages of this origin may not ask.", "See the setting serve.cors_origins."))
        try:
            peer = scope["client"][0] if scope.get("client") else ""
            scope["recsys.caller"] = self._access.caller(peer, headers)
        except TooMany as e:
            reply = Reply.error(e)
            reply.headers.append((b"retry-after", str(e.retry_after).encode()))
            return reply
        except RecsysError as e:
            return Reply.error(e)
        return None

    async def _through(self, scope: Scope, receive: Receive, send: Send, started: float) -> None:
        """Let FastAPI answer; adds the headers that all have."""
        status = 500

        async def outgoing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                known = {name for name, _ in headers}
                headers.append((b"x-request-id", scope["recsys.request_id"].encode()))
                headers += [pair for pair in scope["recsys.extra"] if pair[0] not in known]
                if b"cache-control" not in known:
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        try:
            # Shielded: a client that hangs up while it is being loaded must not stop it for all.
            inner = await asyncio.shield(self._inner_app())
            await inner(scope, receive, outgoing)
        finally:
            template = getattr(scope.get("route"), "path", "other")
            reply = scope.get("recsys.reply")
            if reply is not None:
                self._observe(template, reply, started)
            else:
                prometheus.observe(template, status, time.perf_counter() - started)

    def _observe(self, path: str, reply: Reply, started: float) -> None:
        prometheus.observe(path, reply.status, time.perf_counter() - started)
        if reply.source:
            prometheus.observe_answer(path, reply.source, reply.version, reply.fallback)


def _without_body(send: Send) -> Send:
    """For HEAD, which uptime monitors ask: the headers of the answer to GET, its length included, and no more."""

    async def outgoing(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return outgoing


async def _send(send: Send, reply: Reply, scope: Scope) -> None:
    """Write an answer with the headers that all have."""
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", str(len(reply.body)).encode()),
        (b"cache-control", reply.cache),
        (b"x-request-id", scope["recsys.request_id"].encode()),
        *reply.headers,
        *scope["recsys.extra"],
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
