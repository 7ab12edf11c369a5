"""The items of a version as the engine needs them: by code, filtered, and as JSON; with changes heard of since."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from ..artifacts.bundle import Bundle
from ..schema import Float32, Int32
from .items_json import SHOWN
from .request import NO_FILTERS, Filters

_MASKS = 64  # filters whose result is kept
_WORDS = ("category", "brand", "region")


_FEW = 12_000  # allowed items up to which scoring them one by one is quicker than searching all


class Allowed:
    """The items that may be shown under some filters.

    Parameters
    ----------
    mask
        Shape (n_items,). Not to be written to.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        self.count = int(np.count_nonzero(mask))
        self.few = self.count <= min(_FEW, len(mask) // 2)
        self._rows: Float32 | None = None

    @cached_property
    def codes(self) -> Int32:
        """The items, ascending."""
        return np.flatnonzero(self.mask).astype(np.int32)

    def rows_of(self, vectors: Float32) -> Float32:
        """The rows of `vectors` (always the same array) that belong to `codes`."""
        if self._rows is None:
            self._rows = vectors[self.codes]
        return self._rows


class Catalogue:
    """Items by code.

    One thread changes it (`change`) and reads it.

    Parameters
    ----------
    bundle
        The version's content.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.table = bundle.catalogue
        self.ids: list[str] = self.table["item_id"].to_pylist()
        self.code_of: dict[str, int] = dict(zip(self.ids, range(len(self.ids)), strict=True))
        self._blob = memoryview(bundle.shelves["item_json"].data).cast("B")
        self._at = bundle.shelves["item_json_at"]
        self.shown = _shown(self.table)
        self.price = self._numbers("price")
        self.words = {name: _Words.of(self.table, name) for name in _WORDS}
        self._changed: dict[int, dict[str, Any]] = {}
        self._json: dict[int, bytes] = {}
        self._masks: OrderedDict[Filters, Allowed] = OrderedDict()
        self._all: Allowed | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def _numbers(self, name: str) -> NDArray[np.float64]:
        if name not in self.table.column_names:
            return np.full(len(self), np.nan)
        column = self.table[name].cast(pa.float64()).fill_null(np.nan)
        return np.array(column.to_numpy(), dtype=np.float64)

    # -- one item ---------------------------------------------------------------------------------------------------

    def json(self, code: int) -> bytes:
        """The item's members, `"item_id":"7",…`, without braces."""
        if self._json:
            changed = self._json.get(code)
            if changed is not None:
                return changed
        return bytes(self._blob[self._at[code] : self._at[code + 1]])

    def describe(self, code: int) -> dict[str, Any]:
        """What answers say of the item."""
        item: dict[str, Any] = orjson.loads(b"{" + self.json(code) + b"}")
        return item

    def record(self, code: int) -> dict[str, Any]:
        """All columns of the item, with changes heard of since."""
        row: dict[str, Any] = self.table.slice(code, 1).to_pylist()[0]
        return row | self._changed.get(code, {})

    # -- filters ----------------------------------------------------------------------------------------------------

    def allowed(self, filters: Filters) -> Allowed:
        """The items that may be shown under these filters."""
        if self._all is None:
            self._all = Allowed(self.shown.copy())
        if filters is NO_FILTERS or filters == NO_FILTERS:
            return self._all
        kept = self._masks.get(filters)
        if kept is None:
            kept = self._masks[filters] = Allowed(self._filter(filters))
            if len(self._masks) > _MASKS:
                self._masks.popitem(last=False)
        else:
            self._masks.move_to_end(filters)
        return kept

    def _filter(self, filters: Filters) -> NDArray[np.bool_]:
        ok = self.shown.copy()
        for name, wanted in (("category", filters.category), ("brand", filters.brand)):
            if wanted:
                ok &= self.words[name].any_of(wanted)
        if filters.region:
            ok &= self.words["region"].any_of(filters.region) | (self.words["region"].code < 0)
        if filters.min_price is not None:
            ok &= self.price >= filters.min_price
        if filters.max_price is not None:
            ok &= self.price <= filters.max_price
        if filters.include:
            ok &= self._marked(filters.include)
        if filters.exclude:
            ok &= ~self._marked(filters.exclude)
        return ok

    def _marked(self, ids: tuple[str, ...]) -> NDArray[np.bool_]:
        marked = np.zeros(len(self), dtype=np.bool_)
        marked[[self.code_of[i] for i in ids if i in self.code_of]] = True
        return marked

    # -- changes ----------------------------------------------------------------------------------------------------

    def change(self, item_id: str, columns: Mapping[str, Any], *, retired: bool | None = None) -> None:
        """Take a change of the catalogue heard of since the version was published.

        Parameters
        ----------
        columns
            New values of some ITEM_COLUMNS.
        retired
            True when the item was taken out of the catalogue; None leaves that as it is.
        """
        code = self.code_of.get(item_id)
        if code is None:
            return  # new since the version: the next one has it
        now = self._changed.setdefault(code, {}) | dict(columns)
        if retired is not None:
            now["retired_at"] = 1 if retired else None
        self._changed[code] = now
        record = self.record(code)
        price = record.get("price")
        self.price[code] = np.nan if price is None else price
        self.shown[code] = record.get("availability") is not False and record.get("retired_at") is None
        for name in _WORDS:
            self.words[name].set(code, record.get(name))
        members = {"item_id": item_id} | {name: record.get(name) for name in SHOWN}
        self._json[code] = orjson.dumps(members)[1:-1]
        self._masks.clear()
        self._all = None


class _Words:
    """A column of words as codes, so that a filter is one comparison."""

    def __init__(self, code: Int32, code_of: dict[str, int]) -> None:
        self.code = code
        self.code_of = code_of

    @staticmethod
    def of(table: pa.Table, name: str) -> _Words:
        if name not in table.column_names:
            return _Words(np.full(table.num_rows, -1, dtype=np.int32), {})
        encoded = table[name].cast(pa.string()).combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        words = encoded.dictionary.to_pylist()
        code = np.array(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int32)
        return _Words(code, dict(zip(words, range(len(words)), strict=True)))

    def any_of(self, words: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which items have one of these words."""
        codes = [self.code_of.get(word, -2) for word in words]
        return self.code == codes[0] if len(codes) == 1 else np.isin(self.code, codes)

    def set(self, item: int, word: str | None) -> None:
        """Give one item another word."""
        self.code[item] = -1 if word is None else self.code_of.setdefault(word, len(self.code_of))


def _shown(table: pa.Table) -> NDArray[np.bool_]:
    """Neither sold out nor retired."""
    shown = np.ones(table.num_rows, dtype=np.bool_)
    if "availability" in table.column_names:
        shown &= table["availability"].cast(pa.bool_()).fill_null(True).to_numpy()
    if "retired_at" in table.column_names:
        shown &= table["retired_at"].is_null().to_numpy()
    return shown
