"""The way in and out of every request: its id, its limits, its route, its metrics, and the one shape of errors.

Routes with a fixed path are answered here directly; FastAPI's own way to a handler takes as long as a whole answer.
All others (and the documentation) go through FastAPI, to the same handlers.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import orjson

from ..errors import InputError, RecsysError, Refused
from . import metrics
from .call import Call, Reply, Route
from .service import Service

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class TooLarge(Refused):
    """A body above the limit."""

    code, http_status = "too_large", 413


class TooSlow(Refused):
    """A body that did not arrive in time."""

    code, http_status = "too_slow", 408


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
    request_id = scope["recsys.request_id"]
    try:
        body = await _json_body(scope, receive, service) if route.body is not None else None
        call = Call(route.query(scope["query_string"]), path, body, request_id)
        reply = route.handler(service, call)
        if inspect.isawaitable(reply):
            reply = await reply
    except RecsysError as e:
        return Reply.error(e)
    else:
        scope["recsys.reply"] = reply
        return reply


async def _json_body(scope: Scope, receive: Receive, service: Service) -> Any:
    headers = dict(scope["headers"])
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
            data = await _read(receive, limit)
    except TimeoutError:
        raise TooSlow("The body did not arrive in time.", "Send it again.") from None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as e:
        raise InputError(f"The body is not valid JSON: {e}.", "Mend it.") from None


async def _read(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InputError("The client went away before its request was whole.")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLarge(f"The body is larger than {limit} bytes.", "Send fewer events at a time.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def send_reply(send: Send, reply: Reply, request_id: str) -> None:
    """Write an answer with the headers that all have."""
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", str(len(reply.body)).encode()),
        (b"cache-control", reply.cache),
        (b"x-request-id", request_id.encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


class Front:
    """The ASGI application.

    Parameters
    ----------
    service
        What handlers work with.
    routes
        All routes.
    inner
        The FastAPI application, for what is not answered here.
    """

    def __init__(self, service: Service, routes: Iterable[Route], inner: Any) -> None:
        self.service = service
        self.inner = inner
        self._direct = {(r.method, r.path): r for r in routes if "{" not in r.path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        started = time.perf_counter()
        scope["recsys.request_id"] = request_id = os.urandom(8).hex()
        route = self._direct.get((scope["method"], scope["path"]))
        if route is None:
            await self._through(scope, receive, send, started)
            return
        try:
            reply = await answer(route, self.service, scope, receive, {})
        except Exception as e:  # noqa: BLE001 - the last place where a fault of ours can become an answer
            self.service.log("fault", route=route.path, error=repr(e), request_id=request_id)
            reply = Reply.error(Internal("The server failed to answer.", f"See its log for request {request_id}."))
        await send_reply(send, reply, request_id)
        self._observe(route.path, reply, started)

    async def _through(self, scope: Scope, receive: Receive, send: Send, started: float) -> None:
        """Let FastAPI answer; adds the headers that all have."""
        status = 500
        request_id = scope["recsys.request_id"].encode()

        async def outgoing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                names = {name for name, _ in headers}
                headers.append((b"x-request-id", request_id))
                if b"cache-control" not in names:
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        try:
            await self.inner(scope, receive, outgoing)
        finally:
            template = getattr(scope.get("route"), "path", "other")
            reply = scope.get("recsys.reply")
            if reply is not None:
                self._observe(template, reply, started)
            else:
                metrics.observe(template, status, time.perf_counter() - started)

    def _observe(self, path: str, reply: Reply, started: float) -> None:
        metrics.observe(path, reply.status, time.perf_counter() - started)
        if reply.source:
            metrics.observe_answer(path, reply.source, reply.version, reply.fallback)
