"""Take a person's rows out of an export, and leave every other byte of it as it was.

Whole rows of CSV and lines or elements of JSON are cut out of the text; nothing is parsed and written again, because
quotes, decimals and line ends that come back differently are another file to whoever wrote it. Parquet has no text to
cut: its rows are filtered, with the same schema, row groups and compression.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .containers import names_people
from .matching import Matcher
from .needles import Needle, is_telling
from .people import Person, names_of

UNCLOSED = "has a quote that opens and never closes"
UNNAMED = "does not say which of its columns names customers"

_DELIMITERS = ",;\t|"
_PACKED = (b"PK\x03\x04", b"BZh", b"\xfd7zXZ\0", b"\x04\x22\x4d\x18", b"SQLite format 3", b"ARROW1", b"\x93NUMPY")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NUMBER = re.compile(r"\s*[-+]?[\d.,:/ TZ-]*\d[\d.,:/ TZ-]*\s*")


class Uncuttable(Exception):
    """Why no rows can be cut out of a file; the end of a sentence that begins with "it"."""


@dataclass(frozen=True)
class Cut:
    """A file without some rows.

    Parameters
    ----------
    rows
        How many were taken out; 0 when none is theirs, and `content` is empty then.
    content
        What is left, as the file has it: in its encoding, compressed as it was.
    nothing_left
        Whether nobody else's row is left.
    """

    rows: int = 0
    content: bytes = b""
    nothing_left: bool = False


@dataclass(frozen=True)
class Whose:
    """Tells the rows of some people from those of others.

    Parameters
    ----------
    telling
        What means them wherever it stands.
    short
        Short ids of theirs, which mean them only where a customer is named.
    columns
        Columns that name customers, by what ingest understood; those whose names say so count in any case.
    """

    telling: Matcher
    short: frozenset[str]
    columns: frozenset[str] = frozenset()

    @staticmethod
    def of(needles: Sequence[Needle], people: Sequence[Person]) -> Whose:
        """From `proving.needles_of` these people."""
        return Whose(
            Matcher([n for n in needles if n.telling]), frozenset(n for n in names_of(people) if not is_telling(n))
        )

    def knowing(self, columns: Iterable[str]) -> Whose:
        """The same, for a file with these columns that name customers."""
        return replace(self, columns=frozenset(columns))

    def hits(self, data: bytes) -> list[int]:
        """Offsets of everything that may be theirs, sorted; a short id is only a candidate."""
        found = {hit.offset for hit in self.telling.find(data)}
        # One by one, and what stands beside them looked at afterwards: a pattern of all takes ten times as long.
        for word in {form for name in self.short for form in _bytes_of(name)}:
            end = len(word)
            found |= {
                at
                for at in (m.start() for m in re.finditer(re.escape(word), data))
                if not _is_word(data[max(at - 1, 0) : at]) and not _is_word(data[at + end : at + end + 1])
            }
        return sorted(found)

    def is_named(self, column: str) -> bool:
        return column in self.columns or names_people(column)

    def is_theirs(self, value: object) -> bool:
        """Whether a value of a column that names customers is a short id of theirs."""
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
        return text in self.short or re.sub(r"\.0+$", "", text) in self.short

    def is_named_in(self, data: bytes) -> bool:
        """Whether text means them without a doubt."""
        return next(self.telling.find(data), None) is not None

    def named_among(self, values: Sequence[bytes]) -> set[int]:
        """Which of many values mean them without a doubt; one search for all."""
        ends = np.cumsum([len(value) + 1 for value in values])
        hits = [hit.offset for hit in self.telling.find(b"\n".join(values))]
        return set(np.searchsorted(ends, hits, side="right").tolist())


def cut(data: bytes, whose: Whose) -> Cut:
    """The file's content without their rows.

    Raises
    ------
    Uncuttable
        It may name them, and no rows can be cut out of it.
    """
    if data[:4] == b"PAR1":
        return _cut_parquet(data, whose)
    for magic, unpack, pack in _COMPRESSIONS:
        if data.startswith(magic):
            found = cut(unpack(data), whose)
            return Cut(found.rows, pack(found.content, data), found.nothing_left) if found.rows else found
    if data.startswith(_PACKED):
        raise Uncuttable("is packed in a way that is not written again")
    text, encoding, mark = _as_utf8(data)
    found = _cut_json(text, whose) if text.lstrip()[:1] in (b"{", b"[") else _cut_lines(text, whose)
    if encoding and found.rows:
        return Cut(found.rows, mark + found.content.decode().encode(encoding), found.nothing_left)
    return found


def _gunzip(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, ValueError):
        raise Uncuttable("is damaged or cut off") from None


def _unzstd(data: bytes) -> bytes:
    try:
        return bytes(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())
    except (OSError, pa.ArrowException):
        raise Uncuttable("is damaged or cut off") from None


def _gzip(content: bytes, before: bytes) -> bytes:
    return gzip.compress(content, 6, mtime=int.from_bytes(before[4:8], "little"))


def _zstd(content: bytes, before: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(content)
    return bytes(out.getvalue())


_COMPRESSIONS: tuple[tuple[bytes, Callable[[bytes], bytes], Callable[[bytes, bytes], bytes]], ...] = (
    (b"\x1f\x8b", _gunzip, _gzip),
    (b"\x28\xb5\x2f\xfd", _unzstd, _zstd),
)


def _as_utf8(data: bytes) -> tuple[bytes, str, bytes]:
    """The text as bytes in which a comma is one byte, what it was encoded in if those are others, and its mark."""
    mark, encoding = next(((m, e) for m, e in _MARKS if data.startswith(m)), (b"", ""))
    if not encoding and b"\0" in data[:4000]:
        even, odd = data[0:2000:2].count(0), data[1:2000:2].count(0)
        encoding = "utf-16-le" if odd > even else "utf-16-be"
    if not encoding:
        return data, "", b""
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        raise Uncuttable("is no text that can be read") from None
    return text.encode(), encoding, mark


def _is_word(byte: bytes) -> bool:
    return byte.isalnum() or byte == b"_"


def _bytes_of(name: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "cp1252"):
        try:
            yield name.encode(encoding)
        except UnicodeEncodeError:
            continue


# -- delimited text ----------------------------------------------------------------------------------------------------


def _cut_lines(data: bytes, whose: Whose) -> Cut:
    hits = whose.hits(data)
    if not hits:
        return Cut()
    delimiter = _delimiter(data)
    ends = _record_ends(data, delimiter)
    first = _first(data, ends)
    header = _cells(_record(data, ends, first), delimiter)
    named = [i for i, column in enumerate(header) if whose.is_named(column)]
    theirs = [
        n
        for n in np.unique(np.searchsorted(ends, hits, side="right")).tolist()
        if _is_theirs(_record(data, ends, n), delimiter, named, whose)
    ]
    if not theirs:
        return Cut()
    for n in theirs:
        record = _record(data, ends, n)
        lines = record.strip(b"\r\n")
        # A stray quote joins rows: what looks like one of several lines must be one beyond doubt, or others go with it.
        if (b"\n" in lines or b"\r" in lines) and len(_cells(record, delimiter, strict=True)) != len(header):
            raise Uncuttable(UNCLOSED)
    has_header = not any(_NUMBER.fullmatch(cell) for cell in header if cell.strip())
    if has_header and theirs[0] <= first:
        raise Uncuttable("names them in its first row, which may be the names of its columns")
    starts = np.concatenate([[0], ends[:-1]])
    keep = np.ones(len(ends), dtype=np.bool_)
    keep[theirs] = False
    content = b"".join(data[a:b] for a, b in _runs(starts, ends, keep))
    return Cut(len(theirs), content, not _record_left(data, ends, keep, first + has_header))


def _is_theirs(record: bytes, delimiter: str, named: list[int], whose: Whose) -> bool:
    if whose.is_named_in(record):
        return True
    if not whose.short:
        return False
    cells = _cells(record, delimiter)
    if not named:
        if any(whose.is_theirs(cell) for cell in cells):
            raise Uncuttable(UNNAMED)
        return False
    return any(whose.is_theirs(cells[i]) for i in named if i < len(cells))


def _record_ends(data: bytes, delimiter: str) -> NDArray[np.int64]:
    """Where each row ends, line breaks inside quotes being no ends."""
    if b'"' not in data and data.count(b"\r") == data.count(b"\r\n"):
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
        return ends if len(ends) and ends[-1] == len(data) else np.append(ends, len(data))
    d = re.escape(delimiter.encode())
    cell = rb'(?:"(?:[^"]++|"")*+"[^%b\r\n]*+|[^%b\r\n]*+)' % (d, d)
    row = re.compile(rb"%b(?:%b%b)*+(?:\r\n|\n|\r|\Z)" % (cell, d, cell))
    return np.fromiter((m.end() for m in row.finditer(data) if m.end() > m.start()), np.int64)


def _first(data: bytes, ends: NDArray[np.int64]) -> int:
    """The first row that says something: before it, empty ones and the `sep=;` of spreadsheets."""
    for n in range(min(len(ends), 100)):
        line = _record(data, ends, n).strip(b'"\r\n \xef\xbb\xbf')
        if line and not (line.startswith(b"sep=") and len(line) == 5):
            return n
    return 0


def _record(data: bytes, ends: NDArray[np.int64], n: int) -> bytes:
    return data[int(ends[n - 1]) if n else 0 : int(ends[n])]


def _record_left(data: bytes, ends: NDArray[np.int64], keep: NDArray[np.bool_], first: int) -> bool:
    return any(_record(data, ends, n).strip() for n in np.flatnonzero(keep).tolist() if n >= first)


def _runs(
    starts: NDArray[np.int64], ends: NDArray[np.int64], keep: NDArray[np.bool_]
) -> Iterator[tuple[int, int]]:
    """Stretches of kept rows, each as one slice."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], keep.astype(np.int8), [0]])))
    for a, b in edges.reshape(-1, 2).tolist():
        yield int(starts[a]), int(ends[b - 1])


