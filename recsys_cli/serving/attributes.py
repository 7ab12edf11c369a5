"""The attributes of a version's items as arrays by name: columns of the catalogue and what its JSON object holds.

Each different value is looked at once and the result spread over the items by code, so that a test costs about as much
as one comparison of an array.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..schema import ATTRIBUTES, ITEM_COLUMNS, Int32

_AT_ONCE = 1024  # rows of JSON read without letting others have their turn
_BETWEEN = re.compile(r"[|,;]")  # stands between the members of a list that is written as a text
_JOINED = "\x1f"  # and between those of a JSON list
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")

Mask = NDArray[np.bool_]


class Column:
    """One attribute of all items: a number for each different value, and the values.

    Parameters
    ----------
    code
        int32, shape (n_items,): place among `words`, -1 where an item has no value. May be written to by `set`.
    words
        The different values as text.
    """

    def __init__(self, code: Int32, words: list[str]) -> None:
        self.code = code
        self.words = words
        self.code_of = {word: number for number, word in enumerate(words)}
        self._numbers: NDArray[np.float64] | None = None
        self._members: dict[str, list[int]] | None = None
        self._texts: pa.Array | None = None

    @staticmethod
    def of(values: Any) -> Column:
        """Of an Arrow column of text, or of any type that can be written as text."""
        text = values if pa.types.is_string(values.type) else values.cast(pa.string())
        encoded = (text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text).dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        code = np.array(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int32)
        return Column(code, encoded.dictionary.to_pylist())

    @staticmethod
    def empty(n: int) -> Column:
        """Without any value."""
        return Column(np.full(n, -1, dtype=np.int32), [])

    def set(self, item: int, word: str | None) -> None:
        """Give one item another value."""
        if word is not None and word not in self.code_of:
            self.code_of[word] = len(self.words)
            self.words.append(word)
            self._numbers = self._members = self._texts = None
        self.code[item] = -1 if word is None else self.code_of[word]

    @property
    def missing(self) -> Mask:
        """Items without a value."""
        return self.code < 0

    def any_of(self, words: Iterable[str]) -> Mask:
        """Items whose value is one of these."""
        codes = [self.code_of.get(word, -2) for word in words]
        return self.code == codes[0] if len(codes) == 1 else np.isin(self.code, codes)

    def having(self, member: str) -> Mask:
        """Items among whose values, `vegan, organic` or a JSON list, this one is."""
        if self._members is None:
            self._members = {}
            for number, word in enumerate(self.words):
                for one in members_of(word):
                    self._members.setdefault(one, []).append(number)
        return self._spread(np.array(self._members.get(member, ()), dtype=np.int64))

    def reading(self, part: str) -> Mask:
        """Items whose value has this in it, whatever its case."""
        if self._texts is None:
            self._texts = pa.array(self.words, pa.string())
        found = pc.match_substring(self._texts, part, ignore_case=True)
        return self._spread(np.flatnonzero(found.to_numpy(zero_copy_only=False)))

    def true(self, wanted: bool) -> Mask:
        """Items whose value says yes, or no."""
        said = _TRUE if wanted else _FALSE
        return self._spread(np.array([n for n, word in enumerate(self.words) if word.lower() in said], dtype=np.int64))

    @property
    def numbers(self) -> NDArray[np.float64]:
        """The value of each item as a number; NaN where it is not a number."""
        if self._numbers is None:
            self._numbers = np.array([*map(_number, self.words), np.nan], dtype=np.float64)
        return self._numbers[self.code]

    @property
    def has_numbers(self) -> bool:
        """Whether any value is a number, or there is no value at all."""
        return not self.words or bool(np.isfinite(self.numbers).any())

    def _spread(self, hits: NDArray[np.int64]) -> Mask:
        of_words = np.zeros(len(self.words) + 1, dtype=np.bool_)  # the last one is that of items without a value
        of_words[hits] = True
        return of_words[self.code]


class Attributes:
    """The attributes of a version's items, each made into a column when it is first asked for.

    Parameters
    ----------
    table
        The version's catalogue.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._columns: dict[str, Column] = {}
        self._named: set[str] | None = None  # members of the JSON objects
        self._changed: dict[int, dict[str, Any]] = {}

    @property
    def names(self) -> list[str]:
        """All there are."""
        if self._named is None:
            self._read(())
        assert self._named is not None
        return sorted({*ITEM_COLUMNS, *self._named})

    @property
    def used(self) -> list[str]:
        """Those that were asked for."""
        return list(self._columns)

    def column(self, name: str) -> Column | None:
        """The attribute of this name; None when there is none."""
        if name not in self._columns:
            self.prepare((name,))
        return self._columns.get(name)

    def prepare(self, names: Iterable[str]) -> None:
        """Make these columns, as far as there are such attributes, with one look at the items."""
        wanted = {name for name in names if name not in self._columns}
        ours = wanted & ITEM_COLUMNS.keys()
        for name in ours:
            values = self._table[name] if name in self._table.column_names else None
            if values is not None and name == "availability":
                values = values.cast(pa.bool_()).fill_null(True)  # as lists take it
            self._columns[name] = Column.empty(len(self._table)) if values is None else Column.of(values)
        if self._named is not None:
            wanted &= self._named
        if wanted - ours:
            self._read(wanted - ours)
        for name in wanted & self._columns.keys():
            for item, record in self._changed.items():
                self._columns[name].set(item, _value_of(record, name))

    def change(self, item: int, record: Mapping[str, Any]) -> None:
        """Take the columns that one item has from now on."""
        own = record.get(ATTRIBUTES)
        known = {**(orjson.loads(own) if own else {}), **{name: record.get(name) for name in ITEM_COLUMNS}}
        known["availability"] = known["availability"] is not False
        self._changed[item] = known
        if self._named is not None:
            self._named.update(name for name in known if name not in ITEM_COLUMNS)
        for name, column in self._columns.items():
            column.set(item, _value_of(known, name))

    def _read(self, wanted: Iterable[str]) -> None:
        names: set[str] = set()
        values: dict[str, list[Any]] = {name: [] for name in wanted}
        texts = self._table[ATTRIBUTES].cast(pa.string()) if ATTRIBUTES in self._table.column_names else None
        for start in range(0, len(self._table) if texts is not None else 0, _AT_ONCE):
            assert texts is not None
            rows = [orjson.loads(t) if t else {} for t in texts.slice(start, _AT_ONCE).to_pylist()]
            names.update(*rows)
            for name, column in values.items():
                column += [row.get(name) for row in rows]
        names.update(name for record in self._changed.values() for name in record)
        self._named = names - ITEM_COLUMNS.keys()
        for name in self._named & values.keys():
            made = Column.of(pa.array(map(as_text, values[name]), pa.string())) if values[name] else None
            self._columns[name] = made or Column.empty(len(self._table))


def _value_of(record: Mapping[str, Any], name: str) -> str | None:
    return as_text(record.get(name))


def as_text(value: Any) -> str | None:
    """A value as columns hold it: 5.0 as 5, true, the members of a list joined; None for nothing."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list):
        return _JOINED.join(text for one in value if (text := as_text(one)) is not None) or None
    return None if value is None else str(value)


def members_of(text: str) -> list[str]:
    """The members of a list that is one text; of another text, itself."""
    if _JOINED in text:
        return text.split(_JOINED)
    return [one for part in _BETWEEN.split(text) if (one := part.strip())]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
