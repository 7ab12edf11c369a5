"""The next click of a visit: `auto` and our session models beside V-SKNN and STAN, on visits that have an order.

    python tests/benchmarks/bench_next_click.py [--sessions 30000] [--items 4000] [--asked 300] [--events FILE.parquet]

Made-up visits of a shop of clicks: each has a kind of product in mind, goes from a product to one of a few that follow
it, comes back to one it saw, or jumps to what is popular these days, and products come and go. Or clicks of your own:
a Parquet file of session_id, item_id and ts. The visits of the last day are hidden; after each of their prefixes the
next click is looked for among the first twenty of all products (HR@20, MRR@20), as is usual for RSC15.

The peers are written from their papers, at their usual settings: V-SKNN (Ludewig and Jannach 2018: neighbours among the
newest 5,000 visits that share an item, the weight of an item of the visit falls by its place) and STAN (Garg et al.
2019: ageing within the visit, of the neighbour, and by distance in the neighbour).
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from recsys_cli.models import registry
from recsys_cli.models.base import Model
from recsys_cli.schema import DAY, ITEM_COLUMNS, Dataset, Histories, IdMap, Interactions
from recsys_cli.tuning.auto import pick

TOP = 20
Ask = Callable[[list[int], int], list[int]]  # the items of a visit so far and the time -> the best twenty


def made(sessions: int = 30_000, n_items: int = 4_000, seed: int = 0) -> Histories:
    """Visits over 30 days; see the module."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, max(n_items // 80, 1), n_items)
    of_kind = [np.flatnonzero(kind == k) for k in range(kind.max() + 1)]
    fame = rng.pareto(1.1, n_items) + 0.05
    born, gone = rng.uniform(-60, 28, n_items), rng.exponential(40, n_items)
    follow = [
        rng.choice(of_kind[kind[i]], 12, p=fame[of_kind[kind[i]]] / fame[of_kind[kind[i]]].sum())
        for i in range(n_items)
    ]
    follow_weight = 1 / np.arange(1, 13) ** 1.2
    follow_weight /= follow_weight.sum()
    start = np.sort(rng.uniform(0, 30, sessions))
    rows: list[list[int]] = []
    famous: list[np.ndarray] = []
    for day in range(30):
        alive = fame * ((born <= day) & (day < born + gone + 5))
        famous.append(np.cumsum(alive / alive.sum()))
    for day in start.astype(int):
        row = [int(np.searchsorted(famous[day], rng.random()))]
        for _ in range(1 + rng.geometric(0.3)):
            way = rng.random()
            if way < 0.15 and len(row) > 1:
                row.append(int(rng.choice(row[:-1])))
            elif way < 0.75:
                row.append(int(follow[row[-1]][rng.choice(12, p=follow_weight)]))
            elif way < 0.92:
                row.append(int(rng.choice(follow[row[0]])))
            else:
                row.append(int(np.searchsorted(famous[day], rng.random())))
        rows.append(row)
    length = np.array([len(row) for row in rows])
    ts = np.repeat((start * DAY).astype(np.int64), length) + 40 * np.concatenate([np.arange(n) for n in length])
    return clicks(np.array([i for row in rows for i in row], np.int32), ts, length)


def clicks(item: np.ndarray, ts: np.ndarray, length: np.ndarray) -> Histories:
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(length)])
    kind, qty = np.zeros(len(item), np.uint8), np.ones(len(item), np.float32)
    return Histories(indptr, item, ts, kind, qty, ("view",), np.ones(1, np.float32))


def of_file(path: Path) -> Histories:
    """Visits of a file."""
    rows = duckdb.execute(
        """SELECT dense_rank() OVER (ORDER BY session_id) - 1 AS s, dense_rank() OVER (ORDER BY item_id) - 1 AS i,
                  ts::BIGINT AS ts FROM read_parquet(?) ORDER BY s, ts""",
        [str(path)],
    ).fetchnumpy()
    return clicks(rows["i"].astype(np.int32), rows["ts"].astype(np.int64), np.bincount(rows["s"]))


def dataset(h: Histories, n_items: int) -> Dataset:
    items = IdMap(pa.array([f"i{n}" for n in range(n_items)]))
    users = IdMap(pa.array([f"s{n}" for n in range(len(h))]))
    kinds = {"VARCHAR": pa.string(), "DOUBLE": pa.float64(), "BIGINT": pa.int64(), "BOOLEAN": pa.bool_()}
    columns = {name: pa.nulls(n_items, kinds[kind]) for name, kind in ITEM_COLUMNS.items()} | {"item_id": items.ids}
    more = {"attributes": pa.nulls(n_items, pa.string()), "first_seen": pa.nulls(n_items, pa.int64())}
    basket = h.row_of_event.astype(np.int32)
    return Dataset(Interactions(h, users, items, basket, int(h.ts.max())), pa.table({**columns, **more}))


class Neighbours:
    """What both peers look visits up in."""

    def __init__(self, h: Histories, newest: int) -> None:
        self.newest = newest
        self.rows = [h.item[h.indptr[r] : h.indptr[r + 1]].tolist() for r in range(len(h))]
        self.end = h.ts[h.indptr[1:] - 1]
        self.having: dict[int, list[int]] = defaultdict(list)
        for r in np.argsort(self.end, kind="stable").tolist():
            for item in dict.fromkeys(self.rows[r]):
                self.having[item].append(r)

    def sharing(self, items: list[int]) -> list[int]:
        """The newest visits that share an item."""
        found = {r for item in set(items) for r in self.having[item][-self.newest :]}
        return sorted(found, key=lambda r: -self.end[r])[: self.newest]


