"""Shops in which the right answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from recsys_cli.schema import DAY, ITEM_COLUMNS, Dataset, Histories, IdMap, Interactions

Row = Sequence[tuple[int, int]]  # item code, epoch seconds; oldest first


def dataset(rows: Sequence[Row], n_items: int, **columns: Sequence[object]) -> Dataset:
    """A data set of purchases, one row per customer; `columns` go into the catalogue. Same moment, same basket."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    item = np.array([i for row in rows for i, _ in row], dtype=np.int32)
    ts = np.array([t for row in rows for _, t in row], dtype=np.int64)
    user = np.repeat(np.arange(len(rows)), lengths)
    histories = Histories(
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        item,
        ts,
        np.zeros(len(item), np.uint8),
        np.ones(len(item), np.float32),
        ("purchase",),
        np.ones(1, np.float32),
    )
    basket = np.unique(np.stack([user, ts], axis=1), axis=0, return_inverse=True)[1].ravel() if len(item) else item
    items = IdMap(pa.array([f"i{n}" for n in range(n_items)]))
    users = IdMap(pa.array([f"u{n}" for n in range(len(rows))], pa.string()))
    end = int(ts.max()) if len(ts) else 0
    return Dataset(Interactions(histories, users, items, basket.astype(np.int32), end), catalogue(items, **columns))


def catalogue(items: IdMap, **columns: Sequence[object]) -> pa.Table:
    """A catalogue with these columns and nulls in the others."""
    kinds = {"VARCHAR": pa.string(), "DOUBLE": pa.float64(), "BIGINT": pa.int64(), "BOOLEAN": pa.bool_()}
    made = {"item_id": items.ids}
    for name, kind in ITEM_COLUMNS.items():
        if name != "item_id":
            made[name] = pa.array(list(columns.get(name, [None] * len(items))), kinds[kind])
    made["attributes"] = pa.nulls(len(items), pa.string())
    made["first_seen"] = pa.nulls(len(items), pa.int64())
    return pa.table(made)


def checkerboard(users: int = 240, blocks: int = 4, size: int = 8, cold: int = 2, seed: int = 0) -> Dataset:
    """Customers who only buy within one block of items, five of its eight over a year, one a day.

    The last `cold` items of the catalogue belong to the first block by title and category and were never sold.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        picks = rng.permutation(size)[: size - 3] + (user % blocks) * size
        days = np.sort(rng.choice(360, len(picks), replace=False)) + 1
        rows.append([(int(i), int(d) * DAY + user) for i, d in zip(picks, days, strict=True)])
    n_items = blocks * size + cold
    block = [n // size if n < blocks * size else 0 for n in range(n_items)]
    words = ["red tea pot", "blue oak desk", "green wool sock", "white steel lamp", "grey sand box", "pink paper kite"]
    return dataset(
        rows,
        n_items,
        title=[f"{words[b % len(words)]} {n}" for n, b in enumerate(block)],
        category=[f"block {b}" for b in block],
    )


def block_of(item: np.ndarray, size: int = 8) -> np.ndarray:
    """Block of each item of a checkerboard."""
    return np.asarray(item) // size
