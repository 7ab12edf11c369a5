"""What a filter means for the items of a version: a mask, from one array operation for each comparison."""

from __future__ import annotations

import datetime
import difflib
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .attributes import Attributes, Column, Mask, as_text, members_of
from .filter_tree import READ, AllOf, AnyOf, Attribute, Filter, FilterError, Literal, Node, Not, OfUser, Operand, Test

_ORDER: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_TIMES = ("created_at",)  # epoch seconds, which filters write as days


class Masks:
    """Works filters out for one catalogue.

    Parameters
    ----------
    attributes
        The items'.
    n
        How many items there are.

    Attributes
    ----------
    unknown
        Words that were compared with an attribute and that no item has, by attribute: upper and lower case, perhaps.
    """

    def __init__(self, attributes: Attributes, n: int) -> None:
        self.attributes = attributes
        self._n = n
        self.unknown: dict[str, list[str]] = {}

    def of(self, asked: Filter, user: Mapping[str, str]) -> Mask:
        """Which items fit.

        Raises
        ------
        FilterError
            There is no such attribute, `user` lacks what is asked of it, or a comparison makes no sense.
        """
        self.attributes.prepare(asked.attributes)
        found = self._node(asked.root, user)
        return np.full(self._n, found, dtype=np.bool_) if isinstance(found, bool) else found

    def _node(self, node: Node, user: Mapping[str, str]) -> Mask | bool:
        if isinstance(node, Test):
            return self._test(node, user)
        if isinstance(node, Not):
            found = self._node(node.parts[0], user)
            return not found if isinstance(found, bool) else ~found
        return self._several(node, user)

    def _several(self, node: AllOf | AnyOf, user: Mapping[str, str]) -> Mask | bool:
        """Part after part: one that decides for all items ends it, as `user.country = null or …` does."""
        ends = isinstance(node, AnyOf)
        whole: Mask | None = None
        for part in node.parts:
            found = self._node(part, user)
            if isinstance(found, bool):
                if found == ends:
                    return ends
            elif whole is None:
                whole = found
            else:
                whole = whole | found if ends else whole & found
        return not ends if whole is None else whole

    def _test(self, test: Test, user: Mapping[str, str]) -> Mask | bool:
        left, right = self._side(test.left, test, user), self._side(test.right, test, user)
        if test.how == "contains":
            return self._contains(left, right, test)
        if isinstance(left, Column) and isinstance(right, Column):
            return _columns(left, right, test)
        if isinstance(left, Column):
            return self._compared(left, test.how, right, test.left, test.right)
        if isinstance(right, Column):
            return self._compared(right, _TURNED.get(test.how, test.how), left, test.right, test.left)
        return _values(left, right, test)

    def _side(self, operand: Operand, test: Test, user: Mapping[str, str]) -> Any:
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Attribute):
            column = self.attributes.column(operand.name)
            if column is None:
                raise self._no_attribute(operand)
            return column
        other = test.right if operand is test.left else test.left
        if operand.name in user or (isinstance(other, Literal) and other.value is None and test.how in ("=", "!=")):
            return user.get(operand.name)
        raise FilterError(
            operand.column,
            f"user.{operand.name} is not known",
            f"Send user.{operand.name}=… with the request, or write user.{operand.name} = null or …",
        )

    def _no_attribute(self, operand: Attribute) -> FilterError:
        names = self.attributes.names
        folded = {name.casefold(): name for name in reversed(names)}
        near = difflib.get_close_matches(operand.name.casefold(), folded, n=1)
        shown = folded[near[0]] if near else ""
        shown = shown if shown.isidentifier() else f"`{shown}`"
        hint = f"Did you mean {shown}?" if near else f"Items have: {', '.join(names[:40])}."
        if not near and operand.name.count(" ") == 0:
            hint += f' A text stands in quotes: "{operand.name}".'
        return FilterError(operand.column, f"no item has an attribute '{operand.name}'", hint)

    # -- comparisons --------------------------------------------------------------------------------------------------

    def _compared(self, column: Column, how: str, value: Any, named: Operand, at: Operand) -> Mask:
        """A column and a value that is the same for all items."""
        assert isinstance(named, Attribute)
        if how not in ("=", "!="):
            return _ordered(column, how, value, named, at)
        if value is None:
            found = column.missing
        elif isinstance(value, bool):
            found = column.true(value)
        elif isinstance(value, tuple):
            raise FilterError(at.column, "a list can only stand after in", "Write category in [...].")
        elif named.name in _TIMES and isinstance(value, str) and isinstance(at, Literal):
            found = column.numbers == _moment(value, at)
        elif isinstance(value, int | float):
            found = column.numbers == value
        else:
            found = column.any_of((value.strip(),))
            self._note_unknown(named, value, found)
        return ~found if how == "!=" else found

    def _contains(self, left: Any, right: Any, test: Test) -> Mask | bool:
        """`right` is a member of `left`: of an item's list, of a list in the text, or a part of its title."""
        if isinstance(left, Column):
            assert isinstance(test.left, Attribute)
            if isinstance(right, Column):
                return _rows_with(left, right)
            if right is None or isinstance(right, tuple):
                raise FilterError(test.right.column, "one value is looked for, and neither a list nor null")
            word = as_text(right) or ""
            if test.left.name in READ:
                return left.reading(word)
            found = left.having(word)
            self._note_unknown(test.left, word, found)
            return found
        members = left if isinstance(left, tuple) else _list_of(left, test.left)
        if isinstance(right, Column):
            words = [text for one in members if (text := as_text(one)) is not None]
            found = right.any_of(words or ("",))
            numbers = [one for one in members if isinstance(one, int | float) and not isinstance(one, bool)]
            return found | np.isin(right.numbers, np.array(numbers, dtype=np.float64)) if numbers else found
        return as_text(right) in [as_text(one) for one in members]

    def _note_unknown(self, named: Operand, word: str, found: Mask) -> None:
        if isinstance(named, Attribute) and not found.any():
            self.unknown.setdefault(named.name, []).append(word)


