"""Search for the item vectors with the largest inner product (faiss)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from .errors import CorruptArtifact
from .schema import Float32, Int32


@dataclass(frozen=True)
class ItemIndex:
    """Exact search over all item vectors."""

    index: Any

    @staticmethod
    def build(vectors: Float32) -> ItemIndex:
        """Index float32 vectors of shape (n_items, d); the position of a vector is its item's code."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return ItemIndex(index)

    def search(self, queries: Float32, k: int) -> tuple[Int32, Float32]:
        """The k best items for each query of shape (n, d): codes and inner products, -1 and -inf where short."""
        scores, codes = self.index.search(np.ascontiguousarray(queries, dtype=np.float32), k)
        return codes.astype(np.int32), np.where(codes < 0, -np.inf, scores).astype(np.float32)

    def save(self, path: Path) -> None:
        faiss.write_index(self.index, str(path))

    @staticmethod
    def load(path: Path) -> ItemIndex:
        """Read an index written by `save`.

        Raises
        ------
        CorruptArtifact
        """
        try:
            return ItemIndex(faiss.read_index(str(path)))
        except RuntimeError as e:
            raise CorruptArtifact(f"{path} cannot be read: {e}.", "Run recsys train.") from None
