"""The best of a blend for many histories, without blending what cannot come among them.

To standardise and add up the scores of every item takes milliseconds a customer where there are a hundred thousand. An
item can be among the best only if some member puts it high; what none does is bounded by how high that is (the idea
of the threshold algorithm; Fagin, Lotem and Naor 2003), and where the bound does not tell, the caller blends in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...schema import Float32, Histories, Int32
from ..base import Model, top_k
from .blend_weights import standardised
from .item_matrix import ItemModel

_HIGH = np.float32(2.5)  # spreads above the middle of a customer's scores: of a hundred thousand, about a thousand
_HEAD = 2048  # items that are the best by what all are told alike
_ROUNDING = np.float32(1e-5)


@dataclass(frozen=True)
class Own:
    """What is added for items of the history itself: CSR of shape (rows, n_items), and a value for each entry."""

    items: sp.csr_matrix
    worth: Float32


@dataclass(frozen=True)
class _Opinion:
    """What one member says of all items, to each of some histories.

    Parameters
    ----------
    scores
        Shape (rows, n_items), dense or, where most are zero, CSR with sorted indices.
    middle, spread
        float32, shape (rows,): of each row; an infinite spread where all its scores are alike.
    """

    share: np.float32
    scores: Float32 | sp.csr_matrix
    middle: Float32
    spread: Float32

    @classmethod
    def of(cls, member: Model, share: float, histories: Histories, now: int) -> _Opinion:
        scores: Float32 | sp.csr_matrix
        if isinstance(member, ItemModel) and sp.issparse(member.matrix):
            scores = sp.csr_matrix(member.weights(histories, now) @ member.matrix)
            scores.sort_indices()
            n = scores.shape[1]
            middle = np.asarray(scores.sum(axis=1, dtype=np.float64)).ravel() / n
            squares = np.asarray(scores.multiply(scores).sum(axis=1, dtype=np.float64)).ravel() / n
            spread = np.sqrt(np.maximum(squares - middle**2, 0))
        else:
            scores = member.score(histories, now)
            middle, spread = scores.mean(axis=1), scores.std(axis=1)
        known = np.where(spread > 0, spread, np.inf)
        return cls(np.float32(share), scores, middle.astype(np.float32), known.astype(np.float32))

    def most_elsewhere(self) -> Float32:
        """The most that it can add, in each row, to an item that it does not put forward."""
        if sp.issparse(self.scores):
            return self.share * np.asarray(np.arcsinh((0 - self.middle) / self.spread), dtype=np.float32)
        return np.where(np.isinf(self.spread), np.float32(0), self.share * np.arcsinh(_HIGH))

    def put_forward(self, chosen: NDArray[np.bool_]) -> None:
        """Mark what it puts high in `chosen`, shape (rows, n_items), in place."""
        if sp.issparse(self.scores):
            _mark(chosen, self.scores)
        else:
            chosen |= self.scores > (self.middle + _HIGH * np.where(np.isinf(self.spread), 0, self.spread))[:, None]

    def at(self, row: NDArray[np.intp], item: NDArray[np.intp]) -> tuple[Float32, NDArray[np.bool_]]:
        """What it adds to some items, given in the order of rows and codes, and whether it has an opinion of them."""
        raw = _entries(self.scores, row, item) if sp.issparse(self.scores) else self.scores[row, item]
        scaled = (raw - self.middle[row]) / self.spread[row]
        return self.share * np.arcsinh(scaled), raw != 0


def search(
    members: Mapping[str, Model],
    shares: Mapping[str, float],
    own: Own | None,
    histories: Histories,
    k: int,
    now: int,
    *,
    exclude: sp.csr_matrix | None,
    allowed: NDArray[np.bool_],
) -> tuple[Int32, Float32, NDArray[np.bool_]]:
    """The k best items of each history.

    Parameters
    ----------
    members, shares
        Models and their weights, by label.
    own
        What items of the history itself are worth besides.
    exclude, allowed
        As for `Model.recommend`.

    Returns
    -------
    int32 codes and float32 scores, both of shape (rows, k), and of each row whether these are surely the best; where
    not, the row says nothing.
    """
    first = histories.rows(np.arange(1))
    common, known_by_all = np.zeros(len(allowed), np.float32), np.zeros(len(allowed), np.bool_)
    opinions = []
    for label, member in members.items():
        if member.capabilities.personal:
            opinions.append(_Opinion.of(member, shares[label], histories, now))
        else:
            scores = member.score(first, now)
            common += np.float32(shares[label]) * standardised(scores)[0]
            known_by_all |= scores[0] != 0
    head, beyond = _head(common, allowed)
    chosen = np.zeros((len(histories), len(allowed)), dtype=np.bool_)
    chosen[:, head] = True
    for opinion in opinions:
        opinion.put_forward(chosen)
    if own is not None:
        _mark(chosen, own.items)
    chosen &= allowed
    if exclude is not None:
        chosen[np.repeat(np.arange(len(histories)), np.diff(exclude.indptr)), exclude.indices] = False
    row, item = np.nonzero(chosen)
    total, known = common[item], known_by_all[item]
    bound = np.full(len(histories), beyond + _ROUNDING, dtype=np.float32)
    for opinion in opinions:
        added, has = opinion.at(row, item)
        total += added
        known |= has
        bound += opinion.most_elsewhere()
    if own is not None:
        worth = sp.csr_matrix((own.worth, own.items.indices, own.items.indptr), shape=own.items.shape)
        total += _entries(worth, row, item)
        known |= _entries(own.items, row, item) != 0
    total[total == 0] = np.float32(1e-9)  # as in a blend in full
    keep = np.flatnonzero(known & (total > bound[row]))
    codes, scores = _best(row[keep], item[keep], total[keep], len(histories), k)
    return codes, scores, (codes >= 0).all(axis=1) | np.isneginf(bound)


def _head(common: Float32, allowed: NDArray[np.bool_]) -> tuple[NDArray[np.intp], np.float32]:
    """The allowed items that are best by what all are told alike, and the best of the others."""
    shown = np.flatnonzero(allowed)
    if len(shown) <= _HEAD:
        return shown, np.float32(-np.inf)
    order = np.argpartition(-common[shown], _HEAD)
    return shown[order[:_HEAD]], np.float32(common[shown[order[_HEAD]]])


def _mark(chosen: NDArray[np.bool_], entries: sp.csr_matrix) -> None:
    chosen[np.repeat(np.arange(len(chosen)), np.diff(entries.indptr)), entries.indices] = True


def _entries(matrix: sp.csr_matrix, row: NDArray[np.intp], item: NDArray[np.intp]) -> Float32:
    """Entries of a matrix with sorted indices at places that are in the order of rows and codes."""
    width = np.int64(matrix.shape[1])
    asked = row * width + item
    held = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr)) * width + matrix.indices
    found = np.zeros(len(asked), dtype=np.float32)
    if len(asked):
        at = np.minimum(np.searchsorted(asked, held), len(asked) - 1)
        there = asked[at] == held
        found[at[there]] = matrix.data[there]
    return found


def _best(row: NDArray[np.intp], item: NDArray[np.intp], total: Float32, rows: int, k: int) -> tuple[Int32, Float32]:
    """The k largest of each row, largest first, ties by lower code; padded with -1 and -inf."""
    count = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    side_by_side = np.full((rows, max(int(count.max(initial=0)), 1)), -np.inf, dtype=np.float32)
    code = np.full(side_by_side.shape, -1, dtype=np.int32)
    side_by_side[row, place], code[row, place] = total, item
    found, scores = top_k(side_by_side, k)
    return np.where(found < 0, -1, np.take_along_axis(code, np.maximum(found, 0), axis=1)), scores
