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

from ..schema import Histories, Interactions
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
_FEWEST_SHARE = 0.02  # of customers with two different products; below it, what models see in others is chance
_POPULAR = "popular"  # the model that serves bestsellers
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


def shows_pairs(seen: Interactions) -> bool:
    """Whether enough customers have to do with at least two different products to learn which belong together."""
    histories = seen.histories
    begins = histories.indptr[:-1][np.diff(histories.indptr) > 0]  # an empty row would take the next one's event
    if not len(begins):
        return not seen.n_users
    several = np.count_nonzero(
        np.minimum.reduceat(histories.item, begins) != np.maximum.reduceat(histories.item, begins)
    )
    return bool(several >= _FEWEST_SHARE * seen.n_users)


def expected(events: int) -> tuple[float, float] | None:
    """Lead over popularity that shops with so many events had; None where it could not be told from chance."""
    reached = [(low, high) for size, low, high in CURVE if size <= events]
    return reached[-1] if reached else None


def standing(events: int, report: Report | None = None, name: str = "", *, pairs: bool = True) -> Standing:
    """Where a shop stands with so many events, and with the model `name` of a report; for `pairs` see `shows_pairs`."""
    usual, lead = expected(events), _lead(report, name)
    counted = f"{events:,} event{'' if events == 1 else 's'}"
    if events < FLOOR:
        sentence = (
            f"{counted} to learn from: below {FLOOR} nobody can tell whether a model predicts more than bestsellers, "
            "so auto serves these, drawn towards the longer past."
        )
        return Standing(events, FLOOR, None, lead, sentence)
    if name == _POPULAR and not pairs:
        sentence = (
            f"{counted} to learn from, but hardly any customer bought or looked at two different products: no model "
            "can tell which belong together, so popular items are served. Clicks would show it: POST /events, or "
            "recsys ingest FILE --event-type view."
        )
        return Standing(events, FLOOR, None, lead, sentence)
    if usual is None:
        sentence = (
            f"{counted} to learn from: in shops of this size the lead over bestsellers may still be due to chance."
        )
        return Standing(events, FLOOR, None, lead, sentence)
    low, high = (f"{100 * share:.0f}" for share in usual)
    sentence = f"{counted} to learn from: in shops of this size models scored {low} to {high} % above bestsellers"
    if lead is not None:
        sentence += f"; this one {_told(lead)}."
    else:
        sentence += "; here popular items are served." if name == _POPULAR else "."
    if events < SETTLED:
        sentence += f" The lead is reliable from about {SETTLED:,} on."
    return Standing(events, FLOOR, usual, lead, sentence)


def _lead(report: Report | None, name: str) -> Interval | None:
    """The lead over popularity as a share of what popularity has."""
    if report is None or _POPULAR not in report.metrics or name == _POPULAR:
        return None
    found = report.differences.get(name, {}).get(_POPULAR, {}).get("ndcg@10")
    floor = report.metrics[_POPULAR]["ndcg@10"].value
    if found is None or floor <= 0 or report.split["users"] < _FEW:
        return None
    return Interval(found.value / floor, found.low / floor, found.high / floor)


def _told(lead: Interval) -> str:
    return f"{100 * lead.value:+.0f} % ({100 * lead.low:+.0f} to {100 * lead.high:+.0f})"
