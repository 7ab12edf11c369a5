"""Take a person's rows out of an export, and leave every other byte of it as it was.

Whole rows of CSV and lines or elements of JSON are cut out of the text; nothing is parsed and written again, because
quotes, decimals and line ends that come back differently are another file to whoever wrote it. Parquet has no text to
cut: its rows are filtered, with the same schema, row groups and compression. Rows of others that mention the person
stay, and are told by their numbers: nobody's order goes because its note says whom the gift is for.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .containers import is_visit
from .whose import Standing, Whose, text_of

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
        Whether neither a row nor the names of columns are left.
    mentions
        Rows that stay and mention them, by their numbers in what was read, from 1 on.
    unit
        What these numbers count.
    """

    rows: int = 0
    content: bytes = b""
    nothing_left: bool = False
    mentions: tuple[int, ...] = ()
    unit: str = "line"


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
            return replace(found, content=pack(found.content, data)) if found.rows else found
    if data.startswith(_PACKED):
        raise Uncuttable("is packed in a way that is not written again")
    text, encoding, mark = _as_utf8(data)
    found = _cut_json(text, whose) if text.lstrip()[:1] in (b"{", b"[") else _cut_lines(text, whose)
    if encoding and found.rows:
        return replace(found, content=mark + found.content.decode().encode(encoding))
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


# -- delimited text ----------------------------------------------------------------------------------------------------


def _cut_lines(data: bytes, whose: Whose) -> Cut:
    hits = whose.hits(data)
    if not hits:
        return Cut()
    delimiter = _delimiter(data)
    ends = _record_ends(data, delimiter)
    first = _first(data, ends)
    header = _cells(_record(data, ends, first), delimiter)
    records = np.searchsorted(ends, hits, side="right")
    sure = set(np.searchsorted(ends, [hit.offset for hit in whose.telling.find(data)], side="right").tolist())
    standings = {
        n: _standing(_cells(_record(data, ends, n), delimiter), header, whose, telling=n in sure)
        for n in np.unique(records).tolist()
    }
    theirs = [n for n, standing in standings.items() if standing is Standing.THEIRS]
    places = [at for at, n in zip(hits, records.tolist(), strict=True) if standings[n] is Standing.MENTIONED]
    mentions = _line_numbers(data, places)
    if not theirs:
        return Cut(mentions=mentions)
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
    # Names of columns stay though no row is left: whatever reads the folder finds an empty export, not a missing one.
    return Cut(len(theirs), content, not has_header and not _record_left(data, ends, keep, first), mentions)


def _standing(cells: list[str], header: list[str], whose: Whose, *, telling: bool) -> Standing:
    columns = [*header, *[""] * len(cells)]
    standing = whose.standing(zip(columns, cells, strict=False), telling=telling)
    unnamed = not any(whose.is_named(column) for column in header)
    if standing is not Standing.THEIRS and unnamed and any(whose.is_theirs(cell) for cell in cells):
        raise Uncuttable(UNNAMED)
    return standing


def _line_numbers(data: bytes, places: Sequence[int]) -> tuple[int, ...]:
    """The lines in which these offsets are, as editors count them."""
    if not places:
        return ()
    breaks = np.flatnonzero(np.frombuffer(data, np.uint8) == (10 if b"\n" in data else 13))
    return tuple(np.unique(np.searchsorted(breaks, places) + 1).tolist())


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


def _runs(starts: NDArray[np.int64], ends: NDArray[np.int64], keep: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
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
    if not (len(filled) > 1 and head[:1] == b"{" and head[-1:] == b"}"):
        return _cut_document(data, whose)
    standings = _standings(lines, whose)
    left = [line for line, standing in zip(lines, standings, strict=True) if standing is not Standing.THEIRS]
    mentions = tuple(n for n, standing in enumerate(standings, 1) if standing is Standing.MENTIONED)
    gone = len(lines) - len(left)
    if not gone:
        return Cut(mentions=mentions)
    return Cut(gone, b"".join(left), not any(line.strip() for line in left), mentions)


def _standings(elements: Sequence[bytes], whose: Whose) -> list[Standing]:
    """Whose each of some pieces of JSON is."""
    sure, candidates = whose.named_among(elements), whose.candidates_among(elements)
    return [
        # What is escaped does not show in the bytes; all others need not be parsed, and there may be millions.
        whose.standing(_fields(_parsed(element)), telling=n in sure)
        if n in candidates or ((whose.short or whose.sessions) and b"\\u" in element)
        else Standing.NOTHING
        for n, element in enumerate(elements)
    ]


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text) if text.strip() else None
    except ValueError:
        return text.decode("utf-8", "replace")  # a broken line, searched as the text that it is


