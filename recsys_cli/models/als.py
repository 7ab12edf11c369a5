"""Implicit alternating least squares, with customers folded in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from ..errors import NotEnoughData
from ..progress import SILENT, Progress
from ..schema import Dataset, Float32, Histories, Int32
from .base import Capabilities, ModelConfig, Range, hyper, weigh
from .growing import Buyers, half_step, sampled_gram, sampled_rows
from .vectors import VectorModel

_LARGE = 3_000_000
_PADDED = 2_000_000  # floats of gathered item vectors at a time: 8 MB


@dataclass(frozen=True)
class ALSConfig(ModelConfig):
    """Hyperparameters of `ALS`; tune `alpha` and `regularization` together."""

    tau_days: float = hyper(
        55.0, "Days after which an event of a history counts 1/e when scoring; 0 for no ageing.", Range(5, 1000, True)
    )
    factors: int = hyper(0, "Length of the vectors; 0 takes 128, or 64 beyond 3 million pairs.", Range(32, 192, True))
    alpha: float = hyper(
        0.0, "How much more a seen pair weighs than an unseen one; 0 chooses by density.", Range(0.2, 40, True)
    )
    regularization: float = hyper(
        0.0, "Weight of the penalty on long vectors; 0 chooses by density.", Range(0.1, 60, True)
    )
    iterations: int = hyper(15, "Passes over customers and items.")


class ALS(VectorModel):
    """Weighted matrix factorisation (Hu, Koren and Volinsky 2008), fitted by the library implicit.

    Customers' factors are thrown away after the fit: a history's vector is the least-squares step that the fit
    itself would take, over its aged weights.
    """

    name: ClassVar[str] = "als"
    Config: ClassVar[type[ModelConfig]] = ALSConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, explains=True)
    config: ALSConfig

    @classmethod
    def fit(
        cls, data: Dataset, config: ALSConfig, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        from implicit.cpu.als import AlternatingLeastSquares

        n_items = data.interactions.n_items
        seen = weigh(data.interactions.histories, n_items, 0.0, config.qty_power, config.repeat_power)
        if not seen.nnz:
            raise NotEnoughData("There is no purchase to learn from.", "Run recsys ingest FILE with purchases.")
        config = _settled(config, seen)
        # implicit takes the confidence itself; below 1 it would hold a seen pair for less likely than an unseen one.
        seen.data = 1 + np.float32(config.alpha) * seen.data
        # BLAS threads inside implicit's own make it several times slower.
        with threadpool_limits(1, "blas"), progress.stage("Fitting als", config.iterations) as advance:
            model = AlternatingLeastSquares(
                factors=min(config.factors, max(1, min(seen.shape) - 1)),
                regularization=config.regularization,
                iterations=config.iterations,
                num_threads=threads,
                random_state=seed,
            )
            model.fit(seen, show_progress=False, callback=lambda *_: advance(1))
        vectors = np.asarray(model.item_factors, dtype=np.float32)
        # What nobody bought keeps a trace of its random start otherwise.
        vectors[np.bincount(seen.indices, minlength=n_items) == 0] = 0
        return cls(config, vectors)

    def _fold_in(self, weights: sp.csr_matrix, *, seen: float = 0.0) -> Float32:
        """Solve (Y'Y + reg I + alpha sum w y y') x = sum (seen + alpha w) y for every row, in padded batches.

        The fit has `seen` 1. Scoring takes 0, so that what is long ago fades out altogether.
        """
        d = self.item_factors.shape[1]
        out = np.zeros((weights.shape[0], d), dtype=np.float32)
        length = np.diff(weights.indptr)
        order = np.flatnonzero(length)
        order = order[np.argsort(length[order], kind="stable")]
        gram = self._gram
        most = max(1, _PADDED // (d * d))
        start = 0
        # Small systems: BLAS would spend its time on handing them to threads.
        with threadpool_limits(1, "blas"):
            while start < len(order):
                # Rows of like length together; a batch ends where its padding would outgrow the budget.
                ahead = order[start : start + most]
                cost = length[ahead] * np.arange(1, len(ahead) + 1) * d
                rows = ahead[: max(1, int(np.searchsorted(cost, _PADDED)))]
                out[rows] = self._solve(weights, rows, int(length[rows[-1]]), gram, np.float32(seen))
                start += len(rows)
        return out

    def _solve(self, weights: sp.csr_matrix, rows: Any, width: int, gram: Float32, seen: np.float32) -> Float32:
        start, stop = weights.indptr[rows], weights.indptr[rows + 1]
        place = start[:, None] + np.arange(width)
        real = place < stop[:, None]
        place = np.minimum(place, weights.nnz - 1)
        w = np.where(real, weights.data[place], 0).astype(np.float32) * np.float32(self.config.alpha)
        y = self.item_factors[weights.indices[place]]
        left = np.swapaxes(y * w[:, :, None], 1, 2) @ y + gram
        right = ((w + seen * real)[:, None, :] @ y)[:, 0, :]
        return np.asarray(np.linalg.solve(left, right[:, :, None])[:, :, 0], dtype=np.float32)

    def fold_in(self, items: Int32, weights: Float32) -> Float32:
        """As `VectorModel.fold_in`, by one solve."""
        y = self.item_factors[items]
        w = weights * np.float32(self.config.alpha)
        return np.asarray(np.linalg.solve(self._gram + (y * w[:, None]).T @ y, w @ y), dtype=np.float32)

    @property
    def _gram(self) -> Float32:
        if not hasattr(self, "_gram_cache"):
            y = self.item_factors.astype(np.float64)
            ridge = max(self.config.regularization, 1e-3) * np.eye(y.shape[1])
            self._gram_cache: Float32 = (y.T @ y + ridge).astype(np.float32)
        return self._gram_cache

    def vectors_from_buyers(
        self, weights: sp.csr_matrix, buyers: Buyers, prior: Float32, exposure: Float32
    ) -> Float32:
        """The half step for items that the fit itself takes; see `growing`."""
        sample = self._fold_in(weights[sampled_rows(weights)], seen=1.0)
        users = self._fold_in(weights[buyers.rows], seen=1.0)
        gram, ridge = sampled_gram(sample, weights), max(self.config.regularization, 1e-3)
        with threadpool_limits(1, "blas"):
            return half_step(users, buyers, gram, exposure, prior, self.config.alpha, ridge)

    def explain(self, history: Histories, item: int, now: int) -> list[tuple[int, float]]:
        """Hu et al. section 5: the score is a sum over the history, y_i' W w_j y_j."""
        weights = self.weights(history, now)
        y = self.item_factors[weights.indices].astype(np.float64)
        w = weights.data.astype(np.float64) * self.config.alpha
        left = self._gram + (y * w[:, None]).T @ y
        parts = w * (y @ np.linalg.solve(left, self.item_factors[item].astype(np.float64)))
        order = np.argsort(-parts, kind="stable")
        return [(int(weights.indices[j]), float(parts[j])) for j in order]


def _settled(config: ALSConfig, seen: sp.csr_matrix) -> ALSConfig:
    """The config with numbers for what was left to the data.

    Long histories (a wholesaler's 56 items) want little confidence and much regularisation, short ones (8 items of
    beauty products) the opposite; in between it was found to go about with the length.
    """
    length = seen.nnz / max(int((np.diff(seen.indptr) > 0).sum()), 1)
    return replace(
        config,
        factors=config.factors or (128 if seen.nnz < _LARGE else 64),
        alpha=config.alpha or float(np.clip(48 / length, 0.8, 20)),
        regularization=config.regularization or float(np.clip(15 * length / 56, 1, 20)),
    )
