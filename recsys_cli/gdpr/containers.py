"""Open what hides text from a search of raw bytes: compressed files, archives, columnar files and databases."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import re
import sqlite3
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..schema import GUEST
from .needles import CELL

# Sessions of rows that name no customer, as `schema.guest_id` has them: there a session is who the row is about, and
# nobody else's number looks like it.
GUESTS = "session_id of guests"
# Columns and fields that never name a customer: a short number in one of them is a product, an order or a count.
OTHERS = frozenset(
    (
        *("item_id", "product_id", "sku", "stockcode", "category", "brand", "title", "description", "tags"),
        *("order_id", "invoice", "session_id", "event_id", "request_id", "url", "img_url", "price", "qty", "quantity"),
        *(GUESTS, "ts", "name", "format", "checksum", "sha256", "content_sha256", "version"),
    )
)

# What columns of visits are called, without what is no letter.
_SESSIONS = frozenset(("session", "sessionid", "usersession", "visitid"))
# Fields of which a number says how many people there are; in a list, numbers are people there as well.
_HOW_MANY = re.compile(r"(users|customers|clients|kunden|persons)$")

# Tables and files of ours that hold products and bookkeeping, in all their columns.
THINGS = frozenset(("items", "item_history", "migrations", "spool_position", "served", "served_position", "catalogue"))


@dataclass(frozen=True)
class Part:
    """Something found inside a file.

    Parameters
    ----------
    inside
        How to get there: `events.user_id`, `orders.csv`.
    data
        Its bytes; cells of a column are joined, each between two `needles.CELL`.
    cells
        Whether `data` is cells.
    about_people
        Whether a short number in it can be a customer.
    """

    inside: str
    data: bytes
    cells: bool = False
    about_people: bool = True


class Unreadable(Exception):
    """A file that looks packed and cannot be opened."""


def parts_of(data: bytes | memoryview, path: Path | None) -> tuple[str, Iterator[Part]]:
    """What kind of file this is (empty when plain), and what is inside it.

    Parameters
    ----------
    path
        The file, when `data` is a whole one on disk.

    Raises
    ------
    Unreadable
        While going through the parts.
    """
    head = bytes(data[:16])
    for kind, recognised, opener in _KINDS:
        if recognised(head, data):
            return kind, _reading(opener(data, path))
    return "", iter(())


def _reading(parts: Iterator[Part]) -> Iterator[Part]:
    try:
        yield from parts
    except _CANNOT_READ as e:
        raise Unreadable(str(e)) from None


_CANNOT_READ = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    lzma.LZMAError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
    sqlite3.Error,
    duckdb.Error,
    pa.ArrowException,
)


def _unpacked(decompress: Callable[[bytes], bytes]) -> Callable[..., Iterator[Part]]:
    def opener(data: bytes | memoryview, path: Path | None) -> Iterator[Part]:
        yield Part("unpacked", decompress(bytes(data)))

    return opener


def _zstd(data: bytes) -> bytes:
    return bytes(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())


def _lz4(data: bytes) -> bytes:
    return bytes(pa.CompressedInputStream(pa.BufferReader(data), "lz4").read())


def _zip(data: bytes | memoryview, path: Path | None) -> Iterator[Part]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            yield Part(entry.filename, archive.read(entry))


def _tar(data: bytes | memoryview, path: Path | None) -> Iterator[Part]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for entry in archive:
            handle = archive.extractfile(entry) if entry.isfile() else None
            if handle is not None:
                yield Part(entry.name, handle.read())


def _npy(data: bytes | memoryview, path: Path | None) -> Iterator[Part]:
    """Arrays of text become cells; arrays of numbers are searched as they are."""
    array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    if array.dtype.kind in "US":
        yield Part("array", _cells([str(v) for v in array.ravel().tolist()]), cells=True)


def _parquet(data: bytes | memoryview, path: Path | None) -> Iterator[Part]:
    file = pq.ParquetFile(pa.BufferReader(data))
    for group in range(file.num_row_groups):
        yield from _columns(file.read_row_group(group))


def _arrow(data: bytes | memoryview, path: Path | None) -> Iterator[Part]:
    things = path is not None and path.stem in THINGS
    for part in _columns(pa.ipc.open_file(pa.BufferReader(data)).read_all()):
        yield replace(part, about_people=part.about_people and not things)


def _sqlite(data: bytes | memoryview, path: Path | None) -> Iterator[Part]:
    with contextlib.closing(sqlite3.connect(":memory:")) as con:
        con.deserialize(bytes(data))
        con.text_factory = lambda b: b.decode("utf-8", "replace")
        names = [row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in names:
            cursor = con.execute('SELECT * FROM "' + table.replace('"', '""') + '"')
            columns = [d[0] for d in cursor.description]
            rows = cursor.fetchall()
            for i, column in enumerate(columns):
                yield _part(f"{table}.{column}", column, [_text(r[i]) for r in rows if r[i] is not None])


def _duckdb(data: bytes | memoryview, path: Path | None) -> Iterator[Part]:
    """Every column of every table that holds text, each value once."""
    with contextlib.ExitStack() as stack:
        if path is None:  # inside an archive: DuckDB only opens files
            copy = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".duckdb"))
            copy.write(data)
            copy.flush()
            path = Path(copy.name)
        config: dict[str, Any] = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        con = duckdb.connect(str(path), read_only=True, config=config)
        stack.callback(con.close)
        columns = con.execute(
            "SELECT schema_name, table_name, column_name FROM duckdb_columns() WHERE NOT internal "
            "AND data_type NOT IN ('BIGINT', 'INTEGER', 'DOUBLE', 'BOOLEAN', 'FLOAT', 'TIMESTAMP') "
            "AND database_name = current_database()"
        ).fetchall()
        for schema, table, column in columns:
            quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, table))
            name = '"' + column.replace('"', '""') + '"'
            found = con.sql(f"SELECT DISTINCT {name}::VARCHAR AS v FROM {quoted} WHERE {name} IS NOT NULL")
            part = _arrow_part(f"{table}.{column}", column, found.to_arrow_table()["v"].combine_chunks())
            yield replace(part, about_people=part.about_people and table not in THINGS)
            if column == "session_id" and (schema, table, "user_id") in columns:
                found = con.sql(
                    f"SELECT DISTINCT chr({ord(GUEST)}) || {name} AS v FROM {quoted} WHERE {name} IS NOT NULL "
                    "AND coalesce(user_id::VARCHAR, '') = ''"
                )
                yield _arrow_part(f"{table}.{GUESTS}", GUESTS, found.to_arrow_table()["v"].combine_chunks())


def _columns(table: pa.Table) -> Iterator[Part]:
    for name in table.column_names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        numbers = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
        if numbers and not is_visit(name) and (name.lower() in OTHERS or not names_people(name)):
            continue
        yield _arrow_part(name, name, pc.unique(_as_text(column)).drop_null())


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.large_string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # lists, structs, bytes that are no text
        return pa.chunked_array([pa.array([_text(v) for v in column.to_pylist() if v is not None], pa.large_string())])


def names_people(column: str) -> bool:
    """Whether a column of that name says whom a row is about."""
    return any(word in column.lower() for word in ("user", "customer", "client", "kunde", "mail", "person"))


def is_visit(column: str) -> bool:
    """Whether a column of that name says in which session something happened."""
    return re.sub(r"[^a-z]", "", column.lower()) in _SESSIONS


def _arrow_part(inside: str, column: str, values: Any) -> Part:
    """A column as cells, straight from Arrow's buffer: there may be millions."""
    nothing, cell = pa.scalar("", pa.large_string()), pa.scalar(CELL.decode(), pa.large_string())
    joined = pc.binary_join_element_wise(nothing, pc.cast(values, pa.large_string()), nothing, cell)
    offsets = np.frombuffer(joined.buffers()[1], np.int64, len(joined) + 1, joined.offset * 8)
    data = bytes(memoryview(joined.buffers()[2] or b"")[int(offsets[0]) : int(offsets[-1])])
    return Part(inside, data, True, column.lower() not in OTHERS)