def _delimiter(data: bytes) -> str:
    """What the first rows are divided by, and by which they have the same number of cells."""
    lines = [line for line in data[: 1 << 16].decode("utf-8", "replace").splitlines()[:50] if line.strip()]
    best, most = ",", 0.0
    for candidate in _DELIMITERS:
        widths = [len(row) for row in csv.reader(lines[:-1] or lines, delimiter=candidate)]
        agree = sum(w == widths[-1] for w in widths) / len(widths) if widths and widths[-1] > 1 else 0
        if agree * 100 + (widths[-1] if widths else 0) > most and agree:
            best, most = candidate, agree * 100 + widths[-1]
    return best


def _cells(record: bytes, delimiter: str, *, strict: bool = False) -> list[str]:
    try:
        text = record.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = record.decode("cp1252", "replace")
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
        return [cell.strip() for cell in next(rows, [])]
    except csv.Error:
        raise Uncuttable(UNCLOSED) from None


# -- JSON --------------------------------------------------------------------------------------------------------------

_SPACE = re.compile(r"[ \t\r\n\ufeff]*")


def _cut_json(data: bytes, whose: Whose) -> Cut:
    if not whose.hits(data):
        return Cut()
    lines = data.splitlines(keepends=True)
    filled = [line for line in lines if line.strip()]
    head = filled[0].lstrip(b"\xef\xbb\xbf").strip()
    if len(filled) > 1 and head[:1] == b"{" and head[-1:] == b"}":
        sure = whose.named_among(lines)
        theirs = [n in sure or _named_inside(_parsed(line), "", whose) for n, line in enumerate(lines)]
        left = [line for line, gone in zip(lines, theirs, strict=True) if not gone]
        return Cut(sum(theirs), b"".join(left), not any(line.strip() for line in left)) if any(theirs) else Cut()
    return _cut_document(data, whose)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line) if line.strip() else None
    except ValueError:
        return None  # a broken line is theirs when its text is


