"""Logistic matrix factorisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from threadpoolctl import threadpool_limits

from ..progress import SILENT, Progress
from ..schema import Dataset
from .base import Capabilities, ModelConfig, Range, hyper
from .fitting import training_matrix
from .folding import BiasedModel


@dataclass(frozen=True)
class LMFConfig(ModelConfig):
    """Hyperparameters of `LMF`."""

    tau_days: float = hyper(
        55.0,
        "Days after which an event of a history counts 1/e when scoring; 0 for no ageing.",
        Range(5, 1000, True),
        high=36_500,
    )
    factors: int = hyper(32, "Length of the vectors.", Range(8, 96, True), low=1, high=2_000)
    learning_rate: float = hyper(1.0, "Step of the gradient.", Range(0.1, 3, True), low=1e-6, high=10)
    regularization: float = hyper(0.6, "Penalty on long vectors.", Range(0.05, 5, True), high=1_000)
    iterations: int = hyper(40, "Passes over the data.", Range(15, 100, True), low=1, high=10_000)
    negatives: int = hyper(30, "Unseen items drawn for each seen one.", low=1, high=1_000)
    fold_alpha: float = hyper(
        1.0, "Weight of a seen item in folding a history in.", Range(0.5, 100, True), low=1e-3, high=100_000
    )
    fold_ridge: float = hyper(
        100.0, "Penalty on long vectors in folding a history in.", Range(1, 1000, True), low=1e-3, high=100_000
    )


class LMF(BiasedModel):
    """Logistic matrix factorisation (Johnson 2014), fitted by the library implicit."""

    name: ClassVar[str] = "lmf"
    Config: ClassVar[type[ModelConfig]] = LMFConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, explains=True)
    config: LMFConfig

    @classmethod
    def fit(
        cls, data: Dataset, config: LMFConfig, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        from implicit.cpu.lmf import LogisticMatrixFactorization

        seen = training_matrix(data, config)
        with threadpool_limits(1, "blas"), progress.stage("Fitting lmf", config.iterations) as advance:
            model = LogisticMatrixFactorization(
                factors=min(config.factors, max(1, min(seen.shape) - 1)),
                learning_rate=config.learning_rate,
                regularization=config.regularization,
                iterations=config.iterations,
                neg_prop=config.negatives,
                num_threads=threads,
                random_state=seed,
            )
            model.fit(seen, show_progress=False, callback=lambda *_: advance(1))
        # The last two columns of an item are its bias and a 1 that takes the customer's.
        factors = np.ascontiguousarray(model.item_factors[:, :-1], dtype=np.float32)
        sold = np.bincount(seen.indices, minlength=seen.shape[1]) > 0
        factors[~sold] = 0
        return cls(config, factors, sold).calibrated(seen, np.asarray(model.user_factors)[:, :-2])

    @property
    def gain(self) -> float:
        return self.config.fold_alpha

    @property
    def ridge(self) -> float:
        return self.config.fold_ridge
