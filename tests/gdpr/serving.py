"""A real server on loopback, for tests of what people may expect of it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_cli.artifacts.keys import owner_key

from .conftest import Shop

SECRET = "shared with the platform"
PATIENCE = 60.0  # seconds, on a machine that does other things; the benchmark measures the second that is promised


@dataclass
class Server:
    """Where it listens, and what it wrote."""

    url: str
    log: Path
    key: str = ""

    def get(self, path: str) -> Any:
        request = urllib.request.Request(self.url + path, headers={"X-API-Key": self.key})
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            return json.loads(reply.read())

    def post(
        self, path: str, body: Any, header: str = "", secret: str = SECRET, stamp: int = 0, signed_for: str = ""
    ) -> tuple[int, Any]:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "X-API-Key": self.key}
        if header:
            signed = data
            if "recsys" in header.lower():  # ours covers the time and the route
                headers["X-Recsys-Timestamp"] = str(stamp or int(time.time()))
                signed = f"{headers['X-Recsys-Timestamp']}\n{signed_for or path}\n".encode() + data
            digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
            headers[header] = base64.b64encode(digest).decode()
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read())

    def known(self, user: str) -> bool:
        """Whether the answer is personal."""
        return bool(self.get(f"/recommend?user_id={user}")["known"])

    def seconds_until_unknown(self, user: str, limit: float = PATIENCE) -> float:
        started = time.monotonic()
        while self.known(user):
            assert time.monotonic() - started < limit, "still personalised"
            time.sleep(0.05)
        return time.monotonic() - started

    def said(self) -> str:
        """Its log without numbers of processes, which may be those of a customer."""
        return re.sub(r'"pid":\d+', "", self.log.read_text())


@contextlib.contextmanager
def serving(shop: Shop, workers: int = 1) -> Iterator[Server]:
    """`recsys serve` on this shop."""
    log = shop.root.parent / "server.log"
    command = [sys.executable, "-m", "recsys_cli", "serve", "--port", "0", "--workers", str(workers)]
    root = str(Path(__file__).parents[2])
    env = {k: v for k, v in os.environ.items() if not k.startswith("RECSYS_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *shop.flags()], stdout=out, stderr=out,
            env=env | {"PYTHONPATH": root, "RECSYS_SERVE_WEBHOOK_SECRET": SECRET},
        )  # fmt: skip
    server = Server("", log)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                # It says itself which port it has got: one that was free a moment ago may be somebody else's now.
                if found := re.search(r"http://\S+?:\d+", log.read_text()):
                    server.url, server.key = found[0], owner_key(shop.artifacts.root)
                    server.get("/ready")
                    break
            except OSError:
                pass
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(PATIENCE)
