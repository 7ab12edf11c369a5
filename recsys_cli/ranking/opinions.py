"""What the first stage says of every item: its own score, and that of each of its sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..models.base import Model
from ..models.blend import Blend
from ..models.support.blend_weights import drawn_in, moments
from ..models.support.top_n import highest, largest
from ..schema import Float32, Histories, Int32, Int64

FIRST = "first"  # the first stage as a whole
_STEP = np.float32(256)


class Depth(NamedTuple):
    """How many candidates: of the first stage, and of each of its sources."""

    first: int
    other: int


LEARNED = Depth(200, 40)  # what a ranker learns from
# What is served, and what the gate judges. What lies deeper hardly comes to the top: on Online Retail, down to 70 and
# 14, NDCG@10 moves by .0001. Not fewer than the 128 that lists under rules are made from.
SERVED = Depth(128, 25)


class Told(NamedTuple):
    """What a first stage says of pairs of a customer and an item: its score, which pairs are of what the customer owns,
    and columns by the names that rankers know them by."""

    total: Float32
    own: NDArray[np.bool_]
    columns: dict[str, Float32]


@dataclass(frozen=True)
class Opinions:
    """Scores of all items for some histories.

    Parameters
    ----------
    total
        float32, shape (rows, n_items): the first stage's, 0 where it has no opinion.
    sources
        Label to standardised scores, shape (rows, n_items), or (1, n_items) where they are the same for all.
    owned
        bool, shape (rows, n_items): what each customer owns.
    """

    total: Float32
    sources: Mapping[str, Float32]
    owned: NDArray[np.bool_]

    @classmethod
    def of(cls, model: Model, histories: Histories, owned: sp.csr_matrix, now: int) -> Opinions:
        """What a first stage says; the sources are the members of a blend, and none for another model."""
        if isinstance(model, Blend):
            total, members = model.score_with_members(histories, now, keep=True)
        else:
            total, members = model.score(histories, now), {}
        marked = np.zeros(owned.shape, np.bool_)
        marked[np.repeat(np.arange(owned.shape[0]), np.diff(owned.indptr)), owned.indices] = True
        return cls(total, members, marked)

    def candidates(self, allowed: NDArray[np.bool_] | None, depth: Depth = LEARNED) -> tuple[Int64, Int32]:
        """Rows and items of the pairs that are worth the second stage's time, in order; see `candidates`."""
        if len(self.total) == 1:
            item = candidates_of_one(self, allowed, first=depth.first, other=depth.other)
            return np.zeros(len(item), np.int64), item.astype(np.int32)
        row, item = np.nonzero(candidates(self, self.owned, allowed, first=depth.first, other=depth.other))
        return row.astype(np.int64), item.astype(np.int32)

    def pairs(self, row: Int64, item: Int32) -> Told:
        """What is said of pairs."""
        total, own = self.total[row, item], self.owned[row, item]
        columns = {f"score:{FIRST}": stepped(self._scaled(row, total))}
        for label, scores in self.sources.items():
            columns[f"score:{label}"] = stepped(scores[row, item] if len(scores) > 1 else scores[0].take(item))
        columns[f"rank:{FIRST}"] = self._ranks(row, item, total)
        return Told(total, own, columns)

    def _scaled(self, row: Int64, total: Float32) -> Float32:
        """Standardised by the scores of all items."""
        middle, spread = moments(self.total)
        return drawn_in((total - middle[row]) / spread[row])  # of items asked about alone: all of them take longer

    @cached_property
    def open(self) -> NDArray[np.bool_]:
        """Shape (rows, n_items): what the first stage has an opinion of and the customer does not own."""
        return np.asarray(~self.owned & (self.total != 0))

    def _ranks(self, row: Int64, item: Int32, total: Float32) -> Float32:
        if len(self.total) > 1:
            return ranks(self.total, self.owned, row, item)
        above = np.searchsorted(np.sort(-self.total[self.open]), -total)
        return np.asarray(np.log1p(above), dtype=np.float32)


