"""Implicit alternating least squares, with customers folded in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from ..progress import SILENT, Progress
from ..schema import Dataset, Float32
from .base import Capabilities, Model, ModelConfig, Range, Size, ageing, hyper
from .support import openmp
from .support.cold_start import settled_items
from .support.fitting import training_matrix
from .support.least_squares import LeastSquaresModel

_LARGE = 3_000_000
_NEW_SHARE = 0.01  # of the events, on items that the fit before did not know
_PASSES_AGAIN = 5  # over data of which most is known to the vectors that they begin with
# Of a large shop, a part of the customers tells nearly where the vectors come to lie, and the others move them little:
# eight passes over an eighth, and one over all. Measured near that on 10 million events, NDCG@10, Recall@20 and CPU
# seconds: ten and one .0629 .125 (33), ten and four .0627 .127 (78), five and one .0630 .125 (26).
_PART, _PASSES_PART = 25_000, 1 / 2


@dataclass(frozen=True)
class ALSConfig(ModelConfig):
    """Hyperparameters of `ALS`; tune `alpha` and `regularization` together."""

    tau_days: float = ageing(55.0)
    factors: int = hyper(
        0,
        "Length of the vectors; 0 takes a 24th of the items sold, 4 to 128, or to 64 beyond 3 million pairs.",
        Range(8, 192, True),
        high=2_000,
    )
    alpha: float = hyper(
        0.0,
        "How much more a seen pair weighs than an unseen one; 0 chooses by density.",
        Range(0.2, 40, True),
        high=10_000,
    )
    regularization: float = hyper(
        0.0, "Weight of the penalty on long vectors; 0 chooses by density.", Range(0.1, 60, True), high=100_000
    )
    iterations: int = hyper(
        15,
        "Passes over customers and items; with 50,000 customers or more, most of them look at a part.",
        low=1,
        high=1_000,
    )


class ALS(LeastSquaresModel):
    """Weighted matrix factorisation (Hu, Koren and Volinsky 2008), fitted by the library implicit.

    Customers' factors are thrown away after the fit: a history's vector is the least-squares step that the fit
    itself would take, over its aged weights.
    """

    name: ClassVar[str] = "als"
    Config: ClassVar[type[ModelConfig]] = ALSConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, explains=True)
    config: ALSConfig

    @classmethod
    def cpu_seconds(cls, size: Size) -> float:
        """Fifteen passes of three steps each over both sides, or some over a part and few over all."""
        every = _every(size.users)
        passes = 15 * _PASSES_PART / every + _passes(every) if every > 1 else 15
        f = np.clip(size.items // 24, 4, 128 if size.events < _LARGE else 64)
        return float(3 * passes * (8 * size.events * f + 2 * (size.users + size.items) * f**2) / 7e9)

    @classmethod
    def fit(
        cls, data: Dataset, config: ALSConfig, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        seen = training_matrix(data, config)
        return cls._fitted(data, seen, _settled(config, seen), None, seed, threads, progress)

    @classmethod
    def refit(
        cls, data: Dataset, config: ALSConfig, past: Model, *, seed: int = 42, threads: int = 0,
        progress: Progress = SILENT,
    ) -> Self:  # fmt: skip
        """From the vectors of `past`, in fewer passes: what a few weeks add moves them little.

        Where items that `past` did not know have more than a hundredth of the events, as those of a new season or
        country do, it is fitted from nothing: in few passes they do not come off zero, and who bought only them is
        told of none.
        """
        seen, start = training_matrix(data, config), None
        known = past.item_factors if isinstance(past, ALS) else np.zeros((0, 0), np.float32)
        config = _settled(config if config.factors else replace(config, factors=known.shape[1]), seen)
        if known.shape[1] == _length(config, seen):
            start = np.zeros((seen.shape[1], known.shape[1]), dtype=np.float32)
            start[: len(known)] = known
            is_new = np.abs(start).max(axis=1) == 0
            if np.count_nonzero(is_new[seen.indices]) > _NEW_SHARE * seen.nnz:
                start = None
        return cls._fitted(data, seen, config, start, seed, threads, progress)

    @classmethod
    def _fitted(
        cls, data: Dataset, seen: sp.csr_matrix, config: ALSConfig, start: Float32 | None, seed: int, threads: int,
        progress: Progress,
    ) -> Self:  # fmt: skip
        # implicit takes the confidence itself; below 1 it would hold a seen pair for less likely than an unseen one.
        seen.data = 1 + np.float32(config.alpha) * seen.data
        every = _every(seen.shape[0])
        passes = config.iterations if start is None else min(config.iterations, _PASSES_AGAIN)
        if every > 1 and start is None:
            some = np.sort(np.random.default_rng(seed).permutation(seen.shape[0])[::every])
            start = _swept(seen[some], config, None, ceil(_PASSES_PART * passes), seed, threads, progress)
        passes = min(passes, _passes(every)) if every > 1 else passes
        vectors = _swept(seen, config, start, passes, seed, threads, progress)
        # What nobody bought keeps a trace of its random start otherwise.
        vectors[np.bincount(seen.indices, minlength=seen.shape[1]) == 0] = 0
        return cls.of_vectors(data, config, vectors)

    @classmethod
    def of_vectors(cls, data: Dataset, config: ALSConfig, vectors: Float32) -> Self:
        """The model of items' vectors that were fitted on `data`, zero where nobody bought the item."""
        # What is new was not there to be bought for most of the past; the fit holds that against it.
        fitted = cls(config, vectors, vectors.any(axis=1) & settled_items(data.interactions))
        return fitted.grow(data, data.interactions.end)

    @staticmethod
    def sized(config: ALSConfig, *, sold: int, pairs: int, customers: int) -> ALSConfig:
        """The config with numbers for what was left to the data.

        Long histories (a wholesaler's 56 items) want little confidence and much regularisation, short ones (8 items of
        beauty products) the opposite; in between it was found to go about with the length. A few hundred products have
        no hundred directions in them: longer vectors would learn the customers by heart (16 against 128 on the sample
        shop: NDCG@10 .151 against .109).

        Parameters
        ----------
        sold
            Items that anybody has.
        pairs
            Of a customer and an item.
        customers
            Who have any.
        """
        length = pairs / max(customers, 1)
        return replace(
            config,
            factors=config.factors or int(np.clip(sold // 24, 4, 128 if pairs < _LARGE else 64)),
            alpha=config.alpha or float(np.clip(48 / length, 0.8, 20)),
            regularization=config.regularization or float(np.clip(15 * length / 56, 1, 20)),
        )

    @property
    def gain(self) -> float:
        return self.config.alpha

    @property
    def ridge(self) -> float:
        return max(self.config.regularization, 1e-3)


def _every(customers: int) -> int:
    """Every how many customers the first passes look at one."""
    return int(np.clip(customers // _PART, 1, 8))


def _passes(every: int) -> int:
    """Over all customers, for vectors that begin near where they come to lie."""
    return ceil(8 / every)


def _swept(
    seen: sp.csr_matrix, config: ALSConfig, start: Float32 | None, passes: int, seed: int, threads: int,
    progress: Progress,
) -> Float32:  # fmt: skip
    """Vectors of the items after some passes; without `start` they begin at random."""
    openmp.provide()
    from implicit.cpu.als import AlternatingLeastSquares

    drawn = np.random.default_rng(seed)
    # BLAS threads inside implicit's own make it several times slower.
    with threadpool_limits(1, "blas"), progress.stage("Fitting als", passes) as advance:
        model = AlternatingLeastSquares(
            factors=_length(config, seen),
            regularization=config.regularization,
            iterations=passes,
            num_threads=threads,
            random_state=drawn,
        )
        # As implicit draws them, which makes them twice: of ten million customers two gigabytes more.
        model.user_factors = drawn.random((seen.shape[0], model.factors), dtype=np.float32)
        model.user_factors *= np.float32(0.01)
        model.item_factors = start
        model.fit(seen, show_progress=False, callback=lambda *_: advance(1))
    return np.asarray(model.item_factors, dtype=np.float32)


def _length(config: ALSConfig, seen: sp.csr_matrix) -> int:
    """Of the vectors that are fitted: no longer than there are directions."""
    return int(min(config.factors, max(1, min(seen.shape) - 1)))


def _settled(config: ALSConfig, seen: sp.csr_matrix) -> ALSConfig:
    sold = int((np.bincount(seen.indices, minlength=1) > 0).sum())
    return ALS.sized(config, sold=sold, pairs=seen.nnz, customers=int((np.diff(seen.indptr) > 0).sum()))
