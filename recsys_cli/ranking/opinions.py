"""What the first stage says of every item: its own score, and that of each of its sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.base import Model
from ..models.blend import Blend
from ..models.support.blend_weights import standardised
from ..models.support.top_n import largest
from ..schema import Float32, Histories, Int32, Int64

FIRST = "first"  # the first stage as a whole
_STEP = np.float32(256)


@dataclass(frozen=True)
class Opinions:
    """Scores of all items for some histories.

    Parameters
    ----------
    total
        float32, shape (rows, n_items): the first stage's, 0 where it has no opinion.
    scaled
        float32, shape (rows, n_items): the same, standardised by row.
    sources
        Label to standardised scores, shape (rows, n_items), or (1, n_items) where they are the same for all.
    """

    total: Float32
    scaled: Float32
    sources: Mapping[str, Float32]

    @classmethod
    def of(cls, model: Model, histories: Histories, now: int) -> Opinions:
        """What a first stage says; the sources are the members of a blend, and none for another model."""
        if isinstance(model, Blend):
            total, members = model.score_with_members(histories, now, keep=True)
        else:
            total, members = model.score(histories, now), {}
        return cls(total, standardised(total), members)

    def columns(self, row: Int64, item: Int32) -> dict[str, Float32]:
        """Scores of pairs by the names that rankers know them by.

        In steps of 1/256: the last bits of a product of matrices depend on how many rows it has, and no list may
        depend on whether it was asked for alone.
        """
        found = {f"score:{FIRST}": _stepped(self.scaled[row, item])}
        for label, scores in self.sources.items():
            found[f"score:{label}"] = _stepped(scores[row if len(scores) > 1 else 0, item])
        return found


def names_of(model: Model) -> tuple[str, ...]:
    """Names of the columns that `Opinions.columns` gives for a model, and of the rank."""
    members = tuple(model.members) if isinstance(model, Blend) else ()
    return (f"score:{FIRST}", *(f"score:{label}" for label in members), f"rank:{FIRST}")


def _stepped(scores: Float32) -> Float32:
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
    keys = _sortable(np.where(owned | (total == 0), np.float32(np.inf), -total))
    keys.sort(axis=1)
    # Rows one after the other, each in its own range of numbers: one search serves all.
    line = (np.arange(rows, dtype=np.uint64)[:, None] << np.uint64(32) | keys).ravel()
    asked = row.astype(np.uint64) << np.uint64(32) | _sortable(-total[row, item])
    return np.asarray(np.log1p(np.searchsorted(line, asked) - row * n_items), dtype=np.float32)


def _sortable(values: Float32) -> NDArray[np.uint32]:
    """Whole numbers in the order of these floats."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31)).astype(np.uint32)
