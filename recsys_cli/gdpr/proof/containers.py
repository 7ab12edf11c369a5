"""The cells of what is written in columns and objects: Arrow, Parquet, arrays of text, JSON."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...ingest.columns import EVENT_FIELDS, plain, tier_of
from ...store.personal_data import PERSON_FIELDS, SESSION_COLUMN, cell
from ..person import Person, is_identifier
from .matcher import Hit

_OF_PEOPLE = frozenset((*PERSON_FIELDS, "asked", "asked_for", "ids", "people", "customer"))
_SESSION = next(f for f in EVENT_FIELDS if f.name == SESSION_COLUMN)
_WHOLE = 64 << 20  # bytes of a document that is read whole

Text = bytes | mmap.mmap


class Cell(NamedTuple):
    """A text, and the column or field it stands in; `guest`: a session would name its guest here."""

    field: str
    text: str
    guest: bool = True


class Owners:
    """Whom a cell names: a customer where the column names people, a guest where it names sessions."""

    def __init__(self, people: Sequence[Person]) -> None:
        self.names = {cell(name): n for n, p in enumerate(people) for name in p.names}
        self._customers = {cell(one): n for n, p in enumerate(people) for one in p.ids}
        self._sessions = {cell(one): n for n, p in enumerate(people) for one in p.sessions}

    def of(self, found: Cell) -> int | None:
        """Index of the person."""
        if names_people(found.field):
            return self._customers.get(cell(found.text))
        return self._sessions.get(cell(found.text)) if found.guest and names_sessions(found.field) else None


@cache
def names_people(field: str) -> bool:
    """Whether a column or field of that name says whom its row is about."""
    return field in _OF_PEOPLE or is_identifier(field)


@cache
def names_sessions(field: str) -> bool:
    """Whether it says in which session a guest was."""
    return tier_of(_SESSION, plain(field)) is not None


def columns_of(path: Path, head: bytes) -> Iterator[tuple[str, pa.Array]] | None:
    """Columns of text in a file, piece by piece; None for a file without columns.

    Raises
    ------
    ValueError, OSError, pa.ArrowException
        While going through them: the file is damaged.
    """
    if head.startswith(b"ARROW1"):
        return _texts(_arrow(path))
    if head.startswith(b"PAR1"):
        return _texts(pq.ParquetFile(path).iter_batches())
    if head.startswith(b"\x93NUMPY") and (b"'<U" in head or b"'|S" in head):
        return iter([("array", pa.array(np.load(path, allow_pickle=False).astype(str).ravel().tolist(), pa.string()))])
    return None


def _arrow(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        file = pa.ipc.open_file(source)
        yield from (file.get_batch(n) for n in range(file.num_record_batches))


def _texts(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.Array]]:
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            if pa.types.is_integer(values.type) and names_people(name):
                values = values.cast(pa.string())
            if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                yield name, pc.drop_null(values.cast(pa.large_string()))


def cells_at(data: Text, hits: Iterable[Hit]) -> Iterator[Hit | Cell]:
    """The cells of each object in which something was hit, and the hits that are in none, in the order of the hits."""
    done = -1
    for hit in hits:
        if hit.offset < done:
            continue
        start, end = data.rfind(b"\n", 0, hit.offset) + 1, data.find(b"\n", hit.offset)
        found, done = _object(data, start, len(data) if end < 0 else end)
        if isinstance(found, dict | list):
            yield from _fields(found)
        else:
            done = -1
            yield hit


def _object(data: Text, line_start: int, line_end: int) -> tuple[Any, int]:
    """The JSON of a line, else of the whole file, and where it ends; None for none."""
    for start, end in ((line_start, line_end), (0, len(data))):
        if end - start <= _WHOLE:
            try:
                return orjson.loads(data[start:end]), end
            except orjson.JSONDecodeError:
                continue
    return None, 0


def _fields(value: Any, field: str = "", guest: bool = True) -> Iterator[Cell]:
    """Texts in a JSON value; a session names its guest where no customer is named beside it."""
    if isinstance(value, dict):
        guest = not any(value.get(name) for name in PERSON_FIELDS)
        for key, inner in value.items():
            yield Cell("", str(key))
            yield from _fields(inner, str(key), guest)
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner, field, guest)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        # How many people there are is no person: of 300 customers, number 300 could never be shown to be gone.
        counted = field == "people" and not isinstance(value, str)
        yield Cell("" if counted else field, str(value), guest)
