"""What comes next, by attention to what came before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..schema import Float32
from .base import ModelConfig, hyper
from .support.gradients import normalised, relu, rows, softmax
from .support.sequence_model import Drop, Parameters, SequenceConfig, SequenceModel, apart


@dataclass(frozen=True)
class SASRecConfig(SequenceConfig):
    """Hyperparameters of `SASRec`."""

    blocks: int = hyper(1, "Layers of attention.", low=1, high=8)
    heads: int = hyper(2, "Heads of each; as many of them as divide the length of the vectors.", low=1, high=16)


class SASRec(SequenceModel):
    """Self-attentive sequential recommendation (Kang and McAuley 2018), trained with sampled softmax.

    Layers are normalised before they are computed, and a learned bias for each distance takes the place of positions:
    what was last counts as last in histories of any length. Sampled softmax instead of one negative for each positive,
    which Klenitskiy and Vasilev (2023) and Petrov and Macdonald (2023) found to be what SASRec lacked.
    """

    name: ClassVar[str] = "sasrec"
    Config: ClassVar[type[ModelConfig]] = SASRecConfig

    @classmethod
    def encode(cls, network: Parameters, vectors: Any, config: SASRecConfig, drop: Drop) -> Any:
        n, length, d = vectors.shape
        heads = math.gcd(config.heads, d)
        steps, later = apart(length)
        x = drop(vectors * np.float32(math.sqrt(d)) + network["start"])
        for block in range(config.blocks):
            w = {name.partition(".")[2]: value for name, value in network.items() if name.startswith(f"{block}.")}
            inner = normalised(x, w["attention_scale"], w["attention_shift"])
            bias = rows(w["distance"], steps.T).swapaxes(0, 2) + later
            asks, keys, says = (
                (inner @ w[name]).reshape(n, length, heads, d // heads).swapaxes(1, 2)
                for name in ("asks", "keys", "says")
            )
            score = asks @ keys.swapaxes(2, 3) * np.float32(1 / math.sqrt(d // heads))
            share = softmax(score + bias)
            heard = (share @ says).swapaxes(1, 2).reshape(n, length, d)
            x = x + drop(heard @ w["outputs"])
            inner = normalised(x, w["layer_scale"], w["layer_shift"])
            x = x + drop(relu(inner @ w["wide"] + w["wide_bias"]) @ w["narrow"] + w["narrow_bias"])
        return normalised(x, network["scale"], network["shift"])

    @classmethod
    def begin(cls, config: SASRecConfig, rng: np.random.Generator, features: int) -> dict[str, Float32]:
        d, heads = config.factors, math.gcd(config.heads, config.factors)

        def random(*shape: int) -> Float32:
            return (rng.standard_normal(shape) / math.sqrt(shape[0])).astype(np.float32)

        def same(value: float, *shape: int) -> Float32:
            return np.full(shape, value, dtype=np.float32)

        network = {"start": same(0, d), "scale": same(1, d), "shift": same(0, d)}
        for block in range(config.blocks):
            made = {
                "attention_scale": same(1, d),
                "attention_shift": same(0, d),
                "asks": random(d, d),
                "keys": random(d, d),
                "says": random(d, d),
                "outputs": random(d, d),
                "distance": same(0, config.longest, heads),
                "layer_scale": same(1, d),
                "layer_shift": same(0, d),
                "wide": random(d, 2 * d),
                "wide_bias": same(0, 2 * d),
                "narrow": random(2 * d, d),
                "narrow_bias": same(0, d),
            }
            network |= {f"{block}.{name}": value for name, value in made.items()}
        return network

    @classmethod
    def multiplications(cls, config: SASRecConfig, length: float) -> float:
        return config.blocks * (8 * config.factors**2 + 2 * length * config.factors)
