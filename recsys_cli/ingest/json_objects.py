"""JSON objects of a file as a stream of text, one a row: JSON lines, documents of any size, nested Parquet, XML."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ..durable_files import draft_dir, scratch_elsewhere
from ..errors import InputError
from .delimited import read_lines
from .text_encoding import MIXED, Encoding, open_bytes

if TYPE_CHECKING:
    from .readers import Source

BATCH_ROWS = 1 << 15
MOST_DOCUMENT = 512 << 20  # bytes of a document that has to be read as one piece
MOST_OBJECT = 64 << 20  # bytes of one object
MOST_DEPTH = 64
_DOCUMENT_KEYS = ("orders", "order_items", "events", "products", "items", "customers", "data", "results", "rows")

Objects = Iterator[tuple[pa.Array, pa.Array]]  # numbers of rows, and the objects as text


def connect_scratch(source: Source, folder: Path) -> duckdb.DuckDBPyConnection:
    """A database in memory for taking a file apart; what exceeds `source.memory` is spilled to the folder."""
    con = duckdb.connect(
        config={
            "threads": "1",
            "memory_limit": source.memory,
            "temp_directory": str(folder),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )
    con.execute("SET TimeZone = 'UTC'")
    return con


@contextmanager
def scratch(source: Source) -> Iterator[duckdb.DuckDBPyConnection]:
    """`connect_scratch` with a folder that goes again.

    Raises
    ------
    InputError
        The memory that DuckDB may use is too little for the file.
    """
    with draft_dir(*scratch_elsewhere()) as folder, connect_scratch(source, folder) as con:
        try:
            yield con
        except duckdb.OutOfMemoryException:
            raise InputError(
                f"{source.path} needs more memory than store.memory_limit ({source.memory}) to be read.",
                "Raise store.memory_limit, or export one object an event or product; nothing was changed.",
            ) from None


def objects_of(source: Source) -> Objects:
    """The objects of the file; what is not JSON comes as it is."""
    name = source.form.name
    if name == "jsonl":
        return ((b.column("row_number"), b.column("line")) for b in read_lines(source))
    if name == "parquet":
        return _parquet_rows(source)
    if name == "xml":
        from .xml_feed import entries

        return _numbered(entries(source.path, source.form.compression))
    return _array(source) if _is_plain_array(source) else _numbered(_document(source))


def _numbered(objects: Iterator[Sequence[str]]) -> Objects:
    at = 1
    for piece in objects:
        yield pa.array(np.arange(at, at + len(piece))), pa.array(piece, pa.string())
        at += len(piece)


def _parquet_rows(source: Source) -> Objects:
    with pq.ParquetFile(str(source.path), pre_buffer=False) as f, scratch(source) as con:
        at = 1
        for batch in f.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            columns = [c.cast(pa.string()) if pa.types.is_binary(c.type) else c for c in batch.columns]
            con.register("rows_of_batch", pa.table(columns, names=batch.schema.names))
            lines = con.sql("SELECT to_json(r)::VARCHAR AS line FROM rows_of_batch r").to_arrow_table()
            yield pa.array(np.arange(at, at + len(batch))), lines.column("line").combine_chunks()
            at += len(batch)


def _is_plain_array(source: Source) -> bool:
    form = source.form
    if form.encoding != Encoding() or form.compression not in (None, "gzip"):
        return False
    with open_bytes(source.path, form.compression) as f:
        return bytes(f.read(4096)).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["


def _array(source: Source) -> Objects:
    """The entries of one array, however long, a piece at a time."""
    at = 1
    with scratch(source) as con:
        try:
            entries = con.sql(
                "SELECT json::VARCHAR AS line FROM read_json_objects(?, format = 'array', maximum_object_size = ?)",
                params=[str(source.path), MOST_OBJECT],
            ).to_arrow_reader(BATCH_ROWS)
            for batch in entries:
                yield pa.array(np.arange(at, at + len(batch))), batch.column("line")
                at += len(batch)
        except duckdb.OutOfMemoryException:
            raise
        except (duckdb.Error, pa.ArrowException, OSError) as e:
            raise _invalid(source, e) from None


def _invalid(source: Source, e: Exception) -> InputError:
    what = str(e).strip().splitlines()[0].replace(f'in file "{source.path}"', "").replace(str(source.path), "the file")
    what = " ".join(what.split("Malformed JSON", 1)[-1].strip(' ",').rstrip(".").split())
    return InputError(f"{source.path} is not valid JSON: {what[:200]}.", "Export it again; nothing was changed.")


def _document(source: Source) -> Iterator[Sequence[str]]:
    """The objects of one JSON document: an array, what an answer of a shop's API wraps, or the one object."""
    form = source.form
    with open_bytes(source.path, form.compression) as f:
        data = bytes(f.read(MOST_DOCUMENT + 1))
    if len(data) > MOST_DOCUMENT:
        raise InputError(
            f"{source.path} is one JSON document of more than {MOST_DOCUMENT >> 20} MB.",
            "Export it as JSON lines, an object a line, or as an array of objects; nothing was changed.",
        )
    codec = "utf-8" if form.encoding.name == MIXED else form.encoding.name
    try:
        text = codecs.decode(data, codec, "replace" if form.encoding.damaged else "strict").lstrip("\ufeff")
        document = orjson.loads(text)
    except orjson.JSONDecodeError as e:
        raise _invalid(source, e) from None
    found = unwrapped(document)
    try:
        for at in range(0, len(found), BATCH_ROWS):
            yield [orjson.dumps(entry).decode() for entry in found[at : at + BATCH_ROWS]]
    except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
        raise InputError(
            f"{source.path} nests its objects more than {MOST_DEPTH} levels deep.",
            "Export one object an event or product; nothing was changed.",
        ) from None


