"""The routes in FastAPI, for their documentation and for varying paths; `Front` stands before them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from .. import __version__
from . import schemas
from .call import Reply, Route
from .front import Internal, NoMethod, NoRoute, answer, path_values
from .images import show_image
from .pages import add_pages
from .routes import ROUTES
from .service import Service

STATIC = Path(__file__).parent / "static"

_MEANING = {
    304: "Not changed",
    400: "Something in the request does not fit",
    401: "A key is needed",
    403: "The key may not do this",
    404: "Not known",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "Too many requests",
    500: "What was received could not be written",
    503: "No version is loaded yet",
}
_IN_PATH = "The id, percent-encoded; a slash in it as %2F."
ANY = (400, 401, 403, 429)  # what every route may answer


def make_app(service: Service) -> FastAPI:
    """What `Front` does not answer itself."""
    app = FastAPI(
        title="recsys",
        version=__version__,
        description="Recommendations for one shop, from its own machine. All errors have one shape. What answers GET "
        "answers HEAD too: the same headers, without the body.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for route in ROUTES:
        _add(app, service, route)
    app.add_api_route("/docs", _docs, include_in_schema=False, response_class=HTMLResponse)
    add_pages(app)
    app.add_api_route("/sample-images/{name}", _images(service), include_in_schema=False, methods=["GET"])
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _fault(service))
    return app


def _add(app: FastAPI, service: Service, route: Route) -> None:
    async def endpoint(request: Request) -> Response:
        path = path_values(route.path, request.scope)
        reply = await answer(route, service, request.scope, request.receive, path)
        return as_response(reply)

    app.add_api_route(
        route.path,
        endpoint,
        methods=[route.method],
        summary=route.summary,
        description=route.handler.__doc__,
        operation_id=f"{route.method.lower()}{route.path.replace('/', '_').replace('{', '').replace('}', '')}",
        status_code=route.status,
        response_class=Response,
        responses=_responses(route),
        openapi_extra=_documentation(route),
    )


def _responses(route: Route) -> dict[int | str, dict[str, Any]]:
    error = {"application/json": {"schema": schemas.ERROR}}
    known: dict[int | str, dict[str, Any]] = {
        route.status: {
            "description": route.summary,
            "content": {route.content_type: {"schema": dict(route.answer)}},
        }
    }
    for status in sorted({*ANY, *route.errors}):
        known[status] = {"description": _MEANING[status]} | ({"content": error} if status != 304 else {})
    return known


def _documentation(route: Route) -> dict[str, Any]:
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    text = {"type": "string", "minLength": 1, "maxLength": 256}
    extra: dict[str, Any] = {
        "parameters": [p.schema() for p in route.params]
        + [{"name": n, "in": "path", "required": True, "description": _IN_PATH, "schema": text} for n in names]
    }
    if route.body is not None:
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(route.body)}}}
    return extra


def as_response(reply: Reply) -> Response:
    """The answer as FastAPI sends it."""
    response = Response(reply.body, reply.status, media_type=reply.content_type.decode())
    response.headers["cache-control"] = reply.cache.decode()
    for name, value in reply.headers:
        response.headers[name.decode()] = value.decode()
    return response


async def _docs() -> HTMLResponse:
    # FastAPI's own page fetches its scripts from elsewhere; this one fetches nothing but /openapi.json.
    return HTMLResponse((STATIC / "docs.html").read_text(encoding="utf-8"))


def _images(service: Service) -> Callable[[Request], Awaitable[Response]]:
    async def image(request: Request) -> Response:
        return show_image(service.images, request.path_params["name"])

    return image


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code != 405:
        return as_response(Reply.error(NoRoute("There is nothing at this path.", "See /docs for what there is.")))
    allowed = _methods_of(request)
    response = as_response(Reply.error(NoMethod(f"{request.method} is not for this path.", f"It takes {allowed}.")))
    response.headers["allow"] = allowed
    return response


def _methods_of(request: Request) -> str:
    """All methods of a path; the framework names only those of the first route that fits."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, BaseRoute) and route.matches(request.scope)[0] != Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _fault(service: Service) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def fault(request: Request, error: Exception) -> Response:
        request_id = request.scope["recsys.request_id"]
        service.log("fault", route=request.scope["path"], error=repr(error), request_id=request_id)
        return as_response(
            Reply.error(Internal("The server failed to answer.", "Its log says more, by the request's id."))
        )

    return fault
