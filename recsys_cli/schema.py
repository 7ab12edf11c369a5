"""The nouns everything else speaks of, and every column name, once.

Events and items live in DuckDB and Arrow under these names. In memory a customer is a *history*: a stretch of
parallel arrays (item, time, type, quantity), oldest first. `Histories` holds many of them in compressed rows;
`Interactions` adds who they belong to. Models never see anything else of a person.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .event_types import (
    CART as CART,
)
from .event_types import (
    CLICK as CLICK,
)
from .event_types import (
    DISLIKE as DISLIKE,
)
from .event_types import (
    EVENT_TYPES as EVENT_TYPES,
)
from .event_types import (
    IMPRESSION as IMPRESSION,
)
from .event_types import (
    LIKE as LIKE,
)
from .event_types import (
    PURCHASE as PURCHASE,
)
from .event_types import (
    REFUND as REFUND,
)
from .event_types import (
    VIEW as VIEW,
)

if TYPE_CHECKING:
    import pyarrow as pa  # loaded where it is used: `recsys serve` itself only watches over processes that do

DAY = 86_400

# Column name -> DuckDB type, in the order of the tables. `ts` is epoch seconds, UTC; `qty` is never negative (a
# negative quantity in a file is a refund); `price` is per unit, in the shop's currency; `duration_ms` is how long a
# view took. `parent_id` names the product that an item is a variant of: an id of the shop's, not always of an item.
EVENT_COLUMNS: Mapping[str, str] = {
    "user_id": "VARCHAR",
    "item_id": "VARCHAR",
    "ts": "BIGINT",
    "qty": "INTEGER",
    "event_type": "VARCHAR",
    "order_id": "VARCHAR",
    "session_id": "VARCHAR",
    "event_id": "VARCHAR",
    "price": "DOUBLE",
    "currency": "VARCHAR",
    "position": "INTEGER",
    "request_id": "VARCHAR",
    "duration_ms": "INTEGER",
}
ITEM_COLUMNS: Mapping[str, str] = {
    "item_id": "VARCHAR",
    "category": "VARCHAR",
    "brand": "VARCHAR",
    "price": "DOUBLE",
    "img_url": "VARCHAR",
    "title": "VARCHAR",
    "description": "VARCHAR",
    "tags": "VARCHAR",
    "url": "VARCHAR",
    "availability": "BOOLEAN",
    "created_at": "BIGINT",
    "region": "VARCHAR",
    "margin": "DOUBLE",
    "parent_id": "VARCHAR",
}
USER_COLUMNS: Mapping[str, str] = {"user_id": "VARCHAR", "consent": "VARCHAR"}
# One answered list: which, in what order, from where. It names nobody; who saw it stands in the events it led to.
SERVED_COLUMNS: Mapping[str, str] = {
    "request_id": "VARCHAR",
    "ts": "BIGINT",
    "route": "VARCHAR",
    "placement": "VARCHAR",
    "version": "VARCHAR",
    "experiment": "VARCHAR",
    "arm": "VARCHAR",
    "items": "VARCHAR[]",
    "sources": "VARCHAR[]",
    "teams": "VARCHAR",  # of an interleaved list: a letter for each position
    "fallbacks": "INTEGER",  # items that are there because nothing better was known
    "seconds": "DOUBLE",  # it took to find them
    "share": "DOUBLE",  # of answers that were logged then
    "swap": "INTEGER",  # the place drawn to be exchanged with the first; negative: drawn, and left where it was
}
GUEST = "\x1f"  # ids with control characters are refused, so no customer's id begins with it


def guest_id(session_id: str) -> str:
    """Whose history a guest's session is: stands where a customer's id would."""
    return GUEST + session_id


ATTRIBUTES = "attributes"  # JSON object of the columns of items and users that we have no name for
# What an answer says of an item besides its id, in this order.
SHOWN = ("title", "category", "brand", "price", "img_url", "url")
ADDRESSES = ("url", "img_url")
# What a browser would run or show in a page's name instead of going there; it passes over line ends, and over blanks
# and control characters before it.
SCRIPT_ADDRESS = r"(?i)^[\x00-\x20\s]*((j\s*a\s*v\s*a|v\s*b)\s*s\s*c\s*r\s*i\s*p\s*t|d\s*a\s*t\s*a)\s*:"
VARIANTS = "variants"  # column of a version's catalogue, where any item has a parent; see `Dataset`
OF_A_VARIANT = ("price", "img_url", "url")  # said by the variant before the product, the rest the other way round
FEW = -1.0  # stands for a count of customers that is too small to be told, see `settings.PrivacySettings`
ONLY_HEARD = "only_heard"  # column of a version's catalogue, see `Dataset`

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class IdMap:
    """Ids in the order of their codes: the id of code 3 is `ids[3]`.

    Parameters
    ----------
    ids
        Unique strings without nulls.
    """

    ids: pa.StringArray

    def __len__(self) -> int:
        return len(self.ids)

    def codes(self, ids: Sequence[str] | pa.Array) -> Int32:
        """Codes of `ids`, -1 for those not in the map; shape (len(ids),)."""
        import pyarrow as pa
        import pyarrow.compute as pc

        values = ids.cast(pa.string()) if isinstance(ids, pa.Array) else _as_strings(ids)
        found = pc.fill_null(pc.index_in(values, value_set=self.ids), -1)
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int32)

    def take(self, codes: NDArray[np.integer]) -> pa.StringArray:
        """Ids of `codes`, which must all be known."""
        import pyarrow as pa

        return self.ids.take(pa.array(codes))


def parts(row: Int32, events: int = 8_000_000) -> Iterator[slice]:
    """Stretches of whole rows with about so many events each; `row` is that of each event, in order.

    To sort 100 million events at once takes seven gigabytes, and half of one in parts.
    """
    begins = np.unique(np.searchsorted(row, row[::events])).tolist()
    return itertools.starmap(slice, itertools.pairwise([*begins, len(row)]))


@dataclass(frozen=True)
class Histories:
    """Many histories, row after row, each oldest first.

    Parameters
    ----------
    indptr
        int64, shape (rows + 1,): row r is the slice indptr[r]:indptr[r+1] of the arrays below.
    item
        int32 item codes.
    ts
        int64 epoch seconds, UTC.
    kind
        uint8, index into `kinds`.
    qty
        float32, at least 0.
    kinds
        Names of the event types. `view` may stand there several times, with the weights of longer and shorter ones;
        see `view_durations`.
    kind_weight
        float32, shape (len(kinds),): what one event of each type weighs (setting `events.weights`).
    variant
        int32, the place of each event's item among the variants of its product sorted by id, -1 where it is none; None
        in shops without variants, and where it does not matter. Models never see it.
    """

    indptr: Int64
    item: Int32
    ts: Int64
    kind: NDArray[np.uint8]
    qty: Float32
    kinds: tuple[str, ...]
    kind_weight: Float32
    variant: Int32 | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def n_events(self) -> int:
        """Events in all rows together."""
        return int(self.indptr[-1] - self.indptr[0])

    @cached_property
    def row_of_event(self) -> Int32:
        """int32, shape (n_events,): the row each event belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.indptr))

    @cached_property
    def notes(self) -> dict[str, Any]:
        """What was worked out of a single history and will be asked for again; it stays as long as this does."""
        return {}

    def rows(self, rows: NDArray[np.integer]) -> Histories:
        """The histories of these rows, in this order (a copy)."""
        take, indptr = _row_slices(self.indptr, rows)
        return self._taking(take, indptr)

    def where(self, keep: NDArray[np.bool_]) -> Histories:
        """The same rows with only the events that `keep` marks; shape of `keep` (n_events,)."""
        return self._taking(keep, _kept_indptr(self.indptr, keep))

    def _taking(self, take: NDArray[Any], indptr: Int64) -> Histories:
        variant = None if self.variant is None else self.variant[take]
        events = self.item[take], self.ts[take], self.kind[take], self.qty[take]
        return Histories(indptr, *events, self.kinds, self.kind_weight, variant)

    def is_kind(self, *names: str) -> NDArray[np.bool_]:
        """Which events are of one of these types; shape (n_events,)."""
        wanted = np.array([k in names for k in self.kinds], dtype=np.bool_)
        return wanted[self.kind] if len(wanted) else np.zeros(len(self.kind), dtype=np.bool_)

    @staticmethod
    def of(
        items: Sequence[Sequence[int]],
        *,
        ts: int = 0,
        kinds: tuple[str, ...] = (PURCHASE,),
        kind_weight: Float32 | None = None,
    ) -> Histories:
        """Histories from lists of item codes, each bought once at `ts`: for baskets, and for small hands-on use."""
        lengths = np.fromiter((len(h) for h in items), dtype=np.int64, count=len(items))
        flat = np.fromiter((i for h in items for i in h), dtype=np.int32, count=int(lengths.sum()))
        weight = np.ones(len(kinds), dtype=np.float32) if kind_weight is None else kind_weight
        return Histories(
            np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
            flat,
            np.full(len(flat), ts, dtype=np.int64),
            np.zeros(len(flat), dtype=np.uint8),
            np.ones(len(flat), dtype=np.float32),
            kinds,
            weight,
        )


