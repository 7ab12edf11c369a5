"""How likely a card is looked at by its place in the list, told from clicks, so that no order is learned from places.

A click needs a look and an interest: P(click) = propensity(place) * interest(visitor, item). Places cannot be told from
interests where the same order is always shown, so they are looked for where it was not:

- *swaps*: lists of which two places were exchanged by chance (setting `ranking.swap_share`; Joachims et al., WSDM
  2017);
- *harvest*: the same item shown to the same visitor at several places, because models, rules, stock and experiments
  change (intervention harvesting; Agarwal et al., WSDM 2019);
- *EM*: where there is too little of both, expectation maximisation with interests told from features (Wang et al., WSDM
  2018), none of which is a score or a rank, because these are what places come from.

Swaps and harvest are groups of cards in which the interest is the same at all places. With a factor for each group, the
likelihood of a Poisson model is that given the clicks of each group (Hausman, Hall and Griliches 1984), and right for
clicks too, because only the mean has to be (Wooldridge 1999).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import Float32, Int64
from . import trees
from .seen import Looked, Seen

DEEPEST = 30  # places told apart; deeper ones are taken as the last
MOST_WEIGHT = 10.0  # a card counts as this many at most: few clicks far down must not decide everything
ENOUGH = 300  # clicks in groups shown at several places, for one placement or for all together
ENOUGH_FOR_EM = 500
SURE = 30  # clicks of a place from which on it stands for itself; the others follow the curve of those
SWAPS, HARVEST, EM, NONE = "swaps", "harvest", "em", "none"
_ROUNDS, _EM_ROUNDS = 200, 12
_EM_TREES: Mapping[str, Any] = {
    "objective": "cross_entropy", "learning_rate": 0.2, "num_leaves": 15, "min_data_in_leaf": 50, "max_bin": 63,
    "deterministic": True, "force_row_wise": True, "num_threads": 1,
}  # fmt: skip

Curve = NDArray[np.float64]  # of the places from 1 to DEEPEST; the first is 1


@dataclass(frozen=True)
class Propensities:
    """Chances that the cards of each place are looked at, against those of the first place.

    Parameters
    ----------
    curves
        By placement.
    ways
        By placement, how it was told: SWAPS, HARVEST, EM or NONE.
    clicks
        By placement, clicks it was told from.
    """

    curves: Mapping[str, Curve] = field(default_factory=dict)
    ways: Mapping[str, str] = field(default_factory=dict)
    clicks: Mapping[str, int] = field(default_factory=dict)

    def weights(self, seen: Seen) -> NDArray[np.float64]:
        """One over the chance of each card, at most MOST_WEIGHT; 1 where the place is not known."""
        flat = np.ones(DEEPEST)
        table = np.stack([self.curves.get(name, flat) for name in seen.placements] or [flat])
        chance = table[seen.placement, np.clip(seen.place, 1, DEEPEST) - 1] if len(seen) else np.zeros(0)
        return np.where(seen.place > 0, 1 / np.maximum(chance, 1 / MOST_WEIGHT), 1.0)

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: by placement how it was told, from how many clicks, and the chances of places."""
        return {
            name: {
                "way": self.ways[name],
                "clicks": self.clicks[name],
                "chances": [round(float(chance), 4) for chance in curve],
            }
            for name, curve in self.curves.items()
        }


def propensities(seen: Seen, looked: Looked | None = None, names: tuple[str, ...] = (), seed: int = 42) -> Propensities:
    """Tell the chances of places from what was seen and clicked.

    Parameters
    ----------
    seen
        All that was seen.
    looked
        Some of it with features of these `names`, for EM.
    """
    known = seen.where(seen.place > 0)
    place = np.minimum(known.place, DEEPEST).astype(np.int64) - 1
    fallback: tuple[Curve, str, int] | None = None
    curves, ways, clicks = {}, {}, {}
    for number, name in enumerate(known.placements):
        here = known.placement == number
        told = _from_groups(known.where(here), place[here])
        if told is None:
            if fallback is None:
                fallback = _from_groups(known, place) or _from_features(looked, names, seed)
            told = fallback
        curves[name], ways[name], clicks[name] = told
    return Propensities(curves, ways, clicks)


def effective(weight: NDArray[np.float64]) -> float:
    """How many clicks of equal weight say as much as these (Kish 1965)."""
    return float(weight.sum() ** 2 / np.square(weight).sum()) if len(weight) else 0.0


def _from_groups(seen: Seen, place: Int64) -> tuple[Curve, str, int] | None:
    """The curve by swaps and by what the same visitor saw at several places; None where that is too little."""
    drawn = (seen.swap != 0) & ((place == 0) | (place == np.minimum(np.abs(seen.swap), DEEPEST) - 1))
    # Of a list of which one of the two places was not seen, the other says nothing.
    pairs = np.bincount(seen.listed[drawn], minlength=int(seen.listed.max(initial=0)) + 1)
    drawn &= pairs[seen.listed] == 2
    by_swap = np.abs(seen.swap[drawn]).astype(np.int64) * len(seen.placements) + seen.placement[drawn]
    rest = ~drawn & (seen.item >= 0)
    n_items = int(seen.item.max(initial=0)) + 1
    by_item = (seen.visitor[rest] * n_items + seen.item[rest]) * len(seen.placements) + seen.placement[rest]
    group = np.unique(by_item, return_inverse=True)[1].astype(np.int64)
    group = np.concatenate([group + int(by_swap.max(initial=0)) + 1, by_swap])
    at = np.concatenate([place[rest], place[drawn]])
    clicked = np.concatenate([seen.clicked[rest], seen.clicked[drawn]])
    told = harvested(group, at, clicked)
    if told is None:
        return None
    swapped = int(seen.clicked[drawn].sum())
    return told[0], SWAPS if 2 * swapped > told[1] else HARVEST, told[1]


