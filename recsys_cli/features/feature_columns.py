"""Features side by side: the matrix that rankers learn from and are asked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..schema import Float32, Int32, Int64
from . import context_features, customer_features, item_features, pair_features  # noqa: F401  (they register)
from .context_features import Shown
from .feature import FEATURES
from .item_table import OWN_GROUP
from .own_attributes import CATEGORY_LIFT, LIFT, ages, attribute_of_pairs, is_own
from .pair_features import Pairs
from .people import People


def learned() -> tuple[str, ...]:
    """Names of the features that rankers learn from, in the order they are declared."""
    return tuple(name for name, feature in FEATURES.items() if feature.learned)


def matrix(
    people: People,
    row: Int64,
    item: Int32,
    names: Sequence[str],
    given: Mapping[str, Float32],
    shown: Shown | None = None,
) -> Float32:
    """Features of pairs of a history and an item.

    Parameters
    ----------
    people
        The histories, with the items' values of the moment.
    row, item
        The pairs, shape (pairs,).
    names
        Which features, in the order of the columns.
    given
        Columns that are not of the registry: scores and ranks of the sources.
    shown
        The context, for those who ask for its features.

    Returns
    -------
    float32, shape (pairs, len(names)), NaN where not known.
    """
    pairs, table = Pairs(people, row, item), people.table
    out = np.empty((len(item), len(names)), dtype=np.float32)
    items: list[tuple[int, int]] = []
    fresh = table.fresh(people.now)
    with np.errstate(divide="ignore", invalid="ignore"):
        for place, name in enumerate(names):
            if name in given:
                out[:, place] = given[name]
                continue
            if is_own(name):
                shared = attribute_of_pairs(name)
                if name.startswith((LIFT, CATEGORY_LIFT)):
                    out[:, place] = pairs.lift(name.partition(":")[2])[name.startswith(CATEGORY_LIFT)]
                elif shared in table.groups:
                    out[:, place] = pairs.of_family(f"{OWN_GROUP}{shared}")[0]
                elif name not in table.column or (ages(name) and not fresh):
                    out[:, place] = np.nan
                else:
                    items.append((place, table.column[name]))
                continue
            feature = FEATURES[name]
            if feature.group == "item" and (name not in table.column or (feature.as_of == "moment" and not fresh)):
                out[:, place] = np.nan
            elif feature.group == "item":
                items.append((place, table.column[name]))
            elif feature.group == "customer":
                out[:, place] = feature.compute(people)[row]
            elif feature.group == "pair":
                out[:, place] = feature.compute(pairs)
            else:
                out[:, place] = np.nan if shown is None else feature.compute(shown)
    if items:
        to, column = (list(numbers) for numbers in zip(*items, strict=True))
        out[:, to] = table.values[item][:, column]
    return out
