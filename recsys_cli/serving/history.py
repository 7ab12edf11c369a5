"""What the visitor did, from the version and from events heard since."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.base import ModelConfig
from ..schema import DAY, LIKE, PURCHASE, REFUND, Float32, Histories, Int32, Int64


@dataclass(frozen=True, slots=True)
class Past:
    """One history, oldest first; the arrays of `Histories` for a single row."""

    item: Int32
    ts: Int64
    kind: NDArray[np.uint8]
    qty: Float32

    def __len__(self) -> int:
        return len(self.item)

    def then(self, later: list[tuple[int, int, int, float]]) -> Past:
        """With later events, each (item code, epoch seconds, kind, quantity), at the end."""
        if not later:
            return self
        item, ts, kind, qty = zip(*later, strict=True)
        return Past(
            np.concatenate([self.item, np.array(item, dtype=np.int32)]),
            np.concatenate([self.ts, np.array(ts, dtype=np.int64)]),
            np.concatenate([self.kind, np.array(kind, dtype=np.uint8)]),
            np.concatenate([self.qty, np.array(qty, dtype=np.float32)]),
        )

    def joined(self, other: Past) -> Past:
        """With another history of the same person, in the order of time."""
        ts = np.concatenate([self.ts, other.ts])
        order = np.argsort(ts, kind="stable")
        return Past(
            np.concatenate([self.item, other.item])[order],
            ts[order],
            np.concatenate([self.kind, other.kind])[order],
            np.concatenate([self.qty, other.qty])[order],
        )

    def first(self, n: int) -> Past:
        """The oldest `n` events."""
        return Past(self.item[:n], self.ts[:n], self.kind[:n], self.qty[:n])

    def as_histories(self, like: Histories) -> Histories:
        """The one row as `Histories`, with the kinds of `like`."""
        indptr = np.array([0, len(self.item)], dtype=np.int64)
        return Histories(indptr, self.item, self.ts, self.kind, self.qty, like.kinds, like.kind_weight)

    @staticmethod
    def of_row(histories: Histories, row: int) -> Past:
        """One row, without copying it."""
        part = slice(int(histories.indptr[row]), int(histories.indptr[row + 1]))
        return Past(histories.item[part], histories.ts[part], histories.kind[part], histories.qty[part])


NOTHING = Past(
    np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.float32)
)


def weigh_one(past: Past, kind_weight: Float32, config: ModelConfig) -> tuple[Int32, Float32]:
    """What `models.base.weigh` does, for one history and without a sparse matrix, which costs as much as a search.

    Returns
    -------
    int32 item codes in ascending order and their float32 weights, all positive.
    """
    if not len(past):
        return past.item, past.qty
    plain = kind_weight[past.kind]
    quantity = np.maximum(past.qty, np.float32(1))
    weight = plain * quantity ** np.float32(config.qty_power) if config.qty_power else plain
    if config.tau_days:
        age = (past.ts[-1] - past.ts) / (config.tau_days * DAY)
        weight = weight * np.exp(-np.minimum(np.maximum(age, 0), 60)).astype(np.float32)
    if config.order_power:
        later = np.concatenate([np.cumsum(past.ts[:0:-1] != past.ts[-2::-1])[::-1], np.zeros(1, np.int64)])
        weight = weight * (1 + later).astype(np.float32) ** np.float32(-config.order_power)
    order = np.argsort(past.item, kind="stable")
    item = past.item[order]
    new = np.empty(len(item), dtype=np.bool_)
    new[0] = True
    np.not_equal(item[1:], item[:-1], out=new[1:])
    first = np.flatnonzero(new)
    net = np.add.reduceat((plain * quantity)[order], first)
    total = np.maximum.reduceat(weight[order], first).astype(np.float32)
    if config.repeat_power:
        count = np.add.reduceat((plain[order] > 0).astype(np.float32), first)
        total *= count ** np.float32(config.repeat_power)
    keep = (net > 1e-6) & (total > 0)
    return item[first][keep], total[keep]


@dataclass(frozen=True)
class Distaste:
    """Tells what somebody has turned away from: disliked since they last bought or liked it, or sent back for good.

    Parameters
    ----------
    against
        For each type of event, whether it speaks against its item: its weight is below 0.
    refund, purchase, wanted
        For each type, whether it is a refund, a purchase, and a purchase or a like.
    """

    against: NDArray[np.bool_]
    refund: NDArray[np.bool_]
    purchase: NDArray[np.bool_]
    wanted: NDArray[np.bool_]

    @staticmethod
    def of(histories: Histories) -> Distaste:
        """By the types and weights of these histories."""
        is_in = {
            names: np.array([k in names for k in histories.kinds], dtype=np.bool_)
            for names in ((REFUND,), (PURCHASE,), (PURCHASE, LIKE))
        }
        against = np.asarray(histories.kind_weight < 0)
        return Distaste(against, is_in[REFUND,], is_in[PURCHASE,], is_in[PURCHASE, LIKE])

    def pairs(
        self, owner: NDArray[np.integer], item: Int32, kind: NDArray[np.uint8], qty: Float32
    ) -> tuple[Int64, Int32, NDArray[np.bool_]]:
        """Who has turned away from what, and whether they disliked it.

        Parameters
        ----------
        owner, item, kind, qty
            Events, each owner's oldest first.

        Returns
        -------
        owners, their items, and bool: disliked rather than only sent back; parallel.
        """
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.bool_)
        if not self.against.any():
            return nothing
        hit = self.against[kind]
        if not hit.any():
            return nothing
        key = owner.astype(np.int64) << 32 | item
        asked = np.unique(key[hit])
        place = np.minimum(np.searchsorted(asked, key), len(asked) - 1)
        about = np.flatnonzero(asked[place] == key)
        place, kind, qty = place[about], kind[about], np.maximum(qty[about], 1)
        refund, n = self.refund[kind], len(asked)
        last_disliked, last_wanted = np.full(n, -1), np.full(n, -1)
        for last, of in ((last_disliked, self.against[kind] & ~refund), (last_wanted, self.wanted[kind])):
            np.maximum.at(last, place[of], about[of])
        back = np.bincount(place[refund], qty[refund], minlength=n)
        bought = self.purchase[kind]
        kept = np.bincount(place[bought], qty[bought], minlength=n) - back
        disliked = last_disliked > last_wanted
        gone = disliked | ((back > 0) & (kept <= 0))
        return asked[gone] >> 32, (asked[gone] & 0xFFFFFFFF).astype(np.int32), disliked[gone]

    def of_one(self, past: Past) -> tuple[list[int], list[int]]:
        """Items that somebody has turned away from, and those of them that they disliked."""
        _, items, disliked = self.pairs(np.zeros(len(past), np.int64), past.item, past.kind, past.qty)
        return items.tolist(), items[disliked].tolist()