def unwrapped(document: Any) -> list[Any]:
    """The entries of a document: of an array, of the list that an object wraps, or the object itself.

    `{"orders": [...], "count": 2}` wraps a list; an order that has a list of its lines does not.
    """
    for _ in range(8):
        if not isinstance(document, Mapping):
            break
        if columns := _by_columns(document):
            return columns
        inner = _wrapped(document)
        if inner is None:
            return [document]
        document = inner
    entries = document if isinstance(document, list) else [document]
    # Edges and nodes of GraphQL.
    return [
        e["node"] if isinstance(e, Mapping) and set(e) <= {"node", "cursor"} and "node" in e else e for e in entries
    ]


def _wrapped(document: Mapping[str, Any]) -> Any | None:
    """What an object is only the wrapping of."""
    from .columns import plain

    facts = {plain(k) for k, v in document.items() if not isinstance(v, Mapping | list)}
    if facts & _FACTS:
        return None
    lists = [k for k, v in document.items() if isinstance(v, list) and (not v or isinstance(v[0], Mapping))]
    usual = [k for k in _DOCUMENT_KEYS if k in lists]
    best = usual or sorted(lists, key=lambda k: -len(document[k]))
    if best:
        return document[best[0]]
    objects = [k for k, v in document.items() if isinstance(v, Mapping)]
    usual = [k for k in (*_DOCUMENT_KEYS, "order", "product", "event", "response", "body") if k in objects]
    if usual or len(objects) == 1:
        return document[(usual or objects)[0]]
    return None


# An object with one of these keys is an entry, not a wrapping of entries.
_FACTS = {
    "id", "order_id", "order_number", "orderid", "number", "increment_id", "entity_id", "created_at", "date_created",
    "customer_id", "user_id", "userid", "email", "product_id", "item_id", "sku", "event", "event_name", "timestamp",
    "ts", "visitor_id", "id_visit",
}  # fmt: skip


def _by_columns(document: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of a table written by columns, as pandas does: {"user_id": {"0": 7, "1": 8}, "item_id": {...}}."""
    columns = list(document.values())
    if len(columns) < 2:
        return None
    if all(isinstance(c, Mapping) for c in columns):
        keys = list(columns[0])
        if (
            not keys
            or any(set(c) != set(keys) for c in columns)
            or any(isinstance(v, Mapping | list) for c in columns for v in c.values())
        ):
            return None
        return [{name: c[key] for name, c in document.items()} for key in keys]
    if all(isinstance(c, list) for c in columns) and len({len(c) for c in columns}) == 1:
        if any(isinstance(v, Mapping) for c in columns for v in c[:20]):
            return None
        return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]
    return None
