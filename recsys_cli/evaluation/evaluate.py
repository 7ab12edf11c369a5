"""Fitted models against what was hidden from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..errors import NotEnoughData
from ..models.base import Model
from ..models.popular import Popular, PopularConfig
from ..models.support.top_n import contains
from ..progress import SILENT, Progress
from ..schema import DAY, Float32, Int32
from ..splitting.holdout import Split
from ..splitting.task import Task
from . import metrics as m
from .filled_lists import Lists, recommend
from .report import Bootstrap, Interval, Report
from .segments import customers_and_items, strangers

CUTOFFS = (10, 20)
FLOOR = "popular"
_SKETCHED = 1 << 16  # customers whose signs are drawn at a time
PROTOCOLS = {
    "time": "next month",
    "basket": "next basket",
    "next": "next item",
    "last": "last item",
    "random": "random fifth",
    "fifth": "later fifth",
}


def per_user(items: Int32, task: Task) -> dict[str, m.Values]:
    """Each metric at each cut-off, one value per user."""
    hits, relevant = contains(task.wanted, items), task.relevant
    out: dict[str, m.Values] = {}
    for n in CUTOFFS:
        out[f"hr@{n}"] = m.hit_rate(hits, n)
        out[f"ndcg@{n}"] = m.ndcg(hits, relevant, n)
        out[f"recall@{n}"] = m.recall(hits, relevant, n)
        out[f"mrr@{n}"] = m.reciprocal_rank(hits, n)
    return out


def evaluate(
    models: Mapping[str, Model],
    split: Split,
    *,
    max_users: int = 20_000,
    seed: int = 42,
    repeat: bool = False,
    cost: Mapping[str, dict[str, float]] | None = None,
    segments: bool = False,
    progress: Progress = SILENT,
) -> Report:
    """Judge models that were fitted on `split.train`.

    Parameters
    ----------
    models
        Any names to fitted models; one called "popular" is what the differences are taken to, else a fresh one.
    repeat
        Let lists contain, and give credit for, what the customer already had.
    cost
        Name to what fitting cost, taken into the report.
    segments
        Also by customers and items of a kind, and for customers who came for the first time.

    Raises
    ------
    NotEnoughData
        Nobody can be judged.
    """
    task = Task.of(split, max_users=max_users, seed=seed, repeat=repeat)
    if not len(task.users):
        raise NotEnoughData("No customer came back in the part held out.", "Ingest a longer period.")
    floor = models.get(FLOOR) or Popular.fit(split.train, PopularConfig())
    everyone = {FLOOR: floor, **models}
    values: dict[str, dict[str, m.Values]] = {}
    lists: dict[str, Lists] = {}
    with progress.stage("Evaluating", len(everyone)) as advance:
        for name, model in everyone.items():
            lists[name] = recommend(model, floor, task, max(CUTOFFS))
            values[name] = per_user(lists[name].items, task)
            advance(1)
    boot = Bootstrap(len(task.users), seed)
    had = split.seen()
    shape = (np.bincount(had.indices, minlength=had.shape[1]) / max(had.shape[0], 1), sketch(had))
    spent = {name: dict((cost or {}).get(name, {})) for name in everyone}
    for name, made in lists.items():
        spent[name]["score_seconds"] = round(made.seconds, 3)
    parts = customers_and_items(lists, split, task) if segments else {}
    if segments:
        first = strangers(everyone, floor, split, seed)
        parts = {name: {**found, **first[name]} for name, found in parts.items()}
    return Report(
        split=describe(split, task, repeat),
        metrics={name: _intervals(found, boot) for name, found in values.items()},
        differences={name: _differences(values, name, boot) for name in values},
        segments=parts,
        lists={name: _whole(made, *shape) for name, made in lists.items()},
        cost=spent,
    )


def _intervals(found: Mapping[str, m.Values], boot: Bootstrap) -> dict[str, Interval]:
    return {name: boot.interval(values) for name, values in found.items()}


def _differences(
    values: Mapping[str, Mapping[str, m.Values]], name: str, boot: Bootstrap
) -> dict[str, dict[str, Interval]]:
    """This model less every other, user by user."""
    return {
        other: {metric: boot.interval(values[name][metric] - theirs[metric]) for metric in theirs}
        for other, theirs in values.items()
        if other != name
    }


def _whole(made: Lists, owners: m.Values, vectors: Float32) -> dict[str, float]:
    """Figures of all lists together, at 10; `owners`: share of users who had each item; `vectors`: see `sketch`."""
    items, n_items = made.items[:, :10], len(owners)
    return {
        "coverage@10": m.coverage(items, n_items),
        "gini@10": m.gini(items, n_items),
        "novelty@10": float(m.novelty(items, owners).mean()),
        "diversity@10": float(m.diversity(items, vectors).mean()),
        "fallback_share": made.filled,
    }


def sketch(had: sp.csr_matrix, width: int = 64) -> Float32:
    """Short stand-ins for the columns of `had`, shape (n_items, width), length 1: inner products estimate cosines.

    A random projection (Johnson and Lindenstrauss 1984), because the columns themselves are as long as there are
    customers.
    """
    rng = np.random.default_rng(0)
    short = np.zeros((had.shape[1], width), dtype=np.float32)
    for start in range(0, had.shape[0], _SKETCHED):
        some = had[start : start + _SKETCHED]
        signs = 2 * rng.integers(0, 2, size=(some.shape[0], width), dtype=np.int8) - 1
        short += some.T @ signs.astype(np.float32)
    length = np.linalg.norm(short, axis=1, keepdims=True)
    return np.asarray(short / np.where(length > 0, length, 1), dtype=np.float32)


def describe(split: Split, task: Task, repeat: bool) -> dict[str, Any]:
    """How the future was hidden, for people and for JSON."""
    ts = split.future.ts
    days = (int(ts.max()) - split.cut) / DAY if len(ts) and split.by == "time" else 0.0
    notes = {
        "time": "",
        "next": "Each event of the later part was predicted from what came before it in the same history; what "
        "was in it already counts, too.",
        "basket": "Each basket of the later part was predicted from what came before it in the same history.",
        "last": "Each customer's last event was held out: this says less about the next month than a split by time.",
        "random": "A fifth of each history was held out at random: this ranks model families differently than the "
        "future does.",
        "fifth": "The later fifth of each history was held out: a split by time says more about the next month."
        if split.asked
        else "The times are not reliable, or too few customers came back to split by them: the later fifth of each "
        "history was held out, which says less about the next month than a split by time.",
    }
    return {
        "by": split.by,
        "protocol": PROTOCOLS[split.by],
        "cut": split.cut,
        "window_days": round(days, 2),
        "users": len(task.users),
        "wanted": int(task.wanted.nnz),
        "repeat": repeat,
        "note": notes[split.by],
    }
