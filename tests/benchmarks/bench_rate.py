"""How long answers take at a fixed rate of customers nobody asked for before, on one worker.

    python tests/benchmarks/bench_rate.py SHOP [--rates 100,200,300,500] [--seconds 20]

SHOP is a folder with `shop.duckdb` and a trained version beside it. Requests are sent when they are due, whether or not
earlier ones were answered, and the time of an answer counts from the moment its request was due: a server that falls
behind is seen to (wrk waits for it). Each rate has a server of its own, for every customer to be cold; the processor
time of an answer is the server's own, HTTP included, and says more than the others where the machine is busy.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import tempfile
import time
from collections import deque
from pathlib import Path
from urllib.parse import quote

import duckdb
import httptools
import httpx
import numpy as np
from bench_serve import settings_of

from tests.api.conftest import Server
from tests.serving.shop import Shop

_CONNECTIONS = 64
_WARM = 200  # customers who are asked for first, and not counted: a server's first lists are slow


class Connection(asyncio.Protocol):
    """One connection, for one request at a time; it tells the client when its answer is complete."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._due = 0.0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._client.answered(self, self._due, self._parser.get_status_code())
        self._parser = httptools.HttpResponseParser(self)


class Client:
    """Sends requests at their time; those for which no connection is free wait, and the wait counts."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failed = 0
        self._free: deque[Connection] = deque()
        self._waiting: deque[tuple[bytes, float]] = deque()

    async def run(self, port: int, requests: list[bytes], rate: float) -> None:
        """All requests, `rate` a second."""
        loop = asyncio.get_running_loop()
        for _ in range(_CONNECTIONS):
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
            self._free.append(connection)
        begin = time.monotonic()
        for number, request in enumerate(requests):
            due = begin + number / rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self._waiting.append((request, due))
            self._send()
        while len(self.seconds) < len(requests):
            await asyncio.sleep(0.01)

    def _send(self) -> None:
        while self._waiting and self._free:
            self._free.popleft().ask(*self._waiting.popleft())

    def answered(self, connection: Connection, due: float, status: int) -> None:
        self.seconds.append(time.monotonic() - due)
        self.failed += status != 200
        self._free.append(connection)
        self._send()


def processor_seconds(pid: int) -> float:
    """Of a process and those that it started."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(processor_seconds(int(child)) for child in children)


def counted(server: Server) -> tuple[float, float]:
    """Lists that the ranker has ordered, and those for which time was up."""
    text = httpx.get(f"{server.url}/metrics", headers=server.header).text
    found = {name: float(value) for name, value in re.findall(r"^(recsys_ranker_\w+) (\S+)$", text, re.MULTILINE)}
    return found.get("recsys_ranker_seconds_count", 0.0), found.get("recsys_ranker_late_total", 0.0)


def measured(folder: Path, customers: list[str], rate: float, seconds: float) -> str:
    """A line of the table."""
    with tempfile.TemporaryDirectory() as held:
        server = Server(Shop(settings_of(folder)), Path(held) / "log", "--workers", "1")
        try:
            port = int(server.url.rpartition(":")[2])
            head = f"Host: shop\r\nX-API-Key: {server.key}\r\n\r\n"
            asked_for = (f"/recommend?k=10&user_id={quote(name)}" for name in customers)
            requests = [f"GET {path} HTTP/1.1\r\n{head}".encode() for path in asked_for]
            asyncio.run(Client().run(port, requests[:_WARM], 50))
            client, before = Client(), processor_seconds(server.process.pid)
            asked = requests[_WARM:][: int(rate * seconds)]
            asyncio.run(client.run(port, asked, rate))
            spent = 1000 * (processor_seconds(server.process.pid) - before) / len(asked)
            ordered, late = counted(server)
        finally:
            server.stop()
    half, most = 1000 * np.percentile(client.seconds, [50, 99])
    told = f"{client.failed} failed, {ordered:.0f} ordered, {late:.0f} late, load {os.getloadavg()[0]:.1f}"
    return f"| {rate:g} | {len(asked)} | {half:.1f} | {most:.1f} | {spent:.2f} | {told} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shop", type=Path)
    parser.add_argument("--rates", default="100,200,300,500")
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    with duckdb.connect(str(given.shop / "shop.duckdb"), read_only=True) as con:
        customers = [str(row[0]) for row in con.execute("SELECT DISTINCT user_id FROM events ORDER BY 1").fetchall()]
    random.Random(1).shuffle(customers)
    print("| a second | asked | p50 ms | p99 ms | CPU ms an answer | |\n|---|---|---|---|---|---|")
    for rate in map(float, given.rates.split(",")):
        print(measured(given.shop, customers, rate, given.seconds), flush=True)


if __name__ == "__main__":
    main()
