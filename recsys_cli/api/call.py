"""One request and its answer, and the description of a route from which both its checks and its documentation come."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import orjson

from ..errors import RecsysError, UsageError
from .access import NOBODY, Caller

if TYPE_CHECKING:
    from .service import Service

JSON = b"application/json"
PRIVATE = b"no-store"
MAX_TEXT = 512  # characters of a parameter
MAX_LIST = 1000  # entries of a parameter


@dataclass(frozen=True)
class Param:
    """A parameter in the query.

    Parameters
    ----------
    kind
        str, int, float, bool, `list` (repeated) or `ids` (repeated, or separated by commas).
    low, high
        Bounds of a number, inclusive.
    choices
        The texts that are taken; empty for any.
    """

    name: str
    kind: str
    help: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    required: bool = False
    choices: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """The parameter in the OpenAPI document."""
        kinds = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
        if self.kind in ("list", "ids"):
            text = {"type": "string", "maxLength": MAX_TEXT}
            schema: dict[str, Any] = {"type": "array", "items": text, "maxItems": MAX_LIST}
        else:
            schema = {"type": kinds[self.kind]}
            if self.kind == "str":
                schema |= {"enum": list(self.choices)} if self.choices else {"maxLength": MAX_TEXT}
                schema |= {"minLength": 1} if self.required else {}
            schema |= {"minimum": self.low} if self.low is not None else {}
            schema |= {"maximum": self.high} if self.high is not None else {}
            schema |= {"default": self.default} if self.default is not None else {}
        return {
            "name": self.name,
            "in": "query",
            "required": self.required,
            "description": self.help,
            "schema": schema,
            **({"style": "form", "explode": self.kind == "list"} if self.kind in ("list", "ids") else {}),
        }

    def read(self, texts: list[str]) -> Any:
        """The value of what was given, one text for each time.

        Raises
        ------
        UsageError
        """
        if self.kind == "list":
            return tuple(dict.fromkeys(self._sized(texts)))
        if self.kind == "ids":
            ids = self._sized([i for text in texts for i in text.split(",")])
            return tuple(dict.fromkeys(i for i in ids if i))
        if len(texts) > 1:
            raise UsageError(f"'{self.name}' is given {len(texts)} times.", "Give it once.")
        text = texts[0]
        if self.kind == "str":
            if len(text) > MAX_TEXT:
                raise UsageError(f"'{self.name}' is longer than {MAX_TEXT} characters.", "Shorten it.")
            if self.choices and text not in self.choices:
                raise UsageError(f"'{self.name}' is none of {', '.join(self.choices)}.", self.help)
            return text or self.default
        if self.kind == "bool":
            if text not in ("true", "false"):
                raise UsageError(f"'{self.name}' is neither true nor false.", f"{self.help}")
            return text == "true"
        return self._number(text)

    def _sized(self, texts: list[str]) -> list[str]:
        if len(texts) > MAX_LIST or any(len(text) > MAX_TEXT for text in texts):
            raise UsageError(
                f"'{self.name}' is too long.", f"At most {MAX_LIST} entries of {MAX_TEXT} characters are taken."
            )
        return texts

    def _number(self, text: str) -> float | int:
        number: float | int | None
        try:
            # int() and float() take underscores, blanks and other scripts' digits as well.
            plain = text.isascii() and "_" not in text and text.strip() == text
            number = (int(text) if self.kind == "int" else float(text)) if plain else None
        except ValueError:
            number = None
        low = self.low if self.low is not None else -1e300
        high = self.high if self.high is not None else 1e300
        if number is None or not low <= number <= high:
            kind = "a whole number" if self.kind == "int" else "a number"
            bounds = f" from {self.low:g}" if self.low is not None else ""
            bounds += f" to {self.high:g}" if self.high is not None else ""
            raise UsageError(f"'{self.name}' is not {kind}{bounds}.", self.help)
        return number


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
        The JSON of the body; None without one.
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
    """One answer."""

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
        return Reply(orjson.dumps(error.body()), error.http_status)


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
    answer, body
        JSON schemas of the answer and of the request's body.
    errors
        Statuses besides 200 (or `status`) and those every route can have.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    scope: str = "page"
    params: tuple[Param, ...] = ()
    answer: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    content_type: str = "application/json"

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {p.name: p for p in self.params})
        object.__setattr__(self, "defaults", {p.name: p.default for p in self.params})

    by_name: dict[str, Param] = field(init=False, repr=False)
    defaults: dict[str, Any] = field(init=False, repr=False)

    def query(self, raw: bytes) -> dict[str, Any]:
        """Values of all parameters from the query as it was sent.

        Raises
        ------
        UsageError
            For a parameter this route does not have, or a value that does not fit.
        """
        values = dict(self.defaults)
        if raw:
            for name, texts in _split(raw).items():
                param = self.by_name.get(name)
                if param is None:
                    raise self._unknown(name)
                values[name] = param.read(texts)
        for param in self.params:
            if param.required and values[param.name] is None:
                raise UsageError(f"'{param.name}' is missing.", param.help)
        return values

    def _unknown(self, name: str) -> UsageError:
        near = difflib.get_close_matches(name, self.by_name, n=1)
        known = ", ".join(self.by_name) or "none"
        return UsageError(
            f"{self.path} has no parameter '{name[:60]}'.",
            f"Did you mean '{near[0]}'?" if near else f"It has: {known}.",
        )


def _split(raw: bytes) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    try:
        for piece in raw.decode("ascii").split("&"):
            if piece:
                name, _, value = piece.partition("=")
                if "%" in value or "+" in value:
                    value = unquote_plus(value, errors="strict")
                if "%" in name or "+" in name:
                    name = unquote_plus(name, errors="strict")
                parts.setdefault(name, []).append(value)
    except UnicodeDecodeError:
        raise UsageError("The query is not valid UTF-8.", "Percent-encode it.") from None
    return parts
