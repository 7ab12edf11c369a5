"""The same figures for parts of the customers and of the catalogue, where an average hides who is served badly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..models.base import Model
from ..models.support.top_n import contains
from ..schema import Int32, Int64
from ..splitting.holdout import Split
from ..splitting.task import Task
from . import metrics as m
from .filled_lists import Lists, recommend

Segments = dict[str, dict[str, float]]
_NEW = 3  # items a customer has at most to be new
_HEAVY = 0.8  # quantile of the others' number of items from which they are heavy
_HEAD = 0.5  # share of all events that the best sellers make up
_STRANGERS = 2000


def customers_and_items(lists: Mapping[str, Lists], split: Split, task: Task) -> dict[str, Segments]:
    """NDCG@10 and HR@10 of every model for new, light and heavy customers, and for head, tail and cold items.

    For items, only those of the segment count as wanted, against the same lists.
    """
    rows = _by_length(task)
    columns = _by_sales(split)
    out: dict[str, Segments] = {}
    for name, made in lists.items():
        found = {part: _figures(made.items[users], task.wanted[users]) for part, users in rows.items()}
        for part, items in columns.items():
            found[part] = _figures(made.items, _only(task.wanted, items))
        out[name] = {part: figures for part, figures in found.items() if figures["users"]}
    return out


def strangers(models: Mapping[str, Model], floor: Model, split: Split, seed: int) -> dict[str, Segments]:
    """Customers who came for the first time: known by nothing, and by the first thing they did.

    Returns
    -------
    model -> "strangers" and "first click" -> figures; empty where nobody new came.
    """
    known = np.diff(split.train.interactions.histories.indptr) > 0
    several = np.diff(split.wanted(repeat=True).indptr) > 1
    who = np.flatnonzero(~known & several).astype(np.int64)
    if len(who) > _STRANGERS:
        who = np.sort(np.random.default_rng(seed).choice(who, _STRANGERS, replace=False))
    if not len(who):
        return {name: {} for name in models}
    tasks = {"strangers": _unknown(split, who), "first click": _after_one(split, who)}
    return {
        name: {
            part: _figures(recommend(model, floor, task, 10).items, task.wanted)
            for part, task in tasks.items()
            if task.wanted.nnz
        }
        for name, model in models.items()
    }


def _unknown(split: Split, who: Int64) -> Task:
    return Task(who, split.train.interactions.histories.rows(who), split.wanted(repeat=True)[who], None, split.now)


def _after_one(split: Split, who: Int64) -> Task:
    """The first event is the history, the rest is what is wanted."""
    later = split.future.rows(who)
    first = np.zeros(later.n_events, dtype=np.bool_)
    first[later.indptr[:-1]] = True
    histories = later.where(first)
    wanted = split.wanted(repeat=True)[who]
    ones = np.ones(len(who), np.float32)
    seen = sp.csr_matrix((ones, histories.item, np.arange(len(who) + 1)), shape=wanted.shape)
    left = (wanted - wanted.multiply(seen)).tocsr()
    left.eliminate_zeros()
    return Task(who, histories, left, seen, split.now)


def _by_length(task: Task) -> dict[str, NDArray[np.int64]]:
    h, n_items = task.histories, task.wanted.shape[1]
    pairs = np.unique(h.row_of_event.astype(np.int64) * n_items + h.item)
    items = np.bincount(pairs // n_items, minlength=len(h))
    old = items[items > _NEW]
    many = np.quantile(old, _HEAVY) if len(old) else np.inf
    return {
        "new": np.flatnonzero(items <= _NEW),
        "light": np.flatnonzero((items > _NEW) & (items < many)),
        "heavy": np.flatnonzero((items > _NEW) & (items >= many)),
    }


def _by_sales(split: Split) -> dict[str, NDArray[np.bool_]]:
    past = split.train.interactions
    sales = np.bincount(past.histories.item, minlength=past.n_items)
    order = np.argsort(-sales, kind="stable")
    head = np.zeros(past.n_items, dtype=np.bool_)
    head[order[np.cumsum(sales[order]) <= _HEAD * sales.sum()]] = True
    return {"head items": head, "tail items": ~head & (sales > 0), "cold items": sales == 0}


def _only(wanted: sp.csr_matrix, items: NDArray[np.bool_]) -> sp.csr_matrix:
    kept = wanted.copy()
    kept.data = np.where(items[kept.indices], kept.data, 0)
    kept.eliminate_zeros()
    return kept


def _figures(items: Int32, wanted: sp.csr_matrix) -> dict[str, float]:
    """Over the users who wanted something."""
    relevant = np.diff(wanted.indptr).astype(np.int64)
    asked = relevant > 0
    if not asked.any():
        return {"users": 0.0, "ndcg@10": 0.0, "hr@10": 0.0}
    hits = contains(wanted, items)[asked]
    return {
        "users": float(asked.sum()),
        "ndcg@10": float(m.ndcg(hits, relevant[asked], 10).mean()),
        "hr@10": float(m.hit_rate(hits, 10).mean()),
    }
