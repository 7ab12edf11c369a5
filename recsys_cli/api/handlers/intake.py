"""Handlers that take what happened, and changes of the catalogue; all are answered once on disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from ...artifacts.choices import ERASED, EVERYTHING, SESSION
from ...errors import InputError, NotFound, UsageError
from ...schema import ATTRIBUTES
from ...serving.live_events import customer_key, guest_key
from .. import prometheus
from ..call import Call, Reply
from ..payloads import check_id
from ..service import Service


async def take_events(service: Service, call: Call) -> Reply:
    """Take one event, or many. They count in every server process within a second. Events of people who object to
    their use are left out, and counted in `refused`."""
    now = time.time()
    events = [event.line(int(now)) for event in call.body]
    _refuse_ancient(events, service.earliest)
    for user_id in {event["user_id"] for event in events if "user_id" in event}:
        call.caller.names(user_id, call.query["user_token"])
    service.limits.check(call.caller, events)
    kept = [
        event | {"received_at": round(now, 3)} for event in events if _may_keep(service, event, call.query["consent"])
    ]
    if kept:
        await service.write(kept)
    for event in kept:
        prometheus.EVENTS.labels(event["event_type"]).inc()
    refused = len(events) - len(kept)
    return Reply.of({"accepted": len(kept), "refused": refused, "request_id": call.request_id}, 202)


def _refuse_ancient(events: Sequence[dict[str, Any]], earliest: str) -> None:
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


def _may_keep(service: Service, event: dict[str, Any], consent: str) -> bool:
    """Whether the event may be kept as people chose; takes the customer's id off where only the session may be, and the
    session off whose guest is being erased."""
    user_id = event.get("user_id")
    if consent == "none":
        return False
    session_only = consent == SESSION
    choices = service.live.choices
    if user_id is not None and len(choices):
        choice = choices.of(customer_key(service.live.secret, user_id))
        if choice.mode == SESSION:
            session_only = True
        elif not choice.profile:
            return choice.keep_events
    if session_only:
        event.pop("user_id", None)
    if "session_id" not in event:
        return "user_id" in event
    guest = choices.of(guest_key(service.live.secret, event["session_id"])) if len(choices) else EVERYTHING
    if "user_id" not in event:
        return guest.live or guest.keep_events
    if guest.mode == ERASED:  # of a visit that goes on the number would come back as often as it is erased
        del event["session_id"]
    return True


async def merge_session(service: Service, call: Call) -> Reply:
    """The guest of this session is this customer, who has logged in: the guest's history becomes theirs."""
    user_id: str = call.body.user_id
    session_id = path_id(call, "session_id")
    call.caller.names(user_id, call.query["user_token"])
    line = {"t": "merge", "session_id": session_id, "user_id": user_id, "ts": int(time.time())}
    profile, live = service.live.ready().people.may_use(user_id, "full", session_id)
    merged = profile and live  # what a guest wants nobody to use is no part of a profile either
    if merged:
        await service.write([line])
    return Reply.of({"merged": merged, "request_id": call.request_id}, 202)


async def put_item(service: Service, call: Call) -> Reply:
    """Add an item, or change what is given. Price and availability count in all lists within a second; a new item is
    in lists after the next update."""
    return await _write_item(service, call, "put")


async def patch_item(service: Service, call: Call) -> Reply:
    """Change what is given of an item that exists."""
    _must_exist(service, call.path["item_id"])
    return await _write_item(service, call, "patch")


async def delete_item(service: Service, call: Call) -> Reply:
    """Take an item out of the catalogue: it is shown no more, and still learned from. PUT brings it back."""
    item_id = call.path["item_id"]
    _must_exist(service, item_id)
    line = {"t": "item", "op": "delete", "item_id": item_id, "ts": int(time.time()), "retired": True}
    await service.write([line])
    return Reply.of({"accepted": 1, "request_id": call.request_id}, 202)


def _must_exist(service: Service, item_id: str) -> None:
    record = service.live.ready().catalogue.find(item_id)
    if record is None:
        raise NotFound(f"There is no item '{item_id}'.", "Add it with PUT.")
    if record.get("retired_at") is not None:
        raise NotFound(f"The item '{item_id}' was removed from the catalogue.", "Bring it back with PUT.")


async def _write_item(service: Service, call: Call, op: str) -> Reply:
    item_id = path_id(call, "item_id")
    columns = call.body.columns()
    if ATTRIBUTES in columns:
        columns[ATTRIBUTES] = orjson.dumps(columns[ATTRIBUTES]).decode()
    await service.write([{"t": "item", "op": op, "item_id": item_id, "ts": int(time.time()), **columns}])
    return Reply.of({"accepted": 1, "request_id": call.request_id}, 202)


def path_id(call: Call, name: str) -> str:
    """An id in the path, as strict as those in bodies: what cannot be named there has no history.

    Raises
    ------
    InputError
    """
    value = call.path[name]
    try:
        check_id(value)
    except ValueError as e:
        raise InputError(f"The {name} in the path {e}.", "Send it as the shop has it.") from None
    if not value:
        raise InputError(f"The {name} in the path is empty.", "Send it as the shop has it.")
    return value
