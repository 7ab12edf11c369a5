"""What pages and tills report: checked, written to the spool, and only then acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from ..artifacts import SpoolWriter
from ..errors import InputError, RecsysError
from ..schema import EVENT_TYPES, PURCHASE

MAX_EVENTS = 1000
MAX_ID = 256
MAX_QTY = 1_000_000
FUTURE = 86_400  # seconds by which a clock may be ahead

_IDS = ("user_id", "session_id", "item_id", "order_id", "event_id", "currency", "request_id")
_FIELDS = frozenset((*_IDS, "ts", "event_type", "qty", "price", "position"))


def read_events(body: Any) -> list[dict[str, Any]]:
    """The events of a request: one object, or `{"events": [...]}`; all good, or none is taken.

    Raises
    ------
    InputError
        Says which event and why.
    """
    now = int(time.time())
    if isinstance(body, dict) and "events" in body:
        many = body["events"]
        if set(body) != {"events"} or not isinstance(many, list) or not 1 <= len(many) <= MAX_EVENTS:
            raise InputError(f"'events' is not a list of 1 to {MAX_EVENTS} events, alone in its object.", "Split it.")
        return [_event(one, now, f"Event {number}") for number, one in enumerate(many)]
    return [_event(body, now, "The event")]


def _event(given: Any, now: int, which: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InputError(f"{which} is no JSON object.", 'Send {"user_id": …, "item_id": …, "event_type": …}.')
    unknown = given.keys() - _FIELDS
    if unknown:
        known = ", ".join(sorted(_FIELDS))
        raise InputError(f"{which} has an unknown field '{min(unknown)[:60]}'.", f"Known: {known}.")
    event: dict[str, Any] = {"t": "event"}
    for name in _IDS:
        value = given.get(name)
        if value is not None:
            event[name] = read_id(value, f"{which}: {name}")
    if "item_id" not in event or not ("user_id" in event or "session_id" in event):
        raise InputError(f"{which} lacks item_id, or both user_id and session_id.", "Say who did it, to which item.")
    soon = now + FUTURE
    event["ts"] = _whole(given.get("ts"), now, 0, soon, f"{which}: ts", "Send epoch seconds, no milliseconds.")
    returned = "Returned goods are events of type refund."
    event["qty"] = _whole(given.get("qty", 1), None, 1, MAX_QTY, f"{which}: qty", returned)
    kind = given.get("event_type", PURCHASE)
    if kind not in EVENT_TYPES:
        raise InputError(f"{which} has an unknown event_type.", f"Known: {', '.join(EVENT_TYPES)}.")
    event["event_type"] = kind
    if given.get("position") is not None:
        event["position"] = _whole(given["position"], None, 0, MAX_QTY, f"{which}: position")
    if given.get("price") is not None:
        event["price"] = _price(given["price"], which)
    return event


def read_id(value: Any, what: str) -> str:
    """An id of a person, session, item or order as events may hold it.

    Raises
    ------
    InputError
    """
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID:
        raise InputError(f"{what} is not a text of 1 to {MAX_ID} characters.", "Send ids as JSON strings.")
    if not value.isprintable() or value != value.strip():
        raise InputError(f"{what} holds control characters or outer blanks.", "Send it as the shop has it.")
    return value


def _whole(value: Any, default: int | None, low: int, high: int, what: str, hint: str = "Send a JSON number.") -> int:
    if value is None and default is not None:
        return default
    # JSON knows one kind of number: 3.0 is a whole one.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{what} is not a whole number from {low} to {high}.", hint)
    return value


def _price(value: Any, which: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e12:
        raise InputError(f"{which}: price is not a number of at least 0.", "Send the price per unit as a number.")
    return float(value)


class EventSink:
    """Writes lines to the spool for one process; requests that arrive during a flush share the next one.

    Parameters
    ----------
    writer
        The process's segment.
    written
        Called in the event loop after each flush.
    before
        Called in the writing thread before each flush: what must be on disk before an event is acknowledged.
    """

    def __init__(self, writer: SpoolWriter, written: Callable[[], None], before: Callable[[], None]) -> None:
        self._writer = writer
        self._before = before
        self._written = written
        self._waiting: list[tuple[list[bytes], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "spool")

    async def append(self, lines: Sequence[dict[str, Any]]) -> None:
        """Return once the lines are on disk.

        Raises
        ------
        StoreError
            They are not.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(([orjson.dumps(line) for line in lines], done))
        if self._task is None:
            self._task = asyncio.create_task(self._flush())
        # Shielded by being a future of its own: a client that hangs up does not stop the others' flush.
        await done

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: RecsysError | None = None
            try:
                await loop.run_in_executor(self._thread, self._write, [x for lines, _ in batch for x in lines])
            except RecsysError as e:
                error = e
            for _, done in batch:
                if not done.done():
                    done.set_result(None) if error is None else done.set_exception(error)
            self._written()
        self._task = None

    def _write(self, lines: list[bytes]) -> None:
        self._before()
        self._writer.append(lines)

    def flush_before(self) -> None:
        """Let `before` run in the writing thread, soon."""
        asyncio.get_running_loop().run_in_executor(self._thread, self._before)

    async def close(self) -> None:
        """Finish what was begun and let go of the segment."""
        while self._task is not None:
            await asyncio.wait([self._task])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.close)
        self._thread.shutdown()
