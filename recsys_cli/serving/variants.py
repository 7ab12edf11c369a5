"""Which variant of a product somebody knows: answers name that one, where it can still be bought."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..schema import VARIANTS, Histories, Int32, Int64
from .history import Distaste


def known_variants(
    owner: NDArray[np.integer],
    product: NDArray[np.integer],
    number: NDArray[np.integer],
    kind: NDArray[np.uint8],
    distaste: Distaste,
) -> tuple[Int64, Int32, Int32]:
    """The variant of each product that each person bought last, or else looked at last.

    What somebody sent back or disliked counts from the next time they touch it.

    Parameters
    ----------
    owner, product, number, kind
        Events with variants, each owner's oldest first: item codes, numbers as in `Histories.variant`, and types.
        Those of variants that cannot be bought are left out before.

    Returns
    -------
    owners, products and the numbers of their variants, parallel; each owner and product once, ascending.
    """
    at = np.lexsort((number, product, owner))  # stable: the events of a variant stay in the order of time
    owner, product, number, kind = owner[at], product[at], number[at], kind[at]
    begins = np.ones(len(at), dtype=np.bool_)
    begins[1:] = (np.diff(owner) != 0) | (np.diff(product) != 0) | (np.diff(number) != 0)
    group, first = np.cumsum(begins) - 1, np.flatnonzero(begins)
    against = distaste.against[kind]
    left = at > _last(at, group, against, len(first))[group]
    touched = _last(at, group, left, len(first))
    bought = _last(at, group, left & distaste.purchase[kind], len(first))
    owner, product, number = owner[first], product[first], number[first]
    best = np.lexsort((touched, bought, product, owner))
    best = best[touched[best] >= 0]
    owner, product, number = owner[best], product[best], number[best]
    ends = np.ones(len(best), dtype=np.bool_)
    ends[:-1] = (np.diff(owner) != 0) | (np.diff(product) != 0)
    return owner[ends].astype(np.int64), product[ends].astype(np.int32), number[ends].astype(np.int32)


def _last(at: Int64, group: Int64, which: NDArray[np.bool_], n: int) -> Int64:
    """The latest of those events in each of `n` groups, -1 where there is none."""
    found = np.full(n, -1, dtype=np.int64)
    np.maximum.at(found, group[which], at[which])
    return found


@dataclass(frozen=True)
class VariantTable:
    """The variants of a version's products, by product and number.

    Parameters
    ----------
    start
        int64, shape (n_items + 1,): the variants of product i are those from start[i] to start[i + 1].
    told
        The structs of the catalogue's `variants`.
    """

    start: Int64
    told: pa.StructArray

    @staticmethod
    def of(catalogue: pa.Table) -> VariantTable | None:
        """Those of a catalogue, see `Dataset`; None where no item has a parent."""
        if VARIANTS not in catalogue.column_names:
            return None
        lists = catalogue[VARIANTS].combine_chunks()
        length = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        told = pc.list_flatten(lists)
        keys = pa.table({"product": np.repeat(np.arange(len(length)), length), "item_id": told.field("item_id")})
        order = pc.sort_indices(keys, sort_keys=[("product", "ascending"), ("item_id", "ascending")])
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(length, dtype=np.int64)])
        return VariantTable(start, told.take(order))

    @property
    def product(self) -> Int64:
        """The item code of each variant's product."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    def known_to(self, histories: Histories, distaste: Distaste, codes: Int32) -> Int64:
        """Which variants to name in lists.

        Parameters
        ----------
        histories, codes
            Of the same people: what they did, and their lists, -1 where one is short.

        Returns
        -------
        int64, shape of `codes`: places in `told` of variants that the people know and that can be bought, else -1.
        """
        h, nothing = histories, np.full(codes.shape, -1, dtype=np.int64)
        if h.variant is None:
            return nothing
        some = np.flatnonzero(h.variant >= 0)
        place = self.start[h.item[some]] + h.variant[some]
        some = some[self.told.field("buyable").to_numpy(zero_copy_only=False)[place]]
        if not len(some):
            return nothing
        events = h.row_of_event[some], h.item[some], h.variant[some], h.kind[some]
        owner, product, number = known_variants(*events, distaste)
        if not len(owner):
            return nothing
        n_items = len(self.start)
        known = owner * n_items + product
        asked = np.arange(len(codes), dtype=np.int64)[:, None] * n_items + codes
        at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        return np.where((codes >= 0) & (known[at] == asked), self.start[product[at]] + number[at], -1)
