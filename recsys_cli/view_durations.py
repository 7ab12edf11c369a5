"""How long a view took, and what that makes of its weight: more the longer it was, up to twice.

A view of d seconds weighs 2 d / (d + h) times what a view weighs whose duration is not known, where h is the setting
`events.view_seconds`: nothing much when it was left at once, the same after h seconds, and never more than twice. In
eighths, and at least one of them: a history then holds a view as one of sixteen types of event that share the name
`view` and differ in weight, and whatever learns from weights of types learns from durations.
"""

from __future__ import annotations

from .schema import VIEW

LONGEST_MS = 86_400_000  # a day; what is longer is a tab that was forgotten, or not a duration
_PARTS = 8
_MOST = 2 * _PARTS


def level(duration_ms: int | None, seconds: float) -> int:
    """The factor of a view's weight, in eighths from 1 to 16; 8 where it has no duration or durations do not count.

    Parameters
    ----------
    duration_ms
        How long it took, in milliseconds.
    seconds
        h of the curve, see above; 0 when durations do not count.
    """
    if duration_ms is None or not seconds or not 0 <= duration_ms <= LONGEST_MS:
        return _PARTS
    return max(1, int(_MOST * duration_ms / (duration_ms + seconds * 1000) + 0.5))


def level_sql(seconds: float) -> str:
    """SQL over events: what `level` says of each."""
    if not seconds:
        return str(_PARTS)
    share = f"{_MOST}.0 * duration_ms / (duration_ms + {float(seconds) * 1000!r})"
    counts = f"event_type = '{VIEW}' AND duration_ms BETWEEN 0 AND {LONGEST_MS}"
    return f"CASE WHEN {counts} THEN greatest(1, floor({share} + 0.5)::INTEGER) ELSE {_PARTS} END"


def with_levels(kinds: tuple[str, ...], seconds: float) -> list[tuple[str, int]]:
    """The types that histories hold, each with its level: those given at 8, then `view` at all others."""
    found = [(kind, _PARTS) for kind in kinds]
    if seconds and VIEW in kinds:
        found += [(VIEW, n) for n in range(1, _MOST + 1) if n != _PARTS]
    return found


def factor(level: int) -> float:
    """What the weight of a type is multiplied by."""
    return level / _PARTS
