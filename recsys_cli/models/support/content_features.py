"""A map from what an item is said to be (title, category, brand, price) into a model's space of vectors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from numpy.typing import NDArray

from ...schema import Float32, Int32

_MAX_FEATURES = 2000  # the most frequent ones; the map costs their square in memory and cube in time
_PRICE_BANDS = 8
_SAID = {"category": 2.0, "brand": 1.0}  # how much one of these says, against one word of the title
_NONE = sp.csr_matrix((0, 0), dtype=np.float32)


def content_vectors(catalogue: pa.Table, vectors: Float32, support: NDArray[np.floating], codes: Int32) -> Float32:
    """Vectors that the content of some items lets expect, by ridge regression on the items that were sold.

    Parameters
    ----------
    catalogue
        See `Dataset.catalogue`.
    vectors
        float32, shape (n_items, d): the model's; rows without support are not learned from.
    support
        Shape (n_items,): how often each item was sold. An item counts by the root of it, so that a new one is
        expected to be like what sells of its kind rather than like the shelf warmers.
    codes
        Items wanted.

    Returns
    -------
    float32, shape (len(codes), d); zeros for an item of which nothing is known that any sold item shares.
    """
    out = np.zeros((len(codes), vectors.shape[1]), dtype=np.float32)
    features = content_features(catalogue)
    sold = np.flatnonzero(support > 0)
    if not features.shape[1] or not len(sold):
        return out
    weight = np.sqrt(support[sold]).astype(np.float64)
    known = features[sold]
    used = np.flatnonzero(np.asarray((known > 0).sum(axis=0)).ravel() >= 2)
    if not len(used):
        return out
    used = used[np.argsort(-np.asarray(known[:, used].sum(axis=0)).ravel(), kind="stable")[:_MAX_FEATURES]]
    known = known[:, used].astype(np.float64)
    weighted = sp.diags(weight) @ known
    gram = (known.T @ weighted).toarray()
    # One sale's weight in the mean is the least that a feature has to be seen with to be believed by half.
    gram[np.diag_indices_from(gram)] += weight.mean()
    slope = np.linalg.solve(gram, np.asarray(weighted.T @ vectors[sold].astype(np.float64)))
    wanted = features[codes][:, used]
    return np.asarray(wanted @ slope, dtype=np.float32).reshape(out.shape)


def content_features(catalogue: pa.Table) -> sp.csr_matrix:
    """What is known of each item as a sparse matrix, float32 of shape (n_items, features)."""
    n = len(catalogue)
    parts = [_categorical(catalogue[name], weight) for name, weight in _SAID.items() if name in catalogue.column_names]
    if "title" in catalogue.column_names:
        parts.append(_words(catalogue["title"]))
    if "price" in catalogue.column_names:
        parts.append(_price_bands(catalogue["price"]))
    parts = [part for part in parts if part.shape[1]]
    return sp.hstack(parts, format="csr", dtype=np.float32) if parts else sp.csr_matrix((n, 0), dtype=np.float32)


def _categorical(column: pa.ChunkedArray, weight: float) -> sp.csr_matrix:
    return one_hot(np.arange(len(column)), pc.utf8_lower(_flat(column)), len(column), weight)


def _words(column: pa.ChunkedArray) -> sp.csr_matrix:
    """Words of two letters and more, each once an item, rarer ones weighing more; rows of length 1."""
    lists = pc.split_pattern_regex(pc.utf8_lower(pc.fill_null(_flat(column), "")), r"[^\p{L}\p{N}]+")
    rows, words = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)
    keep = pc.greater_equal(pc.utf8_length(words), 2)
    matrix = one_hot(rows[keep.to_numpy(zero_copy_only=False)], words.filter(keep), len(column), 1.0)
    matrix.data[:] = 1
    frequency = np.asarray(matrix.sum(axis=0)).ravel()
    matrix = matrix @ sp.diags(np.log(1 + len(column) / np.maximum(frequency, 1)))
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
    return sp.csr_matrix(sp.diags(2 / np.where(length > 0, length, 1)) @ matrix, dtype=np.float32)


def _price_bands(column: pa.ChunkedArray) -> sp.csr_matrix:
    price = _flat(column).to_numpy(zero_copy_only=False).astype(np.float64)
    known = np.isfinite(price) & (price > 0)
    if known.sum() < 2:
        return sp.csr_matrix((len(price), 0), dtype=np.float32)
    edges = np.unique(np.quantile(price[known], np.arange(1, _PRICE_BANDS) / _PRICE_BANDS))
    rows = np.flatnonzero(known)
    bands = np.searchsorted(edges, price[known], side="right")
    data = np.full(len(rows), 0.5, dtype=np.float32)
    return sp.csr_matrix((data, (rows, bands)), shape=(len(price), len(edges) + 1))


def one_hot(rows: NDArray[np.integer], values: pa.Array, n: int, weight: float) -> sp.csr_matrix:
    """1 (times weight) where an item has a value; nulls and empty strings are no value."""
    coded = values.dictionary_encode()
    column = coded.indices.to_numpy(zero_copy_only=False)
    there = np.asarray(pc.fill_null(pc.not_equal(values, ""), False).to_numpy(zero_copy_only=False), dtype=np.bool_)
    data = np.full(int(there.sum()), weight, dtype=np.float32)
    shape = (n, len(coded.dictionary))
    return sp.csr_matrix((data, (rows[there], column[there].astype(np.int64))), shape=shape)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
