"""Every model at its defaults on real data, beside the library implicit used plainly: the table of the README.

    python tests/benchmarks/bench_models.py [--data ../shared/data] [--sets retail,beauty] [--models als,ease,...]
    python tests/benchmarks/bench_models.py --readme README.md    # puts the tables where the README has them

retail: Online Retail, first year, real sales of known customers; cut 2010-11-01; what customers had is not asked for.
beauty: Amazon Beauty; each customer's last item.
sessions: simulated visits of a shop of clicks, the next click after every prefix, see `bench_next_click`.
Full catalogue, no sampled negatives. Prints Markdown. Nothing after the cut is looked at in fitting.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from bench_next_click import made, next_clicks

from recsys_cli.evaluation import Split, Task, last_split, per_user, recommend
from recsys_cli.evaluation.leaderboard import measured
from recsys_cli.models import registry
from recsys_cli.models.base import Model
from recsys_cli.models.popular import Popular, PopularConfig
from recsys_cli.schema import ITEM_COLUMNS, Dataset, Histories, IdMap, Interactions
from recsys_cli.tuning.auto import AUTO, pick

CUT = int(datetime(2010, 11, 1, tzinfo=UTC).timestamp())
SALES = """
    SELECT cast(cast("Customer ID" AS BIGINT) AS VARCHAR) AS user_id, upper(trim(StockCode)) AS item_id,
           cast(epoch(cast(InvoiceDate AS TIMESTAMP)) AS BIGINT) AS ts, cast(Invoice AS VARCHAR) AS basket,
           trim(Description) AS title
    FROM '{path}'
    WHERE "Customer ID" IS NOT NULL AND cast(Invoice AS VARCHAR) NOT LIKE 'C%' AND Quantity > 0 AND Price > 0
      AND regexp_full_match(upper(trim(StockCode)), '[0-9]{{5}}[A-Z]{{0,2}}')"""


def read(con: duckdb.DuckDBPyConnection, events: str, items: str) -> Dataset:
    """Events (user_id, item_id, ts, basket) and items (item_id, some of title and tags) as a data set."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE e AS {events}")
    con.execute(f"CREATE OR REPLACE TEMP TABLE c AS {items}")
    con.execute(
        "CREATE OR REPLACE TEMP TABLE ic AS SELECT item_id, row_number() OVER (ORDER BY item_id) - 1 AS code "
        "FROM (SELECT item_id FROM e UNION SELECT item_id FROM c)"
    )
    rows = con.sql(
        """SELECT u.code AS user, ic.code AS item, ts, dense_rank() OVER (ORDER BY user_id, basket) - 1 AS basket
           FROM e JOIN ic USING (item_id) JOIN (SELECT user_id, row_number() OVER (ORDER BY user_id) - 1 AS code
           FROM (SELECT DISTINCT user_id FROM e)) u USING (user_id) ORDER BY u.code, ts, e.rowid"""
    ).to_arrow_table()
    user, n = rows["user"].to_numpy(), len(rows)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(user))])
    ts = rows["ts"].to_numpy().astype(np.int64)
    item, kind = rows["item"].to_numpy().astype(np.int32), np.zeros(n, np.uint8)
    histories = Histories(indptr, item, ts, kind, np.ones(n, np.float32), ("purchase",), np.ones(1, np.float32))
    held = {d[0] for d in con.execute("DESCRIBE c").fetchall()}
    columns = ", ".join(
        name if name in held else f"NULL::{kind} AS {name}" for name, kind in ITEM_COLUMNS.items() if name != "item_id"
    )
    catalogue = con.sql(f"SELECT item_id, {columns} FROM ic LEFT JOIN c USING (item_id) ORDER BY code").to_arrow_table()
    users = IdMap(pa.array([str(u) for u in range(len(indptr) - 1)]))
    items_map = IdMap(catalogue["item_id"].combine_chunks())
    basket = rows["basket"].to_numpy().astype(np.int32)
    return Dataset(Interactions(histories, users, items_map, basket, int(ts.max())), catalogue)


def retail(data: Path) -> Split:
    """Online Retail, cut at 2010-11-01."""
    with duckdb.connect() as con:
        sales = SALES.format(path=data / "online_retail_2009_2010.parquet")
        whole = read(con, sales, f"SELECT item_id, mode(title) AS title FROM ({sales}) GROUP BY item_id")
    future = whole.interactions.histories.where(whole.interactions.histories.ts >= CUT)
    return Split(whole.before(CUT), CUT, future, "time")


def beauty(data: Path) -> Split:
    """Amazon Beauty, each customer's last item hidden."""
    with duckdb.connect() as con:
        events = f"SELECT user_id, item_id, ts, ts AS basket FROM '{data / 'amazon_beauty_events.parquet'}'"
        items = f"SELECT item_id::VARCHAR AS item_id, tags FROM read_csv('{data / 'amazon_beauty_items.csv'}')"
        return last_split(read(con, events, items))


