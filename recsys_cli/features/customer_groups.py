"""Features from what the shop knows of customers (country, B2B, size), by naming attributes in recsys.toml.

A version holds no profiles: it holds, for each value that many customers share, how much more these buy of each item
and category than all customers do. Which value a visitor has is told by the request (`user.country=DE`).

    group_lift:NAME        of an item, log of the ratio
    group_category:NAME    the same of its category

Of a small group few sales are known. The ratio is drawn towards 1 by as much as the groups of the attribute are alike:
a gamma prior around what an item's share of all sales foretells, whose shape has the greatest likelihood of all counts
(empirical Bayes; Robbins 1956, Efron and Morris 1973).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import Float32, Int32, Int64, Profiles

_SHAPES = 2.0 ** np.arange(-2, 13)
_ITEMS = 2000  # best sellers by which the prior's shape is found
MEMORY_DAYS = 90.0  # in which groups are counted: longer than popularity's, as there is less of each
UNTOLD = 3  # one in so many customers is learned from as if the page said nothing of them

Groups = tuple[tuple[str, int], ...]  # attributes and the codes of their values, of one visitor


@dataclass(frozen=True)
class Lift:
    """What customers with each value of one attribute buy more than others.

    Parameters
    ----------
    values
        As `Profiles.word` has them.
    item
        float32, shape (len(values), n_items): log of the ratio.
    category
        float32, shape (len(values), categories): the same.
    """

    values: tuple[str, ...]
    item: Float32
    category: Float32

    def of(self, code: NDArray[np.integer], item: Int32, category: Int32) -> tuple[Float32, Float32]:
        """Both ratios of pairs, NaN where the value or the category is not known.

        Parameters
        ----------
        code
            Of each pair the place among `values`, -1 for none of them.
        item, category
            Of each pair.
        """
        both = np.full(len(code), np.nan, np.float32), np.full(len(code), np.nan, np.float32)
        known = code >= 0
        both[0][known] = self.item[code[known], item[known]]
        known &= (category >= 0) & (category < self.category.shape[1])
        both[1][known] = self.category[code[known], category[known]]
        return both


def lifts(
    profiles: Profiles, user: NDArray[np.integer], item: Int32, age: NDArray[np.float64], category: Int32
) -> dict[str, Lift]:
    """Of each attribute what its groups buy more than all customers.

    Parameters
    ----------
    user, item, age
        Of each purchase, customer by customer and oldest first; `age` in days.
    category
        Of each item, -1 for none.
    """
    key = user.astype(np.int64) * len(category) + item
    order = np.argsort(key, kind="stable")
    newest = order[np.append(key[order][1:] != key[order][:-1], True)] if len(order) else order
    user, item, weight = user[newest], item[newest], np.exp(-np.clip(age[newest], 0, 3650) / MEMORY_DAYS)
    of_item = category[item]
    known = of_item >= 0
    found: dict[str, Lift] = {}
    for at, name in enumerate(profiles.names):
        group, n = profiles.codes[user, at], len(profiles.values[at])
        by_item = _log_ratio(user, group, item, weight, (n, len(category)), profiles.buyers)
        parts = user[known], group[known], of_item[known], weight[known]
        by_category = _log_ratio(*parts, (n, int(category.max(initial=-1)) + 1), profiles.buyers)
        found[name] = Lift(profiles.values[at], by_item, by_category)
    return found


def _log_ratio(
    user: NDArray[np.integer],
    group: NDArray[np.integer],
    what: NDArray[np.integer],
    weight: NDArray[np.float64],
    shape: tuple[int, int],
    least: int,
) -> Float32:
    """Log of sales over what is foretold, both drawn together; what fewer than `least` bought there is not told."""
    share = np.bincount(what, weight, minlength=shape[1])
    inside = group >= 0
    place = group[inside].astype(np.int64) * shape[1] + what[inside]
    count = np.bincount(place, weight[inside], minlength=shape[0] * shape[1]).astype(np.float64).reshape(shape)
    foretold = count.sum(axis=1, keepdims=True) * share / max(share.sum(), 1e-12)
    prior = likeliest_shape(count, foretold)
    people = np.unique(user[inside].astype(np.int64) * (shape[0] * shape[1]) + place) % max(shape[0] * shape[1], 1)
    few = np.bincount(people, minlength=shape[0] * shape[1]).reshape(shape) < least
    withhold(count, foretold, few, least)
    return np.asarray(np.log((count + prior) / (foretold + prior)), dtype=np.float32)


def withhold(count: NDArray[np.float64], foretold: NDArray[np.float64], few: NDArray[np.bool_], least: int) -> None:
    """Make counts of fewer than `least` customers tell nothing: whether it was nobody or somebody is the same."""
    # Nothing is known of what would hardly have been wanted; what many would have wanted is not, there.
    count[few] = np.where(foretold[few] < least, foretold[few], 0)


def likeliest_shape(count: NDArray[np.float64], foretold: NDArray[np.float64]) -> float:
    """The gamma prior's shape under which these counts are likeliest (negative binomial), of `_SHAPES`."""
    from scipy.special import gammaln  # here, because servers load this module and never ask

    best = np.argsort(-foretold.sum(axis=0), kind="stable")[:_ITEMS]
    n, rate = count[:, best], foretold[:, best]
    some = rate > 0
    n, rate = n[some], rate[some]
    likely = [
        float((gammaln(n + a) - gammaln(a) + a * np.log(a / (a + rate)) + n * np.log(rate / (a + rate))).sum())
        for a in _SHAPES
    ]
    return float(_SHAPES[int(np.argmax(likely))]) if len(n) else float(_SHAPES[-1])


def told_of(profiles: Profiles | None, users: Int64 | Int32) -> dict[str, NDArray[np.int16]]:
    """The codes of customers by attribute, for learning from them.

    Of one in `UNTOLD` nothing is told: pages do not know everybody, and lists for all customers know nobody, so that
    an order is learned for those as well.
    """
    if profiles is None:
        return {}
    codes = profiles.codes[users].copy()
    codes[np.asarray(users) % UNTOLD == 0] = -1
    return {name: codes[:, at] for at, name in enumerate(profiles.names)}


def groups_of(held: Mapping[str, Lift], user: Mapping[str, str]) -> Groups:
    """What a request says of a visitor, as codes; of attributes and values that are not known, nothing."""
    return tuple(
        (name, lift.values.index(word))
        for name, lift in held.items()
        if (word := Profiles.word(user.get(name, ""))) in lift.values
    )


def as_codes(groups: Groups) -> dict[str, NDArray[np.int16]]:
    """The groups of one visitor as `People` takes them."""
    return {name: np.array([code], np.int16) for name, code in groups}


def documented(held: Mapping[str, Lift]) -> list[list[Any]]:
    """Names and values, for the document of a table."""
    return [[name, list(lift.values)] for name, lift in held.items()]
