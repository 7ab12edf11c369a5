"""uvicorn's HTTP protocol with a ceiling on all that a client can make the server hold, and for how long."""

from __future__ import annotations

import asyncio
import resource
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..errors import Refused, UsageError
from ..settings import ServeSettings

_SLICE = 4096  # bytes parsed at a time: what is begun in one slice is all that can exceed a ceiling
_MOST_HELD = 1 << 20  # bytes of requests that were read and not parsed, of one connection
_LINGER = 5.0  # seconds that a client gets for the rest of an answer when its connection is closed
_FILES = 64  # descriptors that connections leave to the rest of the process: versions, spool, keys


@dataclass(frozen=True)
class Limits:
    """Ceilings of one server process; see the settings of the same names."""

    read_timeout: float
    write_timeout: float
    connections: int
    pipelined: int
    head: int
    headers: int
    url: int

    @staticmethod
    def of(settings: ServeSettings) -> Limits:
        """From the settings, and never so many connections that no file could be opened any more."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        connections = settings.max_connections
        if files != resource.RLIM_INFINITY:
            connections = max(min(connections, files - _FILES), 1)
        return Limits(
            settings.read_timeout,
            settings.write_timeout,
            connections,
            settings.max_pipelined,
            settings.max_head,
            settings.max_headers,
            settings.max_url,
        )


class _Beyond(Exception):
    """Raised inside the parser to stop it."""


class Protocol(HttpToolsProtocol):
    """Serves one connection within `limits`.

    Left alone, the protocol queues every request that a client sends before it reads an answer, keeps a head that never
    ends, and waits for ever for a client that stops half way through a body or never reads.
    """

    limits: ClassVar[Limits]
    # Pipelined requests of all connections whose turn has come. One starts each time around the loop: hundreds at once
    # would make everybody else's one request wait for all of them.
    _waiting: ClassVar[deque[tuple[Protocol, Any, Any]]] = deque()
    _follows = False  # a request that starts now was waiting for the answer before it
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _inside = False  # a message has begun and is not complete
    _quiet = 0  # bytes since the last that led to something: of a head, a trailer, a chunk's extensions
    _held = b""  # read, and not parsed before some of the requests already begun are answered
    _refusal: tuple[str, UsageError] | None = None

    def connection_made(self, transport: Any) -> None:
        if len(self.connections) >= self.limits.connections:
            self.transport = transport
            self._refuse("503 Service Unavailable", Refused("Too many connections.", "Try again later."))
            return
        super().connection_made(transport)
        self._arm(self.limits.read_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._stop_waiting()
        self._held = b""
        if self.flow is not None:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._held:
            # Reading is paused, but what had been read by then still comes.
            self._held += data
            self.flow.pause_reading()
            if len(self._held) > _MOST_HELD:
                self.transport.abort()
            return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        for start in range(0, len(data), _SLICE):
            if self.transport.is_closing():
                return
            if len(self.pipeline) >= self.limits.pipelined:
                self._held = data[start:]
                self.flow.pause_reading()
                return
            piece = data if len(data) <= _SLICE else data[start : start + _SLICE]
            super().data_received(piece)
            self._quiet += len(piece)
            if self._quiet > self.limits.head + _SLICE and not self.transport.is_closing():
                self._refuse("431 Request Header Fields Too Large", _too_large("head", self.limits.head, "bytes"))
                return
        if not self._inside:
            self._disarm()
        elif self._deadline is None:
            self._arm(self.limits.read_timeout)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._inside = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.limits.url:
            self._refusal = "414 URI Too Long", _too_large("address", self.limits.url, "bytes")
            raise _Beyond

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > self.limits.headers:
            refusal = _too_large("head", self.limits.headers, "headers")
            self._refusal = "431 Request Header Fields Too Large", refusal
            raise _Beyond

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._quiet = 0
        self._disarm()  # and armed again for the body

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._quiet = 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._inside, self._quiet = False, 0

    def on_response_complete(self) -> None:
        self._follows = True
        super().on_response_complete()
        self._follows = False
        if self._held and len(self.pipeline) <= self.limits.pipelined // 2 and not self.transport.is_closing():
            held, self._held = self._held, b""
            self._feed(held)
        if (self.pipeline or self._held) and not self.transport.is_closing():
            self.flow.pause_reading()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if not self._follows:
            super()._start_asgi_task(cycle, app)
            return
        self._waiting.append((self, cycle, app))
        if len(self._waiting) == 1:
            self.loop.call_soon(self._start_next)

    def _start_next(self) -> None:
        protocol, cycle, app = self._waiting.popleft()
        if not protocol.transport.is_closing():
            super(Protocol, protocol)._start_asgi_task(cycle, app)
        if self._waiting:
            self.loop.call_soon(self._start_next)

    def pause_writing(self) -> None:
        """More of an answer is unread than is held for a client; one that goes on like that is let go."""
        super().pause_writing()
        self._stop_waiting()
        self._unread = self.loop.call_later(self.limits.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(_LINGER, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Input that is not HTTP, or too much of it, is answered in our shape of errors too."""
        self._refuse(*(self._refusal or ("400 Bad Request", UsageError(msg, "Check the client."))))

    def _refuse(self, status: str, error: UsageError | Refused) -> None:
        body = orjson.dumps(error.body())
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 1\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        self.loop.call_later(_LINGER, self.transport.abort)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._give_up)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_waiting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.cycle is not None and self._inside and not self.cycle.response_complete and self.cycle.more_body:
            # The handler reads the body, and says 408 at this same time: it may.
            self.loop.call_later(1.0, self.transport.abort)
        elif not self.transport.is_closing():
            self.transport.close()
            self.loop.call_later(_LINGER, self.transport.abort)


def _too_large(what: str, most: int, unit: str) -> UsageError:
    return UsageError(f"The request's {what} exceeds {most} {unit}.", "Send less of it.")
