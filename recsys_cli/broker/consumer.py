"""From the broker's queues onto the spool: a message is acknowledged once what it says is on disk, and never before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ..artifacts import Artifacts, Spool, SpoolWriter, consumer_state
from ..artifacts.consumer_state import Consumption
from ..connections import QueueSettings
from ..errors import NoModel, RecsysError, StoreError, Unreachable
from ..supervisor import LoopState, Supervisor
from .messages import Door, Message, Understood
from .recent_events import RecentEvents, identity_of
from .topology import connect, declare, fits, library, told

_WAIT = 0.5  # seconds for the next message
_IDLE = 1.0  # seconds without one after which empty queues are believed to be empty
_LONGEST = 15.0  # seconds between two tries; shorter than two heartbeats, or a full disk would cost the connection
_STATE_EVERY = 5.0
_REASONS = 500  # characters of a dead letter's reason
Note = Callable[[str], None]


@dataclass
class _Delivery:
    """A message that is not acknowledged yet.

    Parameters
    ----------
    understood, error
        What it says, or why it can never be taken; both None until it was looked at, which is done once.
    """

    tag: int
    queue: str
    message: Message
    redelivered: bool
    routing_key: str
    properties: Any
    understood: Understood | None = None
    error: RecsysError | None = None


class Consumer:
    """Takes from the broker until it is told to stop, and outlives the broker's absence.

    Parameters
    ----------
    door
        Decides on messages.
    note
        Told, in sentences, of what somebody who reads a log wants to know.
    """

    def __init__(self, settings: QueueSettings, door: Door, artifacts: Artifacts, note: Note) -> None:
        self._settings, self._door, self._artifacts, self._note = settings, door, artifacts, note
        self._spool, self._writer = Spool(artifacts.spool_dir), SpoolWriter(artifacts.spool_dir)
        self._recent = RecentEvents()
        self._connection: Any = None
        self._channel: Any = None
        self._dead: Any = None
        self._cancelled = False
        self._waiting: list[_Delivery] = []
        self._last_message = 0.0
        self._looked = self._told_at = 0.0
        self._told = Consumption()
        self._before = consumer_state.file(artifacts.root).read_or_empty()
        self.state = Consumption()

    def run(self, stop: threading.Event, *, once: bool = False) -> Consumption:
        """Take until `stop` is set; what is under way then is finished. What was taken in all.

        Parameters
        ----------
        once
            End when the queues are empty, and when the broker is away.

        Raises
        ------
        RecsysError
            With `once`, whatever keeps it from its work; without, only settings that cannot be used.
        """
        supervisor = Supervisor("consumer of the queue", longest=_LONGEST, failed=self._failed)
        try:
            self._connect()
        except Unreachable:
            if once:
                raise
        try:
            while not stop.is_set():
                if once:
                    self._turn()
                    if self._empty():
                        break
                else:
                    with supervisor.turn():
                        self._turn()
                    stop.wait(supervisor.pause() if supervisor.state.failures else 0)
        finally:
            self._drop()
            self._writer.close()
            self._tell(stopped=True, connected=False)
        return self.state

    # -- one turn ------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait a moment for messages, then put what came on disk and acknowledge it."""
        self._expect_room()
        if self._connection is None:
            self._connect()
        with self._connected():
            self._listen(0 if self._waiting else _WAIT)
            self._settle()
        self._tell(connected=True, error="")

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Around what needs the connection: it is made again when it breaks there."""
        try:
            yield
        except (library().exceptions.AMQPError, OSError) as e:
            self._drop()
            raise Unreachable(f"The connection to {self._settings.shown()} was lost: {told(e)}.") from None

    def _listen(self, seconds: float) -> None:
        """Let in what the broker says, for so long at most, and answer its heartbeats."""
        self._connection.process_data_events(time_limit=seconds)
        if self._cancelled or not self._channel.is_open:  # the connection stands, and nothing would ever come again
            self._drop()
            raise Unreachable(f"{self._settings.shown()} has ended our subscription.", "Was a queue deleted?")

    def _connect(self) -> None:
        """Connect and subscribe; messages that were not acknowledged before come again."""
        connection = connect(self._settings)
        try:
            declare(connection, self._settings)
            self._dead = connection.channel()
            self._dead.confirm_delivery()
            self._channel, self._cancelled = connection.channel(), False
            self._channel.add_on_cancel_callback(self._cancel)
            self._channel.basic_qos(prefetch_count=self._settings.prefetch)
            for kind, queue in self._settings.queues().items():
                self._channel.basic_consume(queue, self._hear(kind, queue))
        except (library().exceptions.AMQPError, OSError, Unreachable) as e:
            _close(connection)
            if isinstance(e, Unreachable):
                raise
            raise Unreachable(f"{self._settings.shown()} does not let us consume: {told(e)}.") from None
        self._connection, self._waiting, self._last_message = connection, [], time.monotonic()
        self._note(f"Taking from {', '.join(self._settings.queues().values())} at {self._settings.shown()}.")

    def _cancel(self, _: Any) -> None:
        self._cancelled = True

    def _hear(self, kind: str, queue: str) -> Callable[..., None]:
        def heard(_: Any, method: Any, properties: Any, body: bytes) -> None:
            message = Message(kind, body, properties.message_id or "", properties.timestamp, properties.headers or {})
            self._waiting.append(
                _Delivery(method.delivery_tag, queue, message, method.redelivered, method.routing_key, properties)
            )
            self._last_message = time.monotonic()

        return heard

    def _settle(self) -> None:
        """Lines to disk, then dead letters to their queue, then the acknowledgement."""
        batch = self._waiting
        if not batch:
            return
        for delivery in batch:
            if delivery.understood is None and delivery.error is None:
                self._look_at(delivery)
        if any(d.redelivered for d in batch):
            self._recent.read(self._spool)
        lines: dict[bytes, bytes] = {}
        count = 0
        for delivery in batch:
            for line in delivery.understood.lines if delivery.understood else ():
                count += 1
                if not self._recent.holds(key := identity_of(line)):
                    lines[key] = orjson.dumps(line)
        if lines:
            self._writer.append(list(lines.values()))
            self._recent.add(lines)
        dead = [d for d in batch if d.error is not None]
        for delivery in dead:
            self._bury(delivery)
        self._channel.basic_ack(batch[-1].tag, multiple=True)
        self._waiting = []
        self._count(batch, taken=len(lines), known=count - len(lines), dead=len(dead))

    def _look_at(self, delivery: _Delivery) -> None:
        try:
            delivery.understood = self._door.take(delivery.message)
        except RecsysError as e:
            delivery.error = e
        except Exception as e:  # noqa: BLE001 - one strange message must not be delivered again for ever
            delivery.error = RecsysError(f"It could not be read: {type(e).__name__}.", "Report this as a bug.")

    def _bury(self, delivery: _Delivery) -> None:
        """Hand a message that can never be taken to the dead letters; the broker has it before it is acknowledged."""
        assert delivery.error is not None
        reason = str(delivery.error)[:_REASONS]
        ours = {
            "recsys-reason": reason,
            "recsys-code": delivery.error.code,
            "recsys-queue": delivery.queue,
            "recsys-routing-key": delivery.routing_key,
        }
        headers = {**(delivery.properties.headers or {}), **ours}
        if not fits(headers):
            headers = {"recsys-headers": "left out", **ours}
        properties = library().BasicProperties(
            headers=headers,
            message_id=delivery.message.message_id or None,
            timestamp=delivery.message.timestamp,
            content_type=delivery.properties.content_type,
            delivery_mode=2,
        )
        dead = self._settings.dead_letters
        self._dead.basic_publish(dead, delivery.routing_key, delivery.message.body, properties, mandatory=True)

    # -- how it is -----------------------------------------------------------------------------------------------------

    def _expect_room(self) -> None:
        """Like the server, take nothing while too much waits for the update worker; the broker keeps it meanwhile."""
        if time.monotonic() - self._looked > _STATE_EVERY:
            self._looked = time.monotonic()
            try:
                position = dict(self._artifacts.current(verify=False).manifest["spool"])
            except NoModel:
                position = {}
            waiting, since = self._spool.waiting(position)
            self._door.limits.note_waiting(waiting, time.time() - since)
        if self._door.limits.full:
            if self._connection is not None:
                with self._connected():
                    self._listen(0)
            raise StoreError(self._door.limits.full, "Run: recsys update-worker")

    def _empty(self) -> bool:
        if self._waiting or time.monotonic() - self._last_message < _IDLE:
            return False
        queues = self._settings.queues().values()
        with self._connected():
            return not any(self._channel.queue_declare(q, passive=True).method.message_count for q in queues)

    def _count(self, batch: list[_Delivery], *, taken: int, known: int, dead: int) -> None:
        state, read = self.state, [d.understood for d in batch if d.understood]
        self.state = replace(
            state,
            taken=state.taken + taken,
            known=state.known + known,
            dead=state.dead + dead,
            refused=state.refused + sum(one.refused for one in read),
            without_item=state.without_item + sum(one.without_item for one in read),
        )
        if dead and state.dead == self._told.dead:  # the first since the last word: a flood of them is one line
            first = next(d for d in batch if d.error)
            # Without the reason: it may quote what a customer is called, and logs name nobody.
            where = f"{self._settings.dead_letters}; its header recsys-reason says why"
            self._note(f"A message in {first.queue} was moved to {where}.")

    def _failed(self, error: Exception, state: LoopState) -> None:
        self._tell(connected=self._connection is not None, error=state.error)

    def _tell(self, **how: Any) -> None:
        """Leave word for status, doctor and the server, now and then, or at once when something has changed."""
        changed = any(getattr(self.state, name) != value for name, value in how.items())
        self.state = replace(self.state, **how)
        if changed or time.monotonic() - self._told_at > _STATE_EVERY:
            self._told_at = time.monotonic()
            self.state = self._told = replace(self.state, at=time.time())
            if self._artifacts.root.is_dir():
                consumer_state.file(self._artifacts.root).write(self.state.after(self._before))

    def _drop(self) -> None:
        """Forget the connection and what was not acknowledged, which comes again."""
        connection, self._connection, self._waiting = self._connection, None, []
        _close(connection)


def _close(connection: Any) -> None:
    if connection is not None and connection.is_open:
        with suppress(library().exceptions.AMQPError, OSError):  # it is gone
            connection.close()