def _fields(value: Any, field: str = "") -> Iterator[tuple[str, Any]]:
    """Fields and their values, at every depth: `customer_id`, and `customer id` for `id` in a `customer`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield "", str(key)
            yield from _fields(inner, f"{field} {key}" if key == "id" else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner, field)
    elif not isinstance(value, bool) and value is not None:
        yield field, value


def _cut_document(data: bytes, whose: Whose) -> Cut:
    """Of one document the elements of its list, or of the lists right in its object."""
    try:
        text = data.decode("utf-8")
        lists, whole = _lists(text)
    except (ValueError, RecursionError):
        raise Uncuttable("is no valid JSON") from None
    if not lists:
        standing = whose.standing(_fields(whole), telling=whose.is_named_in(data))
        if standing is Standing.THEIRS:
            return Cut(1, b"", True)  # one order, say, in a file of its own
        return Cut(mentions=_line_numbers(data, whose.hits(data)) if standing is Standing.MENTIONED else ())
    gone, at, left = 0, 0, 0
    parts: list[str] = []
    frame: list[str] = []  # the document around its rows
    places: list[int] = []
    for spans in lists:
        standings = _standings([text[a:b].encode() for a, b in spans], whose)
        kept = [n for n, standing in enumerate(standings) if standing is not Standing.THEIRS]
        places += [spans[n][0] for n, standing in enumerate(standings) if standing is Standing.MENTIONED]
        gone, left = gone + len(spans) - len(kept), left + len(kept)
        parts.append(text[at : spans[0][0]])
        frame.append(text[at : spans[0][0]])
        for place, n in enumerate(kept):
            before = text[spans[n - 1][1] : spans[n][0]] if place else ""  # the comma and the spaces in front of it
            parts.append(before + text[spans[n][0] : spans[n][1]])
        at = spans[-1][1]
    parts.append(text[at:])
    frame.append(text[at:])
    around = "".join(frame)
    outside = whose.standing(_fields(json.loads(around.encode())), telling=whose.is_named_in(around.encode()))
    if outside is not Standing.NOTHING:
        raise Uncuttable("names them outside of its list of rows" + (", too" if gone else ""))
    mentions = tuple(dict.fromkeys(text.count("\n", 0, at) + 1 for at in places))
    return Cut(gone, "".join(parts).encode(), not left, mentions) if gone else Cut(mentions=mentions)


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


# -- Parquet -----------------------------------------------------------------------------------------------------------


def _cut_parquet(data: bytes, whose: Whose) -> Cut:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        groups = [file.read_row_group(n) for n in range(file.num_row_groups)]
    except (OSError, pa.ArrowException):
        raise Uncuttable("is damaged or cut off") from None
    masks: list[NDArray[np.bool_]] = []
    mentions: list[int] = []
    start = 1
    for group in groups:
        mask, mentioned = _rows_of(group, whose)
        masks.append(mask)
        mentions += (np.flatnonzero(mentioned) + start).tolist()
        start += len(group)
    gone = int(sum(mask.sum() for mask in masks))
    if not gone:
        return Cut(mentions=tuple(mentions), unit="row")
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
    return Cut(gone, content, mentions=tuple(mentions), unit="row")


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


def _rows_of(table: pa.Table, whose: Whose) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows are theirs, and which others mention them: each different value of a column is looked at once."""
    theirs, whole, mentioned, somebody = (np.zeros(len(table), dtype=np.bool_) for _ in range(4))
    for name in table.column_names:
        column, named = table[name], whose.is_named(name)
        if named:
            somebody |= pc.is_valid(column).to_numpy(zero_copy_only=False)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if not text and not _may_name(column.type, name, whose):
            continue
        if pa.types.is_nested(column.type):
            column = pa.chunked_array([pa.array([json.dumps(v, default=str) for v in column.to_pylist()])])
        values = pc.unique(column).drop_null().to_pylist()
        sure = whose.named_among([_value_bytes(v) for v in values])

        def rows(found: list[Any], column: Any = column) -> NDArray[np.bool_]:
            if not found:
                return np.zeros(len(column), dtype=np.bool_)
            return np.asarray(pc.is_in(column, value_set=pa.array(found, column.type)).to_numpy(zero_copy_only=False))

        if named:
            somebody &= ~rows([v for v in values if not text_of(v).strip()])
            theirs |= rows([v for n, v in enumerate(values) if n in sure or whose.is_theirs(v)])
        else:
            sessions = [v for v in values if whose.is_guest(name, v)]
            whole |= rows([v for n, v in enumerate(values) if n in sure and whose.is_whole(text_of(v))] + sessions)
        mentioned |= rows([v for n, v in enumerate(values) if n in sure or whose.is_mentioned_in(text_of(v), name)])
    theirs |= whole & ~somebody
    return theirs, mentioned & ~theirs


def _may_name(kind: pa.DataType, name: str, whose: Whose) -> bool:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind):
        return True
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return number and (whose.is_named(name) or is_visit(name))


def _value_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else text_of(value).encode("utf-8", "surrogatepass")
