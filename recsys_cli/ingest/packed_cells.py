"""Order lines packed in one cell, as many shops export them, unpacked into a row each.

Four ways are known: `2x SKU|1x SKU` and its like, `Product ID: 7, Product Qty: 2, …|Product ID: …`, JSON in a cell, and
lists of codes without quantities. What is packed in a way that is not known is refused by `mapping`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from .columns import EVENTS, field, plain, tier_of
from .json_objects import scratch

if TYPE_CHECKING:
    from .readers import Source

_ENOUGH = 0.9  # of the filled cells must be packed in the same way
_CALLED = re.compile(
    r"line_?items?|order_?(items|lines|details)|product_?details|products?|items?(_ordered|_purchased|_list)?|skus|"
    r"articles|artikel|positionen|bestellpositionen|(ordered|purchased)_(items|products)|cart(_contents)?|contents|"
    r"lignes?|produits|articulos|productos|prodotti|articoli|basket|product_?(ids|skus)|item_?(ids|skus|details)"
)
# What lists products, too, and no order: Magento's `configurable_variations`.
_OF_CATALOGUES = re.compile(r"variations|variants|attributes|associated|combinations|(related|upsell|crosssell)_skus")
_NUMBERED = re.compile(r"(line_?item|product|item|article)_?s?_?(\d+)")
_SEPARATORS = ("\n", "|", ";", ",")
# Quantity and product, as (pattern, group of the quantity, group of the product).
_COUNTED = (
    (r"^\s*(\d{1,4})\s*[xX×*]\s+(\S.*?)\s*$", 1, 2),
    (r"^\s*(\d{1,4})\s*[xX×*]\s*(\S.*?)\s*$", 1, 2),
    (r"^\s*(\S.*?)\s+[xX×*]\s*(\d{1,4})\s*$", 2, 1),
    (r"^\s*(\S.*?)\s*\((?:[xX×]\s*|[Qq]ty:?\s*)?(\d{1,4})\s*[xX×]?\)\s*$", 2, 1),
    (r"^\s*(\S*[^\s:=@*])\s*[:=@*]\s*(\d{1,4})\s*$", 2, 1),
)
_KEY = r"[A-Za-z][A-Za-z0-9_ /#.-]{0,30}?"


@dataclass(frozen=True)
class Packing:
    """How cells are unpacked, in SQL.

    Parameters
    ----------
    columns
        Positions of the columns with packed cells; more than one where each line has a column of its own.
    name
        What the lines are called.
    split
        The list of entries of a cell `{0}`.
    values
        Name of a value, and its expression over an entry `{0}`.
    """

    columns: tuple[int, ...]
    name: str
    split: str
    values: tuple[tuple[str, str], ...]


def unpacked(source: Source) -> Source:
    """The source with a row for each order line, where a column has several packed in its cells."""
    if source.form.name == "parquet" or source.levels:
        return source
    packing = _packing(source)
    if packing is None:
        return source
    others = [i for i in range(len(source.columns)) if i not in packing.columns]
    columns = [source.columns[i] for i in others] + [f"{packing.name}.{name}" for name, _ in packing.values]
    levels = tuple([0] * len(others) + [1] * len(packing.values))
    note = f"Each order line in the cells of {packing.name!r} is a row."
    return replace(
        source,
        columns=columns,
        read=partial(_read, source, packing, others),
        levels=levels,
        notes=(*source.notes, note),
        broken=source.broken,
        _sample=None,
    )


def _packing(source: Source) -> Packing | None:
    numbered: dict[str, list[int]] = {}
    for i, name in enumerate(source.columns):
        if found := _NUMBERED.fullmatch(plain(name)):
            numbered.setdefault(found[1], []).append(i)
    for name, at in numbered.items():
        values = [v for i in at for v in source.texts(i)]
        if values and (how := _keyed(values, one=True) or _json(values)):
            return Packing(tuple(at), name, *how)
    for i, name in enumerate(source.columns):
        values = source.texts(i)
        if not values or _OF_CATALOGUES.search(plain(name)):
            continue
        called = bool(_CALLED.fullmatch(plain(name)))
        how = _json(values) or _keyed(values) or _counted(values, called) or (_listed(values) if called else None)
        if how is not None:
            return Packing((i,), name, *how)
    return None


How = tuple[str, tuple[tuple[str, str], ...]]


def _json(values: Sequence[str]) -> How | None:
    """JSON in a cell: an array of objects, or one object."""
    if sum(v[:1] in "[{" for v in values) < _ENOUGH * len(values):
        return None
    names: dict[str, None] = {}
    for value in values[:500]:
        try:
            entry = orjson.loads(value)
        except orjson.JSONDecodeError:
            continue
        for one in (entry if isinstance(entry, list) else [entry])[:50]:
            names |= dict.fromkeys(_paths(one)) if isinstance(one, dict) else {}
    if not _tells_product(n for n in names):
        return None
    cell = "CASE WHEN json_valid({0}) THEN {0}::JSON END"
    entries = f"CASE WHEN json_type({cell}) = 'ARRAY' THEN json_extract({cell}, '$[*]') ELSE [{cell}] END"
    listed = list(names)[:200]
    return entries, tuple((n, f"json_extract_string({{0}}, {_quoted(_pointer(n))})") for n in listed)


def _paths(entry: dict[str, Any]) -> Iterator[str]:
    for key, value in entry.items():
        if isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner, v in value.items() if not isinstance(v, dict | list))
        elif not isinstance(value, list):
            yield key


def _pointer(name: str) -> str:
    return "/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in name.split("."))


def _tells_product(names: Iterator[str]) -> bool:
    item = field(EVENTS, "item_id")
    found = {plain(n) for n in names}
    tiers = [t for n in found if (t := tier_of(item, n)) is not None or (t := 3 if n.endswith("_sku") else None)]
    return any(t <= 2 for t in tiers) or (bool(tiers or found & {"id", "name", "title"}) and bool(found & _COUNTS))


_COUNTS = {"quantity", "qty", "amount", "count", "menge", "anzahl", "product_qty", "cantidad", "quantite"}


def _keyed(values: Sequence[str], *, one: bool = False) -> How | None:
    """`Key: value` pairs; a line begins where the first key comes again."""
    some = values[:1000]
    seen: Counter[str] = Counter()
    marks: dict[str, set[str]] = {}  # how each is set off: `: `
    for value in some:
        found = re.findall(rf"(?:^|[|,;\n])\s*({_KEY})(\s*[:=] ?)", value)
        seen.update(tuple(dict.fromkeys(key for key, _ in found)))
        for key, mark in found:
            marks.setdefault(key, set()).add(mark)
    usual = [k for k, n in seen.items() if n >= 0.6 * len(some)]
    if len(usual) < 2 or not _tells_product(iter(usual)):
        return None
    first = Counter(m[1] for v in some if (m := re.match(rf"\s*({_KEY})\s*[:=]", v))).most_common(1)
    if not first or first[0][1] < _ENOUGH * len(some):
        return None
    keys = usual + [
        k for k, n in seen.items() if k not in usual and (n >= 2 or n >= 0.1 * len(some)) and _alike(k, usual, marks)
    ]
    begin = re.escape(first[0][0])
    line = _quoted(rf"[|,;\n]+\s*({begin}\s*[:=])")
    again = f"regexp_replace({{0}}, {line}, chr(30) || '\\1', 'g')"
    split = "[{0}]" if one else f"string_split({again}, chr(30))"
    any_key = "|".join(re.escape(k) for k in sorted(keys, key=len, reverse=True))
    values_of = []
    for key in keys:
        pattern = rf"(?s)(?:^|[|,;\n])\s*{re.escape(key)}\s*[:=]\s*(.*?)\s*(?:[|,;\n]\s*(?:{any_key})\s*[:=]|$)"
        values_of.append((key, f"nullif(regexp_extract({{0}}, {_quoted(pattern)}, 1), '')"))
    return split, tuple(values_of)


def _alike(key: str, usual: Sequence[str], marks: dict[str, set[str]]) -> bool:
    """Whether a key that some lines lack is written as the usual ones are: `Edition: 3` may be in a product's name."""
    words = {re.split("[ _]", k)[0] for k in usual}
    begins = len(words) > 1 or re.split("[ _]", key)[0] in words
    return begins and any(marks[key] & marks[k] for k in usual)


