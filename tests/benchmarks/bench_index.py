"""The index of a catalogue of millions of items: time to build, memory, recall and time of a search on one core.

    python -m tests.benchmarks.bench_index [--items 10000000] [--fast-scan] [--folder DIR]

The vectors are like those of a trained model: of low rank with decaying weights, in clusters of unequal size, noise in
all directions, and lengths that grow with popularity (log-normal). The queries are what customers' vectors are,
weighted sums of the vectors of a few items of one or two tastes. Building and searching run in processes of their own,
so that each has its own peak of memory; vectors are kept in half precision on disk, and mapped. `--fast-scan` measures
faiss's IVF with 4-bit fast-scan codes and an exact second look beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from recsys_cli.publishing.index import save
from recsys_cli.publishing.large_index import build_large, exact_best
from recsys_cli.schema import Float32
from recsys_cli.serving.item_index import ItemIndex

WIDTH = 128
RANK = 48
ITEMS_A_CLUSTER = 2000
NOISE = 0.25  # length beside that of what is of low rank
SPREAD = 0.6  # of the logarithm of lengths
BLOCK = 250_000
QUERIES = 256  # for the choice of probes; as many others are judged by
K = 500


class Shop:
    """Vectors of items and customers, the same for the same number of items."""

    def __init__(self, items: int) -> None:
        rng = np.random.default_rng(0)
        self.items = items
        self.decay = (np.arange(1, RANK + 1) ** -0.5).astype(np.float32)
        self.basis = rng.normal(size=(RANK, WIDTH)).astype(np.float32) / np.sqrt(RANK).astype(np.float32)
        self.clusters = max(items // ITEMS_A_CLUSTER, 50)
        self.centres = rng.normal(size=(self.clusters, RANK)).astype(np.float32) * self.decay

    def vectors(self, cluster: Any, rng: np.random.Generator) -> Float32:
        n = len(cluster)
        own = rng.standard_normal((n, RANK), dtype=np.float32) * (0.7 * self.decay)
        rows = (self.centres[cluster] + own) @ self.basis
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows += rng.standard_normal((n, WIDTH), dtype=np.float32) * np.float32(NOISE / np.sqrt(WIDTH))
        rows *= rng.lognormal(0, SPREAD, (n, 1)).astype(np.float32)
        return rows

    def drawn(self, n: int, rng: np.random.Generator) -> Any:
        """Clusters, the first ones larger."""
        return (self.clusters * rng.random(n) ** 2).astype(np.int64)

    def write(self, path: Path) -> None:
        out = np.lib.format.open_memmap(path, "w+", np.float16, (self.items, WIDTH))
        for start in range(0, self.items, BLOCK):
            n = min(BLOCK, self.items - start)
            rng = np.random.default_rng([1, start])
            out[start : start + n] = self.vectors(self.drawn(n, rng), rng)
        out.flush()

    def queries(self, n: int, seed: int) -> Float32:
        rng = np.random.default_rng([2, seed])
        rows = np.zeros((n, WIDTH), dtype=np.float32)
        for row in rows:
            tastes = self.drawn(int(rng.integers(1, 3)), rng)
            bought = self.vectors(rng.choice(tastes, int(rng.integers(1, 13))), rng)
            row += (bought * rng.random((len(bought), 1), dtype=np.float32)).sum(axis=0)
        return rows


def memory() -> dict[str, float]:
    """Peak and present resident gigabytes of this process; pages of files are in both."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {key: round(int(lines[key].split()[0]) / 2**20, 2) for key in ("VmHWM", "RssAnon", "RssFile")}


def build(folder: Path, items: int, fast_scan: bool) -> dict[str, Any]:
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    started, cpu = time.time(), time.process_time()
    made = build_large(vectors, Shop(items).queries(QUERIES, 1))
    save(made, folder / "index.faiss")
    took = {"wall_s": round(time.time() - started), "cpu_s": round(time.process_time() - cpu)}
    figures = {"build": took | memory() | made.figures}
    if fast_scan:
        figures["fast_scan_build"] = _fast_scan(vectors, made, folder)
    truth = exact_best(vectors, Shop(items).queries(QUERIES, 2), K)
    np.save(folder / "truth.npy", truth)
    return figures