def names_of(model: Model) -> tuple[str, ...]:
    """Names of the columns that are told of pairs for a model."""
    members = tuple(model.members) if isinstance(model, Blend) else ()
    return (f"score:{FIRST}", *(f"score:{label}" for label in members), f"rank:{FIRST}")


def stepped(scores: Float32) -> Float32:
    """In steps of 1/256: the last bits of a product of matrices depend on how many rows it has, and no list may
    depend on whether it was asked for alone."""
    return np.asarray(np.round(scores * _STEP) / _STEP, dtype=np.float32)


def candidates(
    opinions: Opinions, owned: NDArray[np.bool_], allowed: NDArray[np.bool_] | None, *, first: int, other: int
) -> NDArray[np.bool_]:
    """Which items are worth the second stage's time: the best of the first stage and of each source, and own items.

    Parameters
    ----------
    owned
        Shape (rows, n_items): the best are looked for among the others; own items are all candidates.
    allowed
        Shape (n_items,): items that may be shown at all.
    first, other
        How many of the first stage and of each source.

    Returns
    -------
    Shape (rows, n_items).
    """
    open_to = ~owned if allowed is None else ~owned & allowed
    chosen = owned.copy() if allowed is None else owned & allowed
    total = np.where(open_to & (opinions.total != 0), opinions.total, -np.inf)
    _mark(chosen, total, first)
    for scores in opinions.sources.values():
        if len(scores) == 1:
            scores = np.broadcast_to(scores, total.shape)
        _mark(chosen, np.where(np.isfinite(total), scores, -np.inf), other)
    return np.asarray(chosen & (opinions.total != 0))


def candidates_of_one(
    opinions: Opinions, allowed: NDArray[np.bool_] | None, *, first: int, other: int
) -> NDArray[np.intp]:
    """As `candidates`, of a single history and quicker: items in order."""
    chosen = opinions.owned[0] & (opinions.total[0] != 0)
    open_to = opinions.open[0]
    if allowed is not None:
        chosen &= allowed
        open_to = open_to & allowed
    code = np.flatnonzero(open_to)
    chosen[code[highest(opinions.total[0, code], first, code)]] = True
    for scores in opinions.sources.values():
        chosen[code[highest(scores[0, code], other, code)]] = True
    return np.flatnonzero(chosen)


def _mark(chosen: NDArray[np.bool_], scores: Float32, n: int) -> None:
    best = largest(scores, min(n, scores.shape[1])).ravel()
    row = np.repeat(np.arange(len(scores)), min(n, scores.shape[1]))
    finite = np.isfinite(scores[row, best])
    chosen[row[finite], best[finite]] = True


def ranks(total: Float32, owned: NDArray[np.bool_], row: Int64, item: Int32) -> Float32:
    """For each pair, log(1 + how many items that the customer does not own the first stage puts above it).

    Of the whole catalogue, and own items are not counted: an item has the same rank in a list of new items, in one
    with what was bought before, and on the page of a category.

    Parameters
    ----------
    total
        The first stage's scores, float32 of shape (rows, n_items), 0 where it has no opinion.
    owned
        Same shape: what each customer owns.
    row, item
        The pairs.
    """
    rows, n_items = total.shape
    keys = sortable(np.where(owned | (total == 0), np.float32(np.inf), -total))
    keys.sort(axis=1)
    # Rows one after the other, each in its own range of numbers: one search serves all.
    line = (np.arange(rows, dtype=np.uint64)[:, None] << np.uint64(32) | keys).ravel()
    asked = row.astype(np.uint64) << np.uint64(32) | sortable(-total[row, item])
    return np.asarray(np.log1p(np.searchsorted(line, asked) - row * n_items), dtype=np.float32)


def sortable(values: Float32) -> NDArray[np.uint32]:
    """Whole numbers in the order of these floats."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31)).astype(np.uint32)