def _counted(values: Sequence[str], called: bool) -> How | None:
    """A quantity and a product, several times."""
    some = values[:: len(values) // 200 + 1]  # tells the columns that are plainly not packed
    for n, (pattern, count, product) in enumerate(_COUNTED):
        if not called and n in (1, 4):
            continue  # 10x20 may be a size, and A:2 a code
        matches = re.compile(pattern).match
        found: list[tuple[int, str]] = []
        for separator in _SEPARATORS:
            if _whole(some, separator, matches)[0] < _ENOUGH / 2 * len(some):
                continue
            good, parts = _whole(values, separator, matches)
            if good >= _ENOUGH * len(values) and (called or any(len(p) > 1 for p in parts)):
                found.append((sum(map(len, parts)), separator))
        if found:  # the separator that tells most lines apart: `A x 2, B x 1` is also one product called `A x 2, B`
            read = f"regexp_extract({{0}}, {_quoted(pattern)}, %d)"
            whole = f"coalesce(nullif({read % product}, ''), trim({{0}}))"
            separator = max(found, key=lambda f: f[0])[1]
            return _split(separator), (("item_id", whole), ("quantity", f"nullif({read % count}, '')"))
    return None


def _whole(values: Sequence[str], separator: str, matches: Callable[[str], object]) -> tuple[int, list[list[str]]]:
    """How many cells consist of matching parts alone, and the parts of each."""
    parts = [[p for p in v.split(separator) if p.strip()] for v in values]
    return sum(bool(p) and all(map(matches, p)) for p in parts), parts


def _listed(values: Sequence[str]) -> How | None:
    """Codes without quantities."""
    for separator in ("\n", "|", ";", ","):
        parts = [[p.strip() for p in v.split(separator) if p.strip()] for v in values]
        several = sum(len(p) > 1 for p in parts)
        codes = [p for ps in parts for p in ps]
        if several >= 0.1 * len(values) and all(" " not in c and len(c) <= 64 for c in codes):
            return _split(separator), (("item_id", "trim({0})"),)
    return None


def _split(separator: str) -> str:
    return f"list_filter(string_split({{0}}, {_quoted(separator)}), lambda p: trim(p) <> '')"


def _read(
    source: Source, packing: Packing, others: Sequence[int], _: Source, used: list[int]
) -> Iterator[pa.RecordBatch]:
    """The columns at positions of the unpacked table."""
    kept = [others[i] for i in used if i < len(others)]
    wanted = sorted({*kept, *packing.columns})
    cells = [packing.split.replace("{0}", f"c{i}") for i in packing.columns]
    entries = (
        cells[0]
        if len(cells) == 1
        else "flatten(["
        + ", ".join(
            f"CASE WHEN coalesce(c{i}, '') <> '' THEN {cell} ELSE [] END"
            for i, cell in zip(packing.columns, cells, strict=True)
        )
        + "])"
    )
    picked = []
    for i in used:
        if i < len(others):
            picked.append(f"o{others[i]} AS c{i}")
        else:
            picked.append(f"{packing.values[i - len(others)][1].replace('{0}', 'entry')} AS c{i}")
    parents = "".join(f", c{i} AS o{i}" for i in dict.fromkeys(kept))
    rows = f"SELECT unnest(CASE WHEN len({entries}) > 0 THEN {entries} ELSE [NULL] END) AS entry{parents} FROM piece"
    query = f"SELECT 0::BIGINT AS row_number{''.join(', ' + p for p in picked)} FROM ({rows})"
    at = 2
    with scratch(source) as con:
        for batch in source.read(source, wanted):
            con.register("piece", pa.table(batch))
            for lines in con.sql(query).to_arrow_table().combine_chunks().to_batches():
                numbers = pa.array(range(at, at + len(lines)), pa.int64())
                at += len(lines)
                yield lines.set_column(0, "row_number", numbers)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
