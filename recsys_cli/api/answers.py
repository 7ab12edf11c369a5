"""What answers hold: types, of which JSON and documentation are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from .payloads import ITEM_FIELDS


class Fault(Struct):
    """What is wrong."""

    code: str
    message: str
    hint: str


class ErrorAnswer(Struct):
    """The one shape of errors."""

    error: Fault


class Item(Struct, kw_only=True):
    """One item of a list."""

    item_id: str
    title: str | None
    category: str | None
    brand: str | None
    price: float | None
    img_url: str | None
    url: str | None
    score: float
    source: Annotated[str, Meta(description="What proposed the item.")]
    fallback: Annotated[bool, Meta(description="True when nothing better was known.")]
    reason: Annotated[str, Meta(description="With explain=true: why, from what happened.")] | UnsetType = UNSET
    details: (
        Annotated[dict[str, Any], Meta(description="With details.url: what else the product service says of it.")]
        | UnsetType
    ) = UNSET


class ListAnswer(Struct, kw_only=True):
    """A list of items, best first."""

    items: list[Item]
    known: Annotated[bool, Meta(description="There was a history to use.")]
    fallback: Annotated[bool, Meta(description="Every item is a fallback.")]
    version: Annotated[str, Meta(description="The version of the model that answered.")]
    request_id: Annotated[str, Meta(description="Send it with clicks and impressions of these items.")]
    stages: (
        Annotated[
            list[dict[str, Any]],
            Meta(description="With explain=true; the first, filters, names words of the request that no item has."),
        ]
        | UnsetType
    ) = UNSET
    details: (
        Annotated[
            Literal["fresh", "stale", "catalogue"],
            Meta(description="With details.url: how old the oldest details are; catalogue: the service has not said."),
        ]
        | UnsetType
    ) = UNSET


class PlacedAnswer(ListAnswer, kw_only=True):
    """A list, and the placement that it was made for."""

    placement: Annotated[str, Meta(description="Of recsys.toml, when the request named one.")] | UnsetType = UNSET
    kind: Annotated[str, Meta(description="The kind of list, of a placement or as asked for.")] | UnsetType = UNSET
    title: Annotated[str, Meta(description="A heading: the placement's, or the list's own.")] | UnsetType = UNSET


class RankAnswer(ListAnswer, kw_only=True):
    """These items in order."""

    unknown: list[str]
    left_out: Annotated[list[str], Meta(description="Known, but the filter does not fit them.")]


class Taken(Struct):
    """A change is on disk."""

    accepted: int
    request_id: str


class EventsTaken(Struct):
    """Events are on disk."""

    accepted: int
    refused: int
    request_id: str


class Merged(Struct):
    """Whether the guest's history is the customer's now."""

    merged: bool
    request_id: str


_Record: Any = msgspec.defstruct(
    "ItemRecord",
    [
        ("item_id", str),
        ("attributes", dict[str, Any]),
        ("retired", bool),
        *((name, {"VARCHAR": str, "DOUBLE": float, "BIGINT": int, "BOOLEAN": bool}[kind] | None | UnsetType, UNSET)
          for name, kind in ITEM_FIELDS.items()),
    ],
)  # fmt: skip


ItemRecord = _Record


class HistoryEvent(Struct):
    """One event of a profile."""

    item_id: str
    ts: int
    event_type: str
    qty: float


class Profile(Struct):
    """What is known of a customer."""

    user_id: str
    version: str
    history: list[HistoryEvent]


Values = dict[str, float | None]


class FeaturesAnswer(Struct, kw_only=True):
    """Features by name."""

    item_id: str
    version: str
    item: Values
    customer: Values | UnsetType = UNSET
    pair: Values | UnsetType = UNSET


class WhyAnswer(Struct, kw_only=True):
    """Where an item stands in a list, and what keeps it out when it is not there."""

    item_id: str
    version: str
    k: int
    place: int | None
    shown: bool
    source: str
    reason: str
    why_not: list[str]


class CampaignState(Struct):
    """A campaign, and what it is about."""

    number: int
    action: str
    items: str
    runs: bool
    since: int | None
    until: int | None
    factor: float | None
    position: int | None
    matched: int


class RulesAnswer(Struct):
    """What rules and campaigns are in force: rules that differ from their defaults."""

    version: str
    rules: dict[str, Any]
    campaigns: list[CampaignState]


class WorkerHealth(Struct):
    """How the update worker does."""

    last_pass_at: int
    outcome: str
    failures_in_a_row: int
    lag_seconds: float
    backlog_bytes: int


class Health(Struct):
    """How the process does."""

    status: Literal["ok"]
    events: Annotated[str, Meta(description="ok, or why events are not taken: a full disk, say.")]
    worker: WorkerHealth | None


class Ready(Struct):
    """Answers can be given."""

    status: Literal["ready"]
    version: str
    currency: Annotated[str, Meta(description="Of prices, as EUR; empty when neither a setting nor a sale names one.")]
    words: Annotated[dict[str, str], Meta(description="What the shop calls things, see rules.words.")]


class Interval(Struct):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


Figures = Annotated[dict[str, Interval], Meta(description="By metric; empty when there was too little data to judge.")]


class Training(Struct):
    """Where a model comes from."""

    version: str
    created_at: int


class Data(Struct):
    """What a version knows."""

    items: int | None
    users: Annotated[int | None, Meta(description="Customers, and guests' sessions without one.")]
    events: int | None
    first_ts: int | None
    last_ts: int | None


class Status(Struct):
    """The version being served; `lead` is the model's lead over popularity, `loops` how its loops are doing."""

    version: str
    created_at: int
    model: str
    trained: Training
    data: Data
    metrics: Figures
    popular: Figures
    lead: Figures
    loops: dict[str, str]
    settings: Annotated[str, Meta(description="ok, or why rules and placements of recsys.toml are not taken up.")]
    placements: Annotated[list[str], Meta(description="Those that recsys.toml names.")]
    details: Annotated[str, Meta(description="off, or how the shop's product service is; see details.url.")]


