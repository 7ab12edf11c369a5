"""The server's application: Starlette's, with one door before all routes.

At the door every request gets its id, is counted, and is asked for a key; behind it a route is found, the request is
read as that route declares, and a handler answers.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import InputError, RecsysError, Refused, UsageError
from . import decoding, openapi, pages, prometheus
from .call import Call, Reply, Route
from .payloads import MAX_ID
from .service import Service

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


def application(service: Service, routes: Iterable[Route]) -> Starlette:
    """The application of one server process; its lifespan starts and stops `service`."""
    by_path: dict[str, dict[str, Route]] = {}
    for route in routes:
        by_path.setdefault(route.path, {})[route.method] = route
    document = orjson.dumps(openapi.document(route for methods in by_path.values() for route in methods.values()))

    async def show_document(request: Request) -> Any:
        return Reply(document)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    found: list[BaseRoute] = [
        StarletteRoute(path, _Endpoint(service, methods), methods=list(methods)) for path, methods in by_path.items()
    ]
    app = Starlette(
        routes=[*found, StarletteRoute("/openapi.json", show_document), *pages.routes(service.images)],
        middleware=[Middleware(Door, service=service)],
        exception_handlers={HTTPException: _no_route, RecsysError: _told},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class Door:
    """What happens to every request, before and after: its id, who asks, headers that all answers have, metrics."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._access = service.access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, request_id = time.perf_counter(), os.urandom(8).hex()
        headers = dict(scope["headers"])
        extra = [(b"x-request-id", request_id.encode()), *self._access.cors(headers)]
        # A copy: the protocol below must still know that the answer to HEAD has no body.
        scope = {**scope, "path": _path_to_match(scope), "recsys.request_id": request_id, "recsys.headers": headers}
        head = scope["method"] == "HEAD"
        if head:
            scope["method"] = "GET"
        status = 0

        async def outgoing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete(message["headers"], extra)
            elif head:
                message = {**message, "body": b""}
            await send(message)

        try:
            reply = self._enter(scope, headers)
            if reply is None:
                await self._app(scope, receive, outgoing)
            else:
                await reply(scope, receive, outgoing)
        except Exception as e:
            self._service.log("fault", route=scope["path"], error=repr(e), request_id=request_id)
            if status:
                raise  # half an answer: the connection is closed
            await Reply.error(_INTERNAL)(scope, receive, outgoing)
        finally:
            reply = scope.get("recsys.reply")
            path = getattr(scope.get("endpoint"), "path", "other")
            prometheus.observe(path, status, time.perf_counter() - started)
            if reply is not None and reply.source:
                prometheus.observe_answer(path, reply.source, reply.fallback)

    def _enter(self, scope: Scope, headers: dict[bytes, bytes]) -> Reply | None:
        """Who asks; an answer already when they may not, or when a browser only asks whether it may."""
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            if headers.get(b"origin") in self._access.origins:
                return Reply(b"", 204, headers=list(_PREFLIGHT))
            return Reply.error(Refused("Pages of this origin are not allowed.", "See the setting serve.cors_origins."))
        try:
            peer = scope["client"][0] if scope.get("client") else ""
            scope["recsys.caller"] = self._access.caller(peer, headers)
        except RecsysError as e:
            return Reply.error(e)
        return None


_INTERNAL = Internal("The server failed to answer.", "See its log, under the request id.")


def _complete(headers: list[tuple[bytes, bytes]], extra: list[tuple[bytes, bytes]]) -> None:
    known = {name for name, _ in headers}
    headers += [pair for pair in extra if pair[0] not in known]
    if b"cache-control" not in known:
        headers.append((b"cache-control", b"no-store"))


class _Endpoint:
    """Answers all methods of one path."""

    def __init__(self, service: Service, methods: dict[str, Route]) -> None:
        self._service = service
        self._methods = methods
        self.path = next(iter(methods.values())).path
        self._varies = "{" in self.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request as its route says, and let its handler answer; every known error becomes a reply."""
        service, route = self._service, self._methods[scope["method"]]
        caller, headers = scope["recsys.caller"], scope["recsys.headers"]
        call = Call({}, {}, None, scope["recsys.request_id"], caller)
        failed: RecsysError | None = None
        try:
            if route.scope:
                service.access.refuse_foreign_pages(headers)
            caller.check(route.scope)
            raw, body = b"", None
            if route.body is not None:
                raw = await _json_bytes(headers, receive, service)
                body = _body(route, raw)
            query = scope["query_string"]
            call = Call(
                route.reader.read(query),
                _path_values(self.path, scope) if self._varies else {},
                body,
                scope["recsys.request_id"],
                caller,
                headers.get(b"if-none-match", b""),
                query,
                raw,
                headers,
            )
            reply = route.handler(service, call)
            if inspect.isawaitable(reply):
                reply = await reply
            if service.details is not None and route.lists and reply.status == 200:
                reply = await service.details.put_into(reply)
        except RecsysError as e:
            failed, reply = e, Reply.error(e)
            if isinstance(e, TooSlow | TooLarge | Busy):
                # The rest of the body may still come: this connection is good for nothing else.
                reply.headers.append((b"connection", b"close"))
        if route.audited:
            try:
                await service.audit.note(route, call, failed)
            except RecsysError as e:
                reply = Reply.error(e)  # nobody does what the log does not hold, and hears that all is well
        scope["recsys.reply"] = reply
        await reply(scope, receive, send)


def _body(route: Route, raw: bytes) -> Any:
    if isinstance(route.body, tuple):
        return decoding.one_or_many(raw, *route.body)
    return decoding.body(raw, route.body)


def _path_values(template: str, scope: Scope) -> dict[str, str]:
    """The parts of a path that vary, by their names in the route's template, to which the path fits.

    From the path as it was sent: in the decoded one, the slash of an item id AB/12 cannot be told from the others.
    """
    pairs = zip(template.split("/"), scope["raw_path"].decode("ascii").split("/"), strict=True)
    values = {name[1:-1]: unquote(part) for name, part in pairs if name.startswith("{")}
    for name, value in values.items():
        if len(value) > MAX_ID:
            raise UsageError(f"The {name} in the path is longer than {MAX_ID} characters.", "Shorten it.")
    return values


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


async def _told(request: Request, error: Exception) -> Any:
    assert isinstance(error, RecsysError)
    return Reply.error(error)


async def _no_route(request: Request, error: Exception) -> Any:
    assert isinstance(error, HTTPException)
    if error.status_code != 405:
        return Reply.error(NoRoute("Nothing is at this path.", "See /docs for what there is."))
    allowed = ", ".join(sorted((error.headers or {})["Allow"].split(", ")))
    reply = Reply.error(NoMethod(f"{request.method} is not allowed on this path.", f"It takes {allowed}."))
    reply.headers.append((b"allow", allowed.encode()))
    return reply
