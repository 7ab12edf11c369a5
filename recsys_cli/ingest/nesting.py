"""Nested objects as a flat table: a row for each order line, with what its order says; other fields by dotted paths.

Which list holds the lines is told by what its members are called (something like a product's number beside a quantity),
not by the shop system. Everything is taken apart in SQL, a batch of objects at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from ..errors import InputError
from .columns import EVENTS, field, plain, tier_of
from .delimited import Broken
from .json_objects import MOST_DEPTH, objects_of, scratch

if TYPE_CHECKING:
    from .readers import Source

MOST_COLUMNS = 2_000
SAMPLED = 500  # objects of each batch whose structure is looked at; keys of the outermost level are all seen
_DEEPEST = 8
_LINES = frozenset(
    """line_items lineitems items lines order_items orderitems order_lines orderlines order_rows products cart
    positions articles item_details ecommerce_items transaction_items bestellpositionen positionen artikel
    lignes detalles variants variations skus entries""".split()  # noqa: SIM905
)
_NO_LINES = frozenset(
    """refunds refund shipping_lines fee_lines tax_lines discount_codes coupon_lines discount_applications
    fulfillments shipments returns related upsell cross_sell recommendations bundled tax payments
    transactions categories images tags options meta_data attributes custom_fields event_params
    user_properties item_params note_attributes""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Leaf:
    """A value of an object.

    Parameters
    ----------
    name
        Its dotted path, lists on the way included.
    level
        0 of the object itself, 1 of an entry of the list of lines, 2 of a list within those.
    short
        Its path within that entry.
    pointer
        JSON pointer from the object or entry; empty where `sql` says how to read it.
    sql
        An expression over {0}, the object or entry.
    """

    name: str
    level: int
    short: str
    pointer: str
    sql: str = ""


@dataclass(frozen=True)
class Layout:
    """What a file's objects are like.

    Parameters
    ----------
    leaves
        Its columns.
    lists
        Pointers of the list of lines, and of the list of lines within its entries.
    """

    leaves: tuple[Leaf, ...]
    lists: tuple[str, ...] = ()


