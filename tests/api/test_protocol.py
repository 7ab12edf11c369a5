"""One client's pipelined requests do not make everybody else wait for all of them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, ClassVar

import uvicorn

from recsys_cli.api.protocol import Limits, Protocol
from recsys_cli.settings import ServeSettings

CONNECTIONS, EACH = 10, 8


class _Bounded(Protocol):
    limits: ClassVar[Limits] = Limits.of(ServeSettings())


class _App:
    """Notes in which turn of the loop each request was started."""

    def __init__(self) -> None:
        self.turn = 0
        self.started: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.started.append(self.turn)
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


async def _ask(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * (EACH - 1) + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    everything = await reader.read()
    writer.close()
    return everything.count(b"200 OK")


async def _crowd(app: _App) -> list[int]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        config = uvicorn.Config(app, http=_Bounded, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([door]))
        counting = asyncio.create_task(app.count())
        while not server.started:
            await asyncio.sleep(0)
        answered = await asyncio.gather(*(_ask(door.getsockname()[1]) for _ in range(CONNECTIONS)))
        server.should_exit = True
        await serving
        counting.cancel()
        return answered


def test_pipelined_requests_of_all_connections_start_one_at_a_time() -> None:
    app = _App()
    assert asyncio.run(_crowd(app)) == [EACH] * CONNECTIONS
    first = CONNECTIONS  # the first of each connection waits for nobody
    turns = app.started
    crowded = len(turns) - len(set(turns))
    assert len(turns) == CONNECTIONS * EACH
    assert crowded <= first, f"{crowded} requests started in a turn that had one already"
