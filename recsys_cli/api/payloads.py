"""What requests may hold: types, of which checks, defaults, bounds and documentation are made."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ..schema import ADDRESSES, EVENT_TYPES, ITEM_COLUMNS, PURCHASE, SCRIPT_ADDRESS, VIEW
from ..serving.customer_lists import RAILS
from ..serving.filter_tree import LONGEST
from ..serving.list_kinds import KINDS
from ..view_durations import LONGEST_MS

MAX_ID = 256
MAX_K = 200
MAX_OFFSET = 2000
MAX_EVENTS = 1000
MAX_NUMBER = 1e12
_DEEPEST = 16  # lists and objects inside each other, in an item's attributes
_FUTURE = 86_400  # seconds by which a clock may be ahead

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
Text = Annotated[str, Meta(max_length=512)]
Texts = Annotated[tuple[Text, ...], Meta(max_length=1000)]
_SPLIT = {"split": True}  # a list that may be written with commas
Ids = Annotated[tuple[Id, ...], Meta(max_length=1000, extra=_SPLIT)]
Price = Annotated[float, Meta(ge=0, le=MAX_NUMBER)]
Margin = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
PerList = Annotated[int, Meta(ge=0, le=MAX_K)]
Count = Annotated[int, Meta(ge=1, le=MAX_K, description="Number of items. [default: the placement's, or 10]")]
Kind = Literal[tuple(KINDS)]  # type: ignore[valid-type]
Consent = Annotated[
    Literal["full", "session", "none"],
    Meta(description="What may be used about the person. A stricter choice they made before wins."),
]
Written = Annotated[
    str,
    Meta(
        max_length=LONGEST,
        description='Only items that match: price < 50 and "vegan" in tags and ships_to contains user.country.',
    ),
]
OfUser = Annotated[
    dict[str, Text],
    Meta(
        max_length=50,
        description="Customer attributes for filters, newcomers and the ranker; in a query: user.country=DE.",
    ),
]
UserToken = Annotated[
    Text,
    Meta(description="With a page's key: the shop's signature for this user_id; see recsys keys sign."),
]


def check_id(value: str) -> None:
    """What an id of a person, session, item or order cannot be, besides too long.

    Raises
    ------
    ValueError
    """
    if not value.isprintable() or value != value.strip():
        raise ValueError("contains control characters or outer blanks")


# -- queries -----------------------------------------------------------------------------------------------------------


class Nothing(Struct, forbid_unknown_fields=True, kw_only=True):
    """A route without parameters."""


class TokenQuery(Nothing, kw_only=True):
    """What names a customer in its body."""

    user_token: UserToken | None = None


class RankQuery(TokenQuery, kw_only=True):
    """Parameters of /rank; what its body says of the customer goes before."""

    user: OfUser = {}


class EventsQuery(TokenQuery, kw_only=True):
    """Parameters of /events."""

    consent: Consent = "full"


class HistoryQuery(Nothing, kw_only=True):
    """Parameters of a profile."""

    n: Annotated[int, Meta(ge=1, le=1000, description="Number of events, newest first.")] = 50


class ShelfQuery(Nothing, kw_only=True):
    """Parameters of every list."""

    k: Annotated[int, Meta(ge=1, le=MAX_K, description="How many items.")] = 10
    offset: Annotated[
        int, Meta(ge=0, le=MAX_OFFSET, description="Position of the first item; pages are stable within a version.")
    ] = 0
    category: Annotated[Texts, Meta(description="Only these categories.")] = ()
    brand: Annotated[Texts, Meta(description="Only these brands.")] = ()
    region: Annotated[Texts, Meta(description="Only items for these regions, or for all.")] = ()
    min_price: Annotated[Price | None, Meta(description="Lowest price.")] = None
    max_price: Annotated[Price | None, Meta(description="Highest price.")] = None
    exclude: Annotated[Ids, Meta(description="Item ids to leave out.")] = ()
    include: Annotated[Ids, Meta(description="Only these item ids.")] = ()
    min_margin: Annotated[Margin | None, Meta(description="Lowest margin.")] = None
    filter: Written | None = None
    user: OfUser = {}
    placement: Annotated[
        Text | None,
        Meta(description="Where the list is on your pages. /recommend uses the placement of that name in recsys.toml."),
    ] = None
    explain: Annotated[bool, Meta(description="Give the reason for every item.")] = False


class FeaturesQuery(Nothing, kw_only=True):
    """Whose features are wanted."""

    item_id: Annotated[Id, Meta(description="The item's id.")]
    user_id: Annotated[Id | None, Meta(description="The customer.")] = None


class WhyQuery(Nothing, kw_only=True):
    """Which item in whose list."""

    item_id: Annotated[Id, Meta(description="The item's id.")]
    user_id: Annotated[Id | None, Meta(description="The customer.")] = None
    session_id: Annotated[Id | None, Meta(description="The guest's session.")] = None
    k: Annotated[int, Meta(ge=1, le=MAX_K, description="Number of items in the list.")] = 10


class ItemQuery(ShelfQuery, kw_only=True):
    """Parameters of lists around one item."""

    item_id: Annotated[Id, Meta(description="The item's id.")]


class PersonalQuery(ShelfQuery, kw_only=True):
    """Parameters of lists for somebody."""

    items: Annotated[Ids, Meta(description="A basket.")] = ()
    repeat: Annotated[bool, Meta(description="Include items already bought.")] = False
    max_per_category: Annotated[PerList | None, Meta(description="Most items of one category; 0: no limit.")] = None
    max_per_brand: Annotated[PerList | None, Meta(description="Most items of one brand; 0: no limit.")] = None
    freshness: Annotated[
        Annotated[float, Meta(ge=0, le=100)] | None, Meta(description="Boost of a brand-new item's score.")
    ] = None
    diversity: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="From 0 (the best items, however similar) to 1 (the least similar items)."),
    ] = None
    bought_days: Annotated[
        Annotated[float, Meta(ge=0, le=1e5)] | None,
        Meta(description="Days for which bought items are left out; 0 for always."),
    ] = None
    shown_limit: Annotated[
        Annotated[int, Meta(ge=0, le=10_000)] | None,
        Meta(description="Leave out items shown this often without a click."),
    ] = None
    consent: Consent = "full"


class RecommendQuery(PersonalQuery, kw_only=True):
    """Parameters of /recommend."""

    user_id: Annotated[Id | None, Meta(description="The customer; needs a key, and from a page a user_token.")] = None
    user_token: UserToken | None = None
    session_id: Annotated[Id | None, Meta(description="The guest, or the customer's current session.")] = None
    item_id: Annotated[Id | None, Meta(description="The product of the page, for placements that need one.")] = None
    kind: Annotated[
        Kind | None,  # type: ignore[valid-type]
        Meta(description="The kind of list, without a placement from recsys.toml. It has no fallbacks."),
    ] = None
    rail: Annotated[
        Annotated[int, Meta(ge=1, le=RAILS)] | None,
        Meta(description="For kind=because: which of the last purchases, from 1."),
    ] = None
    k: Count | UnsetType = UNSET  # type: ignore[assignment]  # a placement may say how many


# -- bodies ------------------------------------------------------------------------------------------------------------


Share = Annotated[float, Meta(ge=0, le=1)]


class RankBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Items to put in order, and for whom."""

    items: Annotated[list[Id], Meta(min_length=1, max_length=1000)]
    user_id: Id | None = None
    session_id: Id | None = None
    explain: bool = False
    consent: Consent = "full"
    filter: Written | None = None
    user: OfUser = {}
    popular: Annotated[
        Share | None, Meta(description="Share of the order by popularity. [default: serve.rank_popular]")
    ] = None
    given: Annotated[
        Share | None, Meta(description="Share of the order in which the items are sent. [default: serve.rank_given]")
    ] = None


class PreviewBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A placement as it may become, and for whom its list is wanted."""

    placement: Annotated[dict[str, Any], Meta(description="The keys of [placements.NAME].")]
    item_id: Annotated[Id | None, Meta(description="The product of the page.")] = None
    items: Annotated[tuple[Id, ...], Meta(max_length=100, description="A basket.")] = ()
    user_id: Annotated[Id | None, Meta(description="The customer; needs the scope serve.")] = None
    user: OfUser = {}


class RefreshBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be done in the background."""

    kind: Annotated[
        Literal["update", "train"], Meta(description="update: one pass of the update worker; train: a training.")
    ]
    model: Annotated[
        Annotated[str, Meta(min_length=1, max_length=60, pattern="^[a-z0-9-]+$")] | None,
        Meta(description="For train: the model, or auto. [default: what recsys train would use]"),
    ] = None
    force: Annotated[bool, Meta(description="For train: serve it even if it is worse.")] = False

    def __post_init__(self) -> None:
        if self.kind == "update" and (self.model or self.force):
            raise ValueError("model and force are for the kind train")


class PromoteBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The version to serve."""

    version: Annotated[str, Meta(min_length=1, max_length=60, description="As v000012 or 12.")]


class RollbackBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """How far back."""

    model: Annotated[bool, Meta(description="Back to the model of an earlier training, not only to older data.")]


class MergeBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The customer that a guest turned out to be."""

    user_id: Id

    def __post_init__(self) -> None:
        check_id(self.user_id)


