"""Lists of people that a shop hands in as a file."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from ..durable_files import explain_os
from ..errors import InputError

_HEADERS = frozenset(
    ("user", "userid", "customer", "customerid", "customernumber", "client", "clientid", "email", "kundennummer")
)
_EXPECTED = "Give a text or CSV file in UTF-8, one person a line."


def read_list(path: Path) -> list[str]:
    """Customer ids or e-mails from a text or CSV file: the column that names people, or the only one.

    Raises
    ------
    InputError
        The file cannot be read, holds nobody, or it is not clear which column names people, or whom a row does.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=text.count), strict=True)
        rows = [(reader.line_num, row) for one in reader if any(row := [cell.strip() for cell in one])]
    except OSError as e:
        raise InputError(explain_os(e, path).message, _EXPECTED) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8.", _EXPECTED) from None
    except csv.Error:
        why = f"A quote up to line {reader.line_num} of {path} is not closed, or not in its place."
        raise InputError(why, _EXPECTED) from None
    first = rows[0][1] if rows else []
    header = [i for i, cell in enumerate(first) if re.sub(r"[\s_-]", "", cell.lower()) in _HEADERS]
    if len(first) > 1 and len(header) != 1:
        fix = "Call one column user_id, or leave one column."
        raise InputError(f"It is not clear which column of {path} names people.", fix)
    column, body = (header[0], rows[1:]) if header else (0, rows)
    for line, row in body:
        # Half a name may be somebody else's id, and a person who is passed over in silence believes to be erased.
        if len(row) > len(first) or len(row) <= column or not row[column]:
            many = len(row) > len(first)
            why = "has more cells than there are columns" if many else f"says nothing in column {column + 1}"
            raise InputError(f"Line {line} of {path} {why}.", "Fix or remove the line; quote ids with commas.")
    if not body:
        raise InputError(f"{path} names nobody.", _EXPECTED)
    return list(dict.fromkeys(row[column] for _, row in body))
