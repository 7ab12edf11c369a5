"""CSV that people open in a spreadsheet: a cell that it would run as a formula is marked with an apostrophe.

Every CSV that we write goes through here. A cell that begins with an apostrophe of its own gets another one, so taking
one off always gives the value back; numbers stay as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = r"[-+]?[0-9][0-9.,]*([eE][-+]?[0-9]+)?"  # also of shops that write 1.234,50


def marked(value: Any) -> Any:
    """The value as a cell; whatever is not a text is left alone."""
    if not isinstance(value, str) or not value.startswith((*FORMULA, "'")) or re.fullmatch(_NUMBER, value):
        return value
    return f"'{value}"


def marked_column(column: pa.Array) -> pa.Array:
    """Like `marked`, of a column of text."""
    import pyarrow.compute as pc

    risky = pc.and_(
        pc.match_substring_regex(column, r"^[=+\-@\t\r']"),
        pc.invert(pc.match_substring_regex(column, rf"\A{_NUMBER}\z")),
    )
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)


def unmarked(name: str) -> str:
    """A name or value as it was before it was marked."""
    return name.removeprefix("'")


def csv_bytes(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A table as CSV in UTF-8; None is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([marked(name) for name in names])
    writer.writerows([marked(value) for value in row] for row in rows)
    return text.getvalue().encode()
