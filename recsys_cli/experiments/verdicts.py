"""What an experiment says so far, in numbers that hold however often one looks, and in words."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import duckdb
import numpy as np

from ..artifacts import Artifacts, running
from ..artifacts.running import INTERLEAVED, Experiment
from ..schema import DAY
from ..settings import Settings
from ..store import Store
from ..store import trial_outcomes as trials
from ..store.trial_outcomes import Visitors
from . import statistics as s
from .sales_report import prepare

BROKEN_SPLIT = 1000.0  # evidence against the planned split from which something must be broken
_ENOUGH = 200  # lists of an arm before its guardrails count
_MORE_FALLBACKS = 0.2
_SLOWER, _SLOW = 2.0, 0.05  # times, seconds


@dataclass(frozen=True)
class Verdict:
    """The state of one experiment.

    Parameters
    ----------
    sentence
        For the owner.
    measure
        What `bounds` are of: revenue per visitor (b less a), or the share of lists won by b less one half.
    bounds
        Of the measure; hold at all times together with 95 %.
    winner
        "a", "b", or empty while nothing is decided.
    days_left
        About how many more days it takes, if it goes on like this; None when that is not in sight.
    alarm
        Why a guardrail would end it; empty when none would.
    figures
        Everything else, by arm.
    """

    name: str
    kind: str
    state: str
    arms: tuple[str, str]
    days: float
    sentence: str
    measure: str
    bounds: s.Bounds
    winner: str
    days_left: int | None
    alarm: str
    figures: dict[str, Any] = field(default_factory=dict)
    history: tuple[dict[str, Any], ...] = ()
    share: float = 1.0
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        for name, value in found["bounds"].items():
            found["bounds"][name] = value if math.isfinite(value) else None
        return found


def judge(
    store: Store, artifacts: Artifacts, settings: Settings, one: Experiment, *, now: float | None = None
) -> Verdict:
    """Look at what happened since the experiment began.

    Raises
    ------
    StoreMissing, StoreBusy, StoreError
    """
    until = one.ended_at or int(time.time() if now is None else now)
    with store.reading() as con:
        prepare(con, store, artifacts, settings, one.started_at, until + 1)
        return judged(con, one, until)


def judged(con: duckdb.DuckDBPyConnection, one: Experiment, until: int) -> Verdict:
    """The same on tables that are prepared; see `sales_report.prepare`."""
    days = max((until - one.started_at) / DAY, 1e-6)
    arms = trials.arms_of(con, one.name, one.started_at)
    found = _interleaved(con, one, days) if one.kind == INTERLEAVED else _split(con, one, days)
    alarm = found.pop("alarm") or (_guardrails(one, arms) if one.kind != INTERLEAVED else "")
    found["figures"]["answers"] = arms
    return Verdict(
        one.name, one.kind, one.state, one.arms, round(days, 2), alarm=alarm, history=one.history, share=one.share,
        reason=one.reason, **found,
    )  # fmt: skip


def _interleaved(con: duckdb.DuckDBPyConnection, one: Experiment, days: float) -> dict[str, Any]:
    duels = trials.duels(con, one.name)
    a, b = duels["a"], duels["b"]
    rate = s.rate(b, a)
    bounds = s.Bounds(rate.value - 0.5, rate.low - 0.5, rate.high - 0.5)
    left = s.days_left_of_wins(b, a, days)
    winner = ("b" if bounds.low > 0 else "a") if a + b and bounds.decided else ""
    if not a + b:
        text = "No list of it was clicked yet."
    elif winner:
        won, lost = (b, a) if winner == "b" else (a, b)
        text = f"{_arm(one, winner)} is better: it won {won:,} of {won + lost:,} lists with a click or a sale."
    else:
        text = f"Not decided: {_arm(one, 'b')} won {b:,} of {a + b:,} lists.{_in_days(left)}"
    return {
        "sentence": text, "measure": "lists won by b, less one half", "bounds": bounds, "winner": winner,
        "days_left": left, "alarm": f"{_arm(one, 'b')} loses" if winner == "a" else "", "figures": {"duels": duels},
    }  # fmt: skip


def _split(con: duckdb.DuckDBPyConnection, one: Experiment, days: float) -> dict[str, Any]:
    nobody = Visitors(*(np.zeros(0),) * 4)
    found = trials.visitors(con, one.name, one.started_at)
    a, b = found.get("a", nobody), found.get("b", nobody)
    values = s.without_past(s.winsorised(np.concatenate([a.revenue, b.revenue])), np.concatenate([a.past, b.past]))
    money = s.difference(values[: len(a)], values[len(a) :])
    others = {name: s.difference(getattr(a, name), getattr(b, name)) for name in ("bought", "clicked")}
    odds = s.mismatch((len(a), len(b)))
    winner = ("b" if money.low > 0 else "a") if money.decided and odds <= BROKEN_SPLIT else ""
    n = len(a) + len(b)
    variance = math.nan
    if min(len(a), len(b)) > 1:
        variance = n * (values[: len(a)].var() / len(a) + values[len(a) :].var() / len(b))
    left = s.days_left(money, n, float(variance), days) if n else None
    alarm = ""
    if odds > BROKEN_SPLIT:
        alarm = f"visitors are not split in halves ({len(a):,} and {len(b):,}), so nothing can be concluded"
    elif money.high < 0 or others["bought"].high < 0:
        alarm = f"{_arm(one, 'b')} sells less"
    if odds > BROKEN_SPLIT:
        text = f"Broken: {alarm}."
    elif winner:
        best, other = (("b", "a"), ("a", "b"))[winner == "a"]
        low, high = sorted((abs(money.low), abs(money.high)))
        text = f"{_arm(one, best)} sells {low:,.2f} to {high:,.2f} more per visitor than {_arm(one, other)}."
    elif n < 2 or not math.isfinite(money.low):
        sold = a.revenue.any() or b.revenue.any()
        text = "Too few visitors yet." if sold or n < 2 else f"None of {n:,} visitors has bought anything yet."
    else:
        between = f"between {money.low:+,.2f} and {money.high:+,.2f}"
        text = f"Not decided: per visitor, {_arm(one, 'b')} sells {between} more.{_in_days(left)}"
    figures = {
        "visitors": {"a": len(a), "b": len(b)},
        "revenue_per_visitor": {"a": _mean(a.revenue), "b": _mean(b.revenue)},
        "conversion": {"a": _mean(a.bought), "b": _mean(b.bought), "difference": _shown(others["bought"])},
        "clicked": {"a": _mean(a.clicked), "b": _mean(b.clicked), "difference": _shown(others["clicked"])},
        "split_evidence": odds,
    }
    return {
        "sentence": text, "measure": "revenue per visitor, b less a", "bounds": money, "winner": winner,
        "days_left": left, "alarm": alarm, "figures": figures,
    }  # fmt: skip


def _guardrails(one: Experiment, arms: Mapping[str, Mapping[str, Any]]) -> str:
    a, b = arms.get("a"), arms.get("b")
    if a is None or b is None or min(a["lists"], b["lists"]) < _ENOUGH:
        return ""
    name = _arm(one, "b")
    if b["fallbacks"] - a["fallbacks"] > _MORE_FALLBACKS:
        return f"{b['fallbacks']:.0%} of what {name} shows is only popular, {a['fallbacks']:.0%} of the other"
    if b["seconds"] > _SLOW and b["seconds"] > _SLOWER * a["seconds"]:
        return f"{name} takes {1000 * b['seconds']:.0f} ms, the other {1000 * a['seconds']:.0f}"
    if "popular" not in one.arms and b["items"] < a["items"] / 2:
        return f"{name} shows {b['items']:,} different items, the other {a['items']:,}"
    return ""


def _arm(one: Experiment, letter: str) -> str:
    return f"'{one.arms['ab'.index(letter)]}'"


def _in_days(left: int | None) -> str:
    if left is None:
        return " If there is a difference, it is too small to be detected soon."
    return f" About {left:,} more {'day' if left == 1 else 'days'} if it goes on like this."


def _mean(values: Any) -> float | None:
    return round(float(values.mean()), 6) if len(values) else None


def _shown(bounds: s.Bounds) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in bounds.as_dict().items()}


def watch(store: Store, artifacts: Artifacts, settings: Settings, *, now: float | None = None) -> list[str]:
    """Look at all that run: end those that a guardrail ends, let the others grow; sentences about those that ended.

    Raises
    ------
    StoreBusy, StoreError, DamagedState
    """
    at = time.time() if now is None else now
    told: list[str] = []
    for one in running.read(artifacts.root).active():
        verdict = judge(store, artifacts, settings, one, now=at)
        grown = _grown(_noted(one, verdict, at), at)
        if verdict.alarm:
            told.append(f"The experiment '{one.name}' was stopped: {verdict.alarm}.")
            grown = grown.ended(running.STOPPED, verdict.alarm)
        if grown != one:
            with artifacts.exclusive():
                held = running.read(artifacts.root)
                if held.experiments.get(one.name) == one:  # nobody changed it meanwhile
                    running.write(artifacts.root, held.with_one(grown))
    return told


def all_of(
    store: Store, artifacts: Artifacts, settings: Settings, *, now: float | None = None, ended_days: float = 90.0
) -> list[Verdict]:
    """Verdicts of those that run and of those that ended lately, the newest first.

    Raises
    ------
    StoreMissing, StoreBusy, StoreError, DamagedState
    """
    at = time.time() if now is None else now
    known = running.read(artifacts.root).experiments.values()
    lately = [one for one in known if not one.ended_at or at - one.ended_at < ended_days * DAY]
    found = [judge(store, artifacts, settings, one, now=at) for one in lately]
    return sorted(found, key=lambda v: (v.state != running.RUNNING, v.days))


def _noted(one: Experiment, verdict: Verdict, at: float) -> Experiment:
    """With today's bounds in its history, one entry a day."""
    bounds = verdict.as_dict()["bounds"]
    if any(value is None for value in bounds.values()):
        return one
    day = time.strftime("%Y-%m-%d", time.gmtime(at))
    earlier = tuple(entry for entry in one.history if entry["day"] != day)
    rounded = {name: float(f"{value:.6g}") for name, value in bounds.items()}
    return replace(one, history=(*earlier, {"day": day, **rounded})[-400:])


def _grown(one: Experiment, at: float) -> Experiment:
    """With the share of its next stage, one stage a day."""
    if not one.ramp or one.kind == INTERLEAVED:
        return one
    stage = min(int((at - one.started_at) // DAY), len(running.RAMP) - 1)
    return replace(one, share=max(one.share, running.RAMP[stage]))
