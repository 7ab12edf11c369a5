"""Files as streams of Arrow batches: every column as text (or as Parquet has it), every row with its number.

Rows that have no columns to speak of (broken lines, JSON that is none) are set apart with their text. Nothing here
knows what the columns mean.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from ..errors import InputError
from .formats import READ_BYTES, Format, damaged_file, header_of, no_text, open_bytes, open_utf8, sample_text

BLOCK_BYTES = 16 << 20  # the longest row that a csv may have
BATCH_ROWS = 1 << 17
SAMPLE_ROWS = 5_000
MOST_OPEN_QUOTES = 200  # a file with more of them is not worth reading line by line
_DOCUMENT_KEYS = ("orders", "order_items", "events", "products", "items", "customers", "data", "results", "rows")


@dataclass(frozen=True)
class Broken:
    """A row that could not be taken apart."""

    row_number: int
    text: str
    why: str


@dataclass
class Source:
    """One file, ready to be read.

    Parameters
    ----------
    path, form
        Which file, and how it is written.
    columns
        Names as the file has them; two columns may have the same.
    broken
        Filled while `batches` is read.
    """

    path: Path
    form: Format
    columns: list[str]
    broken: list[Broken] = field(default_factory=list)

    def batches(self, used: Sequence[int]) -> pa.RecordBatchReader:
        """The columns at these positions as `c<position>`, and `row_number` (the header counts as row 1)."""
        self.broken.clear()
        read = {"parquet": _parquet, "csv": _csv, "jsonl": _json_lines, "json": _json_document}[self.form.name]
        batches = read(self, list(used))
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
        reader = self.batches(range(len(self.columns)))
        taken: list[pa.RecordBatch] = []
        rows = 0
        for batch in reader:
            taken.append(batch.slice(0, SAMPLE_ROWS - rows))
            rows += len(taken[-1])
            if rows >= SAMPLE_ROWS:
                break
        return pa.Table.from_batches(taken, reader.schema)

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
            return InputError(f"{self.path} is not {self.form.encoding}: {e}.", "Say what it is with --encoding.")
        return damaged_file(self.path, e)


def open_source(path: Path, form: Format) -> Source:
    """Look at the names of the columns.

    Raises
    ------
    InputError
        For a damaged file, or one without columns.
    """
    try:
        if form.name == "parquet":
            with pq.ParquetFile(str(path)) as f:
                columns = list(f.schema_arrow.names)
        elif form.name == "csv":
            columns = header_of(sample_text(path, form), form)
        else:
            columns = _json_keys(path, form)
    except (pa.ArrowInvalid, OSError) as e:
        raise damaged_file(path, e) from None
    if not columns:
        raise InputError(f"{path} has no columns.", "Export it again; nothing was changed.")
    return Source(path, form, columns)


def _parquet(source: Source, used: list[int]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(str(source.path), pre_buffer=False) as f:
        at = 1
        schema = f.schema_arrow
        for batch in f.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            numbers = pa.array(np.arange(at, at + len(batch)))
            columns = [_plain(batch.column(i), schema.field(i).type) for i in used]
            yield pa.record_batch([numbers, *columns], names=["row_number", *(f"c{i}" for i in used)])
            at += len(batch)


def _plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
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


def _csv(source: Source, used: list[int]) -> Iterator[pa.RecordBatch]:
    names = [f"c{i}" for i in range(len(source.columns))]
    parser = _Lines(source, names, [names[i] for i in used], source.form.delimiter, quoted=True)
    last: pa.RecordBatch | None = None
    for batch in parser.read(open_utf8(source.path, source.form), skip=source.form.skip, header=source.form.header):
        yield batch
        last = batch if len(batch) else last
    if last is not None and _ends_inside_a_quote(source, last):
        row = last.column("row_number")[-1].as_py()
        raise InputError(
            f"{source.path} opens a quote in row {row} that never closes; the rows after it cannot be told apart.",
            "Mend that row, or export the file again; nothing was changed.",
        )
    yield from parser.swallowed()


def _ends_inside_a_quote(source: Source, last: pa.RecordBatch) -> bool:
    """Whether the last row has swallowed lines: it holds several, and the file has an odd number of quotes."""
    values = [last.column(n)[-1].as_py() for n in last.schema.names if n != "row_number"]
    if not any(isinstance(v, str) and v.strip().count("\n") > 1 for v in values):
        return False
    quotes = 0
    with open_utf8(source.path, source.form) as f:
        while data := f.read(READ_BYTES):
            quotes += bytes(data).count(b'"')
    return quotes % 2 == 1


@dataclass
class _Lines:
    """Parses delimited text into columns of text with the numbers of the rows.

    Lines of another width go to `source.broken`.

    Parameters
    ----------
    at
        The number of the next row.
    """

    source: Source
    names: list[str]
    wanted: list[str]
    delimiter: str
    quoted: bool
    at: int = 1

    def read(self, stream: Any, *, skip: int = 0, header: bool = False) -> Iterator[pa.RecordBatch]:
        """The rows of the stream."""
        bad: list[int] = []
        began = self.at - 1

        def broken(row: pc.InvalidRow) -> str:
            bad.append(began + row.number)
            why = f"{row.actual_columns} columns instead of {row.expected_columns}"
            self.source.broken.append(Broken(began + row.number, row.text, why))
            return "skip"

        reader = pc.open_csv(
            stream,
            pc.ReadOptions(
                use_threads=False,  # only then are the numbers of broken lines known
                block_size=BLOCK_BYTES,
                column_names=self.names,
                skip_rows=skip,
                skip_rows_after_names=int(header),
            ),
            pc.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self.quoted else False,
                newlines_in_values=self.quoted,
                invalid_row_handler=broken,
            ),
            pc.ConvertOptions(
                column_types=dict.fromkeys(self.names, pa.string()),
                strings_can_be_null=False,
                include_columns=self.wanted,
            ),
        )
        self.at += int(header)
        for batch in reader:
            numbers, self.at = _numbers(self.at, len(batch), bad)
            yield pa.record_batch([pa.array(numbers), *batch.columns], names=["row_number", *self.wanted])
        self.at = max([self.at, *(b + 1 for b in bad)])

    def swallowed(self) -> Iterator[pa.RecordBatch]:
        """The rows after a quote that opens and never closes: that line alone is broken, not the rest of the file."""
        for _ in range(MOST_OPEN_QUOTES):
            at = next((n for n, b in enumerate(self.source.broken) if _never_closes(b.text)), None)
            if at is None:
                return
            whole = self.source.broken[at]
            line, rest = whole.text.split("\n", 1)
            self.source.broken[at] = Broken(whole.row_number, line, "a quote opens and never closes")
            if rest.strip():
                yield from self.read(io.BytesIO(rest.encode()))


def _never_closes(text: str) -> bool:
    return "\n" in text.strip() and text.count('"') % 2 == 1


def _numbers(at: int, rows: int, bad: list[int]) -> tuple[np.ndarray, int]:
    """Numbers of `rows` good rows from `at` on, and where the next begin; bad numbers passed are taken out."""
    numbers = np.arange(at, at + rows + len(bad))
    numbers = numbers[~np.isin(numbers, bad)][:rows]
    following = int(numbers[-1]) + 1 if rows else at
    bad[:] = [b for b in bad if b >= following]
    return numbers, following


def _json_lines(source: Source, used: list[int]) -> Iterator[pa.RecordBatch]:
    lines = _Lines(source, ["line"], ["line"], "\x1e", quoted=False).read(open_utf8(source.path, source.form))
    yield from _objects(source, used, ((b.column("row_number"), b.column("line")) for b in lines))


def _json_document(source: Source, used: list[int]) -> Iterator[pa.RecordBatch]:
    objects = _document(source.path, source.form)
    for at in range(0, len(objects), BATCH_ROWS):
        piece = objects.slice(at, BATCH_ROWS)
        numbers = pa.array(np.arange(at + 1, at + 1 + len(piece)))
        yield from _objects(source, used, [(numbers, piece)])


def _objects(
    source: Source, used: list[int], batches: Iterator[tuple[pa.Array, pa.Array]] | list[tuple[pa.Array, pa.Array]]
) -> Iterator[pa.RecordBatch]:
    """The values of the keys in use, as text; what is no object goes to `source.broken`."""
    values = "".join(f", json_extract_string(line, {_pointer(source.columns[i])}) AS c{i}" for i in used)
    with duckdb.connect(config={"threads": "1"}) as con:
        for numbers, lines in batches:
            con.register("lines", pa.table([numbers, lines], names=["row_number", "line"]))
            bad = con.execute(f"SELECT row_number, line FROM lines WHERE NOT {_IS_OBJECT} ORDER BY 1").fetchall()
            source.broken += [Broken(number, line, "no JSON object") for number, line in bad]
            good = f"SELECT row_number{values} FROM lines WHERE {_IS_OBJECT} ORDER BY row_number"
            yield from con.sql(good).to_arrow_table().combine_chunks().to_batches()


_IS_OBJECT = "coalesce(json_valid(line) AND json_type(CASE WHEN json_valid(line) THEN line END) = 'OBJECT', false)"


def _pointer(key: str) -> str:
    """A JSON pointer to the key, as an SQL literal."""
    return "'/" + key.replace("~", "~0").replace("/", "~1").replace("'", "''") + "'"


def _json_keys(path: Path, form: Format) -> list[str]:
    """All keys of all objects, in the order they are first seen."""
    source = Source(path, form, [])
    if form.name == "jsonl":
        lines = _Lines(source, ["line"], ["line"], "\x1e", quoted=False).read(open_utf8(path, form))
        batches: Iterator[pa.Array] = (b.column("line") for b in lines)
    else:
        batches = iter([_document(path, form)])
    keys: dict[str, None] = {}
    with duckdb.connect(config={"threads": "1"}) as con:
        for batch in batches:
            con.register("lines", pa.table([batch], names=["line"]))
            found = con.execute(
                f"""SELECT key, min(seen) FROM (SELECT unnest(json_keys(line)) AS key, row_number() OVER () AS seen
                    FROM lines WHERE {_IS_OBJECT}) GROUP BY key ORDER BY 2, 1"""
            ).fetchall()
            keys |= dict.fromkeys(key for key, _ in found)
    return list(keys)


def _document(path: Path, form: Format) -> pa.Array:
    """The objects of one JSON document as text: an array, or the array under a usual key of an object."""
    with open_bytes(path, form.compression) as f:
        text = bytes(f.read()).decode(form.encoding, "replace" if form.damaged else "strict").lstrip("\ufeff")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as e:
        raise InputError(f"{path} is no valid JSON: {e}.", "Export it again; nothing was changed.") from None
    if isinstance(document, dict):
        lists = [k for k in _DOCUMENT_KEYS if isinstance(document.get(k), list)]
        lists += [k for k, v in document.items() if isinstance(v, list) and k not in lists]
        document = document[lists[0]] if lists else [document]
    return pa.array([orjson.dumps(entry).decode() for entry in document], pa.string())
