"""A real server on loopback, for tests of what people may expect of it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .conftest import Shop

SECRET = "shared with the platform"


@dataclass
class Server:
    """Where it listens, and what it wrote."""

    url: str
    log: Path

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as reply:
            return json.loads(reply.read())

    def post(self, path: str, body: Any, header: str = "", secret: str = SECRET) -> tuple[int, Any]:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if header:
            digest = hmac.new(secret.encode(), data, hashlib.sha256).digest()
            headers[header] = base64.b64encode(digest).decode()
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read())

    def known(self, user: str) -> bool:
        """Whether the answer is personal."""
        return bool(self.get(f"/recommend?user_id={user}")["known"])

    def seconds_until_unknown(self, user: str, limit: float = 10) -> float:
        started = time.monotonic()
        while self.known(user):
            assert time.monotonic() - started < limit, "still personalised"
            time.sleep(0.05)
        return time.monotonic() - started


@contextlib.contextmanager
def serving(shop: Shop, workers: int = 1) -> Iterator[Server]:
    """`recsys serve` on this shop."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = shop.root.parent / "server.log"
    command = [sys.executable, "-m", "recsys_cli.cli.main", "serve", "--port", str(port), "--workers", str(workers)]
    root = str(Path(__file__).parents[2])
    env = {k: v for k, v in os.environ.items() if not k.startswith("RECSYS_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *shop.flags()], stdout=out, stderr=out,
            env=env | {"PYTHONPATH": root, "RECSYS_SERVE_WEBHOOK_SECRET": SECRET},
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", log)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                server.get("/ready")
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(20)