class Noted(Struct):
    """A request about a person is on disk."""

    status: Literal["noted"]
    request: str


class JobStarted(Struct, kw_only=True):
    """A job that has begun."""

    job: Annotated[str, Meta(description="Ask for it with GET /operations/jobs/{job_id}.")]
    kind: str
    state: Literal["running"]
    request_id: str


class _Job(Struct, kw_only=True):
    """One job."""

    job: str
    kind: str
    state: Annotated[
        Literal["running", "done", "failed", "lost"], Meta(description="Lost: killed, so that nothing of it is served.")
    ]
    by: Annotated[dict[str, Any], Meta(description="Who asked for it.")]
    started_at: float
    ended_at: float | None
    exit_code: int | None
    result: Annotated[dict[str, Any], Meta(description="What the command printed as JSON, or its error.")]


class Job(_Job, kw_only=True):
    """One job, with its progress."""

    progress: Annotated[list[str], Meta(description="What it has said so far, the last lines.")]


class JobList(Struct, kw_only=True):
    """The last jobs, newest first."""

    jobs: list[_Job]


class Promoted(Struct, kw_only=True):
    """The version that is served from now on."""

    version: str


class RolledBack(Struct, kw_only=True):
    """The version that is served from now on, and the one before."""

    version: str
    before: str


class PlacementList(Struct, kw_only=True):
    """The placements in force."""

    placements: list[dict[str, Any]]
    refused: Annotated[str | None, Meta(description="Why the settings file as it is now is not taken.")]
    kinds: Annotated[list[dict[str, Any]], Meta(description="Kinds of lists: name, help, and what each needs one of.")]


class WrongField(Struct, kw_only=True):
    """What is wrong with a placement, and with which of its keys."""

    field: str
    message: str
    hint: str


class PlacementPreview(Struct, kw_only=True):
    """The list that a placement would show; none where something is wrong with it."""

    items: list[dict[str, Any]]
    title: str
    wrong: WrongField | None
    request_id: str


class PlacementChanged(Struct, kw_only=True):
    """A placement before and after the change; null if it did not or does not exist."""

    placement: str
    now: dict[str, Any] | None
    before: dict[str, Any] | None
    request_id: str


class RulesChanged(Struct, kw_only=True):
    """Rules before and after; null stands for the default."""

    now: dict[str, Any]
    before: dict[str, Any]
    request_id: str
