"""What is known of every item at a moment: one column a feature, and what pairs are computed from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import CorruptArtifact
from ..schema import DAY, PURCHASE, Dataset, Float32, Int32, parts
from .customer_groups import Lift, documented, lifts
from .feature import TTL, of_group
from .own_attributes import OwnAttributes, group_features_of, is_own, pair_features_of
from .title_words import TitleWords

ITEM_TABLE = "features"  # folder of a version
OWN_GROUP = "own:"
NEVER = np.float32(np.nan)
_ARRAYS = ("values", "price", "category", "brand", "word", "weight")


class ItemView:
    """The events of a data set that ends at a moment, as item features see them.

    Parameters
    ----------
    data
        Everything known at the moment and nothing later: `Dataset.before`.
    """

    def __init__(self, data: Dataset) -> None:
        seen = data.interactions
        self.catalogue = data.catalogue
        self.n_items = seen.n_items
        self.now = seen.end
        h = seen.histories
        bought = h.is_kind(PURCHASE)
        self.has_purchases = bool(bought.any())
        if not self.has_purchases:  # a shop that only knows views: what is seen stands for what is bought
            bought = h.kind_weight[h.kind] > 0 if h.n_events else bought
        some: Any = slice(None) if bought.all() else bought  # a large shop has no room for everything once more
        self.item, self.ts, self.user, self.qty = h.item[some], h.ts[some], h.row_of_event[some], h.qty[some]
        self.age = np.maximum(self.now - self.ts, 0) / DAY
        self._histories = h
        self._cached: dict[tuple[Any, ...], Any] = {}

    def sold(self, newest: float, oldest: float) -> NDArray[np.float64]:
        """Purchases of each item from `oldest` to `newest` days before the moment; shape (n_items,)."""
        key = ("sold", newest, oldest)
        if key not in self._cached:
            inside = (self.age >= newest) & (self.age < oldest)
            self._cached[key] = np.bincount(self.item[inside], minlength=self.n_items).astype(np.float64)
        return np.asarray(self._cached[key])

    @property
    def days(self) -> float:
        """Days from the first purchase to the moment."""
        return float(self.age.max()) if len(self.age) else 0.0

    @cached_property
    def by_customer(self) -> tuple[Int32, Int32, Int32]:
        """Item, number of different days, and days from the first to the last, of each (customer, item) that met."""
        found = [self._met(part) for part in parts(self.user)] or [(np.zeros(0, np.int32),) * 3]
        item, count, span = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return item, count, span

    def _met(self, part: slice) -> tuple[Int32, Int32, Int32]:
        # A history is oldest first already: one stable sort keeps the days in order, three keys take ten times as long.
        order = np.argsort(self.user[part] * np.int64(self.n_items) + self.item[part], kind="stable")
        item, user, day = self.item[part][order], self.user[part][order], (self.ts[part] // DAY).astype(np.int32)[order]
        same = np.zeros(len(item), np.bool_)
        same[1:] = (item[1:] == item[:-1]) & (user[1:] == user[:-1])
        first = np.flatnonzero(~same)
        later_day = same.copy()
        later_day[1:] &= day[1:] != day[:-1]
        count = 1 + np.add.reduceat(later_day.astype(np.int32), first)
        last = np.concatenate([first[1:], [len(item)]]) - 1
        return item[first], count, day[last] - day[first]

    def counted(self, *kinds: str, days: float) -> NDArray[np.float64]:
        """Events of these types of each item in the last days."""
        h = self._histories
        hit = h.is_kind(*kinds) & (self.now - h.ts < days * DAY)
        return np.bincount(h.item[hit], minlength=self.n_items).astype(np.float64)

    def has(self, *kinds: str) -> bool:
        """Whether there is any event of these types."""
        return bool(self._histories.is_kind(*kinds).any())

    @cached_property
    def first_and_last(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Days since the first and since the last purchase; NaN where there is none."""
        oldest = np.full(self.n_items, -np.inf)
        newest = np.full(self.n_items, np.inf)
        np.maximum.at(oldest, self.item, self.age)
        np.minimum.at(newest, self.item, self.age)
        return np.where(np.isinf(oldest), np.nan, oldest), np.where(np.isinf(newest), np.nan, newest)

    @cached_property
    def price(self) -> NDArray[np.float64]:
        """The catalogue's price; NaN where there is none above zero."""
        price = self.numbers("price")
        return np.where(price > 0, price, np.nan)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of numbers of the catalogue; NaN where not known."""
        if name not in self.catalogue.column_names:
            return np.full(self.n_items, np.nan)
        column = self.catalogue[name].cast(pa.float64()).fill_null(np.nan)
        return np.array(column.to_numpy(), dtype=np.float64)

    @cached_property
    def category(self) -> Int32:
        """Category of each item as a number, -1 for none."""
        return _words(self.catalogue, "category")

    @cached_property
    def brand(self) -> Int32:
        """Brand of each item as a number, -1 for none."""
        return _words(self.catalogue, "brand")

    @cached_property
    def titles(self) -> TitleWords:
        """Words of the titles."""
        return TitleWords.of(self.catalogue)

    def group_sum(self, group: Int32, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """For every item the sum of `values` over its group; NaN for items without one."""
        known = group >= 0
        total = np.bincount(group[known], weights=values[known], minlength=int(group.max(initial=-1)) + 1)
        out = np.full(self.n_items, np.nan)
        out[known] = total[group[known]]
        return out

    def smoothed(self, hits: NDArray[np.float64], tries: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
        """hits / tries of each item, drawn to its category's rate, and that to the shop's.

        The posterior mean of a Beta prior worth `strength` tries; an item nobody tried has its category's rate.
        """
        whole = hits.sum() / tries.sum() if tries.sum() > 0 else 0.0
        of_group = self.group_sum(self.category, hits), self.group_sum(self.category, tries)
        prior = np.where(np.isnan(of_group[0]), whole, (of_group[0] + strength * whole) / (of_group[1] + strength))
        return np.asarray((hits + strength * prior) / (tries + strength), dtype=np.float64)


def _words(catalogue: pa.Table, name: str) -> Int32:
    if name not in catalogue.column_names:
        return np.full(catalogue.num_rows, -1, dtype=np.int32)
    encoded = catalogue[name].cast(pa.string()).combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int32)


@dataclass
class ItemTable:
    """Values of all items at one moment; what a version holds of them.

    Parameters
    ----------
    names
        Names of the features, in the order of the columns of `values`.
    values
        float32, shape (n_items, len(names)), NaN where not known.
    price
        float32, shape (n_items,): natural logarithm of the price, NaN where there is none.
    category, brand
        int32, shape (n_items,), -1 for none.
    titles
        See `TitleWords`.
    now
        Epoch seconds of the moment.
    purchases
        Whether purchases are what histories are read for; else every event with a positive weight is.
    groups
        Attributes of the shop's own that are words: name to int32 of shape (n_items,), -1 for none.
    lifts
        Attributes of customers that are named: what customers with each value buy more than others.
    """

    names: tuple[str, ...]
    values: Float32
    price: Float32
    category: Int32
    brand: Int32
    titles: TitleWords
    now: int
    purchases: bool
    groups: Mapping[str, Int32] = field(default_factory=dict)
    lifts: Mapping[str, Lift] = field(default_factory=dict)
    _widths: dict[str, tuple[Int32, int]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, data: Dataset) -> ItemTable:
        """The values at the end of `data`."""
        view = ItemView(data)
        features, own = of_group("item"), OwnAttributes.of(data.catalogue)
        names = (*(feature.name for feature in features), *own.item_names())
        values = np.empty((view.n_items, len(names)), dtype=np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for column, feature in enumerate(features):
                values[:, column] = feature.compute(view)
            sold = [np.log1p(view.group_sum(code, view.sold(0, 28))) for code in own.words.values()]
            for column, column_of in enumerate((*own.numbers.values(), *sold), len(features)):
                values[:, column] = column_of
            price = np.log(view.price).astype(np.float32)
        table = cls(names, values, price, view.category, view.brand, view.titles, view.now, view.has_purchases)
        table.groups = own.words
        if data.profiles is not None and data.profiles.names:
            table.lifts = lifts(data.profiles, view.user, view.item, view.age, view.category)
        return table

    @property
    def own(self) -> tuple[str, ...]:
        """Features of attributes of the shop's own, of items, of pairs, and of what is told of customers."""
        return (*filter(is_own, self.names), *pair_features_of(self.groups), *group_features_of(self.lifts))

    def group(self, name: str) -> tuple[Int32, int]:
        """Of all items the `category`, the `brand` or an attribute (`own:NAME`) as codes, -1 for none; and how many."""
        if name not in self._widths:
            held = {"category": self.category, "brand": self.brand}.get(name)
            held = self.groups[name.removeprefix(OWN_GROUP)] if held is None else held
            self._widths[name] = held, int(held.max(initial=-1)) + 1
        return self._widths[name]

    @cached_property
    def column(self) -> Mapping[str, int]:
        """Column of each feature."""
        return {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.values)

    def save(self, path: Path) -> None:
        """Write the table into `path`, which is made."""
        path.mkdir(mode=0o700)
        held = {name: getattr(self, name) for name in _ARRAYS[:4]}
        held |= {"word": self.titles.word, "weight": self.titles.weight}
        held |= {f"own-{number}": code for number, code in enumerate(self.groups.values())}
        for number, lift in enumerate(self.lifts.values()):
            held |= {f"lift-{number}": lift.item, f"category-lift-{number}": lift.category}
        for name, array in held.items():
            np.save(path / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        meta: dict[str, Any] = {
            "names": list(self.names),
            "now": self.now,
            "purchases": self.purchases,
            "words": self.titles.size,
        }
        meta["groups"] = list(self.groups)
        meta["lifts"] = documented(self.lifts)
        (path / "table.json").write_text(json.dumps(meta), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> ItemTable:
        """The table that `save` wrote; pages are shared until an item changes.

        Raises
        ------
        CorruptArtifact
        """
        try:
            meta = json.loads((path / "table.json").read_bytes())
            held: dict[str, Any] = {name: _mapped(path / f"{name}.npy") for name in _ARRAYS}
            titles = TitleWords(held.pop("word"), held.pop("weight"), int(meta["words"]))
            own = enumerate(map(str, meta.get("groups", ())))
            held["groups"] = {name: _mapped(path / f"own-{number}.npy") for number, name in own}
            held["lifts"] = {
                str(name): Lift(
                    tuple(map(str, values)), *(_mapped(path / f"{of}lift-{number}.npy") for of in ("", "category-"))
                )
                for number, (name, values) in enumerate(meta.get("lifts", ()))
            }
            table = cls(
                tuple(meta["names"]), titles=titles, now=int(meta["now"]), purchases=bool(meta["purchases"]), **held
            )
            if table.values.shape != (len(table.price), len(table.names)):
                raise ValueError("shapes do not match")
        except (OSError, EOFError, ValueError, KeyError, TypeError) as e:
            raise CorruptArtifact(f"{path} cannot be read.", "Run recsys train.") from e
        return table

    def change(self, code: int, price: float | None, available: bool) -> None:
        """Take a new price and stock, heard of since the version."""
        log = np.float32(np.log(price)) if price is not None and price > 0 else NEVER
        self.price[code] = log
        if "price" in self.column:
            self.values[code, self.column["price"]] = log
        if "available" in self.column and not np.isnan(self.values[code, self.column["available"]]):
            self.values[code, self.column["available"]] = available

    def fresh(self, now: int) -> bool:
        """Whether the values may still be used at `now` (epoch seconds)."""
        return now - self.now <= TTL["item"]


def _mapped(path: Path) -> NDArray[Any]:
    # Copy on write: a change of a price is this process's own, all the other pages stay shared.
    mode: Any = "c" if path.stat().st_size > 4096 else None
    return np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))
