"""Neighbours of items by who had both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp

from ..errors import UsageError
from ..progress import SILENT, Progress
from ..schema import Dataset
from .base import Capabilities, ModelConfig, Range, ageing, hyper
from .support.fitting import training_matrix
from .support.item_matrix import ItemModel, neighbours, scaled, sums
from .support.newness import NEWNESS, boost

_KINDS = ("cosine", "tfidf", "bm25")


@dataclass(frozen=True)
class ItemKNNConfig(ModelConfig):
    """Hyperparameters of `ItemKNN`."""

    tau_days: float = ageing(120.0)
    similarity: str = hyper("bm25", "How histories are weighed: cosine, tfidf or bm25.", Range(choices=_KINDS))
    neighbours: int = hyper(100, "Neighbours kept of each item.", Range(20, 500, True), low=1, high=10_000)
    shrink: float = hyper(
        10.0, "Customers in common below which a similarity is not believed.", Range(0.1, 100, True), high=100_000
    )
    k1: float = hyper(100.0, "bm25: how soon a repeated item stops counting more.", high=100_000)
    b: float = hyper(0.5, "bm25: how much a popular item is held back.", Range(0, 1), high=1)
    newness: float = NEWNESS


class ItemKNN(ItemModel):
    """Item-based neighbours (Sarwar et al. 2001) with cosine, TF-IDF or BM25 weights (Robertson and Zaragoza 2009)."""

    name: ClassVar[str] = "item-knn"
    Config: ClassVar[type[ModelConfig]] = ItemKNNConfig
    capabilities: ClassVar[Capabilities] = Capabilities(explains=True)

    @classmethod
    def fit(
        cls,
        data: Dataset,
        config: ItemKNNConfig,
        *,
        seed: int = 42,
        threads: int = 0,
        progress: Progress = SILENT,
    ) -> Self:
        if config.similarity not in _KINDS:
            raise UsageError(f"There is no similarity '{config.similarity}'.", f"There are: {', '.join(_KINDS)}.")
        with progress.stage("Fitting item-knn"):
            seen = training_matrix(data, config)
            best = _similarity(seen, config, threads)
            return cls(config, scaled(best, None, boost(data.interactions, config.newness)))


def _similarity(seen: sp.csr_matrix, config: ItemKNNConfig, threads: int) -> sp.csr_matrix:
    weighed = seen if config.similarity == "cosine" else _weighed(seen, config)
    if config.similarity == "bm25":
        return neighbours(weighed, config.neighbours, threads)
    # Shrinking the length of the columns shrinks the similarity of what few customers had.
    squares = np.bincount(weighed.indices, weighed.data**2, minlength=seen.shape[1])
    shorter = np.where(squares > 0, 1 / np.sqrt(squares + config.shrink), 0)
    return neighbours(scaled(weighed, None, shorter), config.neighbours, threads)


def _weighed(seen: sp.csr_matrix, config: ItemKNNConfig) -> sp.csr_matrix:
    """TF-IDF or BM25, items as documents and customers as terms: who has nearly everything says little."""
    _, popularity = sums(seen)
    idf = np.log(seen.shape[1]) - np.log1p(np.diff(seen.indptr))
    if config.similarity == "tfidf":
        data = np.sqrt(seen.data)
    else:
        length = 1 - config.b + config.b * popularity / max(popularity.mean(), 1e-12)
        data = seen.data * (config.k1 + 1) / (config.k1 * length[seen.indices] + seen.data)
    matrix = sp.csr_matrix((data.astype(np.float32), seen.indices, seen.indptr), shape=seen.shape)
    return scaled(matrix, np.maximum(idf, 0), None)
