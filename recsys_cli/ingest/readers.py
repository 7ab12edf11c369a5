"""Files as streams of Arrow batches: every column as text (or as Parquet has it), every row with its number.

Rows without columns (broken lines, invalid JSON) are set apart with their text. Nothing here
knows what the columns mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ..csv_cells import unmarked
from ..errors import InputError
from ..settings import StoreSettings
from .columns import ID_COLUMN
from .delimited import BLOCK_BYTES, Broken, read_delimited
from .dialect import header_of
from .formats import Format, no_text, sample_text
from .nesting import MOST_COLUMNS, Layout, layout_of, read_nested
from .text_encoding import damaged_file

BATCH_ROWS = 1 << 17
SAMPLE_ROWS = 5_000

Reader = Callable[["Source", list[int]], Iterator[pa.RecordBatch]]


@dataclass
class Source:
    """One table, ready to be read: of a file, or of several that belong together.

    Parameters
    ----------
    path, form
        Which file, and how it is written.
    columns
        Names as the file has them; two columns may have the same.
    read
        Gives the rows with the columns at some positions.
    levels
        Of each column 0 where it is told of an order as a whole, more where it is told of its lines; empty for a table
        whose rows are all alike.
    notes
        What was done to make a table of it.
    parts
        The files it was made of, where those are several.
    broken
        Filled while `batches` is read.
    memory
        What DuckDB may use to take the file apart; see `store.memory_limit`.
    """

    path: Path
    form: Format
    columns: list[str]
    read: Reader
    levels: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    parts: tuple[Path, ...] = ()
    broken: list[Broken] = field(default_factory=list)
    memory: str = StoreSettings.memory_limit
    _sample: pa.Table | None = field(default=None, repr=False)

    def batches(self, used: Sequence[int]) -> pa.RecordBatchReader:
        """The columns at these positions as `c<position>`, and `row_number` (the header counts as row 1)."""
        self.broken.clear()
        batches = self.read(self, list(used))
        try:
            first = next(batches, None)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeError, EOFError) as e:
            raise self._damaged(e) from None
        if first is None:
            names = ["row_number", *(f"c{i}" for i in used)]
            schema = pa.schema([(n, pa.int64() if n == "row_number" else pa.string()) for n in names])
            return pa.RecordBatchReader.from_batches(schema, iter(()))
        return pa.RecordBatchReader.from_batches(first.schema, self._guarded(first, batches))

    def sample(self) -> pa.Table:
        """The first rows with all columns, for understanding what they mean."""
        if self._sample is None:
            reader = self.batches(range(len(self.columns)))
            taken: list[pa.RecordBatch] = []
            rows = 0
            for batch in reader:
                taken.append(batch.slice(0, SAMPLE_ROWS - rows))
                rows += len(taken[-1])
                if rows >= SAMPLE_ROWS:
                    break
            self._sample = pa.Table.from_batches(taken, reader.schema)
        return self._sample

    def texts(self, at: int) -> list[str]:
        """The filled values of a column in the sample, as trimmed text."""
        values = self.sample().column(f"c{at}").to_pylist()
        return [text for v in values if v is not None and (text := str(v).strip())]

    def _guarded(self, first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield first
        try:
            yield from rest
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeError, EOFError) as e:
            raise self._damaged(e) from None

    def _damaged(self, e: Exception) -> InputError:
        if "straddling" in str(e) and self.path.stat().st_size < BLOCK_BYTES and not self.form.compression:
            return no_text(self.path)  # bytes that no row was ever made of; there is not room for one too long
        if "straddling" in str(e):
            return InputError(
                f"{self.path} has a row of more than {BLOCK_BYTES >> 20} MB: a quote that opens and never closes.",
                "Export it again, or say which delimiter it has with --delimiter.",
            )
        if isinstance(e, UnicodeError):
            return InputError(f"{self.path} is not {self.form.encoding.name}: {e}.", "Say what it is with --encoding.")
        return damaged_file(self.path, e)


def open_source(path: Path, form: Format, memory: str = StoreSettings.memory_limit) -> Source:
    """Look at the names of the columns.

    Parameters
    ----------
    memory
        See `Source`.

    Raises
    ------
    InputError
        For a damaged file, or one without columns, or with too many.
    """
    try:
        source = replace(_opened(path, form, memory), memory=memory)
    except (pa.ArrowInvalid, OSError) as e:
        raise damaged_file(path, e) from None
    if not source.columns:
        raise InputError(f"{path} has no columns.", "Export it again; nothing was changed.")
    if len(source.columns) > MOST_COLUMNS:
        raise InputError(
            f"{path} has {len(source.columns):,} columns; at most {MOST_COLUMNS:,} are read.",
            "Export the columns of orders or products alone; nothing was changed.",
        )
    return source


def _opened(path: Path, form: Format, memory: str) -> Source:
    if form.name == "csv":
        names = header_of(sample_text(path, form), form.dialect)
        if ID_COLUMN in names:  # our own export of rejected rows
            names = [unmarked(name) for name in names]
        return Source(path, form, names, read_delimited)
    if form.name == "workbook":
        from .workbook import open_workbook

        return open_workbook(path, form)
    if form.name == "parquet":
        with pq.ParquetFile(str(path)) as f:
            schema = f.schema_arrow
        if not any(_has_objects(kind) for kind in schema.types):
            return Source(path, form, list(schema.names), _parquet)
    source = Source(path, form, [], _parquet, memory=memory)
    layout = layout_of(source)
    return Source(path, form, [leaf.name for leaf in layout.leaves], _nested(layout), _levels(layout), _said(layout))


def _has_objects(kind: pa.DataType) -> bool:
    """Whether values have fields of their own: structs, and lists of them."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _has_objects(kind.value_type)
    return bool(pa.types.is_struct(kind))


def _nested(layout: Layout) -> Reader:
    return partial(_read_nested, layout)


def _read_nested(layout: Layout, source: Source, used: list[int]) -> Iterator[pa.RecordBatch]:
    return read_nested(source, layout, used)


def _levels(layout: Layout) -> tuple[int, ...]:
    return tuple(leaf.level for leaf in layout.leaves) if layout.lists else ()


def _said(layout: Layout) -> tuple[str, ...]:
    if not layout.lists:
        return ()
    path = ".".join(pointer.strip("/").replace("/", ".") + "[]" for pointer in layout.lists)
    return (f"Each entry of {path} is a row.",)


def _parquet(source: Source, used: list[int]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(str(source.path), pre_buffer=False) as f:
        at = 1
        schema = f.schema_arrow
        for batch in f.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            numbers = pa.array(np.arange(at, at + len(batch)))
            columns = [plain_column(batch.column(i), schema.field(i).type) for i in used]
            yield pa.record_batch([numbers, *columns], names=["row_number", *(f"c{i}" for i in used)])
            at += len(batch)


def plain_column(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column as one of the types that the rest understands; what has no such type becomes text."""
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return column.cast(pa.binary()).cast(pa.string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_boolean(kind):
        return column
    if pa.types.is_integer(kind):
        return column.cast(pa.string() if kind == pa.uint64() else pa.int64())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us"), safe=False)
    if pa.types.is_timestamp(kind):
        # With a zone Arrow holds UTC; `+00:00` tells the reader of the text that no other zone is to be applied.
        return column.cast(pa.timestamp("us", tz=None if kind.tz is None else "UTC"), safe=False)
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    return pa.array([None if v is None else orjson.dumps(v, default=str).decode() for v in column.to_pylist()])
