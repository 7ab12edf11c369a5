"""The cells of what we write in columns and objects: Arrow, Parquet, arrays of text, JSON. DuckDB is asked in SQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...store.personal_data import PERSON_FIELDS, SESSION_COLUMN
from ..person import is_identifier

_OF_PEOPLE = frozenset((*PERSON_FIELDS, "asked", "asked_for", "ids", "people", "customer"))
_WHOLE = 64 << 20  # bytes of a document that is read whole


def names_people(field: str) -> bool:
    """Whether a column or field of that name says whom its row is about."""
    return field in _OF_PEOPLE or is_identifier(field)


def columns_of(path: Path, head: bytes) -> Iterator[tuple[str, pa.Array]] | None:
    """Columns of text in a file, piece by piece, each value once; None for a file without columns.

    Raises
    ------
    ValueError, OSError, pa.ArrowException
        While going through them: the file is damaged.
    """
    if head.startswith(b"ARROW1"):
        return _arrow(path)
    if head.startswith(b"PAR1"):
        return _parquet(path)
    if head.startswith(b"\x93NUMPY") and (b"'<U" in head or b"'|S" in head):
        return iter(
            [("array", pa.array(np.unique(np.load(path, allow_pickle=False)).astype(str).tolist(), pa.string()))]
        )
    return None


def _arrow(path: Path) -> Iterator[tuple[str, pa.Array]]:
    with pa.memory_map(str(path)) as source:
        file = pa.ipc.open_file(source)
        for n in range(file.num_record_batches):
            yield from _texts(file.get_batch(n))


def _parquet(path: Path) -> Iterator[tuple[str, pa.Array]]:
    for batch in pq.ParquetFile(path).iter_batches():
        yield from _texts(batch)


def _texts(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        if pa.types.is_integer(values.type) and names_people(name):
            values = values.cast(pa.string())
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            yield name, pc.drop_null(pc.unique(values.cast(pa.large_string())))


def object_at(data: memoryview, offset: int) -> tuple[Any, int]:
    """The JSON that the byte at `offset` belongs to, and where it ends: its line, else the file; None for none."""
    line_start, line_end = _line_around(data, offset)
    for start, end in ((line_start, line_end), (0, len(data))):
        if end - start <= _WHOLE:
            try:
                return orjson.loads(data[start:end]), end
            except orjson.JSONDecodeError:
                continue
    return None, offset + 1


def _line_around(data: memoryview, offset: int) -> tuple[int, int]:
    step, start, end = 4096, offset, offset
    while start > 0:
        low = max(start - step, 0)
        at = bytes(data[low:start]).rfind(b"\n")
        start = low + at + 1
        if at >= 0:
            break
    while end < len(data):
        at = bytes(data[end : end + step]).find(b"\n")
        if at >= 0:
            return start, end + at
        end += step
    return start, len(data)


def fields_of(value: Any, field: str = "") -> Iterator[tuple[str, bool, str]]:
    """Texts in a JSON value: the field, whether it names people there, and the text.

    A session names its guest where no customer is named beside it.
    """
    if isinstance(value, dict):
        guest = not any(value.get(name) for name in PERSON_FIELDS)
        for key, inner in value.items():
            yield field, False, str(key)
            if key == SESSION_COLUMN and not isinstance(inner, dict | list):
                yield key, guest, str(inner)
            else:
                yield from fields_of(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from fields_of(inner, field)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        # How many people there are is no person: of 300 customers, number 300 could never be shown to be gone.
        yield field, names_people(field) and not (field == "people" and not isinstance(value, str)), str(value)
