"""A shop ten times as large as what 4 GB are meant for: 100 million events are ingested and trained within 16 GB.

    python tests/benchmarks/bench_large.py [FOLDER] [--events N] [--users N] [--items N]

FOLDER (default: a temporary one, 4 GB) keeps the generator's file between runs; `../shared/tools/make_scale_shop.py`
makes it, with 1 million customers and 100,000 items, or as many as are said. Ingested with the memory that DuckDB has
by default, trained with `als`. Fails where a command took more than its limit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_ingest import SHARED, ingest, measured

# MB: DuckDB's 1,500 and Python's own; and what a machine of 16 GB can give to a training.
INGEST, TRAIN = 2_500, 16_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    for name, default in (("events", 100_000_000), ("users", 1_000_000), ("items", 100_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.folder or Path(temporary)).absolute()
        if not (folder / "items.csv").exists():
            size = [f"--{name}={getattr(asked, name)}" for name in ("events", "users", "items")]
            tool = SHARED / "tools" / "make_scale_shop.py"
            subprocess.run([sys.executable, str(tool), str(folder), *size], check=True)
        with tempfile.TemporaryDirectory(dir=folder) as state:
            shop = Path(state)
            took = ingest(shop / "recsys.duckdb", folder / "events.parquet", folder / "items.csv")
            print(f"ingest  {took.seconds:7.0f} s {took.peak_mb:8,.0f} MB  {took.new:,} rows", flush=True)
            out, seconds, peak = measured(shop, "train", "--model", "als", "--json")
            ndcg = json.loads(out)["metrics"]["metrics"]["als"]["ndcg@10"]["value"]
            print(f"train   {seconds:7.0f} s {peak:8,.0f} MB  NDCG@10 {ndcg:.4f}")
    if took.peak_mb > INGEST or peak > TRAIN:
        raise SystemExit("More memory than there may be.")


if __name__ == "__main__":
    main()
