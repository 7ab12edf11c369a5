"""The grammar of filters, and the parser that Lark makes of it (LALR(1): time grows with the length alone)."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import cast

import lark
from lark import Token, Transformer, v_args

from .filter_tree import AllOf, AnyOf, Attribute, FilterError, Literal, Node, Not, OfUser, Operand, Test

_DEEPEST = 40  # brackets and nots inside each other

_GRAMMAR = r"""
?start: any
any: all (_OR all)*
all: inverse (_AND inverse)*
?inverse: _NOT inverse -> negated
    | test
?test: operand COMPARISON operand -> compared
    | operand _IN group -> within
    | operand _NOT _IN group -> not_within
    | operand _CONTAINS operand -> contains
    | operand -> bare
    | "(" any ")"
?group: operand
    | "[" literal ("," literal)* "]" -> listed
    | "(" literal ("," literal)* ")" -> listed
?operand: NAME -> name
    | QUOTED_NAME -> quoted_name
    | literal
?literal: STRING -> string
    | NUMBER -> number
    | WORD -> word

_OR.3: /or(?!\w)/i
_AND.3: /and(?!\w)/i
_NOT.3: /not(?!\w)/i
_IN.3: /in(?!\w)/i
_CONTAINS.3: /contains(?!\w)/i
WORD.3: /(true|false|null)(?!\w)/i
COMPARISON: /<=|>=|!=|<>|==|=|<|>/
NUMBER: /-?[0-9]+(\.[0-9]+)?(?![\w.])/
STRING: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/s
NAME: /[^\W\d]\w*(\.\w+)*/
QUOTED_NAME.2: /(user\.)?`[^`]+`/
%ignore /\s+/
"""
_SAME = {"==": "=", "<>": "!="}
_WORDS = {"true": True, "false": False, "null": None}
_VALUES = {"NAME", "QUOTED_NAME", "STRING", "NUMBER", "WORD"}
_NEXT = {"COMPARISON": "a comparison", "_AND": "'and'", "_OR": "'or'", "RPAR": "')'", "RSQB": "']'", "COMMA": "','"}
_USER = "user."


def tree_of(text: str) -> Node:
    """The tree of a filter.

    Raises
    ------
    FilterError
        It is not written as filters are.
    """
    try:
        return cast(Node, _parser().parse(text))
    except lark.exceptions.UnexpectedCharacters as e:
        place = e.pos_in_stream or 0
        raise FilterError(place + 1, f"{text[place]!r} is not expected here", _hint(text, place)) from None
    except lark.exceptions.UnexpectedToken as e:
        raise _unexpected(e, text) from None


@cache
def _parser() -> lark.Lark:
    return lark.Lark(_GRAMMAR, parser="lalr", lexer="contextual", transformer=_Tree(), maybe_placeholders=False)


def _unexpected(e: lark.exceptions.UnexpectedToken, text: str) -> FilterError:
    ended = e.token.type == "$END"
    column = len(text) + 1 if ended else cast(int, e.token.start_pos) + 1
    wanted = set(e.accepts or e.expected)
    if wanted >= _VALUES - {"WORD"}:
        needed = "a value or the name of an attribute"
    else:
        needed = " or ".join(words for name, words in _NEXT.items() if name in wanted) or "the end"
    if ended:
        return FilterError(column, f"the filter ends where {needed} is expected")
    return FilterError(column, f"{str(e.token)!r} stands where {needed} is expected", _hint(text, column - 1))


def _hint(text: str, place: int) -> str:
    if text[place] in "\"'`":
        return f"The {text[place]} has no other one that closes it."
    if text[place] in "&|":
        return "Write and, or."
    before = re.search(r"\w+$", text[:place])
    if before and re.match(r"-\w", text[place:]):
        return "Write a name with other characters in backquotes: `made-in`."
    return ""


@v_args(inline=True)
class _Tree(Transformer[Token, Node]):
    """Makes the nodes while the text is read."""

    def any(self, *parts: Node) -> Node:
        return parts[0] if len(parts) == 1 else AnyOf(parts, _above(*parts))

    def all(self, *parts: Node) -> Node:
        return parts[0] if len(parts) == 1 else AllOf(parts, _above(*parts))

    def negated(self, part: Node) -> Node:
        return Not((part,), _above(part))

    def compared(self, left: Operand, how: Token, right: Operand) -> Node:
        return Test(left, _SAME.get(str(how), str(how)), right)

    def within(self, left: Operand, right: Operand) -> Node:
        return Test(right, "contains", left)

    def not_within(self, left: Operand, right: Operand) -> Node:
        return Not((Test(right, "contains", left),), 2)

    def contains(self, left: Operand, right: Operand) -> Node:
        return Test(left, "contains", right)

    def bare(self, operand: Operand) -> Node:
        if isinstance(operand, Literal) and not isinstance(operand.value, bool):
            raise FilterError(operand.column, "a value alone says nothing", "Compare it with an attribute.")
        return Test(operand, "=", Literal(True, operand.column))

    def listed(self, *values: Literal) -> Literal:
        return Literal(tuple(one.value for one in values), values[0].column)

    def name(self, token: Token) -> Operand:
        if token.startswith(_USER):
            return OfUser(token[len(_USER) :], _column(token))
        return Attribute(str(token), _column(token))

    def quoted_name(self, token: Token) -> Operand:
        if token.startswith(_USER):
            return OfUser(token[len(_USER) + 1 : -1], _column(token))
        return Attribute(token[1:-1], _column(token))

    def string(self, token: Token) -> Literal:
        return Literal(re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL), _column(token))

    def number(self, token: Token) -> Literal:
        if not math.isfinite(float(token)):  # an int of any length, which no array can be compared with
            raise FilterError(_column(token), "a number is too large", "Write an id in quotes.")
        return Literal(float(token) if "." in token else int(token), _column(token))

    def word(self, token: Token) -> Literal:
        return Literal(_WORDS[token.lower()], _column(token))


def _column(token: Token) -> int:
    return cast(int, token.start_pos) + 1


def _above(*parts: Node) -> int:
    depth = 1 + max(part.depth for part in parts)
    if depth > _DEEPEST:
        raise FilterError(1, f"more than {_DEEPEST} parts are inside each other", "Write it flatter.")
    return depth
