"""How fast and in how much memory exports are taken: `python tests/benchmarks/bench_ingest.py [FOLDER]`, two minutes.

FOLDER (default: a temporary one, 1 GB) keeps the files between runs. Ten million events and a hundred thousand items of
the generator `../shared/tools/make_scale_shop.py`, again the same bytes, again as other bytes (which must be compared
row by row), one million rows of CSV as a machine and as a German spreadsheet write it, and the real shop's invoices.
Every command is the real one, in a process of its own; its peak memory is the kernel's figure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


@dataclass(frozen=True)
class Took:
    seconds: float
    peak_mb: float
    read: int
    new: int
    known: int


def measured(folder: Path, *arguments: str) -> tuple[bytes, float, float]:
    """What one command prints, seconds and peak in MB, in a process whose only child it is: the peak is its own."""
    began = time.monotonic()
    script = (
        "import resource,subprocess,sys\n"
        "p = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "sys.stdout.buffer.write(p.stdout)\n"
        "sys.stderr.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n"
        "sys.exit(p.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, sys.executable, "-m", "recsys_cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
        cwd=folder,
    )
    return done.stdout, time.monotonic() - began, int(done.stderr) * 1024 / 1e6


def ingest(db: Path, *files: Path) -> Took:
    out, seconds, peak = measured(db.parent, "ingest", *map(str, files), "--db", str(db), "--json")
    total = json.loads(out)["total"]
    return Took(seconds, peak, total["read"], total["new"], total["known"])


def make_files(folder: Path) -> None:
    if not (folder / "events.parquet").exists():
        tool = SHARED / "tools" / "make_scale_shop.py"
        subprocess.run([sys.executable, str(tool), str(folder)], check=True)
    events = f"'{folder / 'events.parquet'}'"
    with duckdb.connect(config={"memory_limit": "1GB"}) as con:
        if not (folder / "other_bytes.parquet").exists():
            con.execute(
                f"COPY (FROM {events}) TO '{folder / 'other_bytes.parquet'}' (FORMAT parquet, COMPRESSION snappy)"
            )
        if not (folder / "million.csv").exists():
            con.execute(f"COPY (FROM {events} LIMIT 1000000) TO '{folder / 'million.csv'}' (HEADER)")
        if not (folder / "german.csv").exists():
            con.execute(
                f"""COPY (SELECT user_id AS "Kundennummer", item_id AS "Artikelnummer", qty AS "Menge",
                                 strftime(to_timestamp(ts), '%d.%m.%Y %H:%M:%S') AS "Bestelldatum",
                                 replace(round(1 + hash(item_id) % 9900 / 100, 2)::VARCHAR, '.', ',') || ' €' AS "Preis"
                          FROM {events} LIMIT 1000000) TO '{folder / "german.csv"}' (HEADER, DELIMITER ';')"""
            )


def main() -> None:
    named = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = named or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make_files(folder)
        with tempfile.TemporaryDirectory(dir=folder) as state:
            big, small, real = (Path(state) / f"{n}.duckdb" for n in ("big", "small", "real"))
            runs = [
                ("100 thousand items, CSV", big, folder / "items.csv"),
                ("10 million events, Parquet", big, folder / "events.parquet"),
                ("the same file again", big, folder / "events.parquet"),
                ("the same events as other bytes", big, folder / "other_bytes.parquet"),
                ("1 million events, CSV", small, folder / "million.csv"),
                ("1 million events, German CSV", small, folder / "german.csv"),
                ("the real shop's invoices", real, SHARED / "data" / "online_retail_2009_2010.parquet"),
            ]
            print(f"{'':34}{'seconds':>8}{'peak MB':>9}{'read':>12}{'new':>12}{'known':>12}")
            for name, db, file in runs:
                if file.exists():
                    took = ingest(db, file)
                    counts = f"{took.read:12,}{took.new:12,}{took.known:12,}"
                    print(f"{name:34}{took.seconds:8.1f}{took.peak_mb:9,.0f}{counts}", flush=True)


if __name__ == "__main__":
    main()
