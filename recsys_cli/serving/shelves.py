"""What a version holds ready for the engine besides the model: popularity, trends, pairs, and items as JSON.

Pure functions of a `Dataset`; training and updates call `build_shelves` when they publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..models.base import Model
from ..schema import DAY, Dataset, Float32, Histories, Int32, Int64, Interactions
from .items_json import render_items

Shelves = dict[str, NDArray[Any]]

TAUS_DAYS = (2.0, 4.0, 8.0, 15.0, 30.0, 90.0, 365.0)
TREND_DAYS = 7.0
TOGETHER = 30  # pairs kept for each item
LARGE_BASKET = 200  # a basket larger than this is a wholesaler's or a robot's, and says little about pairs
PAIR_SHRINKAGE = 5.0  # orders by which a pair's lift is drawn towards 1


def build_shelves(data: Dataset, model: Model, *, previous: Mapping[str, NDArray[Any]] | None = None) -> Shelves:
    """All shelves of a version.

    Parameters
    ----------
    data
        What the version is made of; item codes as in its catalogue.
    model
        The version's model.
    previous
        Shelves of the version before: spares choosing the window of popularity anew.

    Returns
    -------
    dict
        item_json uint8, item_json_at int64 (n_items + 1,)
            Items as comma-separated JSON members without braces, see `items_json`.
        popular float32 (n_items,), popular_order int32, popular_tau float64 (1,)
            Weight of all events, each aged by exp(-age / tau); codes with weight above 0, best first; tau in days.
        trending float32 (n_items,), trending_order int32
            Events of the last week against the four before, in standard deviations; codes above 0, best first.
        first_seen int64 (n_items,), new_order int32
            Epoch seconds of first offer (or first event), 0 unknown; codes, newest first.
        together_item int32, together_count int32, together_lift float32, each (n_items, TOGETHER)
            What was in the same orders, by shrunk lift, best first; -1, 0, 0 where there are fewer.
    """
    blob, offsets = render_items(data.catalogue)
    tau = _known_tau(previous) or choose_tau(data.interactions)
    popular = popularity(data.interactions, data.interactions.end, tau)
    trending = trend(data.interactions)
    first = first_offered(data)
    return {
        "item_json": blob,
        "item_json_at": offsets,
        "popular": popular,
        "popular_order": _order(popular, popular > 0),
        "popular_tau": np.array([tau]),
        "trending": trending,
        "trending_order": _order(trending, trending > 0),
        "first_seen": first,
        "new_order": _order(first, first > 0),
        **together(data.interactions),
    }


def _known_tau(previous: Mapping[str, NDArray[Any]] | None) -> float:
    if previous is None or "popular_tau" not in previous:
        return 0.0
    return float(previous["popular_tau"][0])


def _order(score: NDArray[Any], keep: NDArray[np.bool_]) -> Int32:
    """Codes that `keep` marks, highest score first, ties by lower code."""
    codes = np.flatnonzero(keep)
    return codes[np.argsort(-score[codes], kind="stable")].astype(np.int32)


def _event_weight(histories: Histories) -> Float32:
    return histories.kind_weight[histories.kind] if len(histories.kind) else np.zeros(0, np.float32)


def popularity(data: Interactions, now: int, tau_days: float) -> Float32:
    """Weight of the events before `now` by item, aged by exp(-age / tau); never below 0; shape (n_items,)."""
    h = data.histories
    age = (now - h.ts) / (tau_days * DAY)
    weight = np.where(age >= 0, _event_weight(h) * np.exp(-np.maximum(age, 0)), 0)
    total = np.bincount(h.item, weights=weight, minlength=data.n_items)
    return np.maximum(total, 0).astype(np.float32)


def choose_tau(data: Interactions, *, top: int = 50, windows: int = 3) -> float:
    """Days of ageing with which the bestsellers of then best foretold the weeks that followed.

    Each candidate is judged by the share of a week's events on its `top` items, over the last `windows` weeks.
    """
    h = data.histories
    week = 7 * DAY
    weight = np.maximum(_event_weight(h), 0)
    first = int(h.ts.min()) if h.n_events else data.end
    cuts = [data.end - week * (i + 1) for i in range(windows)]
    cuts = [cut for cut in cuts if cut - first > week]
    if not cuts:
        return 30.0
    share = np.zeros(len(TAUS_DAYS))
    for cut in cuts:
        after = (h.ts > cut) & (h.ts <= cut + week)
        sold = np.bincount(h.item[after], weights=weight[after], minlength=data.n_items)
        for i, tau in enumerate(TAUS_DAYS):
            best = _order(popularity(data, cut, tau), np.ones(data.n_items, dtype=np.bool_))[:top]
            share[i] += sold[best].sum() / max(sold.sum(), 1e-9)
    return TAUS_DAYS[int(np.argmax(share))]


def trend(data: Interactions) -> Float32:
    """How far each item's events of the last week exceed the average of the four weeks before, in standard deviations.

    Poisson counts with one imagined event a week, so that a single sale of a forgotten item is no trend.
    """
    h = data.histories
    week = int(TREND_DAYS * DAY)
    counts = np.sign(np.maximum(_event_weight(h), 0))
    recent, before = h.ts > data.end - week, (h.ts <= data.end - week) & (h.ts > data.end - 5 * week)
    now = np.bincount(h.item[recent], weights=counts[recent], minlength=data.n_items)
    usual = np.bincount(h.item[before], weights=counts[before], minlength=data.n_items) / 4
    return ((now - usual - 1) / np.sqrt(usual + 1)).astype(np.float32)


def first_offered(data: Dataset) -> Int64:
    """Epoch seconds at which each item came to be: as the catalogue says, else its first event, else 0."""
    table = data.catalogue
    first = np.zeros(table.num_rows, dtype=np.int64)
    for name in ("first_seen", "created_at"):
        if name in table.column_names:
            told = table[name].cast("int64").fill_null(0).to_numpy()
            first = np.where(told > 0, told, first)
    return first


def together(data: Interactions) -> Shelves:
    """What is bought in the same order, by lift with shrinkage: (pairs + s) / (expected pairs + s)."""
    n = data.n_items
    item = np.full((n, TOGETHER), -1, dtype=np.int32)
    count = np.zeros((n, TOGETHER), dtype=np.int32)
    lift = np.zeros((n, TOGETHER), dtype=np.float32)
    baskets = _baskets(data)
    columns = baskets.tocsc()
    sold = np.diff(columns.indptr).astype(np.float64)
    total = max(baskets.shape[0], 1)
    for start in range(0, n, 4096):
        stop = min(start + 4096, n)
        pairs = (columns[:, start:stop].T @ baskets).tocoo()
        keep = pairs.row + start != pairs.col
        row, col, both = pairs.row[keep] + start, pairs.col[keep], pairs.data[keep]
        expected = sold[row] * sold[col] / total
        score = (both + PAIR_SHRINKAGE) / (expected + PAIR_SHRINKAGE)
        keep = (score > 1) & (both > 1)
        _fill_rows(row[keep], col[keep], both[keep], score[keep], item, count, lift)
    return {"together_item": item, "together_count": count, "together_lift": lift}


def _fill_rows(
    row: NDArray[Any],
    col: NDArray[Any],
    both: NDArray[Any],
    score: NDArray[Any],
    item: Int32,
    count: Int32,
    lift: Float32,
) -> None:
    """Write the best pairs of each row, ties by lower code."""
    order = np.lexsort((col, -score, row))
    row, col, both, score = row[order], col[order], both[order], score[order]
    first = np.searchsorted(row, row, side="left")
    rank = np.arange(len(row)) - first
    keep = rank < TOGETHER
    item[row[keep], rank[keep]] = col[keep]
    count[row[keep], rank[keep]] = both[keep]
    lift[row[keep], rank[keep]] = score[keep]


def _baskets(data: Interactions) -> sp.csr_matrix:
    """Orders as rows, items as columns, 1 where bought; without order numbers, a customer's day is an order."""
    h = data.histories
    bought = h.is_kind("purchase")
    if not bought.any():
        bought = np.ones(len(h.item), dtype=np.bool_)
    day = (h.ts[bought] - h.ts.min()) // DAY if h.n_events else np.zeros(0, np.int64)
    user_day = h.row_of_event[bought].astype(np.int64) * (int(day.max()) + 1 if len(day) else 1) + day
    order = data.basket[bought].astype(np.int64)
    label = np.where(order >= 0, order, user_day + int(order.max(initial=0)) + 1)
    _, row = np.unique(label, return_inverse=True)
    item = h.item[bought]
    shape = (int(row.max()) + 1 if len(row) else 0, data.n_items)
    matrix = sp.csr_matrix((np.ones(len(row), dtype=np.float32), (row, item)), shape=shape)
    matrix.data[:] = 1  # two of a thing in one order are one line of it
    size = np.diff(matrix.indptr)
    return matrix[(size > 1) & (size <= LARGE_BASKET)]
