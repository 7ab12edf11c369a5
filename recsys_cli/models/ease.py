"""Linear regression of every item on all others, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from ..progress import SILENT, Progress
from ..schema import Dataset, Float32
from .base import Capabilities, ModelConfig, Range, Size, ageing, hyper
from .support.fitting import training_matrix
from .support.item_matrix import ItemModel, largest_of_rows, neighbours, power, scaled, sums
from .support.local_regression import regress
from .support.newness import NEWNESS, boost

_LARGE, _MANY_ITEMS = 3_000_000, 50_000


@dataclass(frozen=True)
class EASEConfig(ModelConfig):
    """Hyperparameters of `EASE`."""

    tau_days: float = ageing(120.0)
    user_power: float = hyper(0.24, "Customers count by history length to minus twice this.", Range(0, 0.6), high=2)
    ridge: float = hyper(
        14.0, "Regularisation that is the same for all items.", Range(0.5, 1000, True), low=1e-3, high=100_000
    )
    popular_ridge: float = hyper(
        13.0, "Regularisation that grows with popularity.", Range(0.01, 100, True), high=100_000
    )
    popular_power: float = hyper(0.05, "How fast it grows: popularity to twice this.", Range(0, 0.6), high=2)
    exact_items: int = hyper(
        9_000, "Largest catalogue solved exactly; beyond, on each item's nearest neighbours.", high=50_000
    )
    neighbours: int = hyper(
        0,
        "Neighbours of each item where not exact; 0 takes 160, or 80 beyond 3 million pairs or 50,000 items.",
        Range(40, 200, True),
        high=2_000,
    )
    neighbour_power: float = hyper(
        0.4, "How much popular items are held back in choosing neighbours.", Range(0.1, 0.8), high=2
    )
    newness: float = NEWNESS


class EASE(ItemModel):
    """EASE (Steck 2019) with rows weighed by length and regularisation by popularity; on neighbours when large."""

    name: ClassVar[str] = "ease"
    Config: ClassVar[type[ModelConfig]] = EASEConfig
    capabilities: ClassVar[Capabilities] = Capabilities(explains=True)

    @classmethod
    def cpu_seconds(cls, size: Size) -> float:
        """A cube of the catalogue, or a small system for each of its items."""
        products = 1e-7 * size.pairs
        if size.items <= EASEConfig().exact_items:
            return products + size.items**3 / 1.5e10
        return products + size.items * (4e-4 if size.events < _LARGE and size.items <= _MANY_ITEMS else 1.6e-4)

    @classmethod
    def fit(
        cls, data: Dataset, config: EASEConfig, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        with progress.stage("Fitting ease"):
            seen = training_matrix(data, config)
            users, _ = sums(seen)
            few = seen.nnz < _LARGE and seen.shape[1] <= _MANY_ITEMS  # work grows with items times neighbours cubed
            config = replace(config, neighbours=config.neighbours or (160 if few else 80))
            rows = scaled(seen, power(users, -config.user_power), None)
            sold = np.flatnonzero(np.bincount(seen.indices, minlength=seen.shape[1]))
            factor = boost(data.interactions, config.newness)
            if len(sold) <= config.exact_items:
                weights = _exact(rows[:, sold], config)
                weights *= factor[sold][None, :]
                return cls(config, _placed(weights, sold, seen.shape[1]))
            return cls(config, scaled(on_neighbours(rows, config, threads), None, factor))


def _exact(rows: sp.csr_matrix, config: EASEConfig) -> Float32:
    """B = I - P diag(1 / diag P) with P = (G + L)^-1, by Cholesky in double precision (single has crashed here)."""
    gram = np.asarray((rows.T @ rows).todense(), dtype=np.float64, order="F")
    diagonal = np.diag_indices_from(gram)
    gram[diagonal] += _ridge(gram[diagonal], config)
    factor, failed = scipy.linalg.lapack.dpotrf(gram, lower=1, overwrite_a=1, clean=0)
    assert failed == 0, "a positive diagonal was added to a Gram matrix"
    inverse, failed = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    assert failed == 0
    scale = 1 / inverse[diagonal]
    lower = np.tril(inverse, -1).astype(np.float32)
    del inverse, factor, gram
    weights: Float32 = lower + lower.T
    weights *= -scale.astype(np.float32)[None, :]
    return weights


def _ridge(diagonal: NDArray[np.float64], config: EASEConfig) -> NDArray[np.float64]:
    return config.popular_ridge * np.maximum(diagonal, 1e-12) ** (2 * config.popular_power) + config.ridge


def _placed(weights: Float32, sold: NDArray[np.int64], n_items: int) -> Float32:
    """The matrix over the whole catalogue; what was never sold says and gets nothing."""
    if len(sold) == n_items:
        return weights
    out = np.zeros((n_items, n_items), dtype=np.float32)
    out[np.ix_(sold, sold)] = weights
    return out


def on_neighbours(rows: sp.csr_matrix, config: EASEConfig, threads: int) -> sp.csr_matrix:
    """For each target its regression on its own nearest neighbours only.

    Parameters
    ----------
    rows
        Weighed histories, shape (n_users, n_items).

    Returns
    -------
    float32 CSR, shape (n_items, n_items): column j holds the weights that predict item j.
    """
    n = rows.shape[1]
    own = np.asarray(np.bincount(rows.indices, rows.data.astype(np.float64) ** 2, minlength=n), dtype=np.float64)
    # Candidates by G_ij / g_i^p, with g_j^p constant for a target: inner products of columns scaled by g^-p.
    near = neighbours(scaled(rows, None, power(own, -config.neighbour_power)), 3 * config.neighbours, threads)
    gram = scaled(near, power(own, config.neighbour_power), power(own, config.neighbour_power))
    gram = gram.maximum(gram.T).tocsr()
    gram.sort_indices()
    chosen = largest_of_rows(near, config.neighbours)
    chosen.sort_indices()
    return regress(gram, gram, own + _ridge(own, config), chosen, threads)
