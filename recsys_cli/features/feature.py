"""The registry of features: each is declared once, beside the function that computes it.

A feature of an item is a column over all items, one of a customer a column over histories, one of a pair a column over
(history, item) pairs; context features are columns over pairs as well. To add one, write the function in the module
of its group and decorate it: rankers, `recsys features list` and the tests take it from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Group = Literal["item", "customer", "pair", "context"]
AsOf = Literal["moment", "catalogue", "request"]

# Seconds for which values of a group may be served after the moment they were computed at. Items' values are those of
# the version, so they age until the next one; the others are computed from the history at every request.
DAY = 86_400.0
TTL: dict[str, float] = {"item": 14 * DAY, "customer": 0.0, "pair": 0.0, "context": 0.0}


@dataclass(frozen=True)
class Feature:
    """One declared feature.

    Parameters
    ----------
    name
        Unique among all groups.
    group
        What it is a value of.
    kind
        "number", "count", "days", "share" or "flag"; all are float32 and NaN where not known.
    window
        The stretch of time it looks at, in words.
    as_of
        "moment": from events before the moment alone. "catalogue": from the catalogue, which keeps no history, so
        that today's value stands for earlier ones. "request": from the request itself.
    help
        One line.
    compute
        The view of its group to a column, see `item_table.ItemView`, `people.People`, `pair_features.Pairs`.
    learned
        Whether rankers learn from it where only orders are known.
    """

    name: str
    group: Group
    kind: str
    window: str
    as_of: AsOf
    help: str
    compute: Callable[[Any], Any]
    learned: bool = True

    def as_dict(self) -> dict[str, Any]:
        """What `recsys features list` shows."""
        shown = ("name", "group", "kind", "window", "as_of", "help")
        return {name: getattr(self, name) for name in shown} | {"ttl_seconds": TTL[self.group]}


FEATURES: dict[str, Feature] = {}


def declare(
    group: Group, name: str, kind: str, window: str, help: str, *, as_of: AsOf = "moment", learned: bool = True
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register the function below as the feature `name`; see `Feature` for the parameters."""

    def register(compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
        if name in FEATURES:
            raise ValueError(f"feature {name} is declared twice")
        FEATURES[name] = Feature(name, group, kind, window, as_of, help, compute, learned)
        return compute

    return register


def of_group(group: Group) -> tuple[Feature, ...]:
    """The features of a group, in the order they are declared."""
    return tuple(feature for feature in FEATURES.values() if feature.group == group)
