"""Logistic matrix factorisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Capabilities, ModelConfig, Range, hyper
from .support import openmp
from .support.least_squares import BiasedConfig, ImplicitModel


@dataclass(frozen=True)
class LMFConfig(BiasedConfig):
    """Hyperparameters of `LMF`."""

    factors: int = hyper(32, "Length of the vectors.", Range(8, 96, True), low=1, high=2_000)
    learning_rate: float = hyper(1.0, "Step of the gradient.", Range(0.1, 3, True), low=1e-6, high=10)
    regularization: float = hyper(0.6, "Penalty on long vectors.", Range(0.05, 5, True), high=1_000)
    iterations: int = hyper(40, "Passes over the data.", Range(15, 100, True), low=1, high=10_000)
    negatives: int = hyper(30, "Unseen items drawn for each seen one.", low=1, high=1_000)


class LMF(ImplicitModel):
    """Logistic matrix factorisation (Johnson 2014), fitted by the library implicit."""

    name: ClassVar[str] = "lmf"
    Config: ClassVar[type[ModelConfig]] = LMFConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, explains=True)

    @classmethod
    def _peer(cls, config: LMFConfig, **shared: int) -> Any:
        openmp.provide()
        from implicit.cpu.lmf import LogisticMatrixFactorization

        return LogisticMatrixFactorization(
            learning_rate=config.learning_rate,
            regularization=config.regularization,
            iterations=config.iterations,
            neg_prop=config.negatives,
            **shared,
        )
