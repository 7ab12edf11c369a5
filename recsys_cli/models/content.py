"""Items by what is said of them: for what nobody has bought yet, and for who has bought next to nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp

from ..durable_files import explain_os
from ..errors import InputError, NotEnoughData
from ..progress import SILENT, Progress
from ..schema import Dataset, Float32, IdMap
from .base import Capabilities, ModelConfig, Range, ageing, hyper
from .support.cold_start import Buyers
from .support.content_features import content_features, one_hot
from .support.svd import right_vectors
from .support.text_meaning import WIDTH, meanings
from .support.vectors import VectorModel, unit_rows


@dataclass(frozen=True)
class ContentConfig(ModelConfig):
    """Hyperparameters of `Content`."""

    tau_days: float = ageing(120.0)
    factors: int = hyper(128, "Length of the vectors.", Range(32, 256, True), low=1, high=2_000)
    spectrum: float = hyper(
        0.5, "Power of the singular values: 1 keeps the text's own similarities.", Range(0, 1), high=2
    )
    meaning: float = hyper(
        0.0,
        "Weight of what titles mean in sixteen languages, beside 1 for their words; pip install 'recsys-cli[text]'.",
        high=100,
    )
    vectors: str = hyper("", "Parquet file with item_id and vector (a list of numbers) made elsewhere; used instead.")


class Content(VectorModel):
    """TF-IDF of title, description, tags, category, brand and price band, and its truncated SVD (LSA).

    With `meaning`, vectors of what titles mean stand beside it. A history's vector is the mean of its items'. Vectors
    from a file (a language model's, say) take the text's place; items that the file lacks have none.
    """

    name: ClassVar[str] = "content"
    Config: ClassVar[type[ModelConfig]] = ContentConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True, cold_items=True, explains=False)
    config: ContentConfig

    @classmethod
    def affordable(cls, data: Dataset) -> bool:
        """Where the catalogue says something."""
        return bool(described(data.catalogue).shape[1])

    @classmethod
    def fit(
        cls,
        data: Dataset,
        config: ContentConfig,
        *,
        seed: int = 42,
        threads: int = 0,
        progress: Progress = SILENT,
    ) -> Self:
        if config.vectors:
            with progress.stage("Fitting content"):
                return cls(config, unit_rows(read_vectors(Path(config.vectors), data.interactions.items)))
        meaning = meanings(data.catalogue, threads=threads, progress=progress) if config.meaning else None
        return cls(config, _joined(data.catalogue, config, meaning, seed, threads))

    def _fold_in(self, weights: sp.csr_matrix) -> Float32:
        total = np.asarray(weights.sum(axis=1), dtype=np.float32).reshape(-1, 1)
        mean = np.asarray(weights @ self.item_factors, dtype=np.float32)
        return np.asarray(mean / np.where(total > 0, total, 1), dtype=np.float32)

    def grow(self, data: Dataset, now: int) -> Self:
        """Fitted again: it depends on nothing but the catalogue. What texts mean is read for new items alone."""
        if not self.config.meaning or self.config.vectors:
            return type(self).fit(data, self.config)
        meaning = np.zeros((len(data.catalogue), WIDTH), dtype=np.float32)
        meaning[: self.n_items] = unit_rows(self.item_factors[:, -WIDTH:])
        meaning[self.n_items :] = meanings(data.catalogue.slice(self.n_items))
        return type(self)(self.config, _joined(data.catalogue, self.config, meaning, 42, 0))

    def vectors_from_buyers(self, weights: sp.csr_matrix, buyers: Buyers, prior: Float32, exposure: Float32) -> Float32:
        return prior


def _joined(catalogue: pa.Table, config: ContentConfig, meaning: Float32 | None, seed: int, threads: int) -> Float32:
    """Words and, beside them, what they mean: rows of length 1."""
    words = unit_rows(_latent(described(catalogue), config, seed, threads))
    if meaning is None:
        return words
    return unit_rows(np.concatenate([words, np.float32(config.meaning) * meaning], axis=1))


def _latent(features: sp.csr_matrix, config: ContentConfig, seed: int, threads: int) -> Float32:
    if not features.shape[1]:
        raise NotEnoughData(
            "The catalogue has no text about its items.", "Run recsys ingest FILE with titles, categories or tags."
        )
    # Rows are items, so that the right vectors are of features: the smaller side of most shops.
    basis, values = right_vectors(features, config.factors, seed=seed, threads=threads or 2)
    shrink = np.where(values > 0, np.maximum(values, 1e-12) ** (config.spectrum - 1), 0)
    return np.asarray((features @ basis) * shrink.astype(np.float32), dtype=np.float32)


def described(catalogue: pa.Table) -> sp.csr_matrix:
    """All that is known of each item as weighted features, float32 of shape (n_items, features); rows of length 1."""
    n = len(catalogue)
    parts = [content_features(catalogue)]
    if "tags" in catalogue.column_names:
        parts.append(_tokens(catalogue["tags"], r"[|,;]+", 2.0))
    if "description" in catalogue.column_names:
        parts.append(_tokens(catalogue["description"], r"[^\p{L}\p{N}]+", 1.0))
    parts = [part for part in parts if part.shape[1]]
    if not parts:
        return sp.csr_matrix((n, 0), dtype=np.float32)
    features = sp.hstack(parts, format="csr", dtype=np.float32)
    # What only one item has likens it to nothing.
    shared = np.flatnonzero(np.bincount(features.indices, minlength=features.shape[1]) > 1)
    features = features[:, shared]
    length = np.sqrt(np.asarray(features.multiply(features).sum(axis=1))).ravel()
    return sp.csr_matrix(sp.diags(1 / np.where(length > 0, length, 1)) @ features, dtype=np.float32)


def _tokens(column: pa.ChunkedArray, separator: str, weight: float) -> sp.csr_matrix:
    """TF-IDF of a column's parts, each once an item; rows of length `weight`."""
    text = pc.utf8_lower(pc.fill_null(column.combine_chunks(), ""))
    lists = pc.split_pattern_regex(text, separator)
    rows = pc.list_parent_indices(lists).to_numpy()
    words = pc.utf8_trim_whitespace(pc.list_flatten(lists))
    matrix = one_hot(rows, words, len(column), 1.0)
    matrix.data[:] = 1
    if not matrix.nnz:
        return sp.csr_matrix((len(column), 0), dtype=np.float32)
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1])
    matrix = (matrix @ sp.diags(np.log(1 + len(column) / np.maximum(frequency, 1)))).tocsr()
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
    return sp.csr_matrix(sp.diags(weight / np.where(length > 0, length, 1)) @ matrix, dtype=np.float32)


