"""What every route does with bad requests, taken from the table of routes itself."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recsys_cli.api.pages import PAGES
from recsys_cli.api.routes import ROUTES
from recsys_cli.artifacts.audit_log import AuditLog
from recsys_cli.artifacts.jobs import Job, Jobs
from recsys_cli.artifacts.keys import ROLES, SCOPES, add_key

_spec = importlib.util.spec_from_file_location(
    "api_conftest_of_contracts", Path(__file__).resolve().parents[1] / "api" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_api = sys.modules.setdefault("api_conftest_of_contracts", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(_api)

by_name = pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    shop = _api.shop_module.make_shop(tmp_path_factory.mktemp("shop"))
    Jobs(shop.settings.artifacts).note(Job("0" * 16, "update", ended_at=1.0, exit_code=0))
    made = _api.Server(shop, tmp_path_factory.mktemp("log") / "log")
    yield made
    made.stop()


def path_of(route: Any) -> str:
    known = {"item_id": "t1", "user_id": "t4", "session_id": "s", "job_id": "0" * 16, "name": "home"}
    return re.sub(r"\{(\w+)\}", lambda part: known[part[1]], route.path)


def ask(server: Any, route: Any, query: str = "", **more: Any) -> Any:
    if route.body is not None and not more:
        more = {"json": {}}
    return server.http.request(route.method, f"{path_of(route)}?{query}", **more)


def assert_told(reply: Any, status: int) -> None:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    error = reply.json()
    assert list(error) == ["error"]
    assert set(error["error"]) == {"code", "message", "hint"}
    assert error["error"]["message"].endswith((".", "?"))
    assert reply.headers["x-request-id"]


@by_name
def test_unknown_parameters_are_told(server: Any, route: Any) -> None:
    assert_told(ask(server, route, "colour=red"), 400)


@by_name
def test_wrong_values_are_told(server: Any, route: Any) -> None:
    described = server.get("/openapi.json")["paths"][route.path][route.method.lower()]["parameters"]
    wrong = {"integer": ["x", "1.5", "-1", "99999999", "", "٣"], "number": ["x", "nan", "inf", "1e999"],
             "boolean": ["maybe"]}  # fmt: skip
    needed = "".join(f"{name}=t1&" for name in route.reader.required)
    for param in described:
        schema = param["schema"]
        values = ["sideways"] if "enum" in schema else wrong.get(schema.get("type"), [])
        for value in values if param["in"] == "query" else ():
            if value or param["name"] in ("k", "offset", "n"):
                assert_told(ask(server, route, f"{needed}{param['name']}={value}"), 400)


@by_name
def test_missing_and_doubled_parameters_are_told(server: Any, route: Any) -> None:
    if route.reader.required:
        assert_told(ask(server, route), 400)
    for name in route.reader.fields.keys() - route.reader.lists:
        assert_told(ask(server, route, f"{name}=1&{name}=2"), 400)


@by_name
def test_queries_that_are_no_text_are_told(server: Any, route: Any) -> None:
    assert_told(ask(server, route, "k=%ff%fe"), 400)


@by_name
def test_bodies_that_do_not_fit_are_told(server: Any, route: Any) -> None:
    if route.body is None:
        return
    for body in (b"", b"{", b"\xff", b"null", b"[]", b"1", b'{"colour": 1}', b"[" * 5000):
        reply = ask(server, route, content=body, headers={"content-type": "application/json"})
        # Webhooks look at the signature before they look at what is in an object.
        signed = route.path.startswith("/webhooks/") and reply.status_code in (401, 403)
        assert_told(reply, reply.status_code if signed else 400)
    assert_told(ask(server, route, content=b"{}", headers={"content-type": "text/plain"}), 415)
    large = b'{"x": "' + b"x" * 1_000_001 + b'"}'
    assert_told(ask(server, route, content=large, headers={"content-type": "application/json"}), 413)


@by_name
def test_other_methods_are_told(server: Any, route: Any) -> None:
    known = {r.method for r in ROUTES if r.path == route.path}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - known:
        reply = server.http.request(method, path_of(route), json={})
        assert_told(reply, 405)
        assert set(reply.headers["allow"].split(", ")) == known | ({"HEAD"} if "GET" in known else set())


@by_name
def test_what_can_be_got_can_be_asked_for_without_its_body(server: Any, route: Any) -> None:
    if route.method != "GET":
        return
    query = "item_id=t1" if route.reader.required else ""
    got, head = ask(server, route, query), server.http.head(f"{path_of(route)}?{query}")
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    if route.content_type == "application/json":
        msgspec.json.decode(got.content, type=route.answer)  # is what the documentation says
    mine = [{k: v for k, v in r.headers.items() if k not in ("date", "x-request-id")} for r in (got, head)]
    if route.path in ("/metrics", "/health"):  # say something else every time
        for headers in mine:
            headers.pop("content-length")
    assert mine[0] == mine[1]


@pytest.mark.parametrize("path", ["/openapi.json", *PAGES, "/nothing", "/items/none", "/recommend?colour=red"])
def test_all_that_can_be_got_can_be_asked_for_without_its_body(server: Any, path: str) -> None:
    got, head = server.http.get(path), server.http.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == str(len(got.content))


@by_name
def test_an_id_may_hold_a_slash(server: Any, route: Any) -> None:
    if "{" not in route.path:
        return
    for text in ("AB%2F12", "a%2fb%20c", "%2F", "t1%252F", "%2e%2e%2fadmin"):
        path = re.sub(r"\{\w+\}", text, route.path)
        reply = server.http.request(route.method, path, json={})
        assert reply.status_code != 405, path
        assert "no_route" not in reply.text, path


@by_name
def test_documented(server: Any, route: Any) -> None:
    described = server.get("/openapi.json")["paths"][route.path][route.method.lower()]
    assert described["description"]
    names = {p["name"] for p in described.get("parameters", []) if p["in"] == "query"}
    assert names == set(route.reader.fields)
    assert all(p["description"] for p in described.get("parameters", []) if p["in"] == "query")
    assert str(route.status) in described["responses"]


@by_name
def test_what_changes_anything_or_shows_a_person_is_in_the_audit_log(server: Any, route: Any) -> None:
    log = AuditLog(server.shop.settings.artifacts)
    before = len(list(log.entries()))
    reply = ask(server, route, "".join(f"{name}=t1&" for name in route.reader.required))
    new = list(log.entries())[before:]
    unsigned = route.path.startswith("/webhooks/")  # of strangers nothing is noted
    assert [e["action"] for e in new] == [f"{route.method} {route.path}"] * (route.audited and not unsigned)
    assert all((e["outcome"] == "done") == reply.is_success and e["by"]["key"] == "owner" for e in new)
    assert route.audited or route.method == "GET" or route.tries or route.scope in ("page", "serve", "ingest")


@pytest.fixture(scope="module")
def role_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, str]]]:
    """A server of its own, with a key of each role."""
    shop = _api.shop_module.make_shop(tmp_path_factory.mktemp("roles"))
    with shop.artifacts.exclusive():
        held = {role: add_key(shop.settings.artifacts, role, (), role)[0] for role in ROLES}
    made = _api.Server(shop, tmp_path_factory.mktemp("log") / "log")
    yield made, held
    made.stop()


@by_name
@pytest.mark.parametrize("role", ROLES)
def test_every_role_opens_what_it_is_for_and_nothing_else(
    role_keys: tuple[Any, dict[str, str]], route: Any, role: str
) -> None:
    server, held = role_keys
    reply = ask(server, route, headers={"x-api-key": held[role]}, **({"json": {}} if route.body is not None else {}))
    assert route.scope in ("", *SCOPES)
    open_to = {"": tuple(ROLES), "page": [r for r in ROLES if "serve" in ROLES[r]]}
    if role in open_to.get(route.scope, [r for r in ROLES if route.scope in ROLES[r]]):
        signed = route.path.startswith("/webhooks/")  # which a platform does, not a key
        assert reply.status_code not in (() if signed else (401, 403)), reply.text
    else:
        assert_told(reply, 403)
        assert f"lacks the scope '{route.scope}'" in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/nothing", "/recommend/", "/items", "/items/", "//", "/%00", "/users/a/b"])
def test_other_paths_are_told(server: Any, path: str) -> None:
    # The whole address: of a path alone httpx takes the leading slashes for one.
    assert_told(server.http.get(server.url + path, follow_redirects=False), 404)
