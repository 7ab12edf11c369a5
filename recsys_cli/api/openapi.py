"""The OpenAPI document, written from the routes and the types that they name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .. import __version__
from .answers import ErrorAnswer
from .call import Route
from .payloads import Id

_MEANING = {
    304: "Not changed",
    400: "Something in the request does not fit",
    401: "A key is needed",
    403: "The key may not do this",
    404: "Not known",
    409: "Another job is under way, or the command says why not",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "Too many requests",
    500: "What was received could not be written",
    503: "No version is loaded yet, or too much arrives at once",
}
_ANY = (400, 401, 403, 429)  # what every route may answer
_IN_PATH = "The id, percent-encoded; a slash in it as %2F."
_ABOUT = (
    "Recommendations for one shop, from its own machine. All errors have one shape. What answers GET answers HEAD too: "
    "the same headers, without the body."
)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document, for JSON."""
    routes = tuple(routes)
    kinds = [ErrorAnswer, Id]
    for route in routes:
        kinds += [route.query, route.answer, *_bodies(route)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    known = dict(zip(map(str, kinds), schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in routes:
        parameters = components[known[str(route.query)]["$ref"].rpartition("/")[2]]
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, known, parameters)
    for query in {known[str(route.query)]["$ref"].rpartition("/")[2] for route in routes}:
        components.pop(query)  # its parameters stand at the routes
    return {
        "openapi": "3.1.0",
        "info": {"title": "recsys", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        },
    }


def _bodies(route: Route) -> tuple[Any, ...]:
    if route.body is None:
        return ()
    return route.body if isinstance(route.body, tuple) else (route.body,)


def _operation(route: Route, known: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    error = {"application/json": {"schema": known[str(ErrorAnswer)]}}
    answered = {
        "description": route.summary,
        "content": {route.content_type: {"schema": known[str(route.answer)]}},
    }
    responses: dict[str, Any] = {str(route.status): answered}
    for status in sorted({*_ANY, *route.errors}):
        responses[str(status)] = {"description": _MEANING[status]} | ({"content": error} if status != 304 else {})
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    operation: dict[str, Any] = {
        "summary": route.summary,
        "description": " ".join((route.handler.__doc__ or "").split()),
        "operationId": f"{route.method.lower()}{route.path.replace('/', '_').replace('{', '').replace('}', '')}",
        "parameters": [_parameter(name, schema, route) for name, schema in parameters["properties"].items()]
        + [
            {"name": n, "in": "path", "required": True, "description": _IN_PATH, "schema": known[str(Id)]}
            for n in names
        ],
        "responses": responses,
    }
    if route.scope:
        operation["security"] = [{"key": []}]
    if bodies := [known[str(kind)] for kind in _bodies(route)]:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": bodies[0] if len(bodies) == 1 else {"anyOf": bodies}}},
        }
    return operation


def _parameter(name: str, schema: dict[str, Any], route: Route) -> dict[str, Any]:
    """A parameter: null is what its absence means, and cannot be sent."""
    schema = dict(schema)
    described = schema.pop("description", "")
    if schema.get("default") in (None, ()):
        schema.pop("default", None)
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        described = described or kinds[0].get("description", "")
        schema |= {key: value for key, value in kinds[0].items() if key != "description"}
    style = {"style": "form", "explode": name not in route.reader.split} if name in route.reader.lists else {}
    required = name in route.reader.required
    return {"name": name, "in": "query", "required": required, "description": described, "schema": schema, **style}
