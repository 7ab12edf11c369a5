"""Models whose customers are folded in by least squares."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController, threadpool_limits

from ...progress import SILENT, Progress
from ...schema import Dataset, Float32, Histories, Int32
from ..base import ModelConfig, Range, State, ageing, hyper
from .cold_start import Buyers, company, half_step, sampled_gram, sampled_rows
from .fitting import training_matrix
from .vectors import VectorModel, nearest, unit_rows

_PADDED = 2_000_000  # floats of gathered item vectors at a time: 8 MB
_TABLED = 20_000  # items up to which what a short history needs is worked out for all of them, and kept: 10 MB
_BLOCK = 65_536  # vectors that are made doubles at a time
_LONG, _SHORT = 64, 2  # numbers of a vector from which on, and how many of them for each event, a system of events pays


@cache
def _libraries() -> ThreadpoolController:
    """The numeric libraries of this process; to look for them takes as long as folding a history in."""
    return ThreadpoolController()


class LeastSquaresModel(VectorModel):
    """A vector model whose customers are the least-squares step of implicit ALS over their weighted history."""

    @property
    @abstractmethod
    def gain(self) -> float:
        """How much more a seen pair weighs than an unseen one."""

    @property
    @abstractmethod
    def ridge(self) -> float:
        """Weight of the penalty on long customer vectors."""

    @property
    def _taste(self) -> Float32:
        """What is matched with a history, float32 of shape (n_items, d)."""
        return self.item_factors

    def _fold_in(self, weights: sp.csr_matrix, *, seen: float = 0.0) -> Float32:
        """Solve (Y'Y + reg I + alpha sum w y y') x = sum (seen + alpha w) y for every row, in padded batches.

        The fit has `seen` 1. Scoring takes 0, so that what is long ago fades out altogether.
        """
        d = self._taste.shape[1]
        out = np.zeros((weights.shape[0], d), dtype=np.float32)
        length = np.diff(weights.indptr)
        order = np.flatnonzero(length)
        order = order[np.argsort(length[order], kind="stable")]
        if len(length) == 1 and weights.nnz:  # of one, what is arranged below takes as long as solving it
            return self._solved_together(weights, order, weights.nnz, np.float32(seen))
        most = max(1, _PADDED // (d * d))
        short = int(np.searchsorted(length[order], d // _SHORT, side="right")) if d >= _LONG else 0
        start = 0
        # Small systems: BLAS would spend its time on handing them to threads.
        with _libraries().limit(limits=1, user_api="blas"):
            while start < len(order):
                # Rows of like length together; a batch ends where its padding would outgrow the budget, and where the
                # quicker way for short ones does.
                ahead = order[start : min(start + most, short) if start < short else start + most]
                cost = length[ahead] * np.arange(1, len(ahead) + 1) * d
                rows = ahead[: max(1, int(np.searchsorted(cost, _PADDED)))]
                out[rows] = self._solved_together(weights, rows, int(length[rows[-1]]), np.float32(seen))
                start += len(rows)
        return out

    def _solved_together(self, weights: sp.csr_matrix, rows: Any, width: int, seen: np.float32) -> Float32:
        """The vectors of some rows, of which the longest has `width` items, in the quicker of two ways."""
        d = self._taste.shape[1]
        solve = self._solved_short if d >= _LONG and _SHORT * width <= d else self._solved
        return solve(*_side_by_side(weights, rows, width), seen)

    def _solved(self, items: Int32, w: Float32, real: NDArray[np.bool_], seen: np.float32) -> Float32:
        """The vectors of histories side by side, see `_side_by_side`, by a system as large as a vector for each."""
        y, w = self._taste[items], w * np.float32(self.gain)
        left = np.swapaxes(y * w[:, :, None], 1, 2) @ y + self._gram
        right = ((w + seen * real)[:, None, :] @ y)[:, 0, :]
        return np.asarray(np.linalg.solve(left, right[:, :, None])[:, :, 0], dtype=np.float32)

    def _solved_short(self, items: Int32, w: Float32, real: NDArray[np.bool_], seen: np.float32) -> Float32:
        """The same by a system as large as the history, see `fold_in`."""
        z = self._solved_taste(items)
        w = np.where(real, np.maximum(w * np.float32(self.gain), np.float32(1e-30)), np.float32(1))
        left = z @ np.swapaxes(self._taste[items], 1, 2)
        left *= real[:, :, None] & real[:, None, :]  # padding is left with an equation of its own: x = 0
        at = np.arange(left.shape[1])
        left[:, at, at] += 1 / w
        right = np.where(real, 1 + seen / w, np.float32(0))
        share = np.linalg.solve(left, right[:, :, None])
        return np.asarray((np.swapaxes(share, 1, 2) @ z)[:, 0, :], dtype=np.float32)

    def _solved_taste(self, items: Int32) -> Float32:
        """(Y'Y + reg I)^-1 y of some items, of the shape of `items` and a vector's length.

        Worked out once for all items, but of a large catalogue each time anew: a server would hold its vectors twice.
        """
        taste = self._taste
        if not hasattr(self, "_solved_cache"):
            if len(taste) > _TABLED:
                vectors = taste[items]
                return self._solved_vectors(vectors.reshape(-1, vectors.shape[-1])).reshape(vectors.shape)
            self._solved_cache: Float32 = self._solved_vectors(taste)
        return self._solved_cache[items]

    def _solved_vectors(self, vectors: Float32) -> Float32:
        # In doubles: where few directions carry the items, the inverse holds numbers a million times apart.
        if not hasattr(self, "_exact_inverse_cache"):
            self._exact_inverse_cache: NDArray[np.float64] = np.linalg.inv(self._gram.astype(np.float64))
        return (vectors.astype(np.float64) @ self._exact_inverse_cache).astype(np.float32)

    def fold_in(self, items: Int32, weights: Float32) -> Float32:
        """As `VectorModel.fold_in`, by one solve."""
        y = self._taste[items]
        w = weights * np.float32(self.gain)
        if len(items) >= y.shape[1]:
            return np.asarray(np.linalg.solve(self._gram + (y * w[:, None]).T @ y, w @ y), dtype=np.float32)
        # (G + Y'WY)^-1 Y'W 1 = G^-1 Y' (W^-1 + Y G^-1 Y')^-1 1: a system as large as the history, not as the vectors.
        z = y @ self._gram_inverse
        left = z @ y.T
        left.flat[:: len(left) + 1] += 1 / w
        return np.asarray(np.linalg.solve(left, np.ones(len(items), dtype=np.float32)) @ z, dtype=np.float32)

    @property
    def _gram_inverse(self) -> Float32:
        if not hasattr(self, "_inverse_cache"):
            self._inverse_cache: Float32 = np.linalg.inv(self._gram.astype(np.float64)).astype(np.float32)
        return self._inverse_cache

    @property
    def _gram(self) -> Float32:
        if not hasattr(self, "_gram_cache"):
            gram = self.ridge * np.eye(self._taste.shape[1])
            for start in range(0, len(self._taste), _BLOCK):  # a million vectors in doubles would be half a gigabyte
                y = self._taste[start : start + _BLOCK].astype(np.float64)
                gram += y.T @ y
            self._gram_cache: Float32 = gram.astype(np.float32)
        return self._gram_cache

    def vectors_from_buyers(self, weights: sp.csr_matrix, buyers: Buyers, prior: Float32, exposure: Float32) -> Float32:
        """The half step for items that the fit itself takes; see `growing`."""
        sample = self._fold_in(weights[sampled_rows(weights)], seen=1.0)
        users = self._fold_in(weights[buyers.rows], seen=1.0)
        gram, ridge = sampled_gram(sample, weights), self.ridge
        with threadpool_limits(1, "blas"):
            return half_step(users, buyers, gram, exposure, prior, self.gain, ridge)

    def explain(self, history: Histories, item: int, now: int) -> list[tuple[int, float]]:
        """Hu et al. section 5: the score is a sum over the history, y_i' W w_j y_j."""
        weights = self.weights(history, now)
        y = self._taste[weights.indices].astype(np.float64)
        w = weights.data.astype(np.float64) * self.gain
        left = self._gram + (y * w[:, None]).T @ y
        parts = w * (y @ np.linalg.solve(left, self._taste[item].astype(np.float64)))
        order = np.argsort(-parts, kind="stable")
        return [(int(weights.indices[j]), float(parts[j])) for j in order]


def _side_by_side(
    weights: sp.csr_matrix, rows: NDArray[np.integer], width: int
) -> tuple[Int32, Float32, NDArray[np.bool_]]:
    """Items and weights of some rows, each of shape (rows, width), and what of them is not padding, which weighs 0."""
    start, stop = weights.indptr[rows], weights.indptr[rows + 1]
    place = start[:, None] + np.arange(width)
    real = place < stop[:, None]
    place = np.minimum(place, weights.nnz - 1)
    return weights.indices[place], np.where(real, weights.data[place], 0).astype(np.float32), real


@dataclass(frozen=True)
class BiasedConfig(ModelConfig):
    """Hyperparameters of every `BiasedModel`."""

    tau_days: float = ageing(55.0)
    fold_alpha: float = hyper(
        1.0, "Weight of a seen item in folding a history in.", Range(0.5, 100, True), low=1e-3, high=100_000
    )
    fold_ridge: float = hyper(
        100.0, "Penalty on long vectors in folding a history in.", Range(1, 1000, True), low=1e-3, high=100_000
    )


class BiasedModel(LeastSquaresModel):
    """Vectors whose last number is the item's bias, from a fit that has no closed step for a customer.

    The least-squares step stands in for it, scaled to the length that the fit's own customers have on average, so
    that taste and bias keep their proportion.

    Parameters
    ----------
    item_factors
        Shape (n_items, d + 1).
    scale
        What folded vectors are multiplied by.
    """

    config: BiasedConfig
    numbers: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(
        self,
        config: ModelConfig,
        item_factors: Float32,
        trained: NDArray[np.bool_] | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__(config, item_factors, trained)
        self.scale = scale

    @property
    def gain(self) -> float:
        return self.config.fold_alpha

    @property
    def ridge(self) -> float:
        return self.config.fold_ridge

    @property
    def _taste(self) -> Float32:
        return self.item_factors[:, :-1]

    def calibrated(self, seen: sp.csr_matrix, users: Float32) -> Self:
        """The same with the scale at which folded customers are as long as `users`, the fit's own."""
        some = np.flatnonzero(np.diff(seen.indptr))[:2000]
        folded = super()._fold_in(seen[some])
        own = float(np.linalg.norm(users[some], axis=1).mean())
        scale = own / max(float(np.linalg.norm(folded, axis=1).mean()), 1e-12)
        return type(self)(self.config, self.item_factors, self.trained, scale)

    def state(self) -> State:
        return State(super().state().arrays, {"scale": self.scale})

    @classmethod
    def from_state(cls, config: Any, n_items: int, state: State) -> Self:
        return cls(config, state.arrays["item_factors"], state.arrays["trained"], state.meta["scale"])

    def grow(self, data: Dataset, now: int) -> Self:
        grown = super().grow(data, now)
        return type(self)(self.config, grown.item_factors, grown.trained, self.scale)

    def _fold_in(self, weights: sp.csr_matrix, *, seen: float = 0.0) -> Float32:
        taste = super()._fold_in(weights, seen=seen) * np.float32(self.scale)
        there = (np.diff(weights.indptr) > 0).astype(np.float32)
        return np.column_stack([taste, there])

    def fold_in(self, items: Int32, weights: Float32) -> Float32:
        taste = super().fold_in(items, weights) * np.float32(self.scale)
        return np.append(taste, np.float32(1))

    def vectors_from_buyers(self, weights: sp.csr_matrix, buyers: Buyers, prior: Float32, exposure: Float32) -> Float32:
        return company(self.item_factors, weights, buyers, prior)

    def similar(self, items: Int32, k: int) -> tuple[Int32, Float32]:
        return nearest(unit_rows(self._taste), items, k)


class ImplicitModel(BiasedModel):
    """A `BiasedModel` that the library implicit fits by gradient."""

    @classmethod
    def fit(cls, data: Dataset, config: Any, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT) -> Self:
        seen = training_matrix(data, config)
        factors = min(config.factors, max(1, min(seen.shape) - 1))
        # BLAS threads inside implicit's own make it several times slower.
        with threadpool_limits(1, "blas"), progress.stage(f"Fitting {cls.name}", config.iterations) as advance:
            model = cls._peer(config, factors=factors, num_threads=threads, random_state=seed)
            model.fit(seen, show_progress=False, callback=lambda *_: advance(1))
        items = np.array(model.item_factors[:, : factors + 1], dtype=np.float32)
        sold = np.bincount(seen.indices, minlength=seen.shape[1]) > 0
        items[~sold] = 0
        return cls(config, items, sold).calibrated(seen, np.asarray(model.user_factors)[:, :factors])

    @classmethod
    @abstractmethod
    def _peer(cls, config: Any, **shared: int) -> Any:
        """The model of implicit that fits it; the first `factors` + 1 numbers of an item are its taste and its bias."""
