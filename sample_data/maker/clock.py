"""The shop's calendar: eighteen months, fixed, all in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

FIRST, LAST = date(2025, 5, 1), date(2026, 10, 31)
DAYS = (LAST - FIRST).days + 1
DAY = 86_400
EPOCH = int(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC).timestamp())

_DATES = np.datetime64(FIRST) + np.arange(DAYS)
MONTH: NDArray[np.int64] = _DATES.astype("datetime64[M]").astype(np.int64) % 12
_WEEKDAY = (_DATES.astype("datetime64[D]").astype(np.int64) + 3) % 7  # Monday is 0
_BUSY_MONTH = np.array([0.95, 0.9, 1.0, 1.05, 1.0, 0.9, 0.85, 0.9, 1.0, 1.05, 1.35, 1.6])
_BUSY_WEEKDAY = np.array([1.1, 1.05, 1.0, 0.95, 0.85, 0.9, 1.2])
BUSY: NDArray[np.float64] = _BUSY_MONTH[MONTH] * _BUSY_WEEKDAY[_WEEKDAY] * np.linspace(0.9, 1.15, DAYS)
"""How much of the shop's business falls on each day; float64 (DAYS,)."""

HOURS: NDArray[np.float64] = np.array(
    [2, 1, 1, 1, 1, 2, 5, 9, 13, 16, 18, 17, 16, 15, 15, 16, 18, 21, 26, 32, 34, 26, 14, 6], dtype=np.float64
)
"""How much of a day's business falls into each hour; float64 (24,)."""


def day_of(text: str) -> int:
    """Days from the first day of the shop to an ISO date."""
    return (date.fromisoformat(text) - FIRST).days


# Black Friday week, when everything is 15 % off.
SALE = (day_of("2025-11-24"), day_of("2025-11-30"))