def _part(inside: str, column: str, values: list[str]) -> Part:
    return Part(inside, _cells(values), True, column.lower() not in OTHERS)


def _cells(values: list[str]) -> bytes:
    return b"".join(CELL + v.encode("utf-8", "surrogatepass") + CELL for v in values)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _json(data: bytes | memoryview, path: Path | None) -> Iterator[Part]:
    """A JSON document, or lines of JSON: texts by the name of their field, numbers only where they name a person."""
    by_field: dict[str, set[str]] = {}
    try:
        documents = [json.loads(bytes(data))]
    except ValueError:
        documents = [_line(line) for line in bytes(data).split(b"\n") if line.strip()]
    for document in documents:
        _collect(document, "", by_field)
    for field, values in by_field.items():
        yield _part(field or "text", field.rpartition(".")[2], sorted(values))


def _line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line.decode("utf-8", "replace")


def _collect(value: Any, field: str, found: dict[str, set[str]]) -> None:
    if isinstance(value, dict):
        session = value.get("session_id")
        if isinstance(session, str | int) and not value.get("user_id"):
            found.setdefault(GUESTS, set()).add(f"{GUEST}{session}")
        for key, inner in value.items():
            found.setdefault("key", set()).add(str(key))
            # How many there are: of 300 customers, number 300 could never be shown to be gone.
            if not (isinstance(inner, int | float) and _HOW_MANY.search(str(key).lower())):
                _collect(inner, str(key), found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, field, found)
    elif isinstance(value, str):
        found.setdefault(field, set()).add(value)
    elif isinstance(value, int | float) and not isinstance(value, bool) and names_people(field):
        found.setdefault(field, set()).add(_text(value))


def _magic(*signatures: bytes) -> Callable[..., bool]:
    return lambda head, data: head.startswith(signatures)


_KINDS: list[tuple[str, Callable[..., bool], Callable[..., Iterator[Part]]]] = [
    ("gzip", _magic(b"\x1f\x8b"), _unpacked(gzip.decompress)),
    ("zstd", _magic(b"\x28\xb5\x2f\xfd"), _unpacked(_zstd)),
    ("lz4", _magic(b"\x04\x22\x4d\x18"), _unpacked(_lz4)),
    ("bzip2", _magic(b"BZh"), _unpacked(bz2.decompress)),
    ("xz", _magic(b"\xfd7zXZ\0"), _unpacked(lzma.decompress)),
    ("zip", _magic(b"PK\x03\x04"), _zip),
    ("npy", _magic(b"\x93NUMPY"), _npy),
    ("parquet", _magic(b"PAR1"), _parquet),
    ("arrow", _magic(b"ARROW1"), _arrow),
    ("sqlite", _magic(b"SQLite format 3\0"), _sqlite),
    ("duckdb", lambda head, data: bytes(data[8:12]) == b"DUCK", _duckdb),
    ("json", lambda head, data: bytes(data[:256]).lstrip()[:1] in (b"{", b"["), _json),
    ("tar", lambda head, data: bytes(data[257:262]) == b"ustar", _tar),
]
