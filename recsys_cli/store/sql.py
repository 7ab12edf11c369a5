"""What every use of SQL here needs: quoting, and the first row of an answer."""

from __future__ import annotations

from typing import Any

import duckdb

from ..quoting import identifier, literal, literals

__all__ = ["first_row", "identifier", "literal", "literals"]


def first_row(result: duckdb.DuckDBPyConnection) -> tuple[Any, ...] | None:
    """The first row of what was executed, None where there is none; read to the end.

    `fetchone` leaves a result open, and the connection then takes no table until it is closed.
    """
    rows = result.fetchall()
    return rows[0] if rows else None
