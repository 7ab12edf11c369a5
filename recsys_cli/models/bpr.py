"""Bayesian personalised ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Capabilities, ModelConfig, Range, hyper
from .support import openmp
from .support.least_squares import BiasedConfig, ImplicitModel


@dataclass(frozen=True)
class BPRConfig(BiasedConfig):
    """Hyperparameters of `BPR`."""

    factors: int = hyper(64, "Length of the vectors.", Range(16, 128, True), low=1, high=2_000)
    learning_rate: float = hyper(0.05, "Step of the gradient.", Range(0.005, 0.2, True), low=1e-6, high=1)
    regularization: float = hyper(0.01, "Penalty on long vectors.", Range(0.0001, 0.1, True), high=1)
    iterations: int = hyper(100, "Passes over the data.", Range(30, 300, True), low=1, high=10_000)


class BPR(ImplicitModel):
    """BPR matrix factorisation (Rendle et al. 2009), fitted by the library implicit.

    Several threads race for the same vectors, so a seed repeats itself only with `threads=1`.
    """

    name: ClassVar[str] = "bpr"
    Config: ClassVar[type[ModelConfig]] = BPRConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, explains=True)

    @classmethod
    def _peer(cls, config: BPRConfig, **shared: int) -> Any:
        openmp.provide()
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        return BayesianPersonalizedRanking(
            learning_rate=config.learning_rate,
            regularization=config.regularization,
            iterations=config.iterations,
            **shared,
        )
