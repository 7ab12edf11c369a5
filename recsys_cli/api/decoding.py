"""From the bytes of a request to the types of `payloads`, and a sentence about what does not fit, made of the type."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Collection
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from msgspec import Struct

from ..errors import InputError, UsageError

_WHERE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object (?:contains unknown|missing required) field `(.*)`", re.DOTALL)
_NESTED = "Everything that is nested deeper than a few levels is refused."


class Query:
    """Reads the query of a route.

    Parameters
    ----------
    kind
        The parameters as a type: those that are tuples may be repeated, or, where `extra` says `split`, separated by
        commas; those that are tables are given one by one, as `user.country=DE`.
    """

    def __init__(self, kind: type[Struct], path: str) -> None:
        self.kind, self._path = kind, path
        self.fields = {field.name: field for field in msgspec.structs.fields(kind)}
        self.required = [name for name, field in self.fields.items() if field.required]
        self.lists = {name for name, field in self.fields.items() if field.default == ()}
        self.split = {name for name in self.lists if _extra(self.fields[name].type).get("split")}
        self._optional = {name for name, field in self.fields.items() if field.default is None}
        self._tables = {f"{name}.": name for name, field in self.fields.items() if field.default_factory is dict}
        self._defaults: dict[str, Any] = {
            name: {} if name in self._tables.values() else field.default
            for name, field in self.fields.items()
            if not field.required
        }

    def read(self, raw: bytes) -> dict[str, Any]:
        """Values of all parameters.

        Raises
        ------
        UsageError
            For a parameter that this route does not have, or a value that does not fit.
        """
        if not raw and not self.required:
            return dict(self._defaults)
        given: dict[str, Any] = {}
        for name, texts in _split(raw).items():
            if name in self.split:
                given[name] = tuple(dict.fromkeys(one for text in texts for one in text.split(",") if one))
            elif name in self.lists:
                given[name] = tuple(dict.fromkeys(texts))
            elif len(texts) > 1:
                raise UsageError(f"'{name}' is given {len(texts)} times.", "Give it once.")
            elif self._tables and (table := self._tables.get(name[: name.find(".") + 1])):
                given.setdefault(table, {})[name.partition(".")[2]] = texts[0]
            elif f"{name}." in self._tables:
                other = f" Or did you mean '{name}_id'?" if f"{name}_id" in self.fields else ""
                raise UsageError(f"'{name}' alone is not a parameter.", f"Write {name}.country=DE.{other}")
            elif texts[0] or name not in self._optional:
                given[name] = texts[0]
        try:
            return msgspec.structs.asdict(msgspec.convert(given, self.kind, strict=False))
        except msgspec.ValidationError as e:
            raise self._told(e, given) from None

    def _told(self, error: msgspec.ValidationError, given: dict[str, Any]) -> UsageError:
        return UsageError(*_sentence(error, self.kind, given, f"{self._path} has no parameter", "'{}'", self._tables))


def body(raw: bytes, kind: Any) -> Any:
    """The body of a request as its type.

    Raises
    ------
    InputError
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError:
        return _converted(raw, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise _not_json(e) from None
    except RecursionError:
        raise InputError("The body is nested too deep.", _NESTED) from None


def _not_json(error: Exception) -> InputError:
    return InputError(f"The body is not valid JSON: {error}.", "Fix it and send it again.")


def _converted(raw: bytes, kind: Any) -> Any:
    """The body once more: what did not fit may be a whole number that is written 3.0, as JSON may."""
    try:
        given = _with_whole_numbers(msgspec.json.decode(raw))
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as e:
        raise InputError(*_sentence(e, kind, given, "The body has no field", "{}")) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:  # a wrong type was met before what is not JSON
        raise _not_json(e) from None
    except RecursionError:
        raise InputError("The body is nested too deep.", _NESTED) from None


def _with_whole_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_with_whole_numbers(one) for one in value]
    if isinstance(value, dict):
        return {name: _with_whole_numbers(one) for name, one in value.items()}
    return value


def one_or_many(raw: bytes, one: type[Struct], many: type[Struct]) -> list[Any]:
    """A body that is one object, or an object with a list of such as its one field.

    Raises
    ------
    InputError
    """
    (name,) = many.__struct_fields__
    if raw.lstrip()[:1] == b"[":
        body(raw, list[msgspec.Raw])
        raise InputError("The body must be a JSON object, got a list.", f'Send {{"{name}": [...]}}.')
    whole = body(raw, dict[str, msgspec.Raw])
    if name in whole:
        listed: list[Any] = getattr(body(raw, many), name)
        return listed
    return [body(raw, one)]


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


