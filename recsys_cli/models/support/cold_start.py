"""Vectors for items that a fitted model has not seen, from those who bought them and from what they are.

One half step of alternating least squares: the customers' vectors stay, the new item's is solved for. Two things are
different for an item that is new. It was not there to be bought for most of the past, so that not having been bought
then says nothing: the penalty for all customers who do not have it is scaled by its share of the shop's events since
it was first seen. And what its content lets expect stands in for what its few buyers cannot tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...schema import Dataset, Float32, Int32, Interactions
from ...splitting.interactions import weigh
from ...splitting.usable_time import usable_time
from .content_features import content_features, content_vectors

if TYPE_CHECKING:
    from .vectors import VectorModel

_SAMPLE = 20_000  # customers that stand for all in the penalty
_SETTLED = 0.5
Float64 = NDArray[np.float64]
_GATHERED = 2_000_000  # numbers of buyers' vectors at a time: 16 MB
_ALIKE = 20  # known items that a new one is taken for the mean of
_COLD_SCALE = 0.8  # content alone, at full length, took more places of the lists than it earned (Online Retail)


def grown_vectors(model: VectorModel, data: Dataset, n_before: int) -> Float32:
    """All item vectors, with those of items not seen at fitting filled in.

    Parameters
    ----------
    model
        Already padded to the catalogue of `data`.
    n_before
        Items before padding. What was on offer at fitting and never sold stays without a vector until somebody
        buys it.

    Returns
    -------
    float32, shape (n_items, d).
    """
    seen = data.interactions
    weights = weigh(seen.histories, seen.n_items, 0.0, model.config.qty_power, model.config.repeat_power)
    support = np.bincount(weights.indices, minlength=seen.n_items)
    vectors = np.array(model.item_factors, dtype=np.float32)
    waiting = (np.arange(seen.n_items) >= n_before) | vectors.any(axis=1)
    bought = np.flatnonzero(~model.trained & (support > 0)).astype(np.int32)
    offered = np.flatnonzero(~model.trained & (support == 0) & waiting).astype(np.int32)
    codes = np.concatenate([bought, offered])
    if not len(codes):
        return vectors
    content = content_vectors(data.catalogue, vectors, np.where(model.trained, support, 0), codes)
    vectors[codes] = content * np.float32(_COLD_SCALE)
    if len(bought):
        who = Buyers.of(weights, bought)
        vectors[bought] = model.vectors_from_buyers(weights, who, content[: len(bought)], exposure(seen, bought))
    return vectors


@dataclass(frozen=True)
class Buyers:
    """Who bought each of some items, item after item.

    Parameters
    ----------
    rows
        Customers, each once, shape (n_buyers,): rows of the weights.
    indptr
        Shape (n_items + 1,): item i's pairs are indptr[i]:indptr[i+1] of the arrays below.
    who
        Index into `rows` of each pair.
    weight
        Weight of each pair.
    """

    rows: NDArray[np.int64]
    indptr: NDArray[np.int64]
    who: NDArray[np.int64]
    weight: Float32

    @staticmethod
    def of(weights: sp.csr_matrix, codes: Int32) -> Buyers:
        """The buyers of `codes` by weights of shape (n_users, n_items)."""
        place = np.full(weights.shape[1], -1, dtype=np.int64)
        place[codes] = np.arange(len(codes))
        item = place[weights.indices]
        entry = np.flatnonzero(item >= 0)
        entry = entry[np.argsort(item[entry], kind="stable")]
        row = np.searchsorted(weights.indptr, entry, side="right") - 1
        rows, who = np.unique(row, return_inverse=True)
        indptr = np.searchsorted(item[entry], np.arange(len(codes) + 1))
        return Buyers(rows, indptr.astype(np.int64), who.astype(np.int64), weights.data[entry])


def settled_items(data: Interactions) -> NDArray[np.bool_]:
    """Items that were there for at least half of the shop's events, bool of shape (n_items,); all where times lie.

    Solving the others again raised NDCG@10 of the next week on Online Retail by a sixth.
    """
    if not usable_time(data.histories):
        return np.ones(data.n_items, dtype=np.bool_)
    return exposure(data, np.arange(data.n_items, dtype=np.int32)) >= _SETTLED


def exposure(data: Interactions, codes: Int32) -> Float32:
    """Share of the shop's events since the first of each item, float32 in (0, 1], shape (len(codes),)."""
    ts, item = data.histories.ts, data.histories.item
    first = np.full(data.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, item, ts)
    order = np.sort(ts)
    since = len(ts) - np.searchsorted(order, first[codes], side="left")
    return np.asarray(np.maximum(since, 1) / max(len(ts), 1), dtype=np.float32)


