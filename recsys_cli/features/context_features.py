"""Features of the request: the hour, the day, the place on the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .feature import declare


@dataclass(frozen=True)
class Shown:
    """When and where items are shown.

    Parameters
    ----------
    ts
        Epoch seconds by the shop's clock, shape (pairs,).
    position
        Place in the list from 1, NaN where not known, shape (pairs,).
    """

    ts: NDArray[np.int64]
    position: NDArray[np.float64]


@declare("context", "hour", "number", "now", "Hour of the day, 0 to 23 UTC.", as_of="request", learned=False)
def hour(shown: Shown) -> NDArray[Any]:
    return shown.ts // 3600 % 24


@declare("context", "weekday", "number", "now", "Day of the week, Monday is 0.", as_of="request", learned=False)
def weekday(shown: Shown) -> NDArray[Any]:
    return (shown.ts // 86_400 + 3) % 7


@declare("context", "position", "number", "now", "Place in the list, from 1.", as_of="request", learned=False)
def position(shown: Shown) -> NDArray[Any]:
    return shown.position
