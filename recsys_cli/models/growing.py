"""Vectors for items that a fitted model has not seen, from those who bought them and from what they are.

One half step of alternating least squares: the customers' vectors stay, the new item's is solved for. Two things are
different for an item that is new. It was not there to be bought for most of the past, so that not having been bought
then says nothing: the penalty for all customers who do not have it is scaled by its share of the shop's events since
it was first seen. And what its content lets expect stands in for what its few buyers cannot tell.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy.sparse as sp

from ..schema import Dataset, Float32, Int32, Interactions
from .content import content_vectors

_SAMPLE = 20_000  # customers that stand for all in the penalty


class Foldable(Protocol):
    """What the half step needs of a model."""

    item_factors: Float32

    def training_weights(self, data: Interactions) -> sp.csr_matrix:
        """Weights that the fit saw, shape (n_users, n_items)."""

    def training_vectors(self, weights: sp.csr_matrix) -> Float32:
        """Customers' vectors as the fit would solve for them."""

    @property
    def ridge(self) -> float:
        """Weight of the penalty on long vectors."""

    @property
    def gain(self) -> float:
        """How much more than an unseen pair a pair of weight 1 counts."""


def grown_vectors(model: Foldable, data: Dataset, trained: np.ndarray, n_fitted: int) -> Float32:
    """All item vectors, with those of items not seen at fitting filled in.

    Parameters
    ----------
    model
        Already padded to the catalogue of `data`.
    trained
        bool, shape (n_items,): items that the fit had events of.
    n_fitted
        Items at fitting. What was on offer then and never sold stays without a vector until somebody buys it.

    Returns
    -------
    float32, shape (n_items, d).
    """
    seen = data.interactions
    weights = model.training_weights(seen)
    support = np.bincount(weights.indices, minlength=seen.n_items)
    bought = np.flatnonzero(~trained & (support > 0)).astype(np.int32)
    offered = np.flatnonzero(~trained & (support == 0) & (np.arange(seen.n_items) >= n_fitted)).astype(np.int32)
    vectors = np.array(model.item_factors, dtype=np.float32)
    codes = np.concatenate([bought, offered])
    if not len(codes):
        return vectors
    vectors[codes] = content_vectors(data.catalogue, vectors, np.where(trained, support, 0), codes)
    if len(bought):
        vectors[bought] = _half_step(model, weights, bought, vectors[bought], _exposure(seen, bought))
    return vectors


def _exposure(data: Interactions, codes: Int32) -> Float32:
    """Share of the shop's events since the first of each item, float32 in (0, 1], shape (len(codes),)."""
    ts, item = data.histories.ts, data.histories.item
    first = np.full(data.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, item, ts)
    order = np.sort(ts)
    since = len(ts) - np.searchsorted(order, first[codes], side="left")
    return np.asarray(np.maximum(since, 1) / max(len(ts), 1), dtype=np.float32)


def _half_step(
    model: Foldable, weights: sp.csr_matrix, codes: Int32, prior: Float32, exposure: Float32
) -> Float32:
    """Solve (e X'X + reg I + gain sum w x x') y = sum (1 + gain w) x + reg prior for each item."""
    place = np.full(weights.shape[1], -1, dtype=np.int64)
    place[codes] = np.arange(len(codes))
    entry = np.flatnonzero(place[weights.indices] >= 0)
    row = np.searchsorted(weights.indptr, entry, side="right") - 1
    buyers, who = np.unique(row, return_inverse=True)
    vectors = model.training_vectors(weights[buyers])
    gram = _gram(model, weights)
    order = np.argsort(place[weights.indices[entry]], kind="stable")
    start = np.searchsorted(place[weights.indices[entry]][order], np.arange(len(codes) + 1))
    ridge, out = max(model.ridge, 1e-3), np.empty_like(prior)
    for i in range(len(codes)):
        mine = order[start[i] : start[i + 1]]
        x = vectors[who[mine]].astype(np.float64)
        w = model.gain * weights.data[entry[mine]].astype(np.float64)
        left = exposure[i] * gram + (x * w[:, None]).T @ x
        left[np.diag_indices_from(left)] += ridge
        out[i] = np.linalg.solve(left, (1 + w) @ x + ridge * prior[i])
    return out


def _gram(model: Foldable, weights: sp.csr_matrix) -> np.ndarray:
    """X'X over all customers, from an evenly spread sample of them."""
    filled = np.flatnonzero(np.diff(weights.indptr))
    sample = filled[:: max(len(filled) // _SAMPLE, 1)]
    x = model.training_vectors(weights[sample]).astype(np.float64)
    return np.asarray((x.T @ x) * (len(filled) / max(len(sample), 1)))