def _cut_document(data: bytes, whose: Whose) -> Cut:
    """Of one document the elements of its list, or of the lists right in its object."""
    try:
        text = data.decode("utf-8")
        lists, whole = _lists(text)
    except (ValueError, RecursionError):
        raise Uncuttable("is no valid JSON") from None
    gone, parts, at, left = 0, [], 0, 0
    for spans in lists:
        elements = [text[a:b].encode() for a, b in spans]
        sure = whose.named_among(elements)
        theirs = [n in sure or _named_inside(json.loads(e), "", whose) for n, e in enumerate(elements)]
        kept = [n for n, out in enumerate(theirs) if not out]
        gone, left = gone + sum(theirs), left + len(kept)
        parts.append(text[at : spans[0][0]])
        for place, n in enumerate(kept):
            before = text[spans[n - 1][1] : spans[n][0]] if place else ""  # the comma and the spaces in front of it
            parts.append(before + text[spans[n][0] : spans[n][1]])
        at = spans[-1][1]
    parts.append(text[at:])
    content = "".join(parts).encode()
    if not lists and _names(whole, data, whose):
        return Cut(1, b"", True)  # one order, say, in a file of its own
    rest = json.loads(content)
    if gone and _names(rest, content, whose):
        raise Uncuttable("names them outside of its list of rows, too")
    if not gone and _names(whole, data, whose):
        raise Uncuttable("names them outside of its list of rows")
    return Cut(gone, content, not left) if gone else Cut()