# -- sentences -------------------------------------------------------------------------------------------------------


def _sentence(
    error: Exception, kind: Any, given: Any, unknown: str, quoted: str, tables: Collection[str] = ()
) -> tuple[str, str]:
    found = _WHERE.fullmatch(str(error))
    assert found is not None
    what, path = found["what"], found["path"] or ""
    place, hint = _walk(kind, path)
    if field := _FIELD.fullmatch(what):
        within = f"{path}: " if path else ""
        if "missing" in what:
            return f"{within}'{field[1]}' is missing.", _walk(place, field[1])[1] or "Send it."
        # A table's own name is no parameter: user.country=DE.
        names = [n for n in _names(place) if f"{n}." not in tables]
        near = difflib.get_close_matches(field[1], names, n=1)
        known = ", ".join(names) or "none"
        return f"{within}{unknown} '{field[1][:60]}'.", f"Did you mean '{near[0]}'?" if near else f"Known: {known}."
    name = quoted.format(path) if path else "The body"
    if what.startswith(("Expected", "Invalid", "Number", "Integer")):
        value = _value(given, path)
        if isinstance(value, list) and typing.get_origin(_plain(place)[0]) in (list, tuple):
            return (
                f"{name} must be {_words(place)}, got {len(value):,}.",
                "Send fewer at a time." if value else "Send some.",
            )
        shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
        return f"{name} must be {_words(place)}, got {shown}.", hint or "Fix the value."
    return f"{name}: {what}.", hint or "Fix it and send it again."


def _walk(kind: Any, path: str) -> tuple[Any, str]:
    """The type at a path like events[3].qty, and what its declaration says."""
    hint = ""
    for step in re.findall(r"\[[^\]]*\]|[^.\[\]]+", path):
        inner = _plain(kind)[0]
        if step.startswith("["):
            args = typing.get_args(inner)
            kind = args[-1 if typing.get_origin(inner) is dict else 0] if args else Any
        elif isinstance(inner, type) and issubclass(inner, Struct):
            fields = {field.name: field.type for field in msgspec.structs.fields(inner)}
            kind = fields.get(step, Any)
            hint = _plain(kind)[1].get("description", "")
    return kind, hint


def _plain(kind: Any) -> tuple[Any, dict[str, Any]]:
    """A type without its annotations and without null, and what the annotations said."""
    facts: dict[str, Any] = {}
    while True:
        if typing.get_origin(kind) is typing.Annotated:
            kind, *metas = typing.get_args(kind)
            for meta in metas:
                found = {n: getattr(meta, n) for n in ("ge", "le", "lt", "min_length", "max_length", "description")}
                facts = {n: v for n, v in found.items() if v is not None} | facts
        elif typing.get_origin(kind) in (typing.Union, types.UnionType):
            left = [a for a in typing.get_args(kind) if a not in (type(None), msgspec.UnsetType)]
            if len(left) != 1:
                return kind, facts
            kind = left[0]
        else:
            return kind, facts


def _extra(kind: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while typing.get_origin(kind) is typing.Annotated:
        kind, *metas = typing.get_args(kind)
        for meta in metas:
            found |= meta.extra or {}
    return found


def _names(kind: Any) -> tuple[str, ...]:
    inner = _plain(kind)[0]
    return inner.__struct_fields__ if isinstance(inner, type) and issubclass(inner, Struct) else ()


def _words(kind: Any) -> str:
    inner, facts = _plain(kind)
    low, high = facts.get("ge"), facts.get("le", facts.get("lt"))
    bounds = f" from {_shown(low)}" if low is not None else ""
    bounds += f" to {_shown(high)}" if high is not None else ""
    if typing.get_origin(inner) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(inner)))}"
    if inner is int:
        return f"a whole number{bounds}"
    if inner is float:
        return f"a number{bounds}"
    if inner is bool:
        return "true or false"
    least, most = facts.get("min_length", 0), facts.get("max_length")
    if inner is str:
        return f"text of {least:,} to {most:,} characters" if most else "text"
    if typing.get_origin(inner) in (list, tuple):
        return f"a list of {least:,} to {most:,} entries" if most else "a list"
    return "a JSON object"


def _shown(number: float) -> str:
    return f"{int(number):,}" if float(number).is_integer() else f"{number:g}"


def _value(given: Any, path: str) -> Any:
    for step in re.findall(r"\[(\d+)\]|([^.\[\]]+)", path):
        try:
            given = given[int(step[0])] if step[0] else given[step[1]]
        except (KeyError, IndexError, TypeError):
            return given
    return given
