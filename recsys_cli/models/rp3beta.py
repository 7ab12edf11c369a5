"""A three-step walk from items over customers to items, popular ends held back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from ..progress import SILENT, Progress
from ..schema import Dataset
from .base import Capabilities, ModelConfig, Range, ageing, hyper
from .support.fitting import training_matrix
from .support.item_matrix import ItemModel, neighbours, power, scaled, sums
from .support.newness import NEWNESS, boost


@dataclass(frozen=True)
class RP3betaConfig(ModelConfig):
    """Hyperparameters of `RP3beta`."""

    tau_days: float = ageing(120.0)
    alpha: float = hyper(0.6, "Power of the transition probabilities.", Range(0.2, 1.5), high=5)
    beta: float = hyper(0.3, "Power of the popularity that an end is divided by.", Range(0, 1), high=5)
    neighbours: int = hyper(400, "Ends kept of each item.", Range(50, 1000, True), low=1, high=10_000)
    newness: float = NEWNESS


class RP3beta(ItemModel):
    """RP3beta (Paudel et al. 2017)."""

    name: ClassVar[str] = "rp3beta"
    Config: ClassVar[type[ModelConfig]] = RP3betaConfig
    capabilities: ClassVar[Capabilities] = Capabilities(explains=True)

    @classmethod
    def fit(
        cls,
        data: Dataset,
        config: RP3betaConfig,
        *,
        seed: int = 42,
        threads: int = 0,
        progress: Progress = SILENT,
    ) -> Self:
        with progress.stage("Fitting rp3beta"):
            seen = training_matrix(data, config)
            users, items = sums(seen)
            # P_iu^a P_uj^a / d_j^b has the same customers' part for both ends, so it is an inner product of columns
            # scaled by d^-b, and what that scales the start by too much is put right at the end.
            walk = scaled(seen, power(users, -config.alpha / 2), power(items, -config.beta))
            best = neighbours(walk, config.neighbours, threads)
            factor = boost(data.interactions, config.newness)
            return cls(config, scaled(best, power(items, config.beta - config.alpha), factor))
