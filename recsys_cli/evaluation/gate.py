"""Whether a candidate may replace the current version: not when the newest days show that it is worse."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .report import Interval, Report

SERVED = "served"
METRIC = "ndcg@10"
_FOUR_TO_ONE = 0.84  # standard errors


@dataclass(frozen=True)
class Decision:
    """The gate's word on one candidate.

    Parameters
    ----------
    promote
        Whether it may be served.
    reason
        One sentence: why, or why not.
    differences
        Compared with whom -> interval of the candidate's lead in NDCG@10, over the same customers.
    """

    promote: bool
    reason: str
    differences: dict[str, dict[str, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def decide(
    report: Report, candidate: str, *, floor: str, served: bool, margin: float, final: Report | None = None
) -> Decision:
    """Let a candidate pass or keep it back.

    It is kept back when it is worse than the served version or the floor, customer by customer: when the 95 % interval
    of the difference lies below zero, or the difference is below `-margin` of the other's value and four to one is not
    chance. Where few came back, a difference of a tenth is a matter of who they were.

    Parameters
    ----------
    report
        Has the candidate, the floor and, if they were compared, the served one under the name SERVED.
    served
        Whether anything is being served; the first model of all always passes.
    margin
        Share of the other's NDCG@10 that the candidate may seem to lack.
    final
        The candidate as it is to be served (fitted on everything), in place of the one fitted on the past.
    """
    value = report.metrics[candidate][METRIC]
    leads = {
        other: report.differences[candidate][other][METRIC]
        for other in (SERVED, floor)
        if other != candidate and other in report.differences[candidate]
    }
    shown = {other: lead.as_dict() for other, lead in leads.items()}
    if not served:
        return Decision(True, "Nothing was served before.", shown)
    for other, lead in leads.items():
        worse = _worse(lead, report.metrics[other][METRIC], margin)
        if worse:
            name = "the served version" if other == SERVED else "popularity"
            return Decision(False, f"Its NDCG@10 of {value.value:.4f} is {worse} {name}.", shown)
    if final is not None and final.metrics[candidate][METRIC].value < 0.8 * value.value:
        fitted = final.metrics[candidate][METRIC].value
        text = f"It is broken: NDCG@10 {fitted:.4f} when fitted on everything, {value.value:.4f} on the past alone."
        return Decision(False, text, shown)
    theirs = {("the served version" if o == SERVED else "popularity"): report.metrics[o][METRIC].value for o in leads}
    # It may be below, by so little that it can be chance.
    least = "not surely worse" if any(value.value < their for their in theirs.values()) else "not worse"
    against = " and ".join(f"{name} ({their:.4f})" for name, their in theirs.items())
    return Decision(True, f"Its NDCG@10 of {value.value:.4f} is {least} than {against or 'before'}.", shown)


def _worse(lead: Interval, theirs: Interval, margin: float) -> str:
    """How much worse, in words; empty when it is not."""
    if lead.high < 0:
        return f"surely below (by {-lead.high:.4f} to {-lead.low:.4f})"
    spread = (lead.high - lead.low) / (2 * 1.96)
    if theirs.value > 0 and lead.value < -margin * theirs.value and lead.value + _FOUR_TO_ONE * spread < 0:
        return f"{-lead.value / theirs.value:.0%} below"
    return ""
