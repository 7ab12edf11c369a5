"""What the log of answers costs the server: CPU of an answer with it and without; `python -m pytest FILE -s`.

CPU seconds of the server's process, in bursts that alternate between two servers: a busy machine moves both.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Server
from tests.serving.shop import make_shop

BURST, ROUNDS = 500, 12
MOST = 1.05  # times the CPU of an answer that is not logged


def seconds(server: Server) -> float:
    """CPU of all threads so far."""
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def burst(server: Server) -> float:
    before = seconds(server)
    for n in range(BURST):
        server.get("/recommend", user_id=f"t{n % 20}", k=10)
    return (seconds(server) - before) / BURST


@pytest.fixture
def servers(tmp_path: Path) -> Any:
    shop = make_shop(tmp_path / "shop")
    made = []
    for share in ("1.0", "0.0"):
        folder = tmp_path / share
        folder.mkdir()
        (folder / "recsys.toml").write_text(f"[serve]\nlog_share = {share}\n")
        made.append(Server(shop, folder / "log", cwd=folder))
    yield made
    for server in made:
        server.stop()


def test_an_answer_costs_little_more(servers: list[Server]) -> None:
    for server in servers:
        burst(server)
    ratios = []
    for number in range(ROUNDS):
        order = (0, 1) if number % 2 else (1, 0)
        took = {place: burst(servers[place]) for place in order}
        ratios.append(took[0] / took[1])
        print(f"{took[0] * 1e6:.0f} us logged, {took[1] * 1e6:.0f} us not")
    print(f"median ratio {statistics.median(ratios):.3f}")
    assert statistics.median(ratios) < MOST
