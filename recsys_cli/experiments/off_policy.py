"""What other lists would have been clicked, told from a log of lists that were seen.

A card is clicked when it is looked at and liked: P(click) = chance(place) * interest(item). How likely places are
looked at is told by `ranking.propensities`; where it comes from places that were exchanged by chance
(`ranking.swap_share`), what is worked out here is what the other lists would have led to, as far as the log has shown
their items. Otherwise it is an estimate from what happened to be shown, and says so.

Three estimators (Li et al., KDD 2018, "Offline evaluation of ranking policies with click models"; Swaminathan and
Joachims, NIPS 2015; Dudik et al., Statistical Science 2014):

- *IPS*: each click counts as often as its item would be looked at in its new place against its old one. What was never
  shown counts nothing, so that it is low where lists differ much.
- *self-normalised*: the same over the sum of what it was weighed by; takes what was never shown to be
  liked as what was.
- *doubly robust*: each item's interest from all lists of other visitors, corrected by the weighed difference to what
  happened. Right when either the chances or the interests are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts import choices
from ..identity import load_secret
from ..progress import SILENT, Progress
from ..ranking.propensities import DEEPEST, NONE, SWAPS, Propensities, effective, propensities
from ..ranking.seen import Seen
from ..schema import DAY, Int32, Int64
from ..settings import Settings
from ..store import Snapshot, Store
from ..store.attribution import Windows, attribute
from ..store.seen_lists import any_seen, seen_lists

ROUTE = "/recommend"
_CURVE_DAYS = 120  # before the newest event, of which the chances of places are told
LEAST_CLICKS = 100  # below, nothing is said
_MOST_WEIGHT = 50.0  # more than what is learned from is clipped at: here a few clicks far down spoil an interval alone
_PRIOR = 20.0  # looks that every item begins with, at the mean interest
Float64 = NDArray[np.float64]
_Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    """Clicks in a list, with a 95 % interval over visitors."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(total: Float64, lists: Float64, scale: float = 1.0) -> Estimate:
        """The ratio of two sums over visitors, by the delta method: lists of one visitor are not independent."""
        ratio = float(total.sum() / lists.sum())
        n = len(total)
        spread = float(np.std(total - ratio * lists, ddof=1)) if n > 1 else np.inf
        half = _Z * spread / (abs(float(lists.mean())) * np.sqrt(n))
        return Estimate(scale * ratio, scale * (ratio - half), scale * (ratio + half))

    def as_dict(self) -> dict[str, float | None]:
        return {name: round(v, 6) if np.isfinite(v) else None for name, v in vars(self).items()}


@dataclass(frozen=True)
class Log:
    """Cards that were seen of personal lists since a moment.

    Parameters
    ----------
    seen
        The cards, list by list; of `visitor` the numbers are 0, 1, 2, …
    users
        Code of each visitor in the data set, -1 for those that it does not have.
    chances
        How likely each place is looked at.
    reason
        Why nothing is said, or why it is not causal; empty when it is.
    """

    seen: Seen | None = None
    users: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    chances: Propensities = field(default_factory=Propensities)
    reason: str = "No list of personal recommendations was seen and clicked in the replayed days."

    @property
    def lists(self) -> int:
        """Lists that something is told from; 0 when nothing is."""
        return 0 if self.seen is None else len(np.unique(self.seen.listed))

    @property
    def causal(self) -> bool:
        """Whether places were exchanged by chance, and clicks of those lists say how likely places are looked at."""
        return self.seen is not None and not self.reason

    def estimates(self, codes: Int32 | None) -> dict[str, Any] | None:
        """Clicks in a list, had visitors been shown these instead; None where the log says nothing.

        Parameters
        ----------
        codes
            Item codes, a row for each of `users`.
        """
        if self.seen is None or codes is None:
            return None
        return estimate(self.seen, codes, curves_of(self.seen, self.chances))

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        seen = self.seen
        told: dict[str, Any] = {"lists": self.lists, "reason": self.reason, "visitors": len(self.users)}
        if seen is not None:
            told |= {
                "clicks": int(seen.clicked.sum()),
                "clicks_per_list": round(float(seen.clicked.sum()) / self.lists, 6),
                "ways": {name: self.chances.ways.get(name, NONE) for name in seen.placements},
            }
        return told


def read_log(
    store: Store, settings: Settings, snapshot: Snapshot, since: int, most: int, progress: Progress = SILENT
) -> Log:
    """What was seen of personal lists from `since` (epoch seconds) on, as people allow; of `most` visitors at most."""
    with store.reading() as con:
        begin = min(since, snapshot.data.interactions.end - _CURVE_DAYS * DAY)
        if not any_seen(con, since):
            return Log()
        with progress.stage("Reading what was seen"):
            barred = {name: choice.mode for name, choice in choices.read(settings.artifacts).items()}
            until = int(con.execute("SELECT max(ts) + 1 FROM events").fetchall()[0][0])
            windows = Windows(settings.report.click_days, settings.report.seen_days)
            attribute(con, begin, until, windows, barred=barred, secret=load_secret(settings.db))
            every, mine = (Seen.of(seen_lists(con, route=route), snapshot.data) for route in (None, ROUTE))
    mine = mine.where((mine.ts >= since) & (mine.place > 0) & (mine.item >= 0))
    visitors = np.unique(mine.visitor)
    if len(visitors) > most:
        visitors = np.sort(np.random.default_rng(settings.train.seed).choice(visitors, most, replace=False))
        mine = mine.where(np.isin(mine.visitor, visitors))
    if mine.clicked.sum() < LEAST_CLICKS:
        return Log(reason=f"{int(mine.clicked.sum())} clicks on personal lists were logged in the replayed days; "
                          f"from {LEAST_CLICKS} on, something can be told from them.")  # fmt: skip
    return logged(mine, propensities(every))


