"""The catalogue as JSON text, written once when a version is published: answers are then put together from bytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..schema import SHOWN, VARIANTS, Int64


def render_items(catalogue: pa.Table) -> tuple[NDArray[np.uint8], Int64]:
    """Every item as JSON members, `"item_id":"7","title":null,…`, without braces.

    A product with variants goes by the id of the first of them, and has a `parent_id`: its own.

    Parameters
    ----------
    catalogue
        See `Dataset.catalogue`.

    Returns
    -------
    blob, offsets
        Item i is the UTF-8 text blob[offsets[i]:offsets[i + 1]]; int64, shape (n_items + 1,).
    """
    n = catalogue.num_rows
    parts: list[pa.Array | str] = []
    for name in ("item_id", *SHOWN):
        lead = f'"{name}":' if not parts else f',"{name}":'
        parts.append(pa.scalar(lead, pa.large_string()))
        parts.append(_column_json(catalogue, name, n))
    if VARIANTS in catalogue.column_names:
        catalogue, parents = _named(catalogue)
        parts[1] = _column_json(catalogue, "item_id", n)
        parts.append(parents)
    text = pc.binary_join_element_wise(*parts, pa.scalar("", pa.large_string()))
    text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    _, offsets, data = text.buffers()
    at = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + n + 1]
    blob = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)
    return blob[at[0] : at[-1]].copy(), at - at[0]


def _named(catalogue: pa.Table) -> tuple[pa.Table, pa.Array]:
    """With the id of the first variant where there is one, and the member that then follows."""
    lists = catalogue[VARIANTS].combine_chunks()
    has = pc.fill_null(pc.greater(pc.list_value_length(lists), 0), False)
    # The first of each list, without looking into those that are empty.
    first = pc.struct_field(pc.list_flatten(pc.list_slice(lists, 0, 1)), "item_id")
    place = np.cumsum(has.to_numpy(zero_copy_only=False)) - 1
    named = first.take(pa.array(np.maximum(place, 0))) if len(first) else catalogue["item_id"].combine_chunks()
    own, large = catalogue["item_id"].combine_chunks(), pa.large_string()
    item = pc.if_else(has, named, own)
    parent = _column_json(pa.table({"parent_id": own}), "parent_id", len(own))
    member = pc.binary_join_element_wise(pa.scalar(',"parent_id":', large), parent, pa.scalar("", large))
    table = catalogue.set_column(catalogue.schema.get_field_index("item_id"), "item_id", item)
    return table, pc.if_else(has, member, pa.scalar("", large))


def _column_json(catalogue: pa.Table, name: str, n: int) -> pa.Array:
    if name not in catalogue.column_names:
        return pa.array(["null"] * n, pa.large_string())
    column = catalogue[name].combine_chunks()
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
        return pc.fill_null(column.cast(pa.large_string()), "null")
    quoted = pc.binary_join_element_wise(
        pa.scalar('"', pa.large_string()),
        _escape(column.cast(pa.large_string())),
        pa.scalar('"', pa.large_string()),
        pa.scalar("", pa.large_string()),
    )
    return pc.fill_null(quoted, "null")


def _escape(column: pa.Array) -> pa.Array:
    column = pc.replace_substring(column, "\\", "\\\\")
    column = pc.replace_substring(column, '"', '\\"')
    for raw, escaped in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        column = pc.replace_substring(column, raw, escaped)
    # The other control characters have no business in a title, and would make the whole answer invalid JSON.
    return pc.replace_substring_regex(column, r"[\x00-\x1f]", " ")