def harvested(group: Int64, place: Int64, clicked: NDArray[np.bool_]) -> tuple[Curve, int] | None:
    """The curve of places and the clicks that it was told from; None where these are fewer than ENOUGH.

    Parameters
    ----------
    group
        Cards of the same group would be clicked equally often in the same place.
    place
        From 0.
    """
    cell, at = np.unique(group * DEEPEST + place, return_inverse=True)
    seen = np.bincount(at).astype(np.float64)
    hits = np.bincount(at, weights=clicked.astype(np.float64))
    of_cell = np.unique(cell // DEEPEST, return_inverse=True)[1]
    # Groups that were shown in one place, or never clicked, say nothing of places.
    says = (np.bincount(of_cell)[of_cell] > 1) & (np.bincount(of_cell, weights=hits)[of_cell] > 0)
    where, seen, hits = (cell % DEEPEST)[says], seen[says], hits[says]
    of_cell = np.unique(of_cell[says], return_inverse=True)[1]
    if hits.sum() < ENOUGH:
        return None
    by_place = np.bincount(where, weights=hits, minlength=DEEPEST)
    by_group = np.bincount(of_cell, weights=hits)
    curve = np.ones(DEEPEST)
    for _ in range(_ROUNDS):
        level = by_group / np.bincount(of_cell, weights=seen * curve[where])
        reach = np.bincount(where, weights=seen * level[of_cell], minlength=DEEPEST)
        before, curve = curve, np.divide(by_place, reach, out=curve.copy(), where=(reach > 0) & (by_place > 0))
        curve /= curve[np.argmax(by_place)]
        if np.abs(np.log(curve / before)).max() < 1e-5:
            break
    return _whole(curve, by_place), int(hits.sum())


def _whole(curve: Curve, clicks: NDArray[Any]) -> Curve:
    """The curve with places of few clicks put on the line, in logarithms, through the others; the first place is 1."""
    places = np.arange(1, DEEPEST + 1, dtype=np.float64)
    sure = clicks >= SURE
    if not sure.any():
        return np.ones(DEEPEST)
    slope = 0.0
    if sure.sum() > 1:
        line = np.polyfit(np.log(places[sure]), np.log(curve[sure]), 1, w=np.sqrt(clicks[sure]))
        slope = min(float(line[0]), 0.0)
    # Between sure places and beyond the last one the line goes on from the nearest, so that there is no step.
    nearest = np.abs(np.log(places)[:, None] - np.log(places[sure])[None, :]).argmin(axis=1)
    filled = np.where(sure, curve, curve[sure][nearest] * (places / places[sure][nearest]) ** slope)
    return np.asarray(filled / filled[0], dtype=np.float64)


def _from_features(looked: Looked | None, names: tuple[str, ...], seed: int) -> tuple[Curve, str, int]:
    """The curve by EM; flat where there is too little."""
    clicks = 0 if looked is None else int(looked.seen.clicked.sum())
    if looked is None or clicks < ENOUGH_FOR_EM:
        return np.ones(DEEPEST), NONE, clicks
    some = looked.seen.place > 0
    telling = [number for number, name in enumerate(names) if ":" not in name]
    place = np.minimum(looked.seen.place[some], DEEPEST).astype(np.int64) - 1
    return em(looked.values[some][:, telling], place, looked.seen.clicked[some], seed), EM, clicks


def em(values: Float32, place: Int64, clicked: NDArray[np.bool_], seed: int = 42) -> Curve:
    """The curve of places, with interests told from features by trees.

    Parameters
    ----------
    values
        Features of cards, float32 of shape (cards, features).
    place
        From 0.
    """
    hits = np.bincount(place, weights=clicked.astype(np.float64), minlength=DEEPEST)
    shown = np.maximum(np.bincount(place, minlength=DEEPEST), 1)
    curve = np.clip(hits / shown, 1e-4, None)
    curve = np.clip(curve / max(curve[0], curve.max()), 1e-4, 0.99)
    interest = np.full(len(place), np.clip(clicked.mean() / curve[place].mean(), 0.01, 0.9))
    for _ in range(_EM_ROUNDS):
        look = curve[place]
        unseen = 1 - look * interest
        looked = np.where(clicked, 1.0, look * (1 - interest) / unseen)
        liked = np.where(clicked, 1.0, interest * (1 - look) / unseen)
        curve = np.clip(np.bincount(place, weights=looked, minlength=DEEPEST) / shown, 1e-4, 1.0)
        grown = trees.Trees(trees.grow(values, liked, {**_EM_TREES, "seed": seed}, rounds=25))
        interest = np.clip(1 / (1 + np.exp(-grown.predict(values))), 1e-4, 1 - 1e-4)
        curve = np.clip(curve / curve.max(), 1e-4, 0.9999)
    return _whole(curve, hits)
