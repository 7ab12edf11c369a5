"""Filters as trees: `price < 50 and "vegan" in tags` is a text, read by `parse` and never run.

What a tree means for the items of a version is worked out by `filter_masks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import UsageError

LONGEST = 2000  # characters of a filter
READ = ("title", "description")  # texts of which a part is looked for, and no member
_KEPT = 512  # filters that stay parsed
# A server answers nobody while it works a filter out, and a comparison may look at every item of a large catalogue.
_COMPARISONS, _READINGS = 32, 4


class FilterError(UsageError):
    """A filter that cannot be read, or does not fit the items.

    Parameters
    ----------
    column
        From 1: where in the text.
    """

    code = "filter"

    def __init__(self, column: int, message: str, hint: str = "") -> None:
        super().__init__(f"filter, column {column}: {message}.", hint or "See the chapter Filters of the README.")
        self.column = column


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, a number, true, false or null (None) in the text, or a list of such (a tuple)."""

    value: Any
    column: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the items, by name."""

    name: str
    column: int


@dataclass(frozen=True, slots=True)
class OfUser:
    """Something that the request says of the customer, by name without `user.`."""

    name: str
    column: int


Operand = Literal | Attribute | OfUser


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison; `how` is =, !=, <, <=, >, >= or contains: `right` is in `left`."""

    left: Operand
    how: str
    right: Operand
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of its part."""

    parts: tuple[Node]
    depth: int


@dataclass(frozen=True, slots=True)
class AllOf:
    """All parts hold."""

    parts: tuple[Node, ...]
    depth: int


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Node, ...]
    depth: int


Node = Test | Not | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that was read.

    Parameters
    ----------
    text
        As it was written.
    root
        Its tree.
    attributes, user
        The items' attributes that it uses, and the names of what it uses of the customer.
    """

    text: str
    root: Node
    attributes: tuple[str, ...]
    user: tuple[str, ...]

    def about(self, user: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """What of `user` the filter uses: all that the result depends on besides the items."""
        return tuple((name, user[name]) for name in self.user if name in user)


@lru_cache(_KEPT)
def parse(text: str) -> Filter:
    """Read a filter.

    Raises
    ------
    FilterError
        It is not written as filters are.
    """
    from .filter_parser import tree_of  # with the parser's library: most shops never write a filter

    if len(text) > LONGEST:
        raise FilterError(LONGEST + 1, f"a filter has {LONGEST:,} characters at most", "Write a shorter one.")
    root = tree_of(text)
    tests = list(_tests(root))
    _bounded(tests)
    operands = [operand for test in tests for operand in (test.left, test.right)]
    attributes = dict.fromkeys(o.name for o in operands if isinstance(o, Attribute))
    user = dict.fromkeys(o.name for o in operands if isinstance(o, OfUser))
    return Filter(text, root, tuple(attributes), tuple(user))


def _bounded(tests: list[Test]) -> None:
    looks = [t for t in tests if t.how == "contains" and isinstance(t.left, Attribute)]
    pairs = [t.left for t in looks if isinstance(t.right, Attribute)]
    if len(pairs) > 1:
        raise FilterError(pairs[1].column, "a filter looks for one attribute in another once at most")
    reads = [t.left for t in looks if isinstance(t.left, Attribute) and t.left.name in READ]
    if len(reads) > _READINGS:
        message = f"a filter looks into titles and descriptions {_READINGS} times at most"
        raise FilterError(reads[_READINGS].column, message)
    if len(tests) > _COMPARISONS:
        message = f"a filter has {_COMPARISONS} comparisons at most"
        raise FilterError(tests[_COMPARISONS].left.column, message, 'Write category in ["Tea", "Coffee"] for several.')


def _tests(node: Node) -> Iterator[Test]:
    if isinstance(node, Test):
        yield node
    else:
        for part in node.parts:
            yield from _tests(part)
