"""Features from attributes of the shop's own, by naming them in recsys.toml: material, roast, size, pages.

The catalogue keeps what it does not know in one JSON object. An attribute that is named becomes a column of its own in
the catalogue that models and versions are made of, and from there features, which tell what they are by their names:

    attribute:NAME          of numbers: the number
    attribute_sold:NAME     of words: purchases of items with the same word in the last 28 days, log(1 + n)
    attribute_share:NAME    of words: share of the customer's purchases that have the same word

Attributes of customers are features of pairs, see `customer_groups`.

A word itself is no feature: its number would be another one after the next change of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from ..schema import ATTRIBUTES, Float32, Int32
from .feature import TTL

_COLUMN: Final = "attribute:"  # how columns of the catalogue, and features of numbers, begin
_SOLD: Final = "attribute_sold:"
_SHARE: Final = "attribute_share:"
LIFT: Final = "group_lift:"
CATEGORY_LIFT: Final = "group_category:"
_NUMBERS = 0.9  # of the values, from which on an attribute is one of numbers
_MOST_WORDS = 1000  # of an attribute; with more it is a name, or a description


def with_attributes(catalogue: pa.Table, names: Sequence[str]) -> pa.Table:
    """The catalogue with a column of text for each of these attributes, empty where no item has it."""
    wanted = [name for name in dict.fromkeys(names) if f"{_COLUMN}{name}" not in catalogue.column_names]
    if not wanted or ATTRIBUTES not in catalogue.column_names:
        return catalogue
    texts = catalogue[ATTRIBUTES].combine_chunks().dictionary_encode()
    known = [orjson.loads(text) if text else {} for text in texts.dictionary.to_pylist()]
    for name in wanted:
        words = pa.array([_text(one.get(name)) for one in known], pa.string())
        catalogue = catalogue.append_column(f"{_COLUMN}{name}", words.take(texts.indices))
    return catalogue


def own_column(catalogue: pa.Table, name: str) -> pa.ChunkedArray:
    """The column of an attribute; empty where the catalogue has none."""
    column = f"{_COLUMN}{name}"
    return catalogue[column] if column in catalogue.column_names else pa.chunked_array([pa.nulls(len(catalogue))])


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return str(value).strip().lower() if isinstance(value, (str, int, float, bool)) else orjson.dumps(value).decode()


@dataclass(frozen=True)
class OwnAttributes:
    """The named attributes of all items.

    Parameters
    ----------
    numbers
        By name: float32, shape (n_items,), NaN where not known.
    words
        By name: int32, shape (n_items,), -1 where not known.
    """

    numbers: dict[str, Float32]
    words: dict[str, Int32]

    @staticmethod
    def of(catalogue: pa.Table) -> OwnAttributes:
        """From the columns that `with_attributes` made; those that say nothing are left out."""
        numbers: dict[str, Float32] = {}
        words: dict[str, Int32] = {}
        for column in catalogue.column_names:
            if not column.startswith(_COLUMN):
                continue
            name, encoded = column.removeprefix(_COLUMN), catalogue[column].combine_chunks().dictionary_encode()
            code = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int32)
            value = np.array([*map(_number, encoded.dictionary.to_pylist()), np.nan], dtype=np.float32)[code]
            known = np.count_nonzero(code >= 0)
            if known and np.count_nonzero(np.isfinite(value)) >= _NUMBERS * known:
                numbers[name] = value
            elif known and len(encoded.dictionary) <= _MOST_WORDS:
                words[name] = code
        return OwnAttributes(numbers, words)

    def item_names(self) -> tuple[str, ...]:
        """Features of items."""
        return (*(f"{_COLUMN}{name}" for name in self.numbers), *(f"{_SOLD}{name}" for name in self.words))


def pair_features_of(words: Iterable[str]) -> tuple[str, ...]:
    """Features of a customer and an item, of attributes that are words."""
    return tuple(f"{_SHARE}{name}" for name in words)


def group_features_of(attributes: Iterable[str]) -> tuple[str, ...]:
    """Features of a customer and an item, of attributes of customers."""
    return tuple(f"{kind}{name}" for name in attributes for kind in (LIFT, CATEGORY_LIFT))


def _number(word: str) -> float:
    try:
        return float(word.replace(",", "."))
    except ValueError:
        return np.nan


def is_own(name: str) -> bool:
    """Whether a feature is of an attribute of the shop's own."""
    return name.startswith((_COLUMN, _SOLD, _SHARE, LIFT, CATEGORY_LIFT))


def attribute_of_pairs(name: str) -> str:
    """The attribute whose share of the customer's purchases a feature is; empty for other features."""
    return name.removeprefix(_SHARE) if name.startswith(_SHARE) else ""


def ages(name: str) -> bool:
    """Whether an item's value is one of the moment."""
    return name.startswith(_SOLD)


def described(name: str) -> dict[str, Any]:
    """What such a feature is, as `Feature.as_dict`."""
    kind, _, attribute = name.partition(":")
    group, what, window, as_of, told = {
        _COLUMN: ("item", "number", "now", "catalogue", f"The attribute {attribute}."),
        _SOLD: ("item", "count", "28 days", "moment", f"Purchases of the same {attribute} in the last 28 days, log."),
        _SHARE: ("pair", "share", "ever", "moment", f"Share of the customer's purchases with the same {attribute}."),
        LIFT: (
            "pair",
            "number",
            "90 days",
            "moment",
            f"How much more customers with the same {attribute} buy it, log.",
        ),
        CATEGORY_LIFT: (
            "pair",
            "number",
            "90 days",
            "moment",
            f"How much customers with the same {attribute} buy its category, log.",
        ),
    }[f"{kind}:"]
    shown = {"name": name, "group": group, "kind": what, "window": window, "as_of": as_of, "help": told}
    return shown | {"ttl_seconds": TTL[group]}


def features_of(attributes: Iterable[str], of_customers: Iterable[str] = ()) -> list[str]:
    """All features that attributes of items and of customers may become."""
    of_items = [f"{prefix}{name}" for name in attributes for prefix in (_COLUMN, _SOLD, _SHARE)]
    return [*of_items, *group_features_of(of_customers)]
