"""What a model would have shown."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..models.base import Model
from ..models.support.top_n import contains
from ..schema import Int32
from ..splitting.task import Task


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
    own = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, items[held])), shape=(len(items), task.wanted.shape[1]))
    extra = np.where(contains(own, extra), -1, extra)
    both = np.concatenate([items, extra], axis=1)
    order = np.argsort(both < 0, axis=1, kind="stable")[:, :n]
    return np.take_along_axis(both, order, axis=1)
