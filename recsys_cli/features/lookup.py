"""Looking features up by id, as a feature store is asked: what a version knows, with what was heard since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import NotFound
from ..schema import Float32, Histories, Int32
from .context_features import Shown
from .feature import FEATURES, of_group
from .feature_columns import matrix
from .item_table import ItemTable
from .own_attributes import described
from .people import People

Values = dict[str, float | None]  # by name of the feature; None where not known


@dataclass(frozen=True)
class Rows:
    """Features of one customer with several items.

    Parameters
    ----------
    item_ids
        The items that are known, in the order asked.
    names
        The columns.
    values
        float32, shape (len(item_ids), len(names)), NaN where not known.
    unknown
        Ids of items that are not known.
    """

    item_ids: list[str]
    names: tuple[str, ...]
    values: Float32
    unknown: list[str]

    def as_dicts(self) -> list[Values]:
        """One mapping for each item."""
        return [_plain(self.names, row) for row in self.values]


class FeatureStore:
    """Features of the customers and items of one version. Not for several threads at a time.

    Parameters
    ----------
    table
        The version's.
    codes
        Item ids to codes, -1 for those not known.
    people_of
        A customer's id to their history, as one row, with what was heard since the version.
    clock
        Epoch seconds that ages are counted from, by the shop's clock.
    """

    def __init__(
        self,
        table: ItemTable,
        codes: Callable[[Sequence[str]], Int32],
        people_of: Callable[[str], People],
        clock: Callable[[], int],
    ) -> None:
        self.table = table
        self._codes = codes
        self._people_of = people_of
        self._clock = clock

    def get_user_features(self, user_id: str) -> Values:
        """Features of a customer; those of an empty history for somebody unknown."""
        people, features = self._people_of(user_id), of_group("customer")
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.array([feature.compute(people)[0] for feature in features], dtype=np.float32)
        return _plain(tuple(feature.name for feature in features), values)

    def get_item_features(self, item_id: str) -> Values:
        """Features of an item.

        Raises
        ------
        NotFound
            No such item.
        """
        return self._rows(_nobody(self.table, self._clock()), [item_id], self._names("item"), strict=True).as_dicts()[0]

    def batch_get(self, user_id: str, item_ids: Sequence[str], names: Sequence[str] = ()) -> Rows:
        """Features of a customer, of items, and of each of these pairs.

        Parameters
        ----------
        names
            Which features; all of them when empty.
        """
        return self._rows(self._people_of(user_id), item_ids, tuple(names) or (*FEATURES, *self.table.own))

    def compute_interaction(self, user_id: str, item_id: str) -> Values:
        """Features of a customer and an item together.

        Raises
        ------
        NotFound
            No such item.
        """
        return self._rows(self._people_of(user_id), [item_id], self._names("pair"), strict=True).as_dicts()[0]

    def _names(self, group: str) -> tuple[str, ...]:
        own = (name for name in self.table.own if described(name)["group"] == group)
        return (*(name for name, feature in FEATURES.items() if feature.group == group), *own)

    def _rows(self, people: People, item_ids: Sequence[str], names: tuple[str, ...], *, strict: bool = False) -> Rows:
        codes = self._codes(item_ids)
        known = codes >= 0
        missing = [item_id for item_id, there in zip(item_ids, known, strict=True) if not there]
        if missing and strict:
            raise NotFound(f"There is no item '{missing[0]}'.", "New items are known after the next update.")
        ids = [item_id for item_id, there in zip(item_ids, known, strict=True) if there]
        codes = codes[known]
        shown = Shown(np.full(len(codes), self._clock()), np.full(len(codes), np.nan))
        values = matrix(people, np.zeros(len(codes), np.int64), codes, names, {}, shown)
        return Rows(ids, names, values, missing)


def _nobody(table: ItemTable, now: int) -> People:
    return People(Histories.of([[]]), table, now)


def _plain(names: Sequence[str], values: Float32) -> Values:
    return {name: None if np.isnan(v) else round(float(v), 6) for name, v in zip(names, values, strict=True)}
