"""Popularity among customers of one kind, for those of whom nothing is known but that: by country, B2B, size.

Of a segment few sales are known. An item's sales there are drawn towards what its share of all sales foretells, by as
much as the segments of the attribute are alike: a gamma prior around that, whose shape has the greatest likelihood of
all counts (empirical Bayes; Robbins 1956, Efron and Morris 1973). Where segments do not differ, popularity comes out.
Whether it is better is asked of customers who came for the first time in the newest days, attribute by attribute, and
only what surely is goes into a version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation import metrics as m
from ..evaluation.report import Bootstrap, Interval
from ..features.customer_groups import MEMORY_DAYS, likeliest_shape, withhold
from ..models.support.demand import different, popularity
from ..models.support.top_n import contains
from ..schema import Dataset, Interactions, Profiles
from ..splitting.holdout import FEW_USERS, time_split
from ..splitting.usable_time import usable_time
from .shelves import Shelves, choose_tau

TOP = 300  # items of a segment that a version holds
_K = 10


@dataclass(frozen=True)
class Judged:
    """One attribute, asked of customers who came for the first time.

    Parameters
    ----------
    attribute
        Its name in the profiles.
    values
        How many of its values are segments.
    customers
        New customers with such a value, by whom it was judged.
    ndcg, popular
        NDCG@10 of what sells in their segment, and of what sells.
    lead
        The difference with its 95 % interval; None where too few came.
    used
        Whether newcomers get it: it is surely better.
    """

    attribute: str
    values: int
    customers: int
    ndcg: float = 0.0
    popular: float = 0.0
    lead: Interval | None = None
    used: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON values all through."""
        return {**vars(self), "lead": self.lead.as_dict() if self.lead else None}


def judge(data: Dataset, profiles: Profiles, *, window_days: float, seed: int, least: int) -> list[Judged]:
    """Every attribute against popularity, on those who came for the first time in the newest days; best lead first.

    Parameters
    ----------
    window_days
        As in `splitting.holdout`. Where times are not reliable nobody came first, and nothing is found.
    least
        See `segments`.
    """
    if not profiles.names or not usable_time(data.interactions.histories):
        return []
    split = time_split(data, window_days)
    past = split.train.interactions
    if not past.histories.n_events:
        return []
    wanted = split.wanted(repeat=True)
    new = np.flatnonzero((np.diff(past.histories.indptr) == 0) & (np.diff(wanted.indptr) > 0))
    popular = popularity(past, choose_tau(past))
    floor = np.argsort(-popular, kind="stable")[:_K].astype(np.int32)
    found = []
    for at, name in enumerate(profiles.names):
        who = new[profiles.codes[new, at] >= 0]
        if len(who) < FEW_USERS:
            found.append(Judged(name, len(profiles.values[at]), len(who)))
            continue
        lists = _best(segments(past, profiles, at, popular, least), _K)[profiles.codes[who, at]]
        asked = wanted[who]
        relevant = np.diff(asked.indptr).astype(np.int64)
        mine, theirs = (
            m.ndcg(contains(asked, items), relevant, _K) for items in (lists, np.tile(floor, (len(who), 1)))
        )
        lead = Bootstrap(len(who), seed).interval(mine - theirs)
        values = len(profiles.values[at]), len(who), float(mine.mean()), float(theirs.mean())
        found.append(Judged(name, *values, lead, lead.low > 0))
    return sorted(found, key=lambda one: -(one.lead.value if one.lead else -np.inf))


