"""Customers and items as vectors of one space: what they did on one side, what is known of an item on the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from ..schema import Dataset, Float32
from .base import Capabilities, ModelConfig, Range, hyper
from .content import described
from .support.gradients import relu, rows, softmax, sparse_product, unit
from .support.sequence_model import Drop, Parameters, SequenceConfig, SequenceModel, apart

_SAID = "fit.said"


@dataclass(frozen=True)
class TwoTowerConfig(SequenceConfig):
    """Hyperparameters of `TwoTower`."""

    factors: int = hyper(128, "Length of the vectors.", Range(32, 192, True), low=2, high=1_024)
    temperature: float = hyper(0.07, "What cosines are divided by.", Range(0.03, 0.2, True), low=0.01, high=10)
    features: bool = hyper(True, "Build items from category, brand, price and words as well as from themselves.")


class TwoTower(SequenceModel):
    """Two towers that meet in a cosine (Yi et al. 2019), trained against the other items of a batch.

    An item's vector is its own plus the sum of what is said of it, so that one that nobody bought has one as well. A
    history's is a mean of its items' by attention from its last one, and a layer on top. Popular items are in batches
    more often, which log Q makes up for.
    """

    name: ClassVar[str] = "two-tower"
    Config: ClassVar[type[ModelConfig]] = TwoTowerConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, sequential=True, explains=True, cold_items=True)
    in_batch: ClassVar[bool] = True

    @classmethod
    def features(cls, data: Dataset, config: TwoTowerConfig) -> sp.csr_matrix:
        return described(data.catalogue) if config.features else super().features(data, config)

    @classmethod
    def items(cls, network: Parameters, own: Any, features: sp.csr_matrix) -> Any:
        return unit(own + sparse_product(features, network[_SAID]))

    @classmethod
    def encode(cls, network: Parameters, vectors: Any, config: TwoTowerConfig, drop: Drop) -> Any:
        steps, later = apart(vectors.shape[1])
        asked = (vectors @ network["asks"]) @ vectors.swapaxes(1, 2) * np.float32(math.sqrt(vectors.shape[2]))
        share = softmax(asked + rows(network["distance"], steps.T).swapaxes(0, 2) + later)
        mean = drop(share @ vectors)
        layer = drop(relu(mean @ network["wide"] + network["bias"])) @ network["narrow"]
        return unit(mean + layer) * np.float32(1 / config.temperature)

    @classmethod
    def begin(cls, config: TwoTowerConfig, rng: np.random.Generator, features: int) -> dict[str, Float32]:
        d = config.factors

        def random(*shape: int) -> Float32:
            return (rng.standard_normal(shape) / math.sqrt(d)).astype(np.float32)

        return {
            _SAID: random(features, d),
            "asks": random(d, d),
            "distance": np.zeros((config.longest, 1), np.float32),
            "wide": random(d, d),
            "bias": np.zeros(d, np.float32),
            "narrow": np.zeros((d, d), np.float32),
        }

    @classmethod
    def multiplications(cls, config: TwoTowerConfig, length: float) -> float:
        return 3 * config.factors**2 + 2 * length * config.factors