def read_vectors(path: Path, items: IdMap) -> Float32:
    """Vectors by item id from a Parquet file, float32 of shape (n_items, d); zeros for items it lacks.

    Raises
    ------
    InputError
        The file cannot be read, lacks a column, or its vectors are not all equally long and finite.
    """
    try:
        with path.open("rb") as f:
            table = pq.read_table(f, columns=["item_id", "vector"])
    except (pa.ArrowException, KeyError):
        raise InputError(f"{path} is not a Parquet file of vectors.", "It needs columns item_id and vector.") from None
    except OSError as e:
        raise InputError(explain_os(e, path).message, "Name a Parquet file with columns item_id and vector.") from None
    lists = table["vector"].combine_chunks()
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(lists.type) for is_kind in kinds):
        raise InputError(f"The column vector of {path} holds no lists.", "Write one list of numbers for each item.")
    lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise InputError(f"The vectors of {path} are not equally long: {_few(lengths)}.", "Write them all alike.")
    flat = np.asarray(pc.list_flatten(lists).to_numpy(zero_copy_only=False), dtype=np.float32)
    if not np.isfinite(flat).all():
        raise InputError(f"The vectors of {path} contain values that are not numbers.", "Leave such items out.")
    codes = items.codes(pc.cast(table["item_id"].combine_chunks(), pa.string()))
    out = np.zeros((len(items), lengths[0]), dtype=np.float32)
    out[codes[codes >= 0]] = flat.reshape(-1, lengths[0])[codes >= 0]
    return out


def _few(values: Iterable[Any]) -> str:
    return json.dumps(list(values)[:5])
