"""Whatever a client does, what the server holds for it has a ceiling, and the others are answered."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
PATIENCE = 60.0
ASK = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
CHUNKED = b"POST /rank HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n"
SMALL = """[serve]
read_timeout = 1
write_timeout = 1
max_head = 4096
max_headers = 20
max_url = 2048
max_connections = 40
max_buffered = 1000000
"""


@pytest.fixture(scope="module")
def small(one_shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with low ceilings, so that they are reached at once."""
    from tests.api.conftest import Server, copy_of

    folder = tmp_path_factory.mktemp("small")
    (folder / "recsys.toml").write_text(SMALL, encoding="utf-8")
    made = Server(copy_of(one_shop, folder / "copy"), folder / "log")
    yield made
    made.stop()


def connect(server: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=PATIENCE)


def memory(server: Any) -> float:
    """Resident MB."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


def said(connection: socket.socket) -> bytes:
    """All that comes until the server hangs up, which it must."""
    everything = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            everything += part
    return everything


def push(connection: socket.socket, data: bytes, most: int) -> int:
    """Send again and again until the server takes no more, hangs up, or so many bytes are sent; how many were."""
    connection.settimeout(0.5)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < most:
            sent += connection.send(data)
    connection.settimeout(PATIENCE)
    return sent


def test_requests_before_answers_are_read_wait_outside(small: Any) -> None:
    before = memory(small)
    with connect(small) as one:
        sent = push(one, ASK * 2000, 200_000_000)
        assert sent < 100_000_000, "the server took more than it answers"
        assert small.http.get("/health").status_code == 200
        assert memory(small) < before + 60  # what waits is in the kernel; a queue of it all would be gigabytes


def test_every_pipelined_request_is_answered_in_turn(small: Any) -> None:
    paths = [f"/items/t{n % 10}" if n % 2 else "/health" for n in range(500)]
    asked = [f"GET {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {small.key}\r\n" for path in paths]
    with connect(small) as one:
        one.sendall("\r\n".join(asked).encode() + b"connection: close\r\n\r\n")
        answers = said(one)
    assert answers.count(b"HTTP/1.1 200 OK") == 500
    order = re.findall(rb'"item_id":"(t\d)"|"status":"(ok)"', answers)
    assert [(item or b"").decode() for item, _ in order] == [f"t{n % 10}" if n % 2 else "" for n in range(500)]


@pytest.mark.parametrize(
    ("begun", "more", "status"),
    [
        (b"GET /health HTTP/1.1\r\nx: ", b"a" * 1000, b"431"),
        (b"GET /health HTTP/1.1\r\n", b"a: b\r\n" * 30, b"431"),
        (b"GET /popular?x=", b"a" * 1000, b"414"),
        (CHUNKED + b"1\r\n[\r\n0\r\nx: ",
         b"a" * 1000, b""),
        (CHUNKED + b"1;x=", b"a" * 1000,
         b""),
    ],
    ids=["endless header", "endless headers", "endless address", "endless trailer", "endless chunk extension"],
)  # fmt: skip
def test_what_never_ends_is_cut_off(small: Any, begun: bytes, more: bytes, status: bytes) -> None:
    with connect(small) as one:
        one.sendall(begun)
        sent = push(one, more, 50_000_000)
        assert sent < 50_000_000
        answer = said(one)
    assert status in answer[:20] or not answer
    assert small.http.get("/health").status_code == 200


def test_who_does_not_read_is_let_go(small: Any) -> None:
    with connect(small) as one:
        push(one, b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 100, 50_000_000)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:  # the kernel says so once there is nobody at the other end
            try:
                one.send(b"G")
            except OSError:
                break
            time.sleep(0.1)
        else:
            raise AssertionError("still connected")


def test_half_a_body_does_not_stay(small: Any) -> None:
    head = f"POST /events HTTP/1.1\r\nhost: localhost\r\nx-api-key: {small.key}\r\ncontent-type: application/json\r\n"
    # Read by its handler, and by none: who asks /health needs no body.
    for line in (head, head.replace("POST /events", "GET /health")):
        with connect(small) as one:
            one.sendall(line.encode() + b"content-length: 900000\r\n\r\n" + b"[" * 1000)
            started = time.monotonic()
            said(one)
            assert time.monotonic() - started < 20


def test_bodies_together_have_a_ceiling(small: Any) -> None:
    head = f"POST /events HTTP/1.1\r\nhost: localhost\r\nx-api-key: {small.key}\r\ncontent-type: application/json\r\n"
    waiting = [connect(small) for _ in range(4)]
    try:
        for one in waiting:
            one.sendall(head.encode() + b"content-length: 900000\r\n\r\n" + b"[" * 400_000)
        answers = [said(one)[:12] for one in waiting]
    finally:
        for one in waiting:
            one.close()
    assert any(b"503" in answer for answer in answers), answers


def test_connections_have_a_ceiling(small: Any) -> None:
    small.http.get("/health")  # one that is open already, and stays usable
    many = [connect(small) for _ in range(60)]
    try:
        assert small.http.get("/health").status_code == 200
        assert any(b"503" in said(one)[:20] for one in many[-5:])
    finally:
        for one in many:
            one.close()