EventType = Annotated[
    str,
    Meta(max_length=MAX_ID, description=f"{', '.join(EVENT_TYPES)}; or the shop's own word, see ingest.event_types."),
]


class Event(Struct, forbid_unknown_fields=True, kw_only=True):
    """One event. One of user_id and session_id must be given."""

    item_id: Id
    user_id: Annotated[Id | None, Meta(description="The customer.")] = None
    session_id: Annotated[Id | None, Meta(description="The guest, or the customer's session.")] = None
    ts: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Epoch seconds (not milliseconds), UTC; when left out, now."),
    ] = None
    event_type: EventType = PURCHASE
    qty: Annotated[int, Meta(ge=1, le=1_000_000, description="How many; returned goods are events of type refund.")] = 1
    order_id: Id | None = None
    event_id: Annotated[Id | None, Meta(description="An event sent again with the same id counts once.")] = None
    price: Annotated[Price | None, Meta(description="Price per unit, a number.")] = None
    currency: Id | None = None
    position: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None, Meta(description="Place in the list, a number.")
    ] = None
    request_id: Annotated[Id | None, Meta(description="Of the answer that showed the item.")] = None
    duration_ms: Annotated[
        Annotated[int, Meta(ge=0, le=LONGEST_MS)] | None,
        Meta(description="How long a view took, in milliseconds: while the page was visible."),
    ] = None

    def __post_init__(self) -> None:
        if self.user_id is None and self.session_id is None:
            raise ValueError("user_id and session_id are both missing; send one of them")
        for name in _EVENT_IDS:
            value = getattr(self, name)
            if value is not None:
                try:
                    check_id(value)
                except ValueError as e:
                    raise ValueError(f"{name} {e}") from None
        if self.ts is not None and self.ts > time.time() + _FUTURE:
            raise ValueError("ts is in the future; send epoch seconds, not milliseconds")

    def line(self, now: int, own: Mapping[str, str]) -> dict[str, Any]:
        """As the spool holds it, its type one of ours.

        Parameters
        ----------
        own
            See `settings.IngestSettings.event_types`.

        Raises
        ------
        ValueError
            The type is neither, or has no duration.
        """
        kind = own.get(self.event_type, self.event_type)
        if kind not in EVENT_TYPES:
            types = ", ".join((*EVENT_TYPES, *own))
            raise ValueError(f"event_type must be one of {types}, got {self.event_type[:40]!r}")
        if self.duration_ms is not None and kind != VIEW:
            raise ValueError(f"duration_ms belongs to a {VIEW}, and this is a {kind}")
        given = {name: value for name in _EVENT_FIELDS if (value := getattr(self, name)) is not None}
        return {"t": "event", **given, "event_type": kind, "ts": now if self.ts is None else self.ts}


_EVENT_IDS = ("item_id", "user_id", "session_id", "order_id", "event_id", "currency", "request_id")
_EVENT_FIELDS = Event.__struct_fields__


class Batch(Struct, forbid_unknown_fields=True, kw_only=True):
    """Many events."""

    events: Annotated[list[Event], Meta(min_length=1, max_length=MAX_EVENTS)]


_COLUMN: dict[str, Any] = {
    "VARCHAR": Annotated[str, Meta(min_length=1, max_length=10_000)],
    "DOUBLE": Price,
    "BIGINT": Annotated[int, Meta(ge=0, lt=10**11)],
    "BOOLEAN": bool,
}
ITEM_FIELDS = {name: kind for name, kind in ITEM_COLUMNS.items() if name != "item_id"}
Attributes = Annotated[dict[str, Any], Meta(description="Columns of your own.")]


class _ItemBody(Struct, forbid_unknown_fields=True, kw_only=True):
    attributes: Attributes | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        if all(getattr(self, name) is UNSET for name in self.__struct_fields__):
            raise ValueError("no column of the item is given")
        for name in ADDRESSES:
            if isinstance(given := getattr(self, name), str) and re.search(SCRIPT_ADDRESS, given):
                raise ValueError(f"{name} must be a web address, not a script or data")
        if isinstance(self.attributes, dict) and _deeper(self.attributes, _DEEPEST):
            raise ValueError(f"attributes are nested deeper than {_DEEPEST} levels")

    def columns(self) -> dict[str, Any]:
        """What is given."""
        pairs = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {name: value for name, value in pairs if value is not UNSET and value is not None}


def _deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(one, levels - 1) for one in inner)


ItemBody: Any = msgspec.defstruct(
    "ItemBody",
    [
        (name, (Margin if name == "margin" else _COLUMN[kind]) | None | UnsetType, UNSET)
        for name, kind in ITEM_FIELDS.items()
    ],
    bases=(_ItemBody,),
    forbid_unknown_fields=True,
    kw_only=True,
)
"""Columns of an item that are set or changed."""
