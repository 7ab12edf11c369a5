"""What most models begin with: the matrix of who had what, refused when there is nothing in it."""

from __future__ import annotations

import scipy.sparse as sp

from ...errors import NotEnoughData
from ...schema import Dataset
from ...splitting.interactions import weigh
from ..base import ModelConfig


def training_matrix(data: Dataset, config: ModelConfig, *, tau_days: float = 0.0) -> sp.csr_matrix:
    """Everybody's weighted history, not aged unless told: float32 CSR of shape (n_users, n_items).

    Raises
    ------
    NotEnoughData
        Nobody has anything.
    """
    seen = data.interactions
    matrix = weigh(seen.histories, seen.n_items, tau_days, config.qty_power, config.repeat_power)
    if not matrix.nnz:
        raise NotEnoughData("There is no purchase to learn from.", "Run recsys ingest FILE with purchases.")
    return matrix
