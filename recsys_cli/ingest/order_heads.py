"""Reports that say once what is true of a whole order: on a row of its own, or on the first of its lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from .columns import EVENTS
from .readers import Source

if TYPE_CHECKING:
    from .understanding import Understanding

_OF_ORDERS = ("user_id", "ts", "status", "payment_status", "currency", "cancelled_at", "session_id")
_FEW = 0.05  # of the lines say it themselves


def with_heads(source: Source, understood: Understanding) -> Understanding:
    """The same; where customers stand on rows without products, what those say is filled down to the order's lines."""
    columns = understood.columns
    item, order = columns.get("item_id"), columns.get("order_id")
    if understood.kind != EVENTS or not item or not order or source.levels:
        return understood
    sample = source.sample()

    def filled(name: str) -> list[bool]:
        at = columns[name]
        values = [sample.column(f"c{i}").to_pylist() for i in at]
        return [any(v is not None and str(v).strip() for v in row) for row in zip(*values, strict=True)]

    lines, ordered = filled("item_id"), filled("order_id")
    heads = [not line and number for line, number in zip(lines, ordered, strict=True)]
    if not any(heads):
        orders, products = ([sample.column(f"c{i}").to_pylist() for i in at] for at in (order, item))
        return _first_lines(source, understood, filled, orders, products[0])
    if not any(lines):
        return understood
    down = []
    for name in _OF_ORDERS:
        if name in columns:
            said = filled(name)
            on_lines = sum(s for s, line in zip(said, lines, strict=True) if line)
            on_heads = sum(s for s, head in zip(said, heads, strict=True) if head)
            if on_heads and on_lines <= _FEW * sum(lines):
                down.append(name)
    if not down:
        return understood
    told = ", ".join(source.columns[columns[name][0]] for name in down)
    note = f"{told}: read from the row of the order, and true of all its lines."
    return replace(understood, fill_down=tuple(down), group="order_id", heads=True, notes=(*understood.notes, note))


_TOTAL = re.compile(
    r"\W*(sub|grand )?(total|totale|totaal|summe|gesamt|zwischensumme|somme|suma|somma)\b", re.IGNORECASE
)


def _first_lines_alone(
    understood: Understanding, filled: Callable[[str], list[bool]], products: list[object]
) -> tuple[str, ...]:
    """What only the first line of an order says, where the others lack its number, too: merged cells, Odoo's lists."""
    heads = tuple(name for name in ("order_id", *_OF_ORDERS) if name in understood.columns)
    known = [name for name in heads if name in ("order_id", "user_id", "ts")]
    rows = list(zip(*(filled(name) for name in known), strict=True))
    bare = [not any(row) and item for row, item in zip(rows, filled("item_id"), strict=True)]
    # A last row of that kind may be a total, as may be the last of each order; one above another order is a line.
    among = any(a and all(b) for a, b in zip(bare, rows[1:], strict=False))
    if len(known) < 3 or not rows or not all(rows[0]) or not among:
        return ()
    if any(b and _TOTAL.match(str(product)) for b, product in zip(bare, products, strict=True)):
        return ()
    return heads if all(b or any(row[1:]) for b, row in zip(bare, rows, strict=True)) else ()


def _first_lines(
    source: Source,
    understood: Understanding,
    filled: Callable[[str], list[bool]],
    orders: list[list[object]],
    products: list[object],
) -> Understanding:
    """Where what an order's first line says is empty on all its others."""
    if alone := _first_lines_alone(understood, filled, products):
        told = ", ".join(source.columns[understood.columns[name][0]] for name in alone)
        note = f"{told}: read from the first line of each order, and true of the lines below that leave them empty."
        return replace(understood, fill_down=alone, group="order_id", notes=(*understood.notes, note))
    numbers = list(zip(*orders, strict=True))
    later = [a == b and any(a) for a, b in pairwise(numbers)]
    down = []
    for name in _OF_ORDERS:
        if name in understood.columns and any(later):
            said = filled(name)
            on_later = any(s and again for s, again in zip(said[1:], later, strict=True))
            if not on_later and sum(said) * 2 >= len(said) - sum(later):
                down.append(name)
    if not {"user_id", "ts"} & {*down}:
        return understood
    told = ", ".join(source.columns[understood.columns[name][0]] for name in down)
    note = f"{told}: read from the first line of each order, and true of all its lines."
    return replace(understood, fill_down=tuple(down), group="order_id", notes=(*understood.notes, note))
