"""From how many events on a shop gets more than bestsellers: what was measured, and where a shop stands on it.

Small shops were made of large ones: customers drawn at random, with everything they did, until there were so many
events; `tests/benchmarks/bench_curve.py` does it again, and the README has the table. Below `FLOOR` nobody can tell
whether a model foresees more than popularity, so `auto` takes popularity, drawn towards the longer past (see
`support.demand`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..schema import Histories
from .report import Interval, Report

FLOOR = 300  # events that weigh something
SETTLED = 10_000  # from which on both shops were surely better off than with bestsellers
# Events -> lead of `auto` over popularity in NDCG@10 in the two shops measured, the smaller and the larger one.
CURVE: tuple[tuple[int, float, float], ...] = (
    (1_000, 1.13, 1.86),
    (3_000, 0.50, 1.03),
    (10_000, 1.06, 1.34),
    (40_000, 0.83, 1.30),
)
_FEW = 100  # customers judged, below which a lead is mostly chance


@dataclass(frozen=True)
class Standing:
    """Where a shop stands.

    Parameters
    ----------
    events
        That models learn from.
    floor
        `FLOOR`.
    expected
        Lead over popularity of shops of this size, from and to; None where it could not be told from chance.
    lead
        This shop's, with its 95 % interval, as shares of popularity's NDCG@10; None where it was not judged.
    sentence
        In words.
    """

    events: int
    floor: int
    expected: tuple[float, float] | None
    lead: Interval | None
    sentence: str

    @property
    def below(self) -> bool:
        """Whether there is too little to learn from."""
        return self.events < self.floor

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"below": self.below}


def learned_from(histories: Histories) -> int:
    """Events that models learn something good from."""
    return int(np.count_nonzero(histories.kind_weight[histories.kind] > 0))


def expected(events: int) -> tuple[float, float] | None:
    """Lead over popularity that shops with so many events had; None where it could not be told from chance."""
    reached = [(low, high) for size, low, high in CURVE if size <= events]
    return reached[-1] if reached else None


def standing(events: int, report: Report | None = None, name: str = "") -> Standing:
    """Where a shop stands with so many events, and with the model `name` of a report."""
    usual, lead = expected(events), _lead(report, name)
    counted = f"{events:,} event{'' if events == 1 else 's'}"
    if events < FLOOR:
        sentence = (
            f"{counted} to learn from: below {FLOOR} nobody can tell whether a model predicts more than bestsellers, "
            "so auto serves these, drawn towards the longer past."
        )
        return Standing(events, FLOOR, None, lead, sentence)
    if usual is None:
        sentence = (
            f"{counted} to learn from: in shops of this size the lead over bestsellers may still be due to chance."
        )
        return Standing(events, FLOOR, None, lead, sentence)
    low, high = (f"{100 * share:.0f}" for share in usual)
    sentence = f"{counted} to learn from: in shops of this size models scored {low} to {high} % above bestsellers"
    sentence += f"; this one {_told(lead)}." if lead is not None else "."
    if events < SETTLED:
        sentence += f" The lead is reliable from about {SETTLED:,} on."
    return Standing(events, FLOOR, usual, lead, sentence)


def _lead(report: Report | None, name: str) -> Interval | None:
    """The lead over popularity as a share of what popularity has."""
    if report is None or "popular" not in report.metrics or name == "popular":
        return None
    found = report.differences.get(name, {}).get("popular", {}).get("ndcg@10")
    floor = report.metrics["popular"]["ndcg@10"].value
    if found is None or floor <= 0 or report.split["users"] < _FEW:
        return None
    return Interval(found.value / floor, found.low / floor, found.high / floor)


def _told(lead: Interval) -> str:
    return f"{100 * lead.value:+.0f} % ({100 * lead.low:+.0f} to {100 * lead.high:+.0f})"
