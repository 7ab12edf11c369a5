"""Catalogues that say what a product is called on its first row alone, and have its sizes and colours below."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .columns import ITEMS, plain
from .readers import Source

if TYPE_CHECKING:
    from .understanding import Understanding

_OF_PRODUCTS = ("title", "category", "brand", "description", "tags", "url", "img_url")
_NUMBERS = re.compile(r"(^|_)(id|handle|slug|group|parent|number|no|nr|code)(_|$)")
_OTHERS = re.compile(r"(^|_)(ean|gtin|upc|isbn|barcode|mpn|suppl|vendor|manufact|liefer|herstell|fourni)")
_EMPTY_TOGETHER = 2  # columns beside the title; a product that somebody forgot to name has all others


def with_products(source: Source, understood: Understanding) -> Understanding:
    """The same; variants are called as the product above them, which is their parent."""
    columns = understood.columns
    if understood.kind != ITEMS or source.levels or "parent_id" in columns or not {"item_id", "title"} <= set(columns):
        return understood
    sample = source.sample()
    cells = [[str(v).strip() if v is not None else "" for v in sample.column(f"c{i}").to_pylist()]
             for i in range(len(source.columns))]  # fmt: skip
    titles, ids = cells[columns["title"][0]], cells[columns["item_id"][0]]
    variants = [bool(number) and not title for number, title in zip(ids, titles, strict=True)]
    if not any(variants) or not titles[0]:
        return understood
    called = [bool(_NUMBERS.search(n)) and not _OTHERS.search(n) for n in map(plain, source.columns)]
    taken = {i for name in columns if name not in ("handle", "url") for i in columns[name]}
    free = {i: cells[i] for i in range(len(cells)) if i not in taken}
    key = _of_product(free, called, titles, variants)
    if key is None:
        return understood
    down = tuple(name for name in _OF_PRODUCTS if name in columns)
    note = (
        f"{', '.join(source.columns[columns[name][0]] for name in down)}: read from the first row of each product, and "
        f"true of the rows below that {source.columns[key]!r} puts with it."
    )
    return replace(
        understood,
        columns={**columns, "parent_id": (key,)},
        unused=tuple(i for i in understood.unused if i != key),
        fill_down=("parent_id", *down),
        group="parent_id",
        notes=(*understood.notes, note),
    )


def _of_product(
    cells: Mapping[int, Sequence[str]], called: Sequence[bool], titles: Sequence[str], variants: Sequence[bool]
) -> int | None:
    """The column that tells products apart: variants have it from the row of their product, or leave it empty as they
    do with much else."""
    empty = []
    for at, column in cells.items():
        first = [value for value, title in zip(column, titles, strict=True) if title]
        if not all(first):
            continue
        if not any(value for value, variant in zip(column, variants, strict=True) if variant):
            empty.append((called[at] and len(set(first)) == len(first), at))
        elif called[at] and len(set(first)) == len(first) and _repeated(column, titles, variants):
            return at
    telling = [at for distinct, at in empty if distinct]
    return telling[0] if telling and len(empty) >= _EMPTY_TOGETHER else None


def _repeated(column: Sequence[str], titles: Sequence[str], variants: Sequence[bool]) -> bool:
    """Whether each variant has the value of the product above it."""
    above = ""
    for value, title, variant in zip(column, titles, variants, strict=True):
        above = value if title else above
        if variant and value != above:
            return False
    return True