def v_sknn(held: Neighbours, k: int = 200) -> Ask:
    def ask(items: list[int], now: int) -> list[int]:
        weight = {item: (place + 1) / len(items) for place, item in enumerate(items)}
        alike = []
        for r in held.sharing(items):
            shared = set(held.rows[r]) & weight.keys()
            alike.append((sum(weight[i] for i in shared) / len(weight), r))
        score: dict[int, float] = defaultdict(float)
        for worth, r in sorted(alike, key=lambda a: -a[0])[:k]:
            row = set(held.rows[r])
            back = next(n for n, item in enumerate(reversed(items), 1) if item in row)
            for item in row:
                score[item] += worth / back
        return sorted(score, key=lambda i: -score[i])[:TOP]

    return ask


def stan(held: Neighbours, k: int = 500, here: float = 1.02, days: float = 5.0, there: float = 2.05) -> Ask:
    def ask(items: list[int], now: int) -> list[int]:
        weight = {item: np.exp((place + 1 - len(items)) / here) for place, item in enumerate(items)}
        alike = []
        for r in held.sharing(items):
            row = held.rows[r]
            cosine = sum(weight[i] for i in set(row) & weight.keys()) / np.sqrt(len(weight) * len(set(row)))
            alike.append((cosine * np.exp(-(now - held.end[r]) / (days * DAY)), r))
        score: dict[int, float] = defaultdict(float)
        for worth, r in sorted(alike, key=lambda a: -a[0])[:k]:
            row = held.rows[r]
            last = max(place for place, item in enumerate(row) if item in weight)
            for place, item in enumerate(row):
                score[item] += worth * np.exp(-abs(place - last) / there)
        return sorted(score, key=lambda i: -score[i])[:TOP]

    return ask


def by_model(model: Model) -> Ask:
    def ask(items: list[int], now: int) -> list[int]:
        n = len(items)
        one = clicks(np.array(items, np.int32), now + np.arange(n) - n, np.array([n]))
        scores = model.score(one, now)[0]
        codes = np.flatnonzero(scores)
        return codes[np.argsort(-scores[codes], kind="stable")[:TOP]].tolist()

    return ask


def next_clicks(h: Histories, most: int = 300, *, cost: bool = True) -> str:
    """The table in Markdown, over at most so many hidden visits; with `cost` also CPU times."""
    begun = h.ts[h.indptr[:-1]]
    past, later = h.rows(np.flatnonzero(begun < h.ts.max() - DAY)), h.rows(np.flatnonzero(begun >= h.ts.max() - DAY))
    n_items = int(h.item.max()) + 1
    known = np.bincount(past.item, minlength=n_items) > 0
    chosen = np.random.default_rng(0).permutation(len(later))[:most]
    seen = f"{past.n_events:,} clicks of {len(past):,} visits on {n_items:,} products"
    lines = [
        f"**Simulated visits, next click after every prefix**: {seen}; {len(chosen):,} visits of the day after",
        "",
    ]
    heads = ["model", "HR@20", "MRR@20", *(["fit CPU s", "CPU ms a list"] if cost else [])]
    lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, make in _ways(past, n_items).items():
        begin = time.process_time()
        ask = make()
        fitted, hits, worth, asked = time.process_time() - begin, 0, 0.0, 0
        begin = time.process_time()
        for r in chosen.tolist():
            row, at = later.item[later.indptr[r] : later.indptr[r + 1]].tolist(), int(later.ts[later.indptr[r]])
            for place in range(1, len(row)):
                if known[row[place]]:
                    found = ask(row[:place], at + 40 * place)
                    asked += 1
                    if row[place] in found:
                        hits, worth = hits + 1, worth + 1 / (1 + found.index(row[place]))
        spent = 1000 * (time.process_time() - begin) / max(asked, 1)
        cells = [name, f"{hits / asked:.4f}", f"{worth / asked:.4f}"]
        lines.append("| " + " | ".join(cells + ([f"{fitted:.1f}", f"{spent:.2f}"] if cost else [])) + " |")
    return "\n".join(lines) + "\n"


def _ways(past: Histories, n_items: int) -> dict[str, Callable[[], Ask]]:
    train, held = dataset(past, n_items), Neighbours(past, 5_000)
    ways: dict[str, Callable[[], Ask]] = {
        "V-SKNN, as in its paper": lambda: v_sknn(held),
        "STAN, as in its paper": lambda: stan(held),
    }
    for name in ("next-item", "session-knn"):
        cls = registry.get(name)
        ways[name] = lambda cls=cls: by_model(cls.fit(train, cls.Config(), seed=1).bound(past))

    def auto() -> Ask:
        won = pick(train, seed=1)
        cls = registry.get(won.name)
        config = won.final.whole if won.final else won.config
        return by_model(cls.fit(train, cls.Config.from_values(config), seed=1).bound(past))

    return ways | {"auto": auto}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=30_000)
    parser.add_argument("--items", type=int, default=4_000)
    parser.add_argument("--asked", type=int, default=300, help="Hidden visits asked about, at most.")
    parser.add_argument("--events", type=Path)
    given = parser.parse_args()
    h = of_file(given.events) if given.events else made(given.sessions, given.items)
    print(next_clicks(h, given.asked))


if __name__ == "__main__":
    main()
