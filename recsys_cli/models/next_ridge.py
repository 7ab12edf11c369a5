"""What comes next, by a regression of it on all that came before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp

from ..progress import SILENT, Progress
from ..schema import Dataset, Histories
from ..splitting.interactions import moments, weigh
from .base import Capabilities, ModelConfig, Range, Size, hyper
from .next_item import wanted_events
from .support.item_matrix import ItemModel, largest_of_rows, neighbours, power, scaled
from .support.local_regression import regress
from .support.newness import NEWNESS, boost

_FAINT = 0.02  # weight of a source below which it is not counted
_LAGS = 30  # moments
_LARGE, _MANY_ITEMS = 2_000_000, 50_000
_BLOCK = 2_000  # targets whose products with their sources are held at a time


@dataclass(frozen=True)
class NextRidgeConfig(ModelConfig):
    """Hyperparameters of `NextRidge`."""

    lag: float = hyper(
        4.0, "Moments after which an item counts 1/e among the sources.", Range(1, 20, True), low=0.1, high=1_000
    )
    ridge: float = hyper(300.0, "Regularisation.", Range(20, 2_000, True), low=1e-3, high=1e6)
    neighbours: int = hyper(100, "Sources of each item.", Range(32, 160, True), low=1, high=1_000)
    source: float = hyper(0.5, "How much popular items are held back in choosing sources.", Range(0.2, 0.8), high=2)
    popular: float = hyper(0.15, "Power of its popularity that a next item is divided by.", Range(0, 0.5), high=2)
    recall: float = hyper(
        2.0, "Moments after which an event of a history counts 1/e.", Range(1, 30, True), low=0.1, high=1_000
    )
    newness: float = NEWNESS


class NextRidge(ItemModel):
    """Ridge regression of each moment on the moments before it (SLIST, Choi et al. 2021; TALE, Park et al. 2025).

    For every target its strongest sources only: (S'S + ridge I)_NN w = (S'T)_Nt, with a row of S for each moment of
    each history that has one before it, holding exp(-(l - 1) / lag) of what was l moments earlier.
    """

    name: ClassVar[str] = "next-ridge"
    Config: ClassVar[type[ModelConfig]] = NextRidgeConfig
    capabilities: ClassVar[Capabilities] = Capabilities(explains=True, sequential=True)
    config: NextRidgeConfig

    @classmethod
    def affordable(cls, data: Dataset) -> bool:
        """All moments with their sources have to be in memory."""
        return data.interactions.histories.n_events <= _LARGE and data.interactions.n_items <= _MANY_ITEMS

    @classmethod
    def cpu_seconds(cls, size: Size) -> float:
        return 2e-5 * size.events + 8e-8 * size.pairs + 6e-4 * size.items

    @classmethod
    def fit(
        cls, data: Dataset, config: NextRidgeConfig, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        n_items = data.interactions.n_items
        with progress.stage("Fitting next-ridge"):
            histories = wanted_events(data.interactions.histories, n_items)
            sources, targets = _moments(histories, n_items, config.lag)
            own = np.asarray(sources.multiply(sources).sum(axis=0), dtype=np.float64).ravel()
            held_back = power(own, -config.source)
            right = _strongest(targets, sources, held_back, config.neighbours)
            near = neighbours(scaled(sources, None, held_back), 3 * config.neighbours, threads)
            gram = scaled(near, power(own, config.source), power(own, config.source))
            gram = gram.maximum(gram.T).tocsr()
            gram.sort_indices()
            matrix = regress(gram, right, own + config.ridge, right, threads)
            popularity = power(np.bincount(histories.item, minlength=n_items), -config.popular)
            return cls(config, scaled(matrix, None, popularity * boost(data.interactions, config.newness)))

    def weights(self, histories: Histories, now: int) -> sp.csr_matrix:
        """As `Model.weights`, and older moments of a history count less."""
        c = self.config
        return weigh(histories, self.n_items, c.tau_days, c.qty_power, c.repeat_power, c.order_power, c.recall)


def _moments(histories: Histories, n_items: int, lag: float) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """What was before each moment, and what it held: two float32 CSR of shape (moments, n_items)."""
    moment, row = moments(histories)
    last = np.searchsorted(row, row, side="right") - 1
    weight = histories.kind_weight[histories.kind]
    rows, items, values = [moment[:0]], [histories.item[:0]], [weight[:0]]
    for step in range(1, min(_LAGS, 1 + int(-math.log(_FAINT) * lag)) + 1):
        before = np.flatnonzero(moment + step <= last[moment])
        rows.append(moment[before] + step)
        items.append(histories.item[before])
        values.append(weight[before] * np.float32(math.exp(-(step - 1) / lag)))
    shape = (len(row), n_items)
    sources = sp.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(items))), shape=shape)
    return sources, sp.csr_matrix((weight, (moment, histories.item)), shape=shape)


def _strongest(targets: sp.csr_matrix, sources: sp.csr_matrix, held_back: np.ndarray, k: int) -> sp.csr_matrix:
    """Products of every target with its k strongest sources, float32 CSR of shape (n_items, n_items)."""
    by_target, blocks = targets.T.tocsr(), []
    for start in range(0, by_target.shape[0], _BLOCK):
        product = (by_target[start : start + _BLOCK] @ sources).tocsr()
        best = largest_of_rows(scaled(product, None, held_back), k)
        blocks.append(scaled(best, None, power(held_back, -1)))
    matrix = sp.csr_matrix(sp.vstack(blocks, format="csr"), dtype=np.float32)
    matrix.sort_indices()
    return matrix
