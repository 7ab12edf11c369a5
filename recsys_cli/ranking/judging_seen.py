"""The ranker against the first stage on lists that were seen: would what was clicked and bought have stood higher?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..evaluation.report import Bootstrap
from .judging import MARGIN, Verdict
from .ranker import Ranker
from .seen import CLICKED, WORTH, Looked


def judge_seen(ranker: Ranker, looked: Looked, weight: NDArray[np.float64], *, seed: int) -> Verdict:
    """The verdict on lists seen after everything that the ranker was learned from.

    Each card that came to something counts what it is worth times `weight`, one over the chance that it is looked at,
    discounted by its place in either order (Joachims et al., WSDM 2017), so that what was shown far down counts as if
    it had had its chance.

    Parameters
    ----------
    looked
        The cards, with the features of `ranker.names`.
    weight
        Parallel to the cards.
    """
    seen = looked.seen
    came = seen.outcome >= CLICKED
    if not came.any():
        return Verdict(False, "Nothing was clicked in the newest days.")
    worth = np.where(came, weight * WORTH[np.maximum(seen.outcome, 0)], 0.0)
    first = _gain(looked, looked.first, worth)
    ranked = _gain(looked, ranker.scores(looked.values), worth)
    lead = Bootstrap(len(first), seed).interval(ranked - first)
    before, after = float(first.mean()), float(ranked.mean())
    on = lead.value > 0 and lead.low >= -MARGIN * before
    word = "is surely not worse" if on else "is not surely better" if lead.value > 0 else "is no better"
    reason = (
        f"On lists that were seen it {word} than the first stage (discounted gain {before:.4f} to {after:.4f}; "
        f"gain {lead.low:+.4f} to {lead.high:+.4f}, {len(first)} visitors)."
    )
    return Verdict(on, reason, before, after, lead.value, lead.low, lead.high, len(first))


def _gain(looked: Looked, score: NDArray[np.floating], worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each visitor who clicked anything, their part of the discounted gain; the mean is that of all, 1 at most."""
    seen = looked.seen
    order = np.lexsort((seen.item, -score, seen.listed))
    begin = np.flatnonzero(np.diff(seen.listed[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(begin, np.diff(np.append(begin, len(order))))
    gain = worth[order] / np.log2(place + 2)
    visitor = np.unique(seen.visitor[order], return_inverse=True)[1]
    whole = np.bincount(visitor, weights=worth[order])
    asked = whole > 0
    return np.asarray(np.bincount(visitor, weights=gain)[asked] / whole[asked].mean(), dtype=np.float64)
