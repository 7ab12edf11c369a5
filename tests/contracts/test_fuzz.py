"""Whatever a request holds, it is answered as the documentation says: made up from the OpenAPI document itself.

The long form, with a program that knows the format better, is `tests/benchmarks/bench_openapi.py`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.api.routes import ROUTES
from tests.contracts.test_routes import by_name, server

__all__ = ["server"]

ODD = ["", " ", "\x00", "t1", "t1,t2", "-1", "1e999", "NaN", "true", "null", "'; DROP TABLE events; --", "../..",
       "<script>", "\ud7ff\U0010ffff", "%s%n", "a" * 2000, "٣", "9" * 40, "[]", "{}"]  # fmt: skip
WORDS = st.one_of(st.sampled_from(ODD), st.text(max_size=12), st.integers(-3, 300).map(str), st.floats().map(str))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
              WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


def fields_of(route: Any, documented: dict[str, Any]) -> list[str]:
    """Names of a body's fields, as documented."""
    text = documented["paths"][route.path][route.method.lower()].get("requestBody", {})
    names: list[str] = []
    waiting = [text]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            names += list(one.get("properties", {}))
            if reference := one.get("$ref"):
                waiting.append(documented["components"]["schemas"][reference.rpartition("/")[2]])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return sorted(set(names)) or ["x"]


@by_name
def test_every_request_is_answered_as_documented(server: Any, route: Any) -> None:
    documented = server.get("/openapi.json")
    described = documented["paths"][route.path][route.method.lower()]
    allowed = {int(status) for status in described["responses"]}
    query = st.dictionaries(st.sampled_from(sorted(route.reader.fields) or ["x"]), WORDS, max_size=4)
    fields = st.sampled_from(fields_of(route, documented))
    body = st.one_of(st.dictionaries(fields, VALUES, max_size=6), VALUES) if route.body is not None else st.none()

    @given(query, body, st.lists(WORDS, min_size=1, max_size=1))
    def ask(query: dict[str, str], body: Any, part: list[str]) -> None:
        path = route.path
        while "{" in path:
            path = path[: path.index("{")] + quote(part[0], safe="") + path[path.index("}") + 1 :]
        more = {} if route.body is None else {"json": body}
        reply = server.http.request(route.method, path, params=query, **more)
        # An id that is empty or a path of its own is another address.
        assert reply.status_code in allowed or (reply.status_code == 404 and "{" in route.path), reply.text
        assert reply.status_code < 500 or reply.status_code == 503, reply.text

    ask()


def test_something_is_made_up_for_every_route() -> None:
    assert len(ROUTES) > 20
    assert any(route.body is not None for route in ROUTES)
