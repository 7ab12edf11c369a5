"""Bayesian personalised ranking."""

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
class BPRConfig(ModelConfig):
    """Hyperparameters of `BPR`."""

    tau_days: float = hyper(
        55.0,
        "Days after which an event of a history counts 1/e when scoring; 0 for no ageing.",
        Range(5, 1000, True),
        high=36_500,
    )
    factors: int = hyper(64, "Length of the vectors.", Range(16, 128, True), low=1, high=2_000)
    learning_rate: float = hyper(0.05, "Step of the gradient.", Range(0.005, 0.2, True), low=1e-6, high=1)
    regularization: float = hyper(0.01, "Penalty on long vectors.", Range(0.0001, 0.1, True), high=1)
    iterations: int = hyper(100, "Passes over the data.", Range(30, 300, True), low=1, high=10_000)
    fold_alpha: float = hyper(
        1.0, "Weight of a seen item in folding a history in.", Range(0.5, 100, True), low=1e-3, high=100_000
    )
    fold_ridge: float = hyper(
        100.0, "Penalty on long vectors in folding a history in.", Range(1, 1000, True), low=1e-3, high=100_000
    )


class BPR(BiasedModel):
    """BPR matrix factorisation (Rendle et al. 2009), fitted by the library implicit.

    Several threads race for the same vectors, so a seed repeats itself only with `threads=1`.
    """

    name: ClassVar[str] = "bpr"
    Config: ClassVar[type[ModelConfig]] = BPRConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, explains=True)
    config: BPRConfig

    @classmethod
    def fit(
        cls, data: Dataset, config: BPRConfig, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        seen = training_matrix(data, config)
        with threadpool_limits(1, "blas"), progress.stage("Fitting bpr", config.iterations) as advance:
            model = BayesianPersonalizedRanking(
                factors=min(config.factors, max(1, min(seen.shape) - 1)),
                learning_rate=config.learning_rate,
                regularization=config.regularization,
                iterations=config.iterations,
                num_threads=threads,
                random_state=seed,
            )
            model.fit(seen, show_progress=False, callback=lambda *_: advance(1))
        factors = np.array(model.item_factors, dtype=np.float32)
        sold = np.bincount(seen.indices, minlength=seen.shape[1]) > 0
        factors[~sold] = 0
        return cls(config, factors, sold).calibrated(seen, np.asarray(model.user_factors)[:, :-1])

    @property
    def gain(self) -> float:
        return self.config.fold_alpha

    @property
    def ridge(self) -> float:
        return self.config.fold_ridge
