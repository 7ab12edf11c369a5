"""What came of learning a ranker: whether it is on, and why not. Light, for those who only read a manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..artifacts.versions import OPTIONAL, Version
from . import trees

if TYPE_CHECKING:
    from .judging import Verdict
    from .ranker import Ranker

RANKER = OPTIONAL  # folder of a version, and key of its manifest
LIGHTGBM, DLRM = "lightgbm", "dlrm"  # what a ranker is made of, as the setting ranking.model
PENDING = "pending"  # in a manifest: a ranker was there, and is to be learned again
LEAST_CLICKS = 500  # lists with a click, from which on they are learned from
NEW, REPEAT = "new", "repeat"  # lists of what a customer does not have yet, and of everything


@dataclass(frozen=True)
class Outcome:
    """What came of learning.

    Parameters
    ----------
    ranker
        None when it is off for every kind of list.
    reason
        Why it is off, or what it gains, in a sentence.
    verdicts
        By kind of list; empty when nothing was learned.
    seconds
        What it took, of which `fitting` went into fitting the first stage at past moments.
    cpu, fitting_cpu
        The same in CPU seconds, which a busy machine does not change.
    clicks
        What was learned from what was seen: lists, clicks, how many of equal weight say as much, propensities, and the
        verdict on the newest lists; empty where nothing was.
    heads
        By name how well each foretells the newest days, see `calibration.foretold`.
    rivals
        Mean gain in NDCG@10 over the kinds of lists, by what a ranker is made of, where several were learned.
    """

    ranker: Ranker | None
    reason: str
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    seconds: float = 0.0
    fitting: float = 0.0
    cpu: float = 0.0
    fitting_cpu: float = 0.0
    clicks: Mapping[str, Any] = field(default_factory=dict)
    heads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rivals: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self, until: int = 0) -> dict[str, Any]:
        """For the manifest; `until` is the shop's time (epoch seconds) at which it was learned."""
        return {
            "until": until,
            "model": self.ranker.kind if self.ranker is not None else "",
            "on": [kind for kind in (NEW, REPEAT) if self.ranker is not None and self.ranker.on(kind)],
            "reason": self.reason,
            "verdicts": {kind: verdict.as_dict() for kind, verdict in self.verdicts.items()},
            "seconds": round(self.seconds, 1),
            "fitting_seconds": round(self.fitting, 1),
            "cpu_seconds": round(self.cpu, 1),
            "fitting_cpu_seconds": round(self.fitting_cpu, 1),
            "clicks": dict(self.clicks),
            "heads": dict(self.heads),
            "rivals": {kind: round(gain, 6) for kind, gain in self.rivals.items()},
        }


def told(found: Mapping[str, Any]) -> str:
    """What a version's manifest says of its ranker, in a sentence or two; see `Outcome.as_dict`."""
    words = {NEW: "of new items", REPEAT: "with repeats"}
    on = [
        f"{words[kind]} (NDCG@10 {verdict['first']:.4f} -> {verdict['ranked']:.4f})"
        for kind, verdict in found.get("verdicts", {}).items()
        if verdict["on"]
    ]
    if found.get("on") and on:
        return f"on for lists {' and '.join(on)}"
    return f"off: {found.get('reason', 'the version was made without one.')}"


def rivals_told(found: Mapping[str, Any]) -> str:
    """Which of several kinds of ranker was taken, by `Outcome.rivals`; empty where one was learned."""
    gains = found.get("rivals") or {}
    if not gains:
        return ""
    both = ", ".join(f"{kind} {gain:+.4f}" for kind, gain in gains.items())
    return f"Mean gain by what learns: {both}. {found.get('model') or 'None'} is used."


_WAYS = {
    "swaps": "places exchanged by chance",
    "harvest": "items shown to the same visitors at several places",
    "em": "features of items and visitors (EM)",
    "none": "nothing: there are too few clicks, and all places count alike",
}


def clicks_told(found: Mapping[str, Any]) -> str:
    """What was learned from lists that were seen, by `Outcome.clicks`, in lines; empty where nothing was."""
    if not found:
        return ""
    verdict = found["verdict"]
    lines = [
        f"From {found['lists']:,} seen lists with {found['clicks']:,} clicks, which weigh as much as "
        f"{found['effective_clicks']:,.0f} of equal weight. {verdict['reason']}"
    ]
    for placement, told_by in found["propensities"].items():
        chances = " ".join(f"{chance:.2f}" for chance in told_by["chances"][:10])
        lines.append(f"Places 1 to 10 of {placement} are looked at {chances} (by {_WAYS[told_by['way']]}).")
    if not found["propensities"]:
        lines.append("All places count alike (--no-ipw).")
    return "\n".join(lines)


def due(found: Mapping[str, Any] | None, now: int, days: float, clicked: Callable[[], int] = lambda: 0) -> str:
    """Why the order should be learned again at `now`, by what a manifest says; empty when it should not.

    Where the gate could not even ask anybody, or there is no LightGBM, the next training is early enough; but where
    there were too few orders, clicks may have become enough meanwhile: `clicked` counts the lists that have one.
    """
    age = (now - (found or {}).get("until", 0)) / 86_400
    if not found or not 0 < days <= age:
        return ""
    if found.get(PENDING):
        return "the model was trained again without one"
    if found.get("verdicts"):
        return f"the order of candidates was learned {age:.1f} days ago by the shop's clock"
    if not trees.available() or found.get("clicks") or (lists := clicked()) < LEAST_CLICKS:
        return ""
    return f"{lists} lists with a click are logged"


def unusable(version: Version) -> tuple[str, str] | None:
    """Why a ranker that the gate lets order lists cannot be used here, and what fixes it."""
    found = version.manifest.get(RANKER) or {}
    if not found.get("on"):
        return None
    if found.get("model", LIGHTGBM) == LIGHTGBM and not trees.available():
        return "LightGBM is not installed", trees.INSTALL
    return None if version.intact(RANKER) else ("Its files are not as published", "Run recsys train --ranker")


def off(reason: str) -> Outcome:
    """Nothing was learned, because of this."""
    return Outcome(None, reason)
