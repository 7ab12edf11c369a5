"""Whoever an answer is for: what they did, from the version and from what was heard since."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.base import ModelConfig
from ..schema import DAY, Float32, Histories, Int32, Int64


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