def _ordered(column: Column, how: str, value: Any, named: Attribute, at: Operand) -> Mask:
    if isinstance(value, str):
        if named.name in _TIMES:
            value = _moment(value, at)
        elif isinstance(at, OfUser) or (column.has_numbers and _is_number(value)):
            value = _as_number(value, at)
        else:
            words = np.array([_ORDER[how](word, value) for word in (*column.words, "")], dtype=np.bool_)
            words[-1] = False
            return words[column.code]
    if value is None or isinstance(value, bool | tuple):
        raise FilterError(at.column, f"{how} compares numbers, days and texts", "true, false and null go with =.")
    if not column.has_numbers:
        raise FilterError(
            named.column,
            f"'{named.name}' holds texts, which cannot be compared with a number",
            "Write the value in quotes.",
        )
    with np.errstate(invalid="ignore"):
        return np.asarray(_ORDER[how](column.numbers, value))


def _columns(left: Column, right: Column, test: Test) -> Mask:
    """Two attributes of each item; one that it lacks differs from everything."""
    with np.errstate(invalid="ignore"):
        hit: Mask = _ORDER["=" if test.how == "!=" else test.how](left.numbers, right.numbers)
    if test.how in ("=", "!="):
        number = np.array([right.code_of.get(word, -2) for word in (*left.words, "")], dtype=np.int64)
        hit = hit | ((number[left.code] == right.code) & ~left.missing)
    return ~hit if test.how == "!=" else hit


def _rows_with(lists: Column, members: Column) -> Mask:
    """Each item's own value of one attribute, looked for in its list."""
    pairs, back = np.unique(np.stack([lists.code, members.code]), axis=1, return_inverse=True)
    fits = [
        one >= 0 and other >= 0 and members.words[other] in members_of(lists.words[one])
        for one, other in pairs.T.tolist()
    ]
    return np.array(fits, dtype=np.bool_)[back.ravel()]


def _values(left: Any, right: Any, test: Test) -> bool:
    """Nothing of the items: something of the user and a literal."""
    numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in (left, right)]
    if any(numbers) and not all(numbers):
        left, right = _as_number(left, test.left), _as_number(right, test.right)
    elif isinstance(left, bool) != isinstance(right, bool):
        left, right = _as_yes(left), _as_yes(right)
    try:
        return bool(_ORDER[test.how](left, right))
    except TypeError:
        raise FilterError(test.right.column, "these two cannot be compared") from None


def _as_yes(value: Any) -> Any:
    return value if isinstance(value, bool) or value is None else str(value).lower() in ("true", "yes", "1", "on")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _as_number(value: Any, at: Operand) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        name = f"user.{at.name}" if isinstance(at, OfUser) else "this"
        raise FilterError(at.column, f"{name} must be a number here, got {value!r}") from None


def _list_of(value: Any, at: Operand) -> tuple[str, ...]:
    if isinstance(value, str) and isinstance(at, OfUser):
        return tuple(members_of(value))
    raise FilterError(at.column, "this is not a list", 'Write category in ["Tea", "Coffee"], or tags contains "vegan".')


def _moment(day: str, at: Operand) -> float:
    """Epoch seconds at which a day begins, in UTC."""
    try:
        moment = datetime.datetime.fromisoformat(day)
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        raise FilterError(at.column, f"{day!r} is not a day", "Write it as 2026-11-30.") from None
