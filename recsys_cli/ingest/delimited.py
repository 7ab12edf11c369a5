"""Delimited text as Arrow batches of text, every row with its number; broken lines are set apart with their text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ..errors import InputError
from .text_encoding import READ_BYTES, open_utf8

if TYPE_CHECKING:
    from .readers import Source

BLOCK_BYTES = 16 << 20  # the longest row that a csv may have
MOST_OPEN_QUOTES = 200  # a file with more of them is not worth reading line by line


@dataclass(frozen=True)
class Broken:
    """A row that could not be taken apart."""

    row_number: int
    text: str
    why: str


def read_delimited(source: Source, used: list[int]) -> Iterator[pa.RecordBatch]:
    """The rows of a csv with the columns at these positions."""
    form, dialect = source.form, source.form.dialect
    names = [f"c{i}" for i in range(len(source.columns))]
    parser = Lines(source, names, [names[i] for i in used], dialect.single, dialect.quoted, dialect.escape)
    exchange = None if len(dialect.delimiter) == 1 else (dialect.delimiter.encode(), dialect.single.encode())
    last: pa.RecordBatch | None = None
    stream = open_utf8(source.path, form.compression, form.encoding, exchange)
    for batch in parser.read(stream, skip=dialect.skip, header=dialect.header):
        whole = parser.without_swallowing(batch) if dialect.quoted else _unquoted(batch)
        yield whole
        last = batch if len(batch) else last
    if last is not None and dialect.quoted and _ends_inside_a_quote(source, last):
        row = last.column("row_number")[-1].as_py()
        raise InputError(
            f"{source.path} opens a quote in row {row} that never closes; the rows after it cannot be told apart.",
            "Fix that row, or export the file again; nothing was changed.",
        )
    yield from parser.swallowed()


def read_lines(source: Source) -> Iterator[pa.RecordBatch]:
    """The lines of a text, whole, in the column `line`."""
    stream = open_utf8(source.path, source.form.compression, source.form.encoding)
    return Lines(source, ["line"], ["line"], "\x1e", False).read(stream)


def _unquoted(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cells without the quotes that enclose all of them, where quotes are characters like any other."""
    columns = []
    for _name, column in zip(batch.schema.names, batch.columns, strict=True):
        enclosed = pa.types.is_string(column.type) and pc.any(pc.starts_with(column, '"')).as_py()
        columns.append(_enclosed(column) if enclosed else column)
    return pa.record_batch(columns, names=batch.schema.names)


def _enclosed(column: pa.Array) -> pa.Array:
    whole = pc.match_substring_regex(column, r'^"([^"]|"")*"\s*$')
    inner = pc.replace_substring(pc.replace_substring_regex(column, r'^"|"\s*$', ""), '""', '"')
    return pc.if_else(whole, inner, column)


def _ends_inside_a_quote(source: Source, last: pa.RecordBatch) -> bool:
    """Whether the last row has swallowed lines: it holds several, and the file has an odd number of quotes."""
    values = [last.column(n)[-1].as_py() for n in last.schema.names if n != "row_number"]
    if not any(isinstance(v, str) and v.strip().count("\n") > 1 for v in values):
        return False
    quotes = 0
    with open_utf8(source.path, source.form.compression, source.form.encoding) as f:
        while data := f.read(READ_BYTES):
            quotes += bytes(data).count(b'"')
    return quotes % 2 == 1


@dataclass
class Lines:
    """Parses delimited text into columns of text with the numbers of the rows.

    Lines of another width go to `source.broken`.

    Parameters
    ----------
    delimiter, quoted, escape
        See `Dialect`; the delimiter is one character.
    at
        The number of the next row.
    """

    source: Source
    names: list[str]
    wanted: list[str]
    delimiter: str
    quoted: bool
    escape: str = ""
    at: int = 1

    def read(self, stream: Any, *, skip: int = 0, header: bool = False) -> Iterator[pa.RecordBatch]:
        """The rows of the stream."""
        bad: list[int] = []
        began = self.at - 1

        def broken(row: pacsv.InvalidRow) -> str:
            bad.append(began + row.number)
            why = f"{row.actual_columns} column{'s' * (row.actual_columns != 1)} instead of {row.expected_columns}"
            self.source.broken.append(Broken(began + row.number, row.text, why))
            return "skip"

        reader = pacsv.open_csv(
            stream,
            pacsv.ReadOptions(
                use_threads=False,  # only then are the numbers of broken lines known
                block_size=BLOCK_BYTES,
                column_names=self.names,
                skip_rows=skip,
                skip_rows_after_names=int(header),
            ),
            pacsv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self.quoted else False,
                double_quote=not self.escape,
                escape_char=self.escape or False,
                newlines_in_values=self.quoted,
                invalid_row_handler=broken,
            ),
            pacsv.ConvertOptions(
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

    def without_swallowing(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch without rows of which a cell has swallowed whole lines: a quote that another one far below closed.

        Those go to `source.broken`: what cannot be told apart is counted.
        """
        wrong = None
        for name in self.wanted:
            column = batch.column(name)
            if not pc.any(pc.match_substring(column, "\n")).as_py():
                continue
            swallowed = pc.match_substring_regex(column, self._whole_line) if len(self.names) > 1 else None
            if swallowed is not None and pc.any(swallowed).as_py():
                wrong = swallowed if wrong is None else pc.or_(wrong, swallowed)
        if wrong is None:
            return batch
        for row in batch.filter(wrong).to_pylist():
            text = self.delimiter.join(str(row[n]) for n in self.wanted)
            why = "a quote opens that closes only further down"
            self.source.broken += [Broken(row["row_number"], line, why) for line in text.splitlines()]
        return batch.filter(pc.invert(wrong))

    @property
    def _whole_line(self) -> str:
        """Matches a line with as many fields as the table has, within a cell. Prose has a space after its commas."""
        between = f"\\x{ord(self.delimiter):02x}"
        field = f"[^{between}\n]*" if self.delimiter != "," else f"([^ {between}\n][^{between}\n]*)?"
        return f"\n[^{between}\n]*({between}{field}){{{len(self.names) - 1}}}(\n|$)"

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
