"""Where candidates come from besides the model; each gives items with scores from 0 to 1, best first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .catalogue import Allowed, Catalogue

Found = list[tuple[int, float]]  # item codes with scores, best first

SOURCES = ("together", "neighbours", "content", "trending")

# How much each source counts beside the model's 1, for a basket and for what was just done. Chosen on Online Retail up
# to September 2010 by the orders of October (and on the sample shop, by August and September), then confirmed on the
# orders from November on: one half of an order is given, the other half asked for. NDCG@10 of the model's own list ->
# of the mixed one, 700 orders each (tests/benchmarks/bench_sources.py):
#
#                        October                        from November
#                        guests        customers        guests        customers
#     baskets    als     .236 -> .268  .145 -> .210     .263 -> .291  .149 -> .228
#                ease    .242 -> .279  .176 -> .226     .280 -> .299  .168 -> .230
#                blend   .249 -> .277  .160 -> .223     .261 -> .296  .153 -> .223
#     sessions   als     .105 -> .135  .079 -> .105     .118 -> .142  .089 -> .110
#                ease    .108 -> .133  .092 -> .111     .122 -> .138  .098 -> .110
#                blend   .117 -> .142  .091 -> .117     .128 -> .142  .099 -> .114
#
# All are flat around what is here: half or twice as much of one changes less than 3 %. Trending alone is worth nothing
# that lasts (-1 to +2 %), so its share is small. Customers of whom nothing is new, and strangers, get no mixture:
# neighbours or company of old orders make the model's list worse (-1 to -6 % at .3), trending helps it in one month
# and not in the next, and makes popular lists worse.
BASKET = {"together": 0.8, "neighbours": 0.1, "content": 0.02, "trending": 0.05}
SESSION = {"together": 0.5, "neighbours": 0.6, "content": 0.02, "trending": 0.05}
_LATEST = 3  # items of a session that neighbours are looked up for
NEAR = 50  # neighbours of each
_TRENDING = 50


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


def neighbours(of_each: Iterable[Found], allowed: Allowed) -> Found:
    """Items like any of some, by the greatest likeness, as a share of the best; `of_each` best first."""
    best: dict[int, float] = {}
    for found in of_each:
        for code, likeness in found[:NEAR]:
            if allowed.mask[code] and likeness > best.get(code, 0.0):
                best[code] = likeness
    return _scaled(best)


def trending(shelves: Mapping[str, NDArray[Any]], allowed: Allowed) -> Found:
    """What sells more this week than usual, as a share of the best."""
    order = shelves["trending_order"]
    order = order[allowed.mask[order]][:_TRENDING]
    return _scaled(dict(zip(order.tolist(), shelves["trending"][order].tolist(), strict=True)))


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


def fuse(model: Found, others: Mapping[str, Found], weights: Mapping[str, float]) -> list[tuple[int, float, str]]:
    """One list from several by weighted sums of scores, each source's scaled to its best; what counted most is named.

    Parameters
    ----------
    model
        Scores of any scale; those that are not positive count nothing.
    others
        By name of the source.
    weights
        How much each counts beside the model's 1.
    """
    top = max((score for _, score in model), default=0.0)
    total: dict[int, float] = {}
    part: dict[int, tuple[float, str]] = {}
    for code, score in model:
        total[code] = score / top if top > 0 else 0.0
        part[code] = (total[code], "")
    for name, found in others.items():
        weight = weights[name]
        for code, score in found:
            gain = weight * score
            total[code] = total.get(code, 0.0) + gain
            if gain > part.get(code, (0.0, ""))[0]:
                part[code] = (gain, name)
    order = sorted(total, key=lambda code: (-total[code], code))
    return [(code, total[code], part[code][1]) for code in order if code in part]


def latest(basket: Sequence[int], fresh: Sequence[int]) -> list[int]:
    """The items that neighbours are looked up for: the last of the basket, else of what just happened."""
    return list(basket[::-1][:_LATEST] if basket else fresh[:_LATEST])


def _scaled(best: Mapping[int, float]) -> Found:
    top = max(best.values(), default=1.0)
    return sorted(((code, score / top) for code, score in best.items()), key=lambda pair: (-pair[1], pair[0]))
