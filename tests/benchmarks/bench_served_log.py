"""What the log of answers costs the server, on the generator's shop of 100,000 items; `python -m pytest FILE -s`.

Two servers on the same versions, one that logs every answer and one that logs none, are asked by wrk in turns: a busy
machine moves both. What is compared is the CPU of an answer, answers a second, and p99; the CPU is judged, which other
work on the machine moves least. Needs wrk and the generator; `RECSYS_BENCH` and `RECSYS_BENCH_EVENTS` as in
`bench_serve.py`.
"""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import Server
from tests.benchmarks.bench_serve import LUA, Bench, large_shop, settings_of
from tests.serving.shop import Shop

SECONDS, ROUNDS = 1, 60
MOST = 1.05  # times the CPU of an answer that is not logged


def cpu(server: Server) -> float:
    """Seconds of all threads so far."""
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def burst(bench: Bench) -> tuple[float, float, float]:
    """CPU seconds of an answer, answers a second, and milliseconds within which 99 of 100 came."""
    before = cpu(bench.server)
    figures = bench.wrk("warm", seconds=SECONDS)
    return (cpu(bench.server) - before) / (figures["rps"] * SECONDS), figures["rps"], figures["p99"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Bench]]:
    """The server that logs, and the one that does not."""
    whole = large_shop(tmp_path_factory)
    made = []
    for share in ("1.0", "0.0"):
        folder = tmp_path_factory.mktemp("served")
        # Versions are immutable, so that both servers may have the same files; what they write is their own.
        shutil.copytree(whole, folder, copy_function=_linked, dirs_exist_ok=True)
        (folder / "recsys.toml").write_text(f"[serve]\nlog_share = {share}\n")
        (folder / "wrk.lua").write_text(LUA)
        made.append(Bench(Server(Shop(settings_of(folder)), folder / "log", cwd=folder), folder))
    yield made
    for one in made:
        one.server.stop()


def _linked(source: str, target: str) -> None:
    if "/versions/" in source:
        os.link(source, target)
    elif not source.endswith(".parquet"):
        shutil.copy2(source, target)


def test_an_answer_costs_little_more(pair: list[Bench]) -> None:
    for one in pair:
        one.wrk("warm", seconds=10)
    ratios, pooled = [], [[0.0, 0.0], [0.0, 0.0]]  # CPU seconds and answers of both
    for number in range(ROUNDS):
        took = {place: burst(pair[place]) for place in ((0, 1) if number % 2 else (1, 0))}
        for place, (spent, rate, _) in took.items():
            pooled[place] = [pooled[place][0] + spent * rate * SECONDS, pooled[place][1] + rate * SECONDS]
        ratios.append([a / b for a, b in zip(took[0], took[1], strict=True)])
        words = ("logged", "not logged")
        print(
            "; ".join(
                f"{words[n]} {took[n][0] * 1e6:.0f} us, {took[n][1]:.0f}/s, p99 {took[n][2]:.2f} ms" for n in took
            )
        )
    each, second, slowest = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"logged against not, medians of pairs: CPU {each:.3f}, rate {second:.3f}, p99 {slowest:.3f}")
    whole = [seconds / answers for seconds, answers in pooled]
    print(f"over all bursts: {whole[0] * 1e6:.0f} us logged, {whole[1] * 1e6:.0f} us not, {whole[0] / whole[1]:.3f}")
    assert each < MOST
