"""Words of titles as fixed-width rows, so that likeness to what a customer bought is one gather and one sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..schema import Float32, Int32

WIDTH = 12  # words of a title that are looked at, the rarest first
_VOCABULARY = 8192  # words that two items or more share, the most frequent ones


@dataclass(frozen=True)
class TitleWords:
    """Weighted words of every item.

    Parameters
    ----------
    word
        int32, shape (n_items, WIDTH): word numbers; 0 is padding and weighs nothing.
    weight
        float32, shape (n_items, WIDTH): inverse document frequency, rows of length 1 (or all zeros).
    size
        Number of words, padding included.
    """

    word: Int32
    weight: Float32
    size: int

    @classmethod
    def of(cls, catalogue: pa.Table) -> TitleWords:
        """Words of the titles of a catalogue; see `schema.Dataset`."""
        n = catalogue.num_rows
        word, weight = np.zeros((n, WIDTH), np.int32), np.zeros((n, WIDTH), np.float32)
        if "title" not in catalogue.column_names or not n:
            return cls(word, weight, 1)
        row, code = _occurrences(catalogue["title"].cast(pa.string()).combine_chunks())
        if not len(row):
            return cls(word, weight, 1)
        frequency = np.bincount(code)
        # By frequency, then by number: the same catalogue always gives the same words.
        kept = np.argsort(-frequency, kind="stable")[:_VOCABULARY]
        kept = kept[frequency[kept] >= 2]
        number = np.zeros(len(frequency), np.int32)
        number[kept] = np.arange(1, len(kept) + 1)
        rarity = np.log(1 + n / np.maximum(frequency, 1)).astype(np.float32)
        keep = number[code] > 0
        row, code = row[keep], code[keep]
        order = np.lexsort((number[code], -rarity[code], row))
        row, code = row[order], code[order]
        count = np.bincount(row, minlength=n)
        place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        some = place < WIDTH
        word[row[some], place[some]] = number[code[some]]
        weight[row[some], place[some]] = rarity[code[some]]
        length = np.sqrt((weight * weight).sum(axis=1, keepdims=True))
        return cls(word, (weight / np.where(length > 0, length, 1)).astype(np.float32), len(kept) + 1)


def _occurrences(titles: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Item and number of each word of two letters or more, once an item."""
    lists = pc.split_pattern_regex(pc.utf8_lower(pc.fill_null(titles, "")), r"[^\p{L}\p{N}]+")
    row = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    words = pc.list_flatten(lists)
    keep = pc.greater_equal(pc.utf8_length(words), 2).to_numpy(zero_copy_only=False).astype(np.bool_)
    coded = words.filter(pa.array(keep)).dictionary_encode()
    code = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    size = max(len(coded.dictionary), 1)
    both = np.unique(row[keep].astype(np.int64) * size + code)
    return both // size, both % size