def segments(
    data: Interactions, profiles: Profiles, at: int, popular: NDArray[np.floating], least: int
) -> NDArray[np.float64]:
    """How much each item sells in each segment of an attribute, float64 of shape (values, n_items).

    Popularity, times the segment's sales of the item over what is foretold, both drawn together; see the module.

    Parameters
    ----------
    least
        Customers of a segment who must have wanted an item for its count there to be told (privacy.min_customers):
        whether fewer did or nobody makes no difference, since lists and their scores are public.
    """
    h, n_values = data.histories, len(profiles.values[at])
    pick = different(data)
    weight = np.maximum(h.kind_weight, 0)[h.kind[pick]] * np.exp(-_age(data, pick) / MEMORY_DAYS)
    segment, item = profiles.codes[h.row_of_event[pick], at].astype(np.int64), h.item[pick]
    inside = segment >= 0
    place = segment[inside] * data.n_items + item[inside]
    flat: NDArray[np.float64] = np.bincount(place, weight[inside], minlength=n_values * data.n_items).astype(np.float64)
    count = flat.reshape(n_values, data.n_items)
    share = np.bincount(item, weight, minlength=data.n_items)
    share = share / max(share.sum(), 1e-12)
    foretold = count.sum(axis=1, keepdims=True) * share
    shape = likeliest_shape(count, foretold)
    pair = np.unique(h.row_of_event[pick][inside].astype(np.int64) * data.n_items + item[inside])
    place = profiles.codes[pair // data.n_items, at].astype(np.int64) * data.n_items + pair % data.n_items
    few = np.bincount(place, minlength=n_values * data.n_items).reshape(n_values, data.n_items) < least
    withhold(count, foretold, few, least)
    return np.asarray(popular * (count + shape) / (foretold + shape), dtype=np.float64)


def _age(data: Interactions, pick: NDArray[np.integer]) -> NDArray[np.float64]:
    """Days before the newest event, at most ten years: what is older weighs nothing either way."""
    return np.asarray(np.clip((data.end - data.histories.ts[pick]) / 86_400, 0, 3650), dtype=np.float64)


def _best(scores: NDArray[np.float64], n: int) -> NDArray[np.int32]:
    """Codes of the best n items of each row, best first; ties by lower code."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :n].astype(np.int32)


def newcomer_shelves(
    data: Interactions, profiles: Profiles, judged: Sequence[Judged], popular: NDArray[np.floating], least: int
) -> Shelves:
    """The segments of attributes that are used, for the engine; empty where none is.

    Returns
    -------
    dict
        segment_names uint8: JSON, a list of [attribute, value], most telling attribute first; segment_item int32 and
        segment_score float32, each (segments, n): the best items of each and how much they sell there.
    """
    return _shelves(data, profiles, [one.attribute for one in judged if one.used], popular, least)


def made_again(
    data: Interactions,
    profiles: Profiles | None,
    version: Mapping[str, NDArray[Any]],
    popular: NDArray[np.floating],
    least: int,
) -> Shelves:
    """The segments of the attributes that a version uses, from what is left after an erasure.

    Parameters
    ----------
    version
        The shelves of the version.
    least
        See `segments`.
    """
    if profiles is None or "segment_names" not in version:
        return {}
    used = dict.fromkeys(attribute for attribute, _ in json.loads(bytes(version["segment_names"])))
    return _shelves(data, profiles, [name for name in used if name in profiles.names], popular, least)


def _shelves(
    data: Interactions, profiles: Profiles, used: Sequence[str], popular: NDArray[np.floating], least: int
) -> Shelves:
    """The segments of the attributes `used`, as `newcomer_shelves` gives them."""
    names: list[list[str]] = []
    items, scores = [], []
    for attribute in used:
        at = profiles.names.index(attribute)
        found = segments(data, profiles, at, popular, least)
        best = _best(found, min(TOP, data.n_items))
        names += [[attribute, value] for value in profiles.values[at]]
        items.append(best)
        scores.append(np.take_along_axis(found, best, axis=1).astype(np.float32))
    if not names:
        return {}
    blob = np.frombuffer(json.dumps(names, ensure_ascii=False).encode(), dtype=np.uint8)
    return {"segment_names": blob, "segment_item": np.concatenate(items), "segment_score": np.concatenate(scores)}


def kept(previous: Mapping[str, NDArray[Any]] | None) -> Shelves:
    """The segments of the version that one grows from: a day's sales do not change what countries buy."""
    return {name: array for name, array in (previous or {}).items() if name.startswith("segment_")}
