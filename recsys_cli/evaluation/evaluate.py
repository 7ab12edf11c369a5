"""Fitted models against what was hidden from them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..models.base import Model, contains
from ..models.holdout import Split
from ..models.popular import Popular, PopularConfig
from ..progress import SILENT, Progress
from ..schema import DAY, Float32, Histories, Int32, Int64
from . import metrics as m
from .report import Bootstrap, Interval, Report

CUTOFFS = (10, 20)
FLOOR = "popular"


@dataclass(frozen=True)
class Task:
    """Which users are judged, by what.

    Parameters
    ----------
    users
        int64 user codes, shape (users,).
    histories
        Their pasts.
    wanted, seen
        Binary CSR, shape (users, n_items): what they went on to get; what must not be shown (None with repeats).
    now
        Epoch seconds of the newest event the models know.
    """

    users: Int64
    histories: Histories
    wanted: sp.csr_matrix
    seen: sp.csr_matrix | None
    now: int

    @staticmethod
    def of(split: Split, *, max_users: int = 20_000, seed: int = 42, repeat: bool = False) -> Task:
        """The task of a split, over at most `max_users` (a seeded sample)."""
        wanted = split.wanted(repeat=repeat)
        users = split.judged(wanted, max_users, seed)
        seen = None if repeat else split.seen()[users]
        return Task(users, split.train.interactions.histories.rows(users), wanted[users], seen, split.now)

    @property
    def relevant(self) -> Int64:
        """Wanted items of each user, int64."""
        return np.asarray(np.diff(self.wanted.indptr), dtype=np.int64)

    def rows(self, rows: NDArray[np.integer]) -> Task:
        """The task of some of the users."""
        seen = None if self.seen is None else self.seen[rows]
        return Task(self.users[rows], self.histories.rows(rows), self.wanted[rows], seen, self.now)


@dataclass(frozen=True)
class Lists:
    """What one model recommended: int32 codes of shape (users, n), and how many places a fallback filled."""

    items: Int32
    filled: float
    seconds: float


def recommend(model: Model, floor: Model, task: Task, n: int) -> Lists:
    """Top-n lists as a customer would see them: what the model leaves empty is filled by popularity."""
    started = time.perf_counter()
    items, _ = model.recommend(task.histories, n, task.now, exclude=task.seen)
    empty = items < 0
    short = np.flatnonzero(empty.any(axis=1))
    if len(short):
        items = items.copy()
        items[short] = _fill(items[short], floor, task.rows(short), n)
    return Lists(items, float(empty.mean()) if items.size else 0.0, time.perf_counter() - started)


def _fill(items: Int32, floor: Model, task: Task, n: int) -> Int32:
    """Own items first, then popular ones that are not yet in the list."""
    extra, _ = floor.recommend(task.histories, 2 * n, task.now, exclude=task.seen)
    held = items >= 0
    rows = np.repeat(np.arange(len(items)), held.sum(axis=1))
    own = sp.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, items[held])), shape=(len(items), task.wanted.shape[1])
    )
    extra = np.where(contains(own, extra), -1, extra)
    both = np.concatenate([items, extra], axis=1)
    order = np.argsort(both < 0, axis=1, kind="stable")[:, :n]
    return np.take_along_axis(both, order, axis=1)


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

    Raises
    ------
    NotEnoughData
        Nobody can be judged.
    """
    task = Task.of(split, max_users=max_users, seed=seed, repeat=repeat)
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
    return Report(
        split=describe(split, task, repeat),
        metrics={name: _intervals(found, boot) for name, found in values.items()},
        differences={name: _differences(values, name, boot) for name in values},
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
    signs = rng.choice(np.array([-1, 1], np.float32), size=(had.shape[0], width))
    short = np.asarray(had.T @ signs, dtype=np.float32)
    length = np.linalg.norm(short, axis=1, keepdims=True)
    return np.asarray(short / np.where(length > 0, length, 1), dtype=np.float32)


def describe(split: Split, task: Task, repeat: bool) -> dict[str, Any]:
    """How the future was hidden, for people and for JSON."""
    ts = split.future.ts
    days = (int(ts.max()) - split.cut) / DAY if len(ts) and split.by == "time" else 0.0
    notes = {
        "time": "",
        "last": "Times cannot be believed (or --by last): each customer's last event was hidden, which tells less "
        "of the next month than a split by time.",
        "random": "A fifth of each history was hidden at random: this ranks model families differently than the "
        "future does.",
    }
    return {
        "by": split.by,
        "cut": split.cut,
        "window_days": round(days, 2),
        "users": len(task.users),
        "wanted": int(task.wanted.nnz),
        "repeat": repeat,
        "note": notes[split.by],
    }