def _fast_scan(vectors: Any, made: ItemIndex, folder: Path) -> dict[str, Any]:
    """The same cells with codes of 4 bits for every two numbers."""
    started = time.time()
    nearest = faiss.IndexFlatL2(WIDTH)
    centres = made.index.quantizer.reconstruct_n(0, made.index.nlist)
    nearest.add(centres)
    scan = faiss.IndexIVFPQFastScan(nearest, WIDTH, made.index.nlist, WIDTH // 2, 4, faiss.METRIC_INNER_PRODUCT)
    scan.train(np.asarray(vectors[:100_000], dtype=np.float32))
    for start in range(0, len(vectors), BLOCK):
        scan.add(np.asarray(vectors[start : start + BLOCK], dtype=np.float32))
    by_product = faiss.IndexFlatIP(WIDTH)
    by_product.add(centres)
    scan.quantizer = by_product
    faiss.write_index(scan, str(folder / "scan.faiss"))
    return {"wall_s": round(time.time() - started)}


def search(folder: Path, items: int, fast_scan: bool) -> dict[str, Any]:
    faiss.omp_set_num_threads(1)
    queries, truth = Shop(items).queries(QUERIES, 2), np.load(folder / "truth.npy")
    if not fast_scan:
        started = time.time()
        index = ItemIndex.load(folder / "index.faiss")
        opened = time.time() - started
        cold = _measured(lambda q: index.search(q, K)[0], queries, truth)
        figures = {"opened_s": round(opened, 2), "first": cold}
        figures |= _measured(lambda q: index.search(q, K)[0], queries, truth) | memory()
        return figures | {"file_gb": round((folder / "index.faiss").stat().st_size / 2**30, 2)}
    scan = faiss.read_index(str(folder / "scan.faiss"))
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    figures = {}
    for probes in (32, 64, 128, 256):
        for factor in (2, 4):
            scan.nprobe = probes

            def both(query: Float32, factor: int = factor) -> Any:
                rows = np.sort(scan.search(query, K * factor)[1][0])
                scores = vectors[rows[rows >= 0]].astype(np.float32) @ query[0]
                return rows[rows >= 0][np.argsort(-scores)[:K]][None, :]

            figures[f"nprobe={probes} k_factor={factor}"] = _measured(both, queries, truth)
    return figures | memory()


def _measured(find: Any, queries: Float32, truth: Any) -> dict[str, Any]:
    hits, times = 0, []
    for row in range(len(queries)):
        started = time.perf_counter()
        found = find(queries[row : row + 1])
        times.append((time.perf_counter() - started) * 1e3)
        hits += int(np.isin(found[0], truth[row]).sum())
    median, high = np.quantile(times, [0.5, 0.95])
    return {"recall_at_500": round(hits / truth.size, 4), "ms": round(median, 2), "p95_ms": round(high, 2)}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--items", type=int, default=10_000_000)
    asked.add_argument("--fast-scan", action="store_true")
    asked.add_argument("--folder", type=Path)
    asked.add_argument("--step", choices=["write", "build", "search"])
    args = asked.parse_args()
    if args.step:
        if args.step == "write":
            Shop(args.items).write(args.folder / "vectors.npy")
        else:
            step = {"build": build, "search": search}[args.step]
            print(json.dumps(step(args.folder, args.items, args.fast_scan)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        flag = ["--fast-scan"] if args.fast_scan else []
        steps: list[tuple[str, list[str]]] = [("write", []), ("build", flag), ("search", [])]
        steps += [("search", flag)] if flag else []
        for step, more in steps:
            if step == "write" and (folder / "vectors.npy").exists():
                continue
            command = [sys.executable, "-m", "tests.benchmarks.bench_index", "--step", step, "--folder", str(folder)]
            done = subprocess.run(
                [*command, "--items", str(args.items), *more], check=True, stdout=subprocess.PIPE, text=True
            )
            print(step, *more, done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
