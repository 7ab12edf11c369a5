"""A message of the shop's broker as lines of the spool: the event that POST /events takes, by the same types."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..api import decoding
from ..api.access import Caller
from ..api.event_admission import as_line, may_keep, refuse_ancient
from ..api.event_limits import EventLimits
from ..api.payloads import MAX_EVENTS, MAX_ID, Event, EventType, Id, Text
from ..artifacts.choices import FULL, NONE, SESSION, Choices
from ..connections import QUEUES
from ..errors import InputError
from ..schema import CLICK, DAY, VIEW
from ..settings import ServeSettings

_CONSENT = (FULL, SESSION, NONE)
_PUBLISHER = Caller(name="queue")
VIEWS, SEARCHES, INTERACTIONS, COMPARISONS = QUEUES


class Look(Event, kw_only=True):
    """An event of the queues of views and of comparisons, where nothing else is said."""

    event_type: EventType = VIEW


class Search(Event, kw_only=True):
    """What somebody searched for, and the item that they took from what was found. The words are not kept."""

    item_id: Id | None = None  # type: ignore[assignment]
    query: Text | None = None
    event_type: EventType = CLICK


def _many(kind: type[Event]) -> Any:
    events = Annotated[list[kind], Meta(min_length=1, max_length=MAX_EVENTS)]  # type: ignore[valid-type]
    return msgspec.defstruct(f"{kind.__name__}Batch", [("events", events)], forbid_unknown_fields=True, kw_only=True)


_KINDS: Mapping[str, type[Event]] = {VIEWS: Look, SEARCHES: Search, INTERACTIONS: Event, COMPARISONS: Look}
_BATCHES = {kind: _many(kind) for kind in {*_KINDS.values()}}


@dataclass(frozen=True)
class Message:
    """One message as it was delivered.

    Parameters
    ----------
    kind
        Of the queue, one of `connections.QUEUES`.
    message_id
        Given by the publisher; empty for none.
    timestamp
        Epoch seconds, given by the publisher; None for none.
    """

    kind: str
    body: bytes
    message_id: str = ""
    timestamp: int | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Understood:
    """What a message says.

    Parameters
    ----------
    lines
        For the spool.
    refused
        Events of people who do not want it.
    without_item
        Searches that led to no item, of which nothing is kept.
    """

    lines: tuple[dict[str, Any], ...]
    refused: int = 0
    without_item: int = 0


class Door:
    """Decides on messages as the HTTP server decides on events.

    Parameters
    ----------
    earliest
        See `ingest.earliest`.
    secret
        See `identity.load_secret`.
    event_types
        See `ingest.event_types`.
    """

    def __init__(
        self,
        settings: ServeSettings,
        earliest: str,
        choices: Choices,
        secret: str,
        event_types: Mapping[str, str] | None = None,
    ) -> None:
        self._settings, self._earliest, self._secret = settings, earliest, secret
        self._event_types = event_types or {}
        self._choices = choices
        self.limits = EventLimits(settings)

    def take(self, message: Message) -> Understood:
        """What to keep of a message.

        Raises
        ------
        RecsysError
            It can never be taken, with the reason for its dead letter.
        """
        if len(message.body) > self._settings.max_body:
            most = self._settings.max_body
            raise InputError(f"The body has {len(message.body):,} bytes, more than {most:,}.", "See serve.max_body.")
        consent = message.headers.get("consent", FULL)
        if consent not in _CONSENT:
            raise InputError(f"The header consent must be one of {', '.join(_CONSENT)}, got {str(consent)[:60]!r}.")
        if message.timestamp is not None and message.timestamp > time.time() + DAY:
            raise InputError("The message's timestamp is in the future.", "Send epoch seconds, not milliseconds.")
        kind = _KINDS[message.kind]
        events = decoding.one_or_many(message.body, kind, _BATCHES[kind])
        led = [event for event in events if event.item_id is not None]
        without_item = len(events) - len(led)
        now = time.time()
        lines = [self._line(message, event, number, int(now)) for number, event in enumerate(led)]
        refuse_ancient(lines, self._earliest)
        self._choices.refresh()
        kept = [line for line in lines if may_keep(self._choices, self._secret, line, consent)]
        self.limits.check(_PUBLISHER, kept)
        for line in kept:
            line["received_at"] = round(now, 3)
        return Understood(tuple(kept), len(lines) - len(kept), without_item)

    def _line(self, message: Message, event: Event, number: int, now: int) -> dict[str, Any]:
        dated = event.ts is not None or message.timestamp is not None
        at = now if message.timestamp is None else message.timestamp
        line = as_line(event, at, self._event_types, number)
        if "event_id" in line or ("order_id" in line and dated):
            return line  # the store counts a dated line of an order by its content: an export may bring it, too
        if message.message_id:
            line["event_id"] = _short(f"queue:{message.message_id}:{number}")
        elif dated:
            said = b"\0".join((message.kind.encode(), str(message.timestamp).encode(), message.body))
            line["event_id"] = f"queue:{hashlib.sha256(said).hexdigest()}:{number}"
        else:
            raise InputError(
                "The event has no event_id and no ts, and the message no message_id and no timestamp: delivered twice, "
                "it would count twice.",
                "Send one of them.",
            )
        return line


def _short(name: str) -> str:
    if len(name) <= MAX_ID and name.isprintable():
        return name
    return f"queue:{hashlib.sha256(name.encode()).hexdigest()}"