SETS = {"retail": retail, "beauty": beauty}
SESSIONS = "sessions"


def ours(split: Split, task: Task, names: list[str]) -> Iterator[tuple[str, np.ndarray, float, float]]:
    """Name, lists, CPU seconds and megabytes of fitting."""
    floor = Popular.fit(split.train, PopularConfig())
    for name in names:
        if name != AUTO and not _fits(registry.get(name), split.train):
            continue
        begin = time.process_time()
        with measured() as spent:
            model = registry.get(name).fit(split.train, registry.get(name).Config()) if name != AUTO else auto(split)
        cpu = time.process_time() - begin
        yield name, recommend(model, floor, task, 20).items, cpu, spent["memory_mb"]


def _fits(cls: type[Model], data: Dataset) -> bool:
    return (not cls.needs or importlib.util.find_spec(cls.needs) is not None) and cls.affordable(data)


def auto(split: Split) -> Model:
    """What `recsys train` chooses and fits where no model is named, before the ranker."""
    won = pick(split.train)
    cls = registry.get(won.name)
    return cls.fit(split.train, cls.Config.from_values(won.final.whole if won.final else won.config))


def peers(split: Split, task: Task) -> Iterator[tuple[str, np.ndarray, float, float]]:
    """implicit as its front page shows it."""
    from implicit.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import BM25Recommender
    from threadpoolctl import threadpool_limits

    seen = split.seen()
    for label, make in (
        ("implicit ALS, used plainly", lambda: AlternatingLeastSquares(random_state=42)),
        ("implicit BM25, used plainly", lambda: BM25Recommender(K=100)),
    ):
        begin = time.process_time()
        with threadpool_limits(1, "blas"), measured() as spent:
            model = make()
            model.fit(sp.csr_matrix(seen), show_progress=False)
        cpu = time.process_time() - begin
        ids, _ = model.recommend(task.users, seen[task.users], N=20, filter_already_liked_items=True)
        yield label, ids.astype(np.int32), cpu, spent["memory_mb"]


Row = tuple[str, dict[str, float], float, float]  # label, metrics, CPU seconds and megabytes of fitting
TITLES = {
    "retail": "Online Retail, first year, cut 2010-11-01",
    "beauty": "Amazon Beauty, last item",
}
METRICS = ("ndcg@10", "hr@10", "ndcg@20", "recall@20")
BEGIN, END = "<!-- models -->\n", "<!-- /models -->"


def board(split: Split, names: list[str]) -> tuple[Task, list[Row]]:
    """All models on one data set, best first."""
    task = Task.of(split, max_users=1_000_000)
    rows: list[Row] = []
    for label, items, seconds, memory in [*peers(split, task), *ours(split, task, names)]:
        found = {metric: float(values.mean()) for metric, values in per_user(items, task).items()}
        rows.append((label, found, seconds, memory))
    return task, sorted(rows, key=lambda row: -row[1]["ndcg@10"])


def table(name: str, split: Split, task: Task, rows: list[Row], *, memory: bool) -> str:
    """The table of one data set in Markdown; with `memory` also the megabytes that fitting took."""
    heads = ["model", "NDCG@10", "HR@10", "NDCG@20", "Recall@20", "CPU s", *(["MB"] if memory else [])]
    who = f"{len(task.users):,} customers, {split.train.interactions.n_items:,} items"
    lines = [f"**{TITLES[name]}**: {who}{', new items only' if name == 'retail' else ''}", ""]
    lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for label, found, seconds, held in rows:
        cells = [label, *(f"{found[metric]:.4f}" for metric in METRICS)]
        cells.append(f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}")
        lines.append("| " + " | ".join([*cells, *([f"{held:.0f}"] if memory else [])]) + " |")
    return "\n".join(lines) + "\n"


def put(readme: Path, text: str) -> None:
    """Replace what stands between the marks."""
    whole = readme.read_text(encoding="utf-8")
    before, _, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{readme} has no lines {BEGIN.strip()} and {END}.")
    readme.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--sets", default="retail,beauty,sessions")
    parser.add_argument("--models", default=",".join([AUTO, *registry.MODELS]))
    parser.add_argument("--readme", type=Path, help="Put the tables between its marks.")
    given = parser.parse_args()
    started, shown = time.monotonic(), []
    for name in given.sets.split(","):
        if name == SESSIONS:
            shown.append(next_clicks(made(), cost=False))
            print("\n" + shown[-1], flush=True)
            continue
        split = SETS[name](given.data)
        task, rows = board(split, given.models.split(","))
        print("\n" + table(name, split, task, rows, memory=True), flush=True)
        shown.append(table(name, split, task, rows, memory=False))
    if given.readme:
        put(given.readme, "\n".join(shown))
    print(f"{time.monotonic() - started:.0f} s in all.")


if __name__ == "__main__":
    main()
