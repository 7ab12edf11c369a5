"""The shopkeeper's wishes for some items, from one day to another: boost, bury, pin, ban."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import UsageError
from ..schema import ATTRIBUTES, Float32

_ACTIONS = ("boost", "bury", "pin", "ban")
_TARGETS = ("item", "category", "brand", "attribute")
_FACTOR = {"boost": 2.0, "bury": 0.5}


@dataclass(frozen=True)
class Campaign:
    """One wish.

    Parameters
    ----------
    action
        `boost` and `bury` multiply scores, `pin` gives the item a position, `ban` keeps items out.
    target, value
        Which items: `item`, `category`, `brand`, or `attribute` with a value like `colour=red`.
    factor
        For boost above 1, for bury below 1.
    position
        For pin, from 1.
    start, end
        Epoch seconds; in force from `start` and before `end`.
    """

    action: str
    target: str
    value: str
    factor: float = 1.0
    position: int = 1
    start: float = -np.inf
    end: float = np.inf

    @staticmethod
    def of(table: Any, number: int, zone: str = "UTC") -> Campaign:
        """From one table of `[[rules.campaigns]]`, its days those of a time zone.

        Raises
        ------
        UsageError
            Says which table and why.
        """
        where = f"Campaign {number} in [[rules.campaigns]]"
        if not isinstance(table, Mapping):
            raise UsageError(f"{where} must be a table, got {table!r}.", "See the README for an example.")
        unknown = set(table) - {"action", "factor", "position", "from", "until", *_TARGETS}
        if unknown:
            raise UsageError(f"{where} has '{min(unknown)}', which is not known.", "See the README for an example.")
        action = table.get("action")
        if action not in _ACTIONS:
            what = "no action" if action is None else f"the action {action!r}, which is not known"
            raise UsageError(f"{where} has {what}.", f"It is one of {', '.join(_ACTIONS)}.")
        targets = [name for name in _TARGETS if name in table]
        if len(targets) != 1 or (action == "pin" and targets != ["item"]):
            raise UsageError(f"{where} must name one of {', '.join(_TARGETS)}; a pin names an item.", "Fix the table.")
        value = str(table[targets[0]])
        if targets[0] == "attribute" and "=" not in value:
            raise UsageError(
                f"{where}: attribute must be name=value, got {value!r}.", "Write attribute = 'colour=red', say."
            )
        factor = _number(table.get("factor", _FACTOR.get(action, 1.0)), where, "factor", 0.0)
        if (action == "boost" and factor < 1) or (action == "bury" and factor > 1):
            raise UsageError(f"{where}: a factor of {factor:g} does not {action}.", "Above 1 boosts, below 1 buries.")
        position = int(_number(table.get("position", 1), where, "position", 1.0))
        start = _day(table.get("from"), -np.inf, where, zone)
        end = _day(table.get("until"), np.inf, where, zone, after=1)  # "until the 24th" includes the 24th
        return Campaign(action, targets[0], value, factor, position, start, end)

    def runs(self, at: float) -> bool:
        """In force at that moment."""
        return self.start <= at < self.end


def _number(value: Any, where: str, name: str, low: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < 1e6:
        raise UsageError(f"{where}: {name} must be a number of at least {low:g}, got {value!r}.", "Fix the table.")
    return float(value)


def _day(value: Any, default: float, where: str, zone: str, *, after: int = 0) -> float:
    """When a day begins in a time zone, or the one so many days `after` it, which is not always 24 hours later."""
    if value is None:
        return default
    try:
        day = value if isinstance(value, datetime.date) else datetime.date.fromisoformat(str(value))
        day += datetime.timedelta(days=after)
        return datetime.datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp()
    except (ZoneInfoNotFoundError, IsADirectoryError):
        raise UsageError(f"There is no time zone '{zone}'.", "Write rules.timezone as Europe/Berlin, say.") from None
    except (ValueError, OverflowError):
        raise UsageError(f"{where}: '{value}' is not a day.", "Write it as 2026-11-30.") from None


def read_campaigns(tables: Sequence[Any], zone: str = "UTC") -> tuple[Campaign, ...]:
    """All campaigns of the settings.

    Raises
    ------
    UsageError
        One cannot be read, or two pins want the same place at the same time.
    """
    campaigns = tuple(Campaign.of(table, number, zone) for number, table in enumerate(tables, 1))
    pins = [c for c in campaigns if c.action == "pin"]
    for one, other in itertools.combinations(pins, 2):
        if one.position == other.position and one.start < other.end and other.start < one.end:
            raise UsageError(
                f"Two campaigns pin position {one.position} at the same time: {one.value} and {other.value}.",
                "Give one of them another position or other days.",
            )
    return campaigns


@dataclass(frozen=True)
class InForce:
    """The campaigns that run at one moment, worked out for one catalogue.

    Parameters
    ----------
    banned
        Shape (n_items,), or None.
    factor
        float32, shape (n_items,), what scores are multiplied by; or None.
    pins
        Position from 0 to item code.
    until
        Epoch seconds at which another campaign begins or one ends.
    """

    banned: NDArray[np.bool_] | None
    factor: Float32 | None
    pins: dict[int, int]
    until: float


def in_force(
    campaigns: Sequence[Campaign],
    table: pa.Table,
    words: Mapping[str, Any],
    code_of: Mapping[str, int],
    at: float,
    attributes: Mapping[int, str | None],
) -> InForce:
    """What runs at `at` (epoch seconds).

    Parameters
    ----------
    words, code_of
        As the catalogue's.
    attributes
        Of items whose attributes have changed since `table`, by code: JSON.
    """
    banned: NDArray[np.bool_] | None = None
    factor: Float32 | None = None
    pins: dict[int, int] = {}
    n = table.num_rows
    for campaign in (c for c in campaigns if c.runs(at)):
        hit = _hits(campaign, table, words, code_of, attributes)
        if campaign.action == "pin":
            pins.update((campaign.position - 1, int(code)) for code in np.flatnonzero(hit))
        elif campaign.action == "ban":
            banned = hit if banned is None else banned | hit
        else:
            factor = np.ones(n, dtype=np.float32) if factor is None else factor
            factor[hit] *= np.float32(campaign.factor)
    turns = [t for c in campaigns for t in (c.start, c.end) if t > at]
    return InForce(banned, factor, pins, min(turns, default=np.inf))


def _hits(
    campaign: Campaign,
    table: pa.Table,
    words: Mapping[str, Any],
    code_of: Mapping[str, int],
    attributes: Mapping[int, str | None],
) -> NDArray[np.bool_]:
    n = table.num_rows
    hit = np.zeros(n, dtype=np.bool_)
    if campaign.target == "item":
        if campaign.value in code_of:
            hit[code_of[campaign.value]] = True
    elif campaign.target == "attribute":
        name, _, value = campaign.value.partition("=")
        pattern = f'"{re.escape(name)}"\\s*:\\s*"?{re.escape(value)}"?\\s*[,}}]'
        if ATTRIBUTES in table.column_names:
            found = pc.match_substring_regex(table[ATTRIBUTES].cast(pa.string()), pattern)
            hit |= np.asarray(pc.fill_null(found, False).to_numpy(), dtype=np.bool_)
        for code, text in attributes.items():
            hit[code] = re.search(pattern, text or "") is not None
    else:
        hit |= words[campaign.target].any_of((campaign.value,))
    return hit