@dataclass(frozen=True)
class Interactions:
    """Everything that happened between customers and items, as the store knew it at one moment.

    Parameters
    ----------
    histories
        One row per customer, in the order of `users`.
    users, items
        Who and what the codes stand for. `items` holds the whole catalogue, sold or not.
    basket
        int32, shape (n_events,): events with the same number were in one order (or, lacking that, one session);
        -1 where neither is known. Parallel to the histories' events.
    end
        Epoch seconds that ages are counted from; see `clock`.
    """

    histories: Histories
    users: IdMap
    items: IdMap
    basket: Int32
    end: int

    @property
    def n_users(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        return len(self.items)

    def where(self, keep: NDArray[np.bool_]) -> Interactions:
        """Only the events that `keep` marks; users and items keep their codes."""
        kept = self.histories.where(keep)
        end = clock(kept.ts) if len(kept.ts) else self.end
        return replace(self, histories=kept, basket=self.basket[keep], end=end)

    def before(self, ts: int) -> Interactions:
        """What was known just before `ts` (epoch seconds)."""
        return self.where(self.histories.ts < ts)


@dataclass(frozen=True)
class Dataset:
    """What a model is fitted on.

    Parameters
    ----------
    interactions
        See `Interactions`.
    catalogue
        Arrow table, row i is item code i: the columns of ITEM_COLUMNS, `attributes` (JSON), `first_seen` (epoch
        seconds of the first event, null when none), `arrived` (epoch seconds at which it came into the shop's
        catalogue, null when that was loaded with many others), `only_heard` (nothing but events sent to the server
        name it, though the shop has a catalogue: such items are learned from, and not shown). Unknown values are null.
        Where items have parents, a row is a product, available when any variant is; `variants` lists the ids of its
        variants, whether they can be bought, their titles and what each says of OF_A_VARIANT; first the one answers
        name, but for customers who know another (see `store.products`).
    profiles
        What is known of the customers, of the attributes that features are made of; parallel to them.
    """

    interactions: Interactions
    catalogue: pa.Table
    profiles: Profiles | None = None

    def before(self, ts: int) -> Dataset:
        """The same catalogue with only the events before `ts`."""
        return replace(self, interactions=self.interactions.before(ts))


@dataclass(frozen=True)
class Profiles:
    """What many customers share: attributes of their profiles, by code.

    Parameters
    ----------
    names
        Of the attributes.
    values
        Parallel: the values of each that are common enough, the most common first, as `word` has them.
    codes
        int16, shape (customers, attributes): the place of each customer's value, -1 where it is none of these.
    least
        Customers who must share a value.
    buyers
        Of these, customers who must have bought something for that to be told.
    """

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    codes: NDArray[np.int16]
    least: int = 1
    buyers: int = 1

    @staticmethod
    def word(text: str) -> str:
        """A value as it is compared."""
        return text.strip().lower()

    def only(self, wanted: Sequence[str], buyers: int) -> Profiles:
        """These attributes alone, as far as they are there."""
        at = [self.names.index(name) for name in dict.fromkeys(wanted) if name in self.names]
        names, values = tuple(self.names[i] for i in at), tuple(self.values[i] for i in at)
        return replace(self, names=names, values=values, codes=self.codes[:, at], buyers=buyers)

    def rows(self, rows: NDArray[np.integer]) -> Profiles:
        """Those of these customers, in this order; without the values that fewer than `least` of them share."""
        codes, values = self.codes[rows], []
        for at, words in enumerate(self.values):
            sharing = np.bincount(codes[codes[:, at] >= 0, at], minlength=len(words))
            stay = np.flatnonzero(sharing >= self.least)
            stay = stay[np.argsort(-sharing[stay], kind="stable")]
            place = np.full(len(words) + 1, -1, dtype=np.int16)  # the last one is that of -1
            place[stay] = np.arange(len(stay))
            codes[:, at] = place[codes[:, at]]
            values.append(tuple(words[code] for code in stay.tolist()))
        some = [at for at, words in enumerate(values) if words]
        names = tuple(self.names[at] for at in some)
        return replace(self, names=names, values=tuple(values[at] for at in some), codes=codes[:, some])


@dataclass(frozen=True)
class Recommendation:
    """One line of an answer: which item, how strongly, and which source proposed it."""

    item_id: str
    score: float
    source: str
    fallback: bool = False


def _as_strings(ids: Sequence[str]) -> pa.StringArray:
    import pyarrow as pa

    try:
        return pa.array(ids, pa.string())
    except UnicodeEncodeError:  # an argument in a broken encoding, which is no id of anything
        return pa.array([None if any("\ud800" <= c <= "\udfff" for c in i) else i for i in ids], pa.string())


def clock(ts: Int64) -> int:
    """What time it is in a shop: when the newest event but a few happened (epoch seconds; `ts` not empty).

    A few are one in two hundred, at most a hundred: a single event with a wrong date, or the first click of today on
    top of last year's export, must not make everything else look years old.
    """
    few = min(len(ts) // 200, 100)
    return int(np.partition(ts, len(ts) - 1 - few)[len(ts) - 1 - few])


def _row_slices(indptr: Int64, rows: NDArray[np.integer]) -> tuple[Int64, Int64]:
    """Positions of all events of `rows`, one row after the other, and the new indptr."""
    start, stop = indptr[rows], indptr[np.asarray(rows) + 1]
    lengths = stop - start
    out = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return np.arange(out[-1], dtype=np.int64) + np.repeat(start - out[:-1], lengths), out


def _kept_indptr(indptr: Int64, keep: NDArray[np.bool_]) -> Int64:
    kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep, dtype=np.int64)])
    return kept[indptr]
