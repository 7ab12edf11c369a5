"""uvicorn's HTTP protocol with a deadline for the head of a request, without which slow clients hold on for ever."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..errors import UsageError


class Protocol(HttpToolsProtocol):
    """Closes a connection on which the head of a request has not come whole within `read_timeout` seconds."""

    read_timeout: ClassVar[float] = 10.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arm()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._arm()

    def on_headers_complete(self) -> None:
        self._disarm()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets our shape of errors too."""
        body = orjson.dumps(UsageError(msg, "Check the client.").body())
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d"
        self.transport.write(head % len(body) + b"\r\n\r\n" + body)
        self.transport.close()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.read_timeout, self._give_up)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()
