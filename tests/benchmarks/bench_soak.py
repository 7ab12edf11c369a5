"""Hostile and honest traffic together for half an hour: memory stays flat, and honest answers stay quick.

Run by name: RECSYS_TEST_SECONDS=1800 pytest tests/benchmarks/bench_soak.py -s
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import socket
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.faults.harness import Shop

SECONDS = float(os.environ.get("RECSYS_TEST_SECONDS", "1800"))
QUIET = max(SECONDS / 10, 20.0)  # seconds of honest traffic alone, before and after
GROWTH, SLOWER = 1.5, 2.0  # asked: memory of the start, p99 of the honest alone
Spawned = Any


def _connect(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=5)
    made.settimeout(1)
    return made


def pipelined(port: int, page: str) -> None:
    """Ask two thousand times in one breath, and read nothing."""
    with _connect(port) as s:
        s.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 2000)
        time.sleep(0.5)


def endless_headers(port: int, page: str) -> None:
    """Headers until the server has had enough."""
    with _connect(port) as s:
        s.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n")
        for n in range(5000):
            s.sendall(b"X-%d: %s\r\n" % (n, b"a" * 200))


def half_a_body(port: int, page: str) -> None:
    """Announce a body, send a piece of it, and wait."""
    head = f"POST /events HTTP/1.1\r\nHost: a\r\nX-API-Key: {page}\r\nContent-Length: 100000\r\n\r\n"
    with _connect(port) as s:
        s.sendall(head.encode() + b'{"item_id"')
        time.sleep(3)


def unread(port: int, page: str) -> None:
    """Ask for long lists on thirty connections, and read none."""
    asked = f"GET /popular?k=100 HTTP/1.1\r\nHost: a\r\nX-API-Key: {page}\r\n\r\n".encode() * 20
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(_connect(port)).sendall(asked)
        time.sleep(2)


def long_url(port: int, page: str) -> None:
    """An address of a megabyte."""
    with _connect(port) as s:
        s.sendall(b"GET /recommend?user_id=" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        s.recv(1000)


def noise(port: int, page: str) -> None:
    """Bytes that are not HTTP."""
    with _connect(port) as s:
        s.sendall(os.urandom(4000))
        s.recv(1000)


def nested(port: int, page: str) -> None:
    """JSON nested a hundred thousand deep, and a list of a hundred thousand events."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": page}, timeout=10) as http:
        http.post("/events", content=b"[" * 100_000)
        http.post("/events", content=json.dumps([{"item_id": "a"}] * 100_000))


def robot(port: int, page: str) -> None:
    """One visit that looks at thousands of items."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": page}, timeout=10) as http:
        view = {"session_id": "robot", "item_id": "a-item1", "event_type": "view"}
        for _ in range(20):
            http.post("/events", json=[view] * 100)


def strangers(port: int, page: str) -> None:
    """Many sessions, items, filters and paths that nobody knows."""
    number = random.randrange(10**9)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": page}, timeout=10) as http:
        for n in range(50):
            http.get("/recommend", params={"session_id": f"s{number}-{n}", "filter": f"price < {number + n}"})
            http.get(f"/similar-items/nothing-{number}-{n}")
            http.get(f"/nowhere-{number}-{n}")


HOSTILE: tuple[Callable[[int, str], None], ...] = (
    pipelined, endless_headers, half_a_body, unread, long_url, noise, nested, robot, strangers,
)  # fmt: skip


def attack(number: int, port: int, page: str, stop: Event, done: Spawned) -> None:
    """One kind of trouble, again and again.

    At the lowest priority: attackers bring their own machines, and shall not take the processor of this one.
    """
    os.nice(19)
    while not stop.is_set():
        with contextlib.suppress(OSError, httpx.HTTPError):
            HOSTILE[number](port, page)
        done[number] += 1
        stop.wait(0.5)


def ask(port: int, key: str, stop: Event, answers: Spawned) -> None:
    """An honest shop: a list every 20 ms, an event for every tenth; seconds of each and what was refused."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": key}, timeout=60) as http:
        number = 0
        while not stop.is_set():
            number += 1
            user, started = f"{'ab'[number % 2]}{number % 100}", time.perf_counter()
            status = http.get("/recommend", params={"user_id": user, "k": 10}).status_code
            answers.append((time.time(), time.perf_counter() - started, status))
            if number % 10 == 0:
                event = {"user_id": user, "item_id": "a-item3", "event_type": "view"}
                answers.append((time.time(), 0.0, http.post("/events", json=event).status_code))
            stop.wait(0.02)


def resident(group: int) -> int:
    """Bytes resident of a process group."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) == group:
                total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return total


def p99(answers: list[tuple[float, float, int]], begin: float, end: float) -> float:
    """Milliseconds of the slowest hundredth between two moments."""
    return float(np.percentile([took * 1e3 for at, took, _ in answers if begin <= at < end and took], 99))


def test_half_an_hour(tmp_path: Path) -> None:
    shop = Shop(tmp_path, random.Random(8))
    shop.ingest(shop.new_file(5000))
    shop.run("train", "--model", "als", "--set", "factors=16", "--set", "iterations=5")
    page = json.loads(shop.run("keys", "add", "shelf", "--scope", "page", "--scope", "ingest", "--json"))["key"]
    shop.serve_alone()
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as shared:
        answers, done = shared.list(), shared.list([0] * len(HOSTILE))
        stop, stop_attack = spawn.Event(), spawn.Event()
        honest = spawn.Process(target=ask, args=(shop.port, shop.key, stop, answers))
        honest.start()
        time.sleep(5)
        marks = [time.time()]
        time.sleep(QUIET)
        before, marks = resident(shop.group), [*marks, time.time()]
        attackers = [
            spawn.Process(target=attack, args=(n, shop.port, page, stop_attack, done)) for n in range(len(HOSTILE))
        ]
        for process in attackers:
            process.start()
        sizes = []
        while time.time() < marks[-1] + SECONDS:
            shop.run("update-worker", "--once")
            sizes.append(resident(shop.group))
            time.sleep(5)
        stop_attack.set()
        for process in attackers:
            process.join()
        marks.append(time.time())
        time.sleep(QUIET)
        marks.append(time.time())
        stop.set()
        honest.join()
        told, attacks = list(answers), dict(zip((f.__name__ for f in HOSTILE), done, strict=True))
    shop.stop()
    alone, attacked, after = (p99(told, a, b) for a, b in itertools.pairwise(marks))
    statuses = {status for _, _, status in told}
    print(
        f"memory {before / 1e6:.0f} MB alone, {max(sizes) / 1e6:.0f} at most, {sizes[-1] / 1e6:.0f} at the end; "
        f"honest p99 {alone:.1f} ms alone, {attacked:.1f} attacked, {after:.1f} after; "
        f"{len(told):,} answers {statuses}; {attacks}"
    )
    assert statuses == {200, 202}
    assert max(sizes) < GROWTH * before
    assert attacked < SLOWER * max(alone, after)
    assert all(attacks.values())
