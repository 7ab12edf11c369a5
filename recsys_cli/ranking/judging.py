"""The ranker against the first stage, customer by customer, on the newest days."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation import metrics
from ..evaluation.report import Bootstrap
from ..models.support.top_n import contains
from ..schema import Int32, Int64
from ..splitting.holdout import without
from .outcome import NEW, REPEAT
from .past import Candidates
from .ranker import Ranker

DEPTH = 10
MARGIN = 0.01  # share of the first stage's NDCG@10 that the 95 % interval of the gain may reach below zero


@dataclass(frozen=True)
class Verdict:
    """Whether the ranker may order lists of one kind.

    Parameters
    ----------
    on
        It may: it gains on average, and is surely not worse.
    reason
        One sentence.
    first, ranked
        NDCG@10 of both; 0 where nobody could be asked.
    gain, low, high
        Mean difference over the same customers and its 95 % interval.
    users
        Customers asked.
    """

    on: bool
    reason: str
    first: float = 0.0
    ranked: float = 0.0
    gain: float = 0.0
    low: float = 0.0
    high: float = 0.0
    users: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {name: round(v, 6) if isinstance(v, float) else v for name, v in asdict(self).items()}


def judge(ranker: Ranker, asked: Candidates, seed: int) -> dict[str, Verdict]:
    """Verdicts on lists of what is new to a customer, and of everything.

    Parameters
    ----------
    ranker
        Learned before the moment.
    asked
        Who is asked, with the candidates of the first stage.
    """
    lists: dict[tuple[str, str], list[Int32]] = {}
    for block, some in asked.each(served=True):
        by_ranker, _ = ranker.order(block)
        by_first = np.lexsort((block.item, -block.first, block.row))
        for kind in (NEW, REPEAT):
            for name, order in (("first", by_first), ("ranked", by_ranker)):
                kept = order if kind == REPEAT else order[~block.own[order]]
                lists.setdefault((kind, name), []).append(_top(block.row[kept], block.item[kept], len(some)))
    wanted, users = asked.wanted, asked.users
    verdicts: dict[str, Verdict] = {}
    for kind in (NEW, REPEAT):
        hidden = wanted[users] if kind == REPEAT else without(wanted, asked.split.seen())[users]
        relevant = np.diff(hidden.indptr).astype(np.int64)
        some = relevant > 0
        if not some.any():
            verdicts[kind] = Verdict(False, "No customer could be asked.")
            continue
        first, ranked = (
            metrics.ndcg(contains(hidden, np.concatenate(lists[kind, name]))[some], relevant[some], DEPTH)
            for name in ("first", "ranked")
        )
        verdicts[kind] = _verdict(first, ranked, seed)
    return verdicts


def _top(row: Int64, item: Int32, rows: int) -> Int32:
    """The first DEPTH items of each row, padded with -1; rows in order."""
    count = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    top = np.full((rows, DEPTH), -1, dtype=np.int32)
    keep = place < DEPTH
    top[row[keep], place[keep]] = item[keep]
    return top


def _verdict(first: NDArray[np.float64], ranked: NDArray[np.float64], seed: int) -> Verdict:
    lead = Bootstrap(len(first), seed).interval(ranked - first)
    before, after = float(first.mean()), float(ranked.mean())
    on = lead.value > 0 and lead.low >= -MARGIN * before
    word = "is surely not worse" if on else "is not surely better" if lead.value > 0 else "is no better"
    reason = (
        f"With NDCG@10 {after:.4f} it {word} than the first stage ({before:.4f}; "
        f"gain {lead.low:+.4f} to {lead.high:+.4f}, {len(first)} customers)."
    )
    return Verdict(on, reason, before, after, lead.value, lead.low, lead.high, len(first))
