"""Quoting for the SQL that cannot take parameters: names of tables and columns, paths, constants in a larger text.

Values go in as parameters wherever DuckDB lets them.
"""

from __future__ import annotations

from collections.abc import Iterable


def literal(text: str) -> str:
    """A text as an SQL constant: O'Neil becomes 'O''Neil'.

    Raises
    ------
    ValueError
        The text holds a NUL, at which DuckDB would end the statement.
    """
    return "'" + _whole(text).replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    """Texts as SQL constants with commas between them, for IN (…) and lists."""
    return ", ".join(map(literal, texts))


def identifier(name: str) -> str:
    """The name of a column or table as SQL: it may hold blanks, quotes and words that SQL keeps for itself.

    Raises
    ------
    ValueError
        The name holds a NUL.
    """
    return '"' + _whole(name).replace('"', '""') + '"'


def _whole(text: str) -> str:
    if "\0" in text:
        raise ValueError("SQL cannot hold a NUL character")
    return text
