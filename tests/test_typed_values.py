"""One wrong value is refused in one way, wherever it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_cli.typed_values import Bounds, typed


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (int, "64", 64),
        (int, "64.0", 64),
        (int, 9_007_199_254_740_993, 9_007_199_254_740_993),
        (int, "9007199254740993", 9_007_199_254_740_993),
        (float, "1e-3", 0.001),
        (bool, "Yes", True),
        (bool, "off", False),
        (str, "", ""),
        (str | None, "", None),
        (Path, "a/b", Path("a/b")),
        (tuple[str, ...], "a, b,", ("a", "b")),
        (list[int], [1, "2"], [1, 2]),
        (dict[str, float], "view=0.5, cart=1", {"view": 0.5, "cart": 1.0}),
        (dict[str, Any], {"a": [1]}, {"a": [1]}),
    ],
)
def test_is_read_as_what_it_says(kind: Any, value: Any, found: Any) -> None:
    assert typed(kind, value) == found
    assert type(typed(kind, value)) is type(found)


@pytest.mark.parametrize(
    ("kind", "value", "bounds", "says"),
    [
        (int, "x", Bounds(), "must be a whole number, got 'x'"),
        (int, 1.5, Bounds(), "must be a whole number, got 1.5"),
        (int, True, Bounds(), "must be a whole number, got True"),
        (int, "1e999", Bounds(), "must be a whole number, got '1e999'"),
        (float, "nan", Bounds(), "must be a number, got 'nan'"),
        (bool, "maybe", Bounds(), "must be true or false, got 'maybe'"),
        (Path, "", Bounds(), "must be a path, got ''"),
        (dict[str, float], "view", Bounds(), "must be a table of names and values, got 'view'"),
        (float, -1, Bounds(low=0), "must be at least 0, got -1"),
        (int, "7", Bounds(high=5), "must be at most 5, got '7'"),
        (str, "dice", Bounds(choices=("a", "b")), "must be one of a, b, got 'dice'"),
        (str, "much", Bounds(pattern=r"\d+MB", example="15MB"), "must be written like 15MB, got 'much'"),
    ],
)
def test_is_refused_with_what_it_must_be(kind: Any, value: Any, bounds: Bounds, says: str) -> None:
    with pytest.raises(ValueError) as told:
        typed(kind, value, bounds)
    assert str(told.value) == says
