"""Lists of people that a shop hands in as a file."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from ..errors import InputError
from ..files import explain_os

_HEADERS = frozenset(
    ("user", "userid", "customer", "customerid", "customernumber", "client", "clientid", "email", "kundennummer")
)
_EXPECTED = "Give a text or CSV file in UTF-8, one person a line."


def read_list(path: Path) -> list[str]:
    """Customer ids or e-mails from a text or CSV file: the column that names people, or the only one.

    Raises
    ------
    InputError
        The file cannot be read, holds nobody, or it is not clear which column names people.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise InputError(explain_os(e, path).message, _EXPECTED) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8.", _EXPECTED) from None
    delimiter = ";" if text.count(";") > text.count(",") else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(row)]
    if not rows:
        raise InputError(f"{path} names nobody.", _EXPECTED)
    header = [i for i, cell in enumerate(rows[0]) if re.sub(r"[\s_-]", "", cell.lower()) in _HEADERS]
    if len(rows[0]) > 1 and len(header) != 1:
        raise InputError(
            f"It is not clear which column of {path} names people.", "Call one column user_id, or leave one column."
        )
    column, body = (header[0], rows[1:]) if header else (0, rows)
    people = list(dict.fromkeys(row[column] for row in body if len(row) > column and row[column]))
    if not people:
        raise InputError(f"{path} names nobody.", _EXPECTED)
    return people