def logged(seen: Seen, chances: Propensities) -> Log:
    """A log of these cards."""
    _, first, number = np.unique(seen.visitor, return_index=True, return_inverse=True)
    shown = {seen.placements[code] for code in np.unique(seen.placement)}
    by_chance = all(chances.ways.get(name) == SWAPS for name in shown)
    reason = "" if by_chance else "Places were not exchanged by chance often enough (setting ranking.swap_share)."
    told = Seen(**{**vars(seen), "visitor": number.astype(np.int64)})
    return Log(told, seen.user[first].astype(np.int64), chances, reason)


def curves_of(seen: Seen, chances: Propensities) -> tuple[Float64, Float64]:
    """For each placement and place, the chance that a card of an answered list is looked at, and of one that was seen.

    Both of shape (placements, DEEPEST). The first is the second times how often the place was seen at all.
    """
    flat = np.ones(DEEPEST)
    of_seen = np.stack([np.asarray(chances.curves.get(name, flat)) for name in seen.placements])
    place = np.minimum(seen.place, DEEPEST) - 1
    cell = seen.placement.astype(np.int64) * DEEPEST + place
    reached = np.bincount(cell, minlength=of_seen.size).reshape(of_seen.shape).astype(np.float64)
    reached = np.maximum.accumulate(reached[:, ::-1], axis=1)[:, ::-1]  # further down is never seen more often
    return of_seen * reached / np.maximum(reached[:, :1], 1.0), of_seen


def estimate(seen: Seen, codes: Int32, curves: tuple[Float64, Float64]) -> dict[str, Any]:
    """The three estimates of clicks in a list, with how much of the lists the log has shown.

    Parameters
    ----------
    seen
        Cards; `visitor` numbers the rows of `codes`.
    codes
        The other lists, shape (visitors, k), -1 where one is short.
    curves
        See `curves_of`.
    """
    reach, looks = curves
    old = np.minimum(seen.place, DEEPEST) - 1
    new = _places(codes, seen.visitor, seen.item)
    there = new >= 0
    at = np.minimum(np.maximum(new, 0), DEEPEST - 1)
    ratio = reach[seen.placement, at] / np.maximum(reach[seen.placement, old], 1e-9)
    weight = np.where(there, np.minimum(ratio, _MOST_WEIGHT), 0.0)
    look, clicked = looks[seen.placement, old], seen.clicked.astype(np.float64)
    begin = np.flatnonzero(np.diff(seen.listed, prepend=-1))
    of_list = seen.visitor[begin]
    n = len(codes)

    def by_visitor(values: Float64, who: Int64) -> Float64:
        return np.bincount(who, weights=values, minlength=n).astype(np.float64)

    lists = by_visitor(np.ones(len(begin)), of_list)
    liked = _interests(seen, look, clicked, codes)
    # What each list would be looked at, and clicked, by the interests alone.
    depth = min(codes.shape[1], DEEPEST)
    chance = reach[seen.placement[begin], :depth] * (codes[of_list, :depth] >= 0)
    model = (chance * liked.of_lists[of_list, :depth]).sum(axis=1)
    ips = by_visitor(weight * clicked, seen.visitor)
    off_by = by_visitor(weight * (clicked - look * liked.of_cards), seen.visitor)
    looked = by_visitor(weight * look, seen.visitor)
    places = float(chance.sum() / len(begin))
    return {
        "ips": Estimate.of(ips, lists).as_dict(),
        "self_normalised": Estimate.of(ips, looked, places).as_dict() if looked.any() else None,
        "doubly_robust": Estimate.of(by_visitor(model, of_list) + off_by, lists).as_dict(),
        "shown_share": round(float(looked.sum() / max(chance.sum(), 1e-9)), 6),
        "effective_clicks": round(effective(weight[seen.clicked & there]), 1),
    }


@dataclass(frozen=True)
class _Liked:
    of_cards: Float64
    of_lists: Float64


def _interests(seen: Seen, look: Float64, clicked: Float64, codes: Int32) -> _Liked:
    """How each item is liked, told from lists of the other half of the visitors: no click foresees itself."""
    n_items = int(max(seen.item.max(initial=0), codes.max(initial=0))) + 1
    half = seen.visitor % 2
    table = np.zeros((2, n_items))
    for side in (0, 1):
        other = half != side
        mean = clicked[other].sum() / max(look[other].sum(), 1e-9)
        hits = np.bincount(seen.item[other], weights=clicked[other], minlength=n_items)
        tries = np.bincount(seen.item[other], weights=look[other], minlength=n_items)
        table[side] = (hits + _PRIOR * mean) / (tries + _PRIOR)
    rows = np.arange(len(codes))[:, None] % 2
    return _Liked(table[half, seen.item], np.where(codes >= 0, table[rows, np.maximum(codes, 0)], 0.0))


def _places(codes: Int32, row: Int64, item: Int32) -> Int64:
    """Place (from 0) of each item in its row of `codes`, -1 where it is not there."""
    width = np.int64(max(int(codes.max(initial=0)), int(item.max(initial=0))) + 2)
    there = codes >= 0
    rows, columns = np.nonzero(there)
    key = rows * width + codes[there]
    order = np.argsort(key)
    key, columns = key[order], columns[order]
    asked = row * width + item
    found = np.minimum(np.searchsorted(key, asked), max(len(key) - 1, 0))
    if not len(key):
        return np.full(len(asked), -1, dtype=np.int64)
    return np.where(key[found] == asked, columns[found], -1).astype(np.int64)
