"""Which events are taken, whichever way they come: not from before the shop's first day, and as people have chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..artifacts.choices import ERASED, EVERYTHING, SESSION, Choices
from ..errors import UsageError
from ..serving.live_events import customer_key, guest_key
from .payloads import Event


def as_line(event: Event, now: int, own: Mapping[str, str], number: int = 0) -> dict[str, Any]:
    """The event as the spool holds it.

    Parameters
    ----------
    now
        Its time, epoch seconds, where it has none.
    own
        See `settings.IngestSettings.event_types`.
    number
        Its place in what was sent.

    Raises
    ------
    UsageError
        Its type is neither ours nor the shop's, or has no duration.
    """
    try:
        return event.line(now, own)
    except ValueError as e:
        where = f"events[{number}]." if number else ""
        raise UsageError(f"{where}{e}.", "GET /docs describes the body.") from None


def refuse_ancient(events: Sequence[dict[str, Any]], earliest: str) -> None:
    """Refuse events from before the shop's earliest day, as ingest does: a time that is missing often reads as 1970.

    Raises
    ------
    UsageError
    """
    first = int(datetime.fromisoformat(earliest).replace(tzinfo=UTC).timestamp())
    for number, event in enumerate(events):
        if event["ts"] < first:
            raise UsageError(
                f"The ts of event {number}, {event['ts']}, is before {earliest}.",
                "Send epoch seconds, or leave ts out for now; ingest.earliest is the first day taken.",
            )


def may_keep(choices: Choices, secret: str, event: dict[str, Any], consent: str) -> bool:
    """Whether the event may be kept as people chose; takes the customer's id off where only the session may be, and the
    session off whose guest is being erased.

    Parameters
    ----------
    consent
        What the sender says that this visitor agreed to: full, session or none. The stricter of both counts.
    """
    user_id = event.get("user_id")
    if consent == "none":
        return False
    session_only = consent == SESSION
    if user_id is not None and len(choices):
        choice = choices.of(customer_key(secret, user_id))
        if choice.mode == SESSION:
            session_only = True
        elif not choice.profile:
            return choice.keep_events
    if session_only:
        event.pop("user_id", None)
    if "session_id" not in event:
        return "user_id" in event
    guest = choices.of(guest_key(secret, event["session_id"])) if len(choices) else EVERYTHING
    if "user_id" not in event:
        return guest.live or guest.keep_events
    if guest.mode == ERASED:  # of a visit that goes on the number would come back as often as it is erased
        del event["session_id"]
    return True