def layout_of(source: Source) -> Layout:
    """Look at all objects once.

    Raises
    ------
    InputError
        When they have more different keys than any export.
    """
    keys: dict[str, None] = {}
    shape: Any = None
    params: dict[str, dict[str, None]] = {}
    with scratch(source) as con:
        for _, lines in objects_of(source):
            con.register("lines", pa.table([lines], names=["line"]))
            found = con.execute(
                f"""SELECT key, min(seen) FROM (SELECT unnest(json_keys(line)) AS key, row_number() OVER () AS seen
                    FROM lines WHERE {IS_OBJECT}) GROUP BY key ORDER BY 2, 1 LIMIT {MOST_COLUMNS + 1}"""
            ).fetchall()
            keys |= dict.fromkeys(key for key, _ in found)
            if len(keys) > MOST_COLUMNS:
                raise InputError(
                    f"{source.path} has more than {MOST_COLUMNS:,} different keys in its objects.",
                    "Keys must be names of columns; export one object an event or product. Nothing was changed.",
                )
            every = max(1, len(lines) // SAMPLED)
            some = f"SELECT line FROM (SELECT line, row_number() OVER () AS n FROM lines) WHERE n % {every} = 0"
            seen = con.execute(f"SELECT json_group_structure(line::JSON) FROM ({some}) WHERE {IS_OBJECT}").fetchall()
            shape = _merged(shape, orjson.loads(seen[0][0]) if seen and seen[0][0] else None)
            _note_params(con, shape, params)
    shape = shape if isinstance(shape, dict) else {}
    ordered = {key: shape.get(key, "VARCHAR") for key in keys}
    return _layout(ordered, params)


IS_OBJECT = "coalesce(TRY(json_type(line)) = 'OBJECT', false)"


def _merged(a: Any, b: Any) -> Any:
    """One structure for two; JSON where they contradict each other."""
    if a is None or a == "NULL":
        return b
    if b is None or b == "NULL":
        return a
    if isinstance(a, dict) and isinstance(b, dict):
        return {key: _merged(a.get(key), b.get(key)) for key in (*a, *(k for k in b if k not in a))}
    if isinstance(a, list) and isinstance(b, list):
        return [_merged(a[0] if a else None, b[0] if b else None)]
    return "JSON" if isinstance(a, dict | list) or isinstance(b, dict | list) else "VARCHAR"


def _note_params(con: Any, shape: Any, params: dict[str, dict[str, None]]) -> None:
    """Keys of lists of keys and values, as Google Analytics has them: event_params[].key."""
    for name, node in shape.items() if isinstance(shape, dict) else ():
        if _is_params(node) and len(params.setdefault(name, {})) < 50:
            found = con.execute(
                f"SELECT DISTINCT unnest(json_extract_string(line, {_quoted(f'{_path([name])}[*].key')})) AS key "
                f"FROM lines WHERE {IS_OBJECT} ORDER BY 1 LIMIT 50"
            ).fetchall()
            params[name] |= dict.fromkeys(k for (k,) in found if k)


def _is_params(node: Any) -> bool:
    return isinstance(node, list) and bool(node) and isinstance(node[0], dict) and {"key", "value"} == set(node[0])


def _layout(shape: dict[str, Any], params: Mapping[str, Mapping[str, None]]) -> Layout:
    paths = _lines_of(shape)
    leaves: dict[str, Leaf] = {}
    node: Any = shape
    prefix: list[str] = []
    lists: list[str] = []
    for level in range(len(paths) + 1):
        skip = paths[level] if level < len(paths) else ()
        for leaf in _leaves(node, level, prefix, skip, params if level == 0 else {}):
            leaves.setdefault(leaf.name, leaf)
        if level < len(paths):
            lists.append(_pointer(skip))
            for key in skip:
                node = node[key]
            node = node[0]
            prefix = [*prefix, *skip]
    if len(leaves) > MOST_COLUMNS:
        leaves = dict(list(leaves.items())[:MOST_COLUMNS])
    return Layout(tuple(leaves.values()), tuple(lists))


def _lines_of(shape: dict[str, Any]) -> list[tuple[str, ...]]:
    """Keys that lead to the list of order lines, a list of keys for each list on the way; nothing if there is none."""
    best: tuple[float, list[tuple[str, ...]]] = (0.0, [])

    def look(node: Any, path: list[tuple[str, ...]], keys: tuple[str, ...]) -> None:
        nonlocal best
        # The attributes of JSON:API are all that is told of an order; a list of them is of a product.
        said = [k for k in keys if k != "attributes" or (k == keys[-1] and isinstance(node, list))]
        if len(path) > 3 or len(keys) > _DEEPEST or any(plain(k) in _NO_LINES for k in said):
            return
        if isinstance(node, dict):
            for key, value in node.items():
                look(value, path, (*keys, key))
        elif isinstance(node, list) and node and isinstance(node[0], dict):
            here = [*path, keys]
            score = _score(keys, node[0]) - 0.5 * len(here)
            if score > best[0]:
                best = (score, here)
            for key, value in node[0].items():
                look(value, here, (key,))

    look(shape, [], ())
    return best[1]


def _score(keys: tuple[str, ...], entry: dict[str, Any]) -> float:
    """How much a list's entries look like lines of an order, or like variants of a product."""
    names = {plain(n) for n in _names(entry)}
    item = field(EVENTS, "item_id")
    tiers = [t for n in names if (t := tier_of(item, n)) is not None]
    product = any(t <= 2 for t in tiers) or any(n.endswith(_ENDINGS) for n in names)
    counted = any(tier_of(field(EVENTS, "qty"), n) is not None or n.endswith("quantity") for n in names)
    priced = any("price" in n or n in ("total", "amount", "revenue") for n in names)
    called = plain(keys[-1]) in _LINES or (keys[-1] in ("edges", "data", "nodes") and plain(keys[0]) in _LINES)
    if not product and not (called and names & {"id", "name", "title", "product", "item"}):
        return 0.0
    return 3.0 * product + 2.0 * counted + 1.0 * priced + 2.0 * called


_ENDINGS = ("_sku", "product_id", "item_id", "product_number", "variant_id", "product_code")


def _names(entry: dict[str, Any]) -> Iterator[str]:
    for key, value in entry.items():
        if isinstance(value, dict):
            yield from (f"{key}_{n}" for n in value)
            yield from value
        elif not isinstance(value, list):
            yield key


def _leaves(
    node: Any, level: int, prefix: Sequence[str], lines: Sequence[str], params: Mapping[str, Mapping[str, None]]
) -> Iterator[Leaf]:
    """The values of an object or entry, without the list of lines."""

    def named(path: Sequence[str]) -> str:
        return ".".join([*prefix, *path])

    def walk(value: Any, path: tuple[str, ...]) -> Iterator[Leaf]:
        short = ".".join(path)
        if (lines and path == tuple(lines)) or len(path) > _DEEPEST:
            return
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(inner, (*path, key))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            if len(path) == 1 and path[0] in params:
                yield from (_param(path[0], key, level, named) for key in params[path[0]])
                return
            for key, inner in value[0].items():
                if not isinstance(inner, dict | list):
                    yield _of_list((*path,), key, level, named)
        elif isinstance(value, list):
            joined = f"array_to_string(json_extract_string({{0}}, {_quoted(_path(path) + '[*]')}), '|')"
            yield Leaf(named(path), level, short, "", f"nullif({joined}, '')")
        else:
            yield Leaf(named(path), level, short, _pointer(path))

    yield from walk(node, ())


def _of_list(path: tuple[str, ...], key: str, level: int, named: Any) -> Leaf:
    """A value of a list's entries: of pictures and links the first, of categories and tags all."""
    name, short = named((*path, key)), ".".join((*path, key))
    if plain(key) in ("src", "url", "href", "link", "image", "thumbnail", "url_standard"):
        return Leaf(name, level, short, _pointer((*path, "0", key)))
    joined = f"array_to_string(json_extract_string({{0}}, {_quoted(f'{_path(path)}[*]{_path([key])[1:]}')}), '|')"
    return Leaf(name, level, short, "", f"nullif({joined}, '')")


def _param(name: str, key: str, level: int, named: Any) -> Leaf:
    """The value of a key in a list of keys and values; of the types that it may have, the one that is filled."""
    entry = (
        f"list_filter(json_extract({{0}}, {_quoted(_path([name]) + '[*]')}), lambda e: e ->> 'key' = {_quoted(key)})[1]"
    )
    kinds = ("string_value", "int_value", "double_value", "float_value")
    values = ", ".join(f"{entry} ->> {_quoted(f'$.value.{kind}')}" for kind in kinds)
    return Leaf(named((name, key)), level, f"{name}.{key}", "", f"coalesce({values}, nullif({entry} ->> 'value', ''))")


def _pointer(keys: Sequence[str]) -> str:
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def _path(keys: Sequence[str]) -> str:
    """JSONPath; a key with a quote in it is left to mean nothing."""
    return "$" + "".join('."' + key.replace('"', "") + '"' for key in keys)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def read_nested(source: Source, layout: Layout, used: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """The values of the columns in use, as text; what is not an object goes to `source.broken`."""
    query = _query(layout, [layout.leaves[i] for i in used], used)
    at = 1
    with scratch(source) as con:
        for numbers, lines in objects_of(source):
            con.register("lines", pa.table([numbers, lines], names=["row_number", "line"]))
            bad = con.execute(f"SELECT row_number, line FROM lines WHERE NOT {IS_OBJECT} ORDER BY 1").fetchall()
            source.broken += [Broken(number, line, "not a JSON object") for number, line in bad]
            for batch in con.sql(query).to_arrow_table().combine_chunks().to_batches():
                if layout.lists:  # lines are numbered through: an order has several
                    again = pa.array(range(at, at + len(batch)), pa.int64())
                    batch = batch.set_column(0, "row_number", again)
                    at += len(batch)
                yield batch


def _query(layout: Layout, leaves: Sequence[Leaf], used: Sequence[int]) -> str:
    """Unnests a list after the other, and reads all values of an object at once: parsing it is what takes the time."""
    inner = f"SELECT row_number, line AS l0 FROM lines WHERE {IS_OBJECT}"
    kept = "row_number"
    for level in range(len(layout.lists) + 1):
        here = [(leaf, i) for leaf, i in zip(leaves, used, strict=True) if leaf.level == level]
        pointers = [leaf.pointer for leaf, _ in here if not leaf.sql]
        columns = "".join(f", {leaf.sql.replace('{0}', f'l{level}')} AS c{i}" for leaf, i in here if leaf.sql)
        if pointers:
            listed = ", ".join(map(_quoted, pointers))
            columns += f", json_extract_string(l{level}, [{listed}]) AS v{level}"
        inner = f"SELECT {kept}, l{level}{columns} FROM ({inner})"
        of_list = [(i, n) for n, (_, i) in enumerate(((f, i) for f, i in here if not f.sql), 1)]
        values = "".join(f", v{level}[{n}] AS c{i}" for i, n in of_list)
        computed = "".join(f", c{i}" for leaf, i in here if leaf.sql)
        following = ""
        if level < len(layout.lists):
            listed = f"json_extract(l{level}, {_quoted(layout.lists[level])})"
            # The list is taken apart once, in a query of its own: parsing it again is what would take the time.
            inner = f"SELECT *, json_extract({listed}, '$[*]') AS e{level} FROM ({inner})"
            alone = f"WHEN json_type({listed}) = 'OBJECT' THEN [{listed}]"
            # An object without lines stays a row: it is counted, and may be a page view.
            entries = f"CASE WHEN len(e{level}) > 0 THEN e{level} {alone} ELSE [NULL::JSON] END"
            following = f", unnest({entries}) AS l{level + 1}"
        inner = f"SELECT {kept}{computed}{values}{following} FROM ({inner})"
        kept += "".join(f", c{i}" for _, i in here)
    order = "" if layout.lists else " ORDER BY row_number"
    names = ", ".join(f"c{i}" for i in used)
    return f"SELECT row_number{', ' + names if names else ''} FROM ({inner}){order}"


assert MOST_DEPTH > _DEEPEST
