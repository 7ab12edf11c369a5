"""Figures of merit of top-N lists, one value per user, over the full catalogue.

All take `hits`, bool of shape (users, n): whether the item at that rank was wanted. Binary relevance; a list that is
short is a list with misses at its end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..schema import Float32, Int32, Int64

Hits = NDArray[np.bool_]
Values = NDArray[np.float64]


def hit_rate(hits: Hits, n: int) -> Values:
    """1 where something wanted is among the first n."""
    return np.asarray(hits[:, :n].any(axis=1), dtype=np.float64)


def ndcg(hits: Hits, relevant: Int64, n: int) -> Values:
    """Discounted gain over that of the best possible list (Järvelin and Kekäläinen 2002); `relevant`: wanted items."""
    discount = 1 / np.log2(np.arange(2, n + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(relevant, n)]
    gain = hits[:, :n] @ discount[: hits[:, :n].shape[1]]
    return np.asarray(gain / np.where(ideal > 0, ideal, 1), dtype=np.float64)


def recall(hits: Hits, relevant: Int64, n: int) -> Values:
    """Share of what was wanted that is among the first n."""
    return np.asarray(hits[:, :n].sum(axis=1) / np.maximum(relevant, 1), dtype=np.float64)


def reciprocal_rank(hits: Hits, n: int) -> Values:
    """1 / rank of the first hit among the first n, else 0."""
    first = hits[:, :n].argmax(axis=1)
    return np.where(hits[:, :n].any(axis=1), 1 / (first + 1), 0.0)


def coverage(items: Int32, n_items: int) -> float:
    """Share of the catalogue that somebody is shown."""
    shown = np.unique(items[items >= 0])
    return len(shown) / max(n_items, 1)


def gini(items: Int32, n_items: int) -> float:
    """Concentration of what is shown: 0 when all items equally often, 1 when always the same one."""
    counts = np.sort(np.bincount(items[items >= 0], minlength=n_items)).astype(np.float64)
    total = counts.sum()
    if not total or n_items < 2:
        return 0.0
    rank = np.arange(1, n_items + 1)
    return float((2 * rank - n_items - 1) @ counts / (n_items * total) * n_items / (n_items - 1))


def novelty(items: Int32, share: Values) -> Values:
    """Mean self-information of each list in bits; `share`: each item's share of all users who had it."""
    bits = -np.log2(np.clip(share, 1e-9, 1))
    shown = items >= 0
    total = np.where(shown, bits[np.maximum(items, 0)], 0).sum(axis=1)
    return np.asarray(total / np.maximum(shown.sum(axis=1), 1), dtype=np.float64)


def diversity(items: Int32, unit: Float32) -> Values:
    """1 less the mean cosine between the items of each list; `unit`: item vectors of length 1 (or 0, if unknown)."""
    shown = items >= 0
    size = shown.sum(axis=1).astype(np.float64)
    picked = unit[np.maximum(items, 0)] * shown[:, :, None]
    own = (picked**2).sum(axis=(1, 2))
    both = (picked.sum(axis=1) ** 2).sum(axis=1)
    pairs = size * (size - 1)
    return np.where(pairs > 0, 1 - (both - own) / np.where(pairs > 0, pairs, 1), 0.0)
