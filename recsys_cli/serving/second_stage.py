"""Features, and the order that a ranker makes of them, for whoever asks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..artifacts import Version
from ..errors import NotFound
from ..features import FeatureStore, ItemTable
from ..features.item_table import ITEM_TABLE
from ..features.people import People as PeopleView
from ..schema import Histories, Int32
from .catalogue import Catalogue
from .request import Request
from .visitor import People


def open_table(version: Version) -> ItemTable | None:
    """Features of a version's items; None for a version older than features.

    Raises
    ------
    CorruptArtifact
    """
    path = version.path / ITEM_TABLE
    return ItemTable.load(path) if path.is_dir() else None


def change(table: ItemTable | None, catalogue: Catalogue, item_id: str) -> None:
    """Take a change of an item that the catalogue has heard of."""
    code = catalogue.code_of.get(item_id)
    if table is not None and code is not None:
        table.change(code, float(catalogue.price[code]))


def feature_store(table: ItemTable | None, catalogue: Catalogue, people: People, histories: Histories) -> FeatureStore:
    """Features by id, from a version and what was heard since.

    Raises
    ------
    NotFound
        The version has none.
    """
    if table is None:
        raise NotFound("The served version has no features.", "Run recsys train, which publishes one that has.")

    def codes(item_ids: Sequence[str]) -> Int32:
        return np.array([catalogue.code_of.get(item_id, -1) for item_id in item_ids], dtype=np.int32)

    def people_of(user_id: str) -> PeopleView:
        past = people.find(Request(user_id=user_id)).past
        return PeopleView(past.as_histories(histories), table, people.now)

    return FeatureStore(table, codes, people_of, lambda: people.now)
