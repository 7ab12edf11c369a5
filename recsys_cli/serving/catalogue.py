"""The items of a version as the engine needs them: by code, filtered, and as JSON; with changes heard of since."""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..artifacts.bundle import Bundle
from ..schema import ATTRIBUTES, OF_A_VARIANT, ONLY_HEARD, SHOWN, VARIANTS, Float32, Int32
from .attributes import Attributes
from .campaigns import InForce, in_force
from .filter_masks import Masks
from .filter_tree import parse
from .request import NO_FILTERS, Filters
from .rules import NO_RULES, Rules

_MASKS = 64  # filters whose result is kept
_WORDS = ("category", "brand", "region")
_OURS = ("arrived", ONLY_HEARD, VARIANTS)  # columns that say nothing of the item to others


_NUMBERS = itertools.count()
_FEW = 12_000  # allowed items up to which scoring them one by one is quicker than searching all


class Allowed:
    """The items that may be shown under some filters.

    Parameters
    ----------
    mask
        Shape (n_items,). Not to be written to.

    Attributes
    ----------
    number
        No two have the same. Who remembers what was found among them remembers this: the masks of all that ever was
        allowed would fill the memory.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        self.number = next(_NUMBERS)
        self.count = int(np.count_nonzero(mask))
        self.few = self.count <= min(_FEW, len(mask) // 2)
        self._rows: Float32 | None = None
        self._along: NDArray[np.bool_] | None = None

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """`mask` with a bit for each item, least significant first."""
        return np.packbits(self.mask, bitorder="little")

    @cached_property
    def codes(self) -> Int32:
        """The items, ascending."""
        return np.flatnonzero(self.mask).astype(np.int32)

    def along(self, ids: NDArray[np.integer]) -> NDArray[np.bool_]:
        """The mask in the order of `ids` (always the same array)."""
        if self._along is None:
            self._along = self.mask[ids]
        return self._along

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
    rules
        The shop's: what is sold out, banned or of too small a margin is not allowed.
    """

    def __init__(self, bundle: Bundle, rules: Rules = NO_RULES) -> None:
        self._rules = rules
        self.table = bundle.catalogue
        self.ids: list[str] = self.table["item_id"].to_pylist()
        self.code_of: dict[str, int] = dict(zip(self.ids, range(len(self.ids)), strict=True))
        self._variants = self._variants_of_products()
        self.named = self.ids if not self._variants else self._names()
        self._blob = memoryview(bundle.shelves["item_json"].data).cast("B")
        self._at = bundle.shelves["item_json_at"]
        self.available = self._flags("availability", True)
        self.retired = self._retired()
        self.only_heard = self._flags(ONLY_HEARD, False)
        self.price = self._numbers("price")
        self.margin = self._numbers("margin")
        self.attributes = Attributes(self.table)
        self.attributes.prepare(_WORDS)
        self.words = {name: column for name in _WORDS if (column := self.attributes.column(name)) is not None}
        self._changed: dict[int, dict[str, Any]] = {}
        self._json: dict[int, bytes] = {}
        self._of_variant: dict[str, dict[str, Any]] = {}  # heard of since
        self._new: dict[str, dict[str, Any]] = {}
        self.generation = 0
        self._masks: OrderedDict[Filters, Allowed] = OrderedDict()
        self._all: Allowed | None = None
        self._campaigns: InForce | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def _variants_of_products(self) -> dict[int, dict[str, bool]]:
        """The variants of each product that has any, and whether they can be bought; all are found by `code_of`."""
        if VARIANTS not in self.table.column_names:
            return {}
        lists = self.table[VARIANTS].combine_chunks()
        each = pc.list_flatten(lists)
        # Of the columns that are needed: as dictionaries, those with addresses and pictures would take the time.
        pairs = list(zip(each.field("item_id").to_pylist(), each.field("buyable").to_pylist(), strict=True))
        length = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        end = np.cumsum(length)
        with_any = np.flatnonzero(length)
        bounds = zip(with_any.tolist(), (end - length)[with_any].tolist(), end[with_any].tolist(), strict=True)
        found = {code: dict(pairs[start:stop]) for code, start, stop in bounds}
        self.code_of.update((item_id, code) for code, each in found.items() for item_id in each)
        return found

    def _names(self) -> list[str]:
        """What answers call each item: a product by its first variant that can be bought."""
        named = list(self.ids)
        for code, variants in self._variants.items():
            named[code] = _first_buyable(variants)
        return named

    def _flags(self, name: str, default: bool) -> NDArray[np.bool_]:
        if name not in self.table.column_names:
            return np.full(len(self), default, dtype=np.bool_)
        return np.array(self.table[name].cast(pa.bool_()).fill_null(default).to_numpy(), dtype=np.bool_)

    def _retired(self) -> NDArray[np.bool_]:
        if "retired_at" not in self.table.column_names:
            return np.zeros(len(self), dtype=np.bool_)
        return np.array(self.table["retired_at"].is_valid().to_numpy(), dtype=np.bool_)

    def _numbers(self, name: str) -> NDArray[np.float64]:
        if name not in self.table.column_names:
            return np.full(len(self), np.nan)
        column = self.table[name].cast(pa.float64()).fill_null(np.nan)
        return np.array(column.to_numpy(), dtype=np.float64)

    def all_names(self, code: int) -> list[str]:
        """Ids of the item and of its variants."""
        return [self.ids[code], *self._variants.get(code, ())]

    @property
    def has_variants(self) -> bool:
        """Whether any product has variants."""
        return bool(self._variants)

    def variant(self, code: int, number: int) -> str:
        """A product's variant by its number in `Histories.variant`."""
        return sorted(self._variants[code])[number]

    def number(self, code: int, item_id: str) -> int:
        """The number of a product's variant, -1 for what is none."""
        variants = self._variants.get(code, {})
        return sorted(variants).index(item_id) if item_id in variants else -1

    def buyable(self, code: int, number: int) -> bool:
        """Whether a product has a variant of that number that can be bought."""
        variants = self._variants.get(code, {})
        return 0 <= number < len(variants) and variants[sorted(variants)[number]]

    def codes(self, ids: tuple[str, ...]) -> list[int]:
        """Codes of those ids that are known."""
        return [self.code_of[i] for i in ids if i in self.code_of]

    # -- one item ---------------------------------------------------------------------------------------------------

    def json(self, code: int) -> bytes:
        """The item's members, `"item_id":"7",…`, without braces."""
        if self._json:
            changed = self._json.get(code)
            if changed is not None:
                return changed
        return bytes(self._blob[self._at[code] : self._at[code + 1]])

    def json_as(self, code: int, item_id: str) -> bytes:
        """As `json`, of a product by the variant that the answer names: with its price, picture and address."""
        if item_id == self.named[code]:
            return self.json(code)
        return orjson.dumps(self.describe(code) | {"item_id": item_id} | self._own(code, item_id))[1:-1]

    def _own(self, code: int, item_id: str) -> dict[str, Any]:
        """What a variant says itself of OF_A_VARIANT, and its title where the product has none but a variant's."""
        lists = self.table[VARIANTS][code].as_py() if code in self._variants else ()
        held: dict[str, Any] = next((v for v in lists if v["item_id"] == item_id), {})
        own = {name: held.get(name) for name in OF_A_VARIANT} | self._of_variant.get(item_id, {})
        said = {name: own[name] for name in OF_A_VARIANT if own[name] is not None}
        if held.get("title") and self.table["title"][code].as_py() in [v["title"] for v in lists]:
            said["title"] = own.get("title") or held["title"]
        return said

    def describe(self, code: int, item_id: str | None = None) -> dict[str, Any]:
        """What answers say of the item, by the variant that they name."""
        members = self.json(code) if item_id is None else self.json_as(code, item_id)
        item: dict[str, Any] = orjson.loads(b"{" + members + b"}")
        return item

    def title(self, code: int) -> str:
        """What people call the item."""
        row = self.describe(code)
        return str(row.get("title") or row["item_id"])

    def record(self, code: int) -> dict[str, Any]:
        """All columns of the item, with changes heard of since."""
        row: dict[str, Any] = self.table.slice(code, 1).to_pylist()[0]
        for name in _OURS:
            row.pop(name, None)
        return row | self._changed.get(code, {})

    def find(self, item_id: str) -> dict[str, Any] | None:
        """All columns of the item, also when it is newer than the version; None when it is not known."""
        code = self.code_of.get(item_id)
        if code is not None:
            return self.record(code)
        new = self._new.get(item_id)
        return None if new is None else {"item_id": item_id, **new}

    # -- filters ----------------------------------------------------------------------------------------------------

    def allowed(self, filters: Filters) -> Allowed:
        """The items that may be shown under these filters."""
        self.campaigns()
        if self._all is None:
            self._all = Allowed(self._allowed_by_rules())
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

    def allowed_by_default(self) -> Allowed:
        """What `allowed` gives without filters."""
        return self.allowed(NO_FILTERS)

    def campaigns(self) -> InForce:
        """What the shopkeeper wishes for now."""
        now = time.time()
        if self._campaigns is None or now >= self._campaigns.until:
            self._all = None
            self._masks.clear()
            self._campaigns = in_force(self._rules.campaigns, self.attributes, self.code_of, len(self), now)
        return self._campaigns

    def _allowed_by_rules(self) -> NDArray[np.bool_]:
        # What only events name may be anybody's invention: an advertisement for another shop, say.
        ok = ~(self.retired | self.only_heard)
        if self._rules.settings.in_stock_only:
            ok &= self.available
        if self._rules.settings.min_margin is not None:
            ok &= self.margin >= self._rules.settings.min_margin
        banned = self.campaigns().banned
        return ok if banned is None else ok & ~banned

    def _filter(self, filters: Filters) -> NDArray[np.bool_]:
        assert self._all is not None
        ok = self._all.mask.copy()
        for name, wanted in (("category", filters.category), ("brand", filters.brand)):
            if wanted:
                ok &= self.words[name].any_of(wanted)
        if filters.region:
            ok &= self.words["region"].any_of(filters.region) | (self.words["region"].code < 0)
        if filters.min_price is not None:
            ok &= self.price >= filters.min_price
        if filters.max_price is not None:
            ok &= self.price <= filters.max_price
        if filters.min_margin is not None:
            ok &= self.margin >= filters.min_margin
        if filters.include:
            ok &= self._marked(filters.include)
        if filters.exclude:
            ok &= ~self._marked(filters.exclude)
        if filters.filter:
            ok &= self.fitting(filters)
        return ok

    def fitting(self, filters: Filters) -> NDArray[np.bool_]:
        """Which items fit the written filters, whatever the rules and the other filters say.

        Raises
        ------
        FilterError
        """
        return self._written(filters, Masks(self.attributes, len(self)))

    def _written(self, filters: Filters, masks: Masks) -> NDArray[np.bool_]:
        user = dict(filters.user)
        fits: NDArray[np.bool_] = np.logical_and.reduce([masks.of(parse(text), user) for text in filters.filter])
        return fits

    def unknown(self, filters: Filters) -> dict[str, list[str]]:
        """Words of the filters that no item has, by filter: an empty list may be a matter of upper and lower case."""
        asked = {name: getattr(filters, name) for name in _WORDS}
        missing = {name: [w for w in words if w not in self.words[name].code_of] for name, words in asked.items()}
        known = {name: words for name, words in missing.items() if words}
        if filters.filter:
            masks = Masks(self.attributes, len(self))
            self._written(filters, masks)
            known |= masks.unknown
        return known

    def _marked(self, ids: tuple[str, ...]) -> NDArray[np.bool_]:
        marked = np.zeros(len(self), dtype=np.bool_)
        marked[self.codes(ids)] = True
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
        self.generation += 1
        if code is None:
            # New since the version: the next one has it.
            self._new[item_id] = self._new.get(item_id, {}) | dict(columns)
            if retired:
                del self._new[item_id]
            return
        if item_id in self._variants.get(code, ()):
            columns, retired = self._change_variant(code, item_id, columns, retired)
        if columns.get(ATTRIBUTES):  # those that are not named stay, as the worker has it
            named = {**_members(self.record(code).get(ATTRIBUTES)), **_members(columns[ATTRIBUTES])}
            kept = {name: value for name, value in named.items() if value is not None}
            columns = {**columns, ATTRIBUTES: orjson.dumps(kept).decode()}
        now = self._changed.setdefault(code, {}) | dict(columns)
        if retired is not None:
            now["retired_at"] = 1 if retired else None
        self._changed[code] = now
        record = self.record(code)
        for name, numbers in (("price", self.price), ("margin", self.margin)):
            value = record.get(name)
            numbers[code] = np.nan if value is None else value
        self.available[code] = record.get("availability") is not False
        self.retired[code] = record.get("retired_at") is not None
        self.only_heard[code] = False  # the catalogue has it now
        self.attributes.change(code, record)
        members = {"item_id": self.named[code]} | {name: record.get(name) for name in SHOWN}
        if code in self._variants:
            members |= self._own(code, self.named[code]) | {"parent_id": self.ids[code]}
        self._json[code] = orjson.dumps(members)[1:-1]
        self._campaigns = None

    def _change_variant(
        self, code: int, item_id: str, columns: Mapping[str, Any], retired: bool | None
    ) -> tuple[dict[str, Any], bool | None]:
        """What a change of a variant changes of its product."""
        variants = self._variants[code]
        variants[item_id] = not retired and columns.get("availability", variants[item_id]) is not False
        told = {k: v for k, v in columns.items() if k not in ("availability", "parent_id")}
        self._of_variant[item_id] = self._of_variant.get(item_id, {}) | told
        mine = told if item_id == self.named[code] else {}
        self.named[code] = self.named[code] if variants[self.named[code]] else _first_buyable(variants)
        return mine | {"availability": any(variants.values())}, False if any(variants.values()) else None


def _members(text: str | None) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(text) if text else {}
    return found


def _first_buyable(variants: Mapping[str, bool]) -> str:
    return next((item_id for item_id, buyable in variants.items() if buyable), next(iter(variants)))
