"""Values that come as text, TOML or JSON, as the type that was declared for them, inside the bounds that were declared.

Settings, hyperparameters and campaigns are checked here, so that one wrong value is refused in one way wherever it
stands.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    dict: "a table of names and values",
    tuple: "a list",
    list: "a list",
}
_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class Bounds:
    """What a value of the right type may be.

    Parameters
    ----------
    low, high
        Of a number, both inclusive.
    choices
        All words that a text may be; empty for any.
    pattern
        Regular expression that a text must match as a whole; empty for none.
    example
        A text that matches it.
    """

    low: float = -math.inf
    high: float = math.inf
    choices: tuple[Any, ...] = ()
    pattern: str = ""
    example: Any = ""

    def wrong(self, value: Any) -> str:
        """What a value must be and is not, as "at least 0"; empty when nothing is wrong."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if value < self.low:
                return f"at least {self.low:g}"
            if not value <= self.high:
                return f"at most {self.high:g}"
        words = value.values() if isinstance(value, dict) else [value]
        if self.choices and not all(word in self.choices for word in words):
            return f"one of {', '.join(map(str, self.choices))}"
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"written like {self.example}" if self.example else f"of the form {self.pattern}"
        return ""


def setting(
    default: Any,
    help: str,
    *,
    low: float = 0,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
    pattern: str = "",
) -> Any:
    """A field with its help text and what its value may be: bounds of a number, words or a pattern of a text."""
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "pattern": pattern}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def typed(kind: Any, value: Any, bounds: Bounds = Bounds()) -> Any:
    """`value` as `kind`, where text from the environment or a flag is read as what it says.

    Raises
    ------
    ValueError
        Its text ends a sentence that begins with the value's name, as "must be a whole number, got 'x'".
    """
    try:
        found = converted(kind, value)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        what = _KINDS.get(typing.get_origin(kind) or kind, "of another type")
        raise ValueError(f"must be {what}, got {value!r}") from None
    wrong = bounds.wrong(found)
    if wrong:
        raise ValueError(f"must be {wrong}, got {value!r}")
    return found


def converted(kind: Any, value: Any) -> Any:
    """`value` as `kind`, whatever its bounds.

    Raises
    ------
    AttributeError, KeyError, TypeError, ValueError, OverflowError
        It is nothing of the kind.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in args if a is not type(None)]
        return None if value in (None, "") else converted(inner[0], value)
    if origin in (tuple, list):
        return origin(converted(args[0], p) for p in _parts(value))
    if (origin or kind) is dict:
        return _table(args[1] if args else Any, value)
    return _scalar(kind, value)


def _scalar(kind: Any, value: Any) -> Any:
    if kind is Any:
        return value
    if kind is bool:
        return value if isinstance(value, bool) else _SWITCHES[_text(value).lower()]
    if kind is Path:
        if value == "":  # Path("") is the working directory
            raise ValueError
        return Path(value)
    if kind is str:
        return _text(value)
    if isinstance(value, bool):
        raise TypeError
    if kind is int and not isinstance(value, int):
        return _whole(value)
    if kind is float and not math.isfinite(float(value)):
        raise ValueError
    return kind(value)


def _whole(value: Any) -> int:
    """Large numbers keep their last digits, and 64.0 is 64."""
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        return int(value)
    number = float(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _table(kind: Any, value: Any) -> dict[str, Any]:
    pairs: Mapping[Any, Any] = dict(p.split("=", 1) for p in _parts(value)) if isinstance(value, str) else value
    named = {str(k).strip(): converted(kind, v) for k, v in pairs.items()}
    if "" in named:
        raise ValueError
    return named


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _parts(value: Any) -> list[Any]:
    """The elements of a list, which the environment and flags write with commas."""
    return [p.strip() for p in value.split(",") if p.strip()] if isinstance(value, str) else list(value)


def bytes_of(size: str) -> int:
    """Bytes of a size like 1500MB or 2 GiB."""
    number, unit = re.match(r"([\d.]+) ?([A-Za-z]+)", size).groups()  # type: ignore[union-attr]
    power = "KMGT".index(unit[0].upper()) + 1
    return int(float(number) * (1024 if "i" in unit else 1000) ** power)
