"""How long session-knn takes for an answer among a million sessions: CPU time of one guest's list, in process.

    python tests/benchmarks/bench_sessions.py [--sessions 1000000] [--items 50000]

Visits of two to a dozen clicks on items that sell by Zipf's law and stand near each other in a visit. What is asked for
are the best hundred after visits of the same kind, one at a time, from the history to the ordered codes, as the server
does (`serving.retrieval`).
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from recsys_cli.models.session_knn import SessionKNN, SessionKNNConfig, Sessions
from recsys_cli.schema import DAY, Histories

ASKED = 300


def visits(n: int, n_items: int, seed: int) -> Histories:
    """So many visits; each stays near the item that it begins with."""
    rng = np.random.default_rng(seed)
    length = 2 + rng.poisson(3, n)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(length)])
    begin = (n_items ** rng.random(n)).astype(np.int64)  # density 1 / rank
    step = rng.geometric(0.1, int(indptr[-1])) * rng.choice([-1, 1], int(indptr[-1]))
    item = np.clip(np.repeat(begin, length) + step, 0, n_items - 1).astype(np.int32)
    start = np.sort(rng.integers(0, 90 * DAY, n))
    ts = np.repeat(start, length) + 30 * (np.arange(int(indptr[-1])) - np.repeat(indptr[:-1], length))
    kind, qty = np.zeros(len(item), np.uint8), np.ones(len(item), np.float32)
    return Histories(indptr, item, ts, kind, qty, ("view",), np.ones(1, np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=50_000)
    given = parser.parse_args()
    config, histories = SessionKNNConfig(own=0.0), visits(given.sessions, given.items, 0)
    begin = time.process_time()
    model = SessionKNN(config, np.ones(given.items, np.float32), Sessions.of(histories, given.items, config))
    spent = time.process_time() - begin
    print(f"{given.sessions:,} sessions of {histories.n_events:,} events: index in {spent:.1f} CPU s")
    asked, now = visits(ASKED, given.items, 1), int(histories.ts.max())
    times = []
    for row in range(ASKED):
        one = asked.rows(np.array([row]))
        begin = time.thread_time()
        dense = model.score(one, now)[0]
        codes = np.flatnonzero(dense)
        best = codes[np.argsort(-dense[codes], kind="stable")[:100]]
        assert len(best)
        times.append(1000 * (time.thread_time() - begin))
    p50, p95, p99 = np.quantile(times, [0.5, 0.95, 0.99])
    print(f"one answer: p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f} CPU ms")


if __name__ == "__main__":
    main()