def half_step(
    users: Float32,
    buyers: Buyers,
    gram: NDArray[np.float64],
    exposure: Float32,
    prior: Float32,
    gain: float,
    ridge: float,
) -> Float32:
    """Solve (e X'X + ridge I + gain sum w x x') y = sum (1 + gain w) x + ridge prior for each item.

    Parameters
    ----------
    users
        Vectors of `buyers.rows` as the fit would solve for them, shape (n_buyers, d).
    gram
        X'X over all customers, shape (d, d); see `sampled_gram`.
    exposure, prior
        e of each item, shape (n,), and what its content lets expect, shape (n, d).

    Returns
    -------
    float32, shape (n, d).
    """
    out = np.empty_like(prior)
    values, turn = np.linalg.eigh(gram)  # in its own axes gram is a diagonal, whatever it is scaled by
    count, d = np.diff(buyers.indptr), prior.shape[1]
    order = np.argsort(count, kind="stable")
    few = int(np.searchsorted(count[order], d // 2, side="right"))
    start = 0
    while start < few:
        ahead = order[start:few]
        cost = count[ahead] * np.arange(1, len(ahead) + 1) * d
        some = ahead[: max(1, int(np.searchsorted(cost, _GATHERED)))]
        scale = 1 / (exposure[some].astype(np.float64)[:, None] * np.maximum(values, 0) + ridge)
        towards = ridge * (prior[some].astype(np.float64) @ turn)
        out[some] = _solved_for_few(users, buyers, some, scale, towards, turn, gain) @ turn.T
        start += len(some)
    for i in order[few:]:
        pairs = slice(buyers.indptr[i], buyers.indptr[i + 1])
        x = users[buyers.who[pairs]].astype(np.float64)
        w = gain * buyers.weight[pairs].astype(np.float64)
        left = exposure[i] * gram + (x * w[:, None]).T @ x
        left[np.diag_indices_from(left)] += ridge
        out[i] = np.linalg.solve(left, (1 + w) @ x + ridge * prior[i])
    return out


def _solved_for_few(
    users: Float32, buyers: Buyers, items: NDArray[np.integer], scale: Float64, towards: Float64, turn: Float64,
    gain: float,
) -> Float64:  # fmt: skip
    """The half step of items with fewer buyers than numbers, by systems as large as the buyers (Woodbury).

    In axes in which the penalty is a diagonal: `scale` is its inverse, and `towards` ridge times the prior, both of
    shape (items, d).
    """
    begin, count = buyers.indptr[items], np.diff(buyers.indptr)[items]
    place = begin[:, None] + np.arange(int(count.max(initial=0)))
    real = place < (begin + count)[:, None]
    place = np.minimum(place, max(len(buyers.who) - 1, 0))
    x = users[buyers.who[place]].astype(np.float64) @ turn
    w = np.where(real, gain * buyers.weight[place].astype(np.float64), 1.0)
    x *= real[:, :, None]
    near = x * scale[:, None, :]
    left = near @ np.swapaxes(x, 1, 2)
    at = np.arange(left.shape[1])
    left[:, at, at] += 1 / w
    wanted = towards + ((1 + w)[:, None, :] @ x)[:, 0, :]
    share = np.linalg.solve(left, near @ wanted[:, :, None])
    return np.asarray(scale * wanted - (np.swapaxes(share, 1, 2) @ near)[:, 0, :], dtype=np.float64)


def sampled_rows(weights: sp.csr_matrix) -> NDArray[np.int64]:
    """Customers, evenly spread over all with a history, that stand for all of them."""
    filled = np.flatnonzero(np.diff(weights.indptr))
    return filled[:: max(len(filled) // _SAMPLE, 1)]


def sampled_gram(users: Float32, weights: sp.csr_matrix) -> NDArray[np.float64]:
    """X'X over all customers, from the vectors of `sampled_rows`; float64, shape (d, d)."""
    x = users.astype(np.float64)
    filled = np.count_nonzero(np.diff(weights.indptr))
    return np.asarray((x.T @ x) * (filled / max(len(x), 1)))


def company(vectors: Float32, weights: sp.csr_matrix, buyers: Buyers, prior: Float32) -> Float32:
    """Vectors in the midst of what else the buyers bought, as long as the known items' are in the middle.

    For models without a step of their own. One buyer's company counts as much as the content.

    Returns
    -------
    float32, shape (n, d).
    """
    theirs = weights[buyers.rows]
    mean = theirs @ vectors
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    pairs = sp.csr_matrix((buyers.weight, buyers.who, buyers.indptr), shape=(len(prior), len(buyers.rows)))
    length = np.linalg.norm(prior, axis=1, keepdims=True)
    out = pairs @ mean + prior / np.where(length > 0, length, 1)
    known = np.linalg.norm(vectors[vectors.any(axis=1)], axis=1)
    out *= (np.median(known) if len(known) else 0) / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
    return np.asarray(out, dtype=np.float32)


def alike(data: Dataset, n_known: int) -> sp.csr_matrix:
    """The known items that each new one is most like: in the same hands, or of the same kind.

    For models that are a matrix between items and have no step for a new one: it is taken for the mean of these.

    Parameters
    ----------
    n_known
        Items before the new ones, which are the rest of the catalogue.

    Returns
    -------
    float32, shape (n_known, n_new); each column sums to 1, or to 0 where nothing is like it.
    """
    seen = data.interactions
    new = np.arange(n_known, seen.n_items)
    weights = weigh(seen.histories, seen.n_items)
    known = weights[:, :n_known]
    spread = np.sqrt(np.maximum(np.asarray(known.sum(axis=0)).ravel(), 1)).astype(np.float32)
    hands = (known.T @ weights[:, n_known:]).multiply(1 / spread[:, None]).tocsc()
    features = content_features(data.catalogue)
    kinds = (features[:n_known] @ features[new].T).tocsc()
    return (_top_of_columns(hands) + _top_of_columns(kinds)).multiply(0.5).tocsr().astype(np.float32)


def _top_of_columns(matrix: sp.csc_matrix) -> sp.csc_matrix:
    """The largest entries of each column, divided by their sum."""
    column = np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, column))
    rank = np.arange(len(order)) - matrix.indptr[column[order]]
    keep = order[(rank < _ALIKE) & (matrix.data[order] > 0)]
    top = sp.csc_matrix((matrix.data[keep], (matrix.indices[keep], column[keep])), shape=matrix.shape)
    total = np.asarray(top.sum(axis=0)).ravel()
    return top.multiply(1 / np.where(total > 0, total, 1)).tocsc()