def _lists(text: str) -> tuple[list[list[tuple[int, int]]], Any]:
    """Where the elements of the document's lists stand, and the document."""
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    whole, _ = decoder.raw_decode(text, at)
    if text[at] == "[":
        spans, _ = _elements(text, at, decoder)
        return ([spans] if spans else []), whole
    found, at = [], _skip(text, at + 1)
    while text[at] != "}":
        _, at = decoder.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # over the colon
        if text[at] == "[":
            spans, end = _elements(text, at, decoder)
            if spans and all(text[a] == "{" for a, _ in spans):
                found.append(spans)
        else:
            _, end = decoder.raw_decode(text, at)
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at
    return found, whole


def _elements(text: str, at: int, decoder: json.JSONDecoder) -> tuple[list[tuple[int, int]], int]:
    spans, at = [], _skip(text, at + 1)
    while text[at] != "]":
        _, end = decoder.raw_decode(text, at)
        spans.append((at, end))
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at
    return spans, at + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _names(value: Any, data: bytes, whose: Whose) -> bool:
    return whose.is_named_in(data) or _named_inside(value, "", whose)


def _named_inside(value: Any, field: str, whose: Whose) -> bool:
    """Whether a field that names customers holds a short id of theirs: `customer_id`, or `id` in a `customer`."""
    if not whose.short:
        return False
    if isinstance(value, dict):
        return any(
            _named_inside(inner, f"{field} {key}" if key == "id" else str(key), whose) for key, inner in value.items()
        )
    if isinstance(value, list):
        return any(_named_inside(inner, field, whose) for inner in value)
    if isinstance(value, bool) or value is None:
        return False
    return whose.is_named(field) and whose.is_theirs(value)


# -- Parquet -----------------------------------------------------------------------------------------------------------


def _cut_parquet(data: bytes, whose: Whose) -> Cut:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        groups = [file.read_row_group(n) for n in range(file.num_row_groups)]
    except (OSError, pa.ArrowException):
        raise Uncuttable("is damaged or cut off") from None
    masks = [_rows_of(group, whose) for group in groups]
    gone = int(sum(mask.sum() for mask in masks))
    if not gone:
        return Cut()
    kept = [group.filter(pa.array(~mask)) for group, mask in zip(groups, masks, strict=True)]
    out = io.BytesIO()
    try:
        with pq.ParquetWriter(out, file.schema_arrow, **_as_written(file.metadata)) as writer:
            for group in kept:
                if len(group):
                    writer.write_table(group, row_group_size=len(group))
        content = out.getvalue()
        same = pq.read_table(pa.BufferReader(content)).equals(pa.concat_tables(kept), check_metadata=True)
    except (OSError, pa.ArrowException):
        same = False
    if not same:
        raise Uncuttable("has columns that would not be written as they were")
    return Cut(gone, content, not sum(map(len, kept)))


def _as_written(metadata: Any) -> dict[str, Any]:
    """Compression and dictionaries of each column, and the version of the format."""
    if not metadata.num_row_groups:
        return {}
    columns = [metadata.row_group(0).column(n) for n in range(metadata.num_columns)]
    packed = {c.path_in_schema: c.compression if c.compression != "UNCOMPRESSED" else "NONE" for c in columns}
    return {
        "version": metadata.format_version if metadata.format_version in ("1.0", "2.4", "2.6") else "2.6",
        "compression": packed,
        "use_dictionary": [c.path_in_schema for c in columns if c.dictionary_page_offset is not None] or False,
    }


def _rows_of(table: pa.Table, whose: Whose) -> NDArray[np.bool_]:
    """Which rows name them: each different value of a column is looked at once."""
    mask = np.zeros(len(table), dtype=np.bool_)
    for name in table.column_names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if not text and not _may_name(column.type, name, whose):
            continue
        if pa.types.is_nested(column.type):
            column = pa.chunked_array([pa.array([json.dumps(v, default=str) for v in column.to_pylist()])])
        different = pc.unique(column).drop_null()
        values = different.to_pylist()
        sure = whose.named_among([_value_bytes(v) for v in values])
        named = whose.is_named(name)
        theirs = [v for n, v in enumerate(values) if n in sure or (named and whose.is_theirs(_value_text(v)))]
        if theirs:
            mask |= pc.is_in(column, value_set=pa.array(theirs, column.type)).to_numpy(zero_copy_only=False)
    return mask


def _may_name(kind: pa.DataType, name: str, whose: Whose) -> bool:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind):
        return True
    return whose.is_named(name) and (pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _value_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def _value_text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
