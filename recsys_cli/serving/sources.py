"""Where candidates come from besides the model; each gives items with scores from 0 to 1, best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .catalogue import Allowed, Catalogue

Found = list[tuple[int, float]]  # item codes with scores, best first

# How much a source counts beside the model's 1, when something just happened or a basket is given.
WEIGHTS = {"together": 0.5, "neighbours": 0.3, "content": 0.02}
_LATEST = 3  # items of a session that neighbours are looked up for


def together(shelves: Mapping[str, NDArray[Any]], items: Sequence[int], allowed: Allowed) -> Found:
    """What is in the same orders as these items: the largest lift with any of them, as a share of the best."""
    best: dict[int, float] = {}
    for item in items:
        codes = shelves["together_item"][item]
        pairs = zip(codes.tolist(), shelves["together_lift"][item].tolist(), strict=True)
        for code, lift in pairs:
            if code >= 0 and allowed.mask[code] and lift > best.get(code, 0.0):
                best[code] = lift
    return _scaled(best)


def content(catalogue: Catalogue, new: NDArray[np.int32], liked: Sequence[int], allowed: Allowed, n: int) -> Found:
    """Items nobody bought yet, from the categories of what was liked, newest first.

    Parameters
    ----------
    new
        Codes of items without a sale, newest first.
    liked
        Item codes, the latest first.
    """
    category = catalogue.words["category"].code
    wanted = np.unique(category[list(liked)])
    wanted = wanted[wanted >= 0]
    if not len(wanted) or not len(new):
        return []
    fits = new[np.isin(category[new], wanted) & allowed.mask[new]][:n]
    return [(code, 1 - place / (n + 1)) for place, code in enumerate(fits.tolist())]


def fuse(model: Found, others: Mapping[str, Found]) -> list[tuple[int, float, str]]:
    """One list from several by weighted sums of scores, each source's scaled to its best; what counted most is named.

    Parameters
    ----------
    model
        Scores of any scale; those that are not positive count nothing.
    others
        By name of the source, see `WEIGHTS`.
    """
    top = max((score for _, score in model), default=0.0)
    total: dict[int, float] = {}
    part: dict[int, tuple[float, str]] = {}
    for code, score in model:
        total[code] = score / top if top > 0 else 0.0
        part[code] = (total[code], "")
    for name, found in others.items():
        weight = WEIGHTS[name]
        for code, score in found:
            gain = weight * score
            total[code] = total.get(code, 0.0) + gain
            if gain > part.get(code, (0.0, ""))[0]:
                part[code] = (gain, name)
    order = sorted(total, key=lambda code: (-total[code], code))
    return [(code, total[code], part[code][1]) for code in order if code in part]


def latest(fresh: Sequence[int]) -> list[int]:
    """The items of what just happened that neighbours are looked up for."""
    return list(fresh[:_LATEST])


def _scaled(best: Mapping[int, float]) -> Found:
    top = max(best.values(), default=1.0)
    return sorted(((code, score / top) for code, score in best.items()), key=lambda pair: (-pair[1], pair[0]))
