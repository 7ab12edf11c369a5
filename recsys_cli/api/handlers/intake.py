"""Handlers that take what happened, and changes of the catalogue; all are answered once on disk."""

from __future__ import annotations

import time

import orjson

from ...errors import InputError, NotFound
from ...schema import ATTRIBUTES
from .. import prometheus
from ..call import Call, Reply
from ..event_admission import as_line, may_keep, refuse_ancient
from ..payloads import check_id
from ..service import Service


async def take_events(service: Service, call: Call) -> Reply:
    """Take one event, or many. They count in every server process within a second. Events of people who object to
    their use are left out, and counted in `refused`."""
    now = time.time()
    events = [as_line(event, int(now), service.event_types, number) for number, event in enumerate(call.body)]
    refuse_ancient(events, service.earliest)
    for user_id in {event["user_id"] for event in events if "user_id" in event}:
        call.caller.names(user_id, call.query["user_token"])
    service.limits.check(call.caller, events)
    choices, secret, consent = service.live.choices, service.live.secret, call.query["consent"]
    kept = [event | {"received_at": round(now, 3)} for event in events if may_keep(choices, secret, event, consent)]
    if kept:
        await service.write(kept)
    for event in kept:
        prometheus.EVENTS.labels(event["event_type"]).inc()
    refused = len(events) - len(kept)
    return Reply.of({"accepted": len(kept), "refused": refused, "request_id": call.request_id}, 202)


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
