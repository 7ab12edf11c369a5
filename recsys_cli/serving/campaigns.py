"""The shopkeeper's wishes for some items, from one day to another: boost, bury, pin, ban."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError, UsageError
from ..schema import Float32
from .attributes import Attributes
from .filter_masks import Masks
from .filter_tree import FilterError, parse

_ACTIONS = ("boost", "bury", "pin", "ban")
_TARGETS = ("item", "category", "brand", "attribute", "filter")
_FACTOR = {"boost": 2.0, "bury": 0.5}


@dataclass(frozen=True)
class Campaign:
    """One wish.

    Parameters
    ----------
    action
        `boost` and `bury` multiply scores, `pin` gives the item a position, `ban` keeps items out.
    target, value
        Which items: `item`, `category`, `brand`, `attribute` with a value like `colour=red`, or a `filter`.
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
        if targets[0] == "filter":
            _check_filter(value, where)
        factor = _number(table.get("factor", _FACTOR.get(action, 1.0)), where, "factor", 0.0)
        if (action == "boost" and factor < 1) or (action == "bury" and factor > 1):
            raise UsageError(f"{where}: a factor of {factor:g} does not {action}.", "Above 1 boosts, below 1 buries.")
        position = int(_number(table.get("position", 1), where, "position", 1.0))
        start = _day(table.get("from"), -np.inf, where, zone)
        end = _day(table.get("until"), np.inf, where, zone, after=1)  # "until the 24th" includes the 24th
        return Campaign(action, targets[0], value, factor, position, start, end)

    def as_dict(self) -> dict[str, Any]:
        """JSON values: what it does to which items, from when to before when (epoch seconds, null where it is open)."""
        scaled = self.action in _FACTOR
        return {
            "action": self.action,
            "items": f"{self.target} {self.value}",
            "since": int(self.start) if np.isfinite(self.start) else None,
            "until": int(self.end) if np.isfinite(self.end) else None,
            "factor": self.factor if scaled else None,
            "position": self.position if self.action == "pin" else None,
        }

    def runs(self, at: float) -> bool:
        """In force at that moment."""
        return self.start <= at < self.end


def _number(value: Any, where: str, name: str, low: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < 1e6:
        raise UsageError(f"{where}: {name} must be a number of at least {low:g}, got {value!r}.", "Fix the table.")
    return float(value)


def _check_filter(text: str, where: str) -> None:
    try:
        asked = parse(text)
    except FilterError as e:
        raise UsageError(f"{where}: {e.message}", e.hint) from None
    if asked.user:
        raise UsageError(
            f"{where}: its filter uses user.{asked.user[0]}, but a campaign is the same for all customers.",
            "Use it in the filter of a request or a placement.",
        )


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


def _located(table: Any, number: int, zone: str) -> Campaign:
    try:
        return Campaign.of(table, number, zone)
    except UsageError as e:
        raise SettingError(("rules", "campaigns", number), e.message, e.hint) from None


def read_campaigns(tables: Sequence[Any], zone: str = "UTC") -> tuple[Campaign, ...]:
    """All campaigns of the settings.

    Raises
    ------
    UsageError
        One cannot be read, or two pins want the same place at the same time.
    """
    campaigns = tuple(_located(table, number, zone) for number, table in enumerate(tables, 1))
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
    campaigns: Sequence[Campaign], attributes: Attributes, code_of: Mapping[str, int], n: int, at: float
) -> InForce:
    """What runs at `at` (epoch seconds).

    Parameters
    ----------
    attributes, code_of, n
        The catalogue's; `n` items.
    """
    banned: NDArray[np.bool_] | None = None
    factor: Float32 | None = None
    pins: dict[int, int] = {}
    for campaign in (c for c in campaigns if c.runs(at)):
        hit = hits(campaign, attributes, code_of, n)
        if campaign.action == "pin":
            pins.update((campaign.position - 1, int(code)) for code in np.flatnonzero(hit))
        elif campaign.action == "ban":
            banned = hit if banned is None else banned | hit
        else:
            factor = np.ones(n, dtype=np.float32) if factor is None else factor
            factor[hit] *= np.float32(campaign.factor)
    turns = [t for c in campaigns for t in (c.start, c.end) if t > at]
    return InForce(banned, factor, pins, min(turns, default=np.inf))


def hits(campaign: Campaign, attributes: Attributes, code_of: Mapping[str, int], n: int) -> NDArray[np.bool_]:
    """Which items a campaign is about; none where its filter does not fit this catalogue (the doctor says so)."""
    nothing = np.zeros(n, dtype=np.bool_)
    if campaign.target == "item":
        nothing[[code_of[campaign.value]] if campaign.value in code_of else []] = True
        return nothing
    if campaign.target == "filter":
        try:
            return Masks(attributes, n).of(parse(campaign.value), {})
        except FilterError:
            return nothing
    name, value = campaign.target, campaign.value
    if campaign.target == "attribute":
        name, _, value = value.partition("=")
    column = attributes.column(name)
    return nothing if column is None else column.any_of((value.strip(),))
