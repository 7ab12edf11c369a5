"""How far a shop has moved since its model was trained: population stability indices and the model's lead."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..evaluation import Split, evaluate
from ..models.base import Model
from ..schema import DAY, Dataset, Int64

_WINDOW_DAYS = 28.0
_FEW_EVENTS = 300  # below, an index is mostly noise
_FEW_USERS = 100
_JUDGED_USERS = 2000
_FLOOR_SHARE = 0.005  # an empty bin must not make the index infinite
_BINS = 10
_CATEGORIES = 20
_METRIC = "ndcg@10"
_FLOOR = "popular"


@dataclass(frozen=True)
class Watch:
    """What a look at the newest days found.

    Parameters
    ----------
    at
        Epoch seconds of the newest event at that time.
    psi
        Population stability index of items, categories, prices and customers' activity, since training against the
        same number of days before; those that could not be told are missing.
    lead
        NDCG@10 of the served model over that of popularity, since training; None when too few came back to tell.
    """

    at: int
    psi: dict[str, float] = field(default_factory=dict)
    lead: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def look(data: Dataset, model: Model, trained_until: int) -> Watch:
    """Compare the days since training with those before, and ask the model about them.

    Parameters
    ----------
    data
        Everything known now.
    model
        The served one, grown to the items of `data`.
    trained_until
        Epoch seconds of the newest event that the fit saw.
    """
    return Watch(data.interactions.end, stability(data, trained_until), lead(data, model, trained_until))


def stability(data: Dataset, trained_until: int) -> dict[str, float]:
    """PSI by name; see `Watch`. 0.1 is commonly held for a small and 0.25 for a large change."""
    h = data.interactions.histories
    span = int(np.clip(data.interactions.end - trained_until, DAY, _WINDOW_DAYS * DAY))
    new = h.ts > max(data.interactions.end - span, trained_until)
    old = (h.ts > trained_until - span) & (h.ts <= trained_until)
    if min(new.sum(), old.sum()) < _FEW_EVENTS:
        return {}
    found: dict[str, float] = {}
    for name, bins in _item_bins(data, h.item[h.ts <= trained_until]).items():
        groups = int(bins.max()) + 1
        found[name] = psi(
            np.bincount(bins[h.item[old]], minlength=groups), np.bincount(bins[h.item[new]], minlength=groups)
        )
    active = [_activity(h.row_of_event[mask]) for mask in (old, new)]
    if min(a.sum() for a in active) >= _FEW_USERS:
        found["activity"] = psi(*active)
    return {name: round(value, 4) for name, value in found.items()}


def psi(old: NDArray[np.integer], new: NDArray[np.integer]) -> float:
    """Sum of (p - q) ln(p / q) over bins, less what chance alone gives for so many events; at least 0.

    Parameters
    ----------
    old, new
        Counts by bin.
    """
    used = (old + new) > 0
    p, q = (np.maximum(counts[used] / counts.sum(), _FLOOR_SHARE) for counts in (new, old))
    chance = (used.sum() - 1) * (1 / old.sum() + 1 / new.sum())
    return float(max(np.sum((p - q) * np.log(p / q)) - chance, 0.0))


def _item_bins(data: Dataset, known: NDArray[np.int32]) -> dict[str, Int64]:
    """For each distribution over items, the bin of every item, shape (n_items,).

    `known` are the items of all events up to the training.
    """
    counts = np.bincount(known, minlength=data.interactions.n_items)
    order = np.argsort(-counts, kind="stable")
    mass = np.cumsum(counts[order]) - counts[order]
    items = np.empty(len(counts), dtype=np.int64)
    items[order] = np.minimum(mass * _BINS // max(counts.sum(), 1), _BINS - 1)
    items[counts == 0] = _BINS
    bins = {"items": items}
    names = data.catalogue.column_names
    if "category" in names and data.catalogue["category"].null_count < len(counts):
        bins["categories"] = _category_bins(data.catalogue["category"].combine_chunks(), counts)
    if "price" in names and data.catalogue["price"].null_count < len(counts):
        price = data.catalogue["price"].combine_chunks().to_numpy(zero_copy_only=False).astype(np.float64)
        sold = price[known]
        sold = sold[np.isfinite(sold)]
        if len(sold):
            edges = np.unique(np.quantile(sold, np.arange(1, _BINS) / _BINS))
            bins["prices"] = np.where(np.isfinite(price), np.searchsorted(edges, price, side="right") + 1, 0)
    return bins


def _category_bins(categories: pa.Array, counts: Int64) -> Int64:
    """The biggest categories by events each for itself, the rest together."""
    coded = pc.fill_null(categories, "").dictionary_encode()
    code = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    size = np.bincount(code, counts, minlength=len(coded.dictionary))
    rank = np.empty(len(size), dtype=np.int64)
    rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
    return np.asarray(np.minimum(rank[code], _CATEGORIES), dtype=np.int64)


def _activity(rows: NDArray[np.int32]) -> Int64:
    """How many customers had 1, 2, 3 to 4, 5 to 8 … events."""
    _, counts = np.unique(rows, return_counts=True)
    steps = np.minimum(np.ceil(np.log2(counts)), 6).astype(np.int64)
    return np.asarray(np.bincount(steps, minlength=7), dtype=np.int64)


def lead(data: Dataset, model: Model, trained_until: int) -> float | None:
    """NDCG@10 of the model over that of popularity on the days since training; see `Watch`."""
    h = data.interactions.histories
    cut = max(trained_until + 1, data.interactions.end - int(_WINDOW_DAYS * DAY))
    split = Split(data.before(cut), cut, data.interactions.where(h.ts >= cut).histories, "time")
    if len(split.judged(split.wanted(), _FEW_USERS, 0)) < _FEW_USERS:
        return None
    report = evaluate({"served": model}, split, max_users=_JUDGED_USERS, seed=0)
    floor = report.metrics[_FLOOR][_METRIC].value
    # The upper end: only a fall that is more than chance counts as one.
    return round(report.metrics["served"][_METRIC].high / floor, 4) if floor > 0 else None
