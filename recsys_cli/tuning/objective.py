"""How good a recipe is: its metric on several earlier windows, cheapest first, so that hopeless ones stop soon."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..evaluation import Split, Task, per_user, recommend
from ..models.base import Model, ModelConfig
from ..models.popular import Popular, PopularConfig
from ..schema import Dataset

_SAMPLE_EVENTS = 1_000_000  # a rung on a sample is worth it when the whole has several times as many
_USERS = 3_000  # judged in each window
_AGES = (0.0, 15.0, 50.0, 200.0)  # days
_ORDERS = (0.4, 1.0)
_AGED_BY = 1_000  # customers who are asked how fast histories age


@dataclass(frozen=True)
class Rung:
    """One window to be judged by: what to fit on, whom to ask, and the popular items that fill short lists."""

    train: Dataset
    task: Task
    floor: Model

    @staticmethod
    def of(split: Split, seed: int) -> Rung:
        task = Task.of(split, max_users=_USERS, seed=seed)
        return Rung(split.train, task, Popular.fit(split.train, PopularConfig()))

    def value(self, model: Model, metric: str) -> float:
        """Mean of the metric over the customers who are asked."""
        lists = recommend(model, self.floor, self.task, 20)
        return float(per_user(lists.items, self.task)[metric].mean())


def rungs(splits: list[Split], seed: int) -> list[Rung]:
    """Rungs of these windows; where the data is large, one on a sample of the customers comes first."""
    found = [Rung.of(split, seed) for split in splits]
    if splits and splits[0].train.interactions.histories.n_events > 3 * _SAMPLE_EVENTS:
        found.insert(0, Rung.of(sample(splits[0], _SAMPLE_EVENTS, seed), seed))
    return found


def sample(split: Split, events: int, seed: int) -> Split:
    """The split with the whole histories of a sample of customers, of about `events` events."""
    h = split.train.interactions.histories
    share = min(1.0, events / max(h.n_events, 1))
    chosen = np.random.default_rng(seed).random(len(h)) < share
    train = Dataset(split.train.interactions.where(chosen[h.row_of_event]), split.train.catalogue)
    future = split.future.where(chosen[split.future.row_of_event])
    return Split(train, split.cut, future, split.by)


def climb(
    cls: type[Model], config: ModelConfig, steps: list[Rung], metric: str, *, seed: int, threads: int
) -> Iterator[tuple[float, Model]]:
    """The metric on one rung after the other, and the model fitted for it.

    Stop asking and the rest is not computed.
    """
    for step in steps:
        model = cls.fit(step.train, config, seed=seed, threads=threads)
        yield step.value(model, metric), model


def aged(model: Model, rung: Rung, metric: str) -> Model:
    """The fitted model with the ageing of histories, by days and by order, that foresees best.

    Fitting takes the histories as they are, so that this costs no fit; how fast tastes change differs from shop to
    shop more than most hyperparameters do, and where times are made up, no ageing is right.
    """
    if not model.capabilities.personal or "tau_days" not in model.Config.space():
        return model
    every = max(1, len(rung.task.users) // _AGED_BY)
    rung = replace(rung, task=rung.task.rows(np.arange(0, len(rung.task.users), every)))
    best, value = model, rung.value(model, metric)

    def attempt(tau_days: float, order_power: float) -> None:
        nonlocal best, value
        other = copy.copy(model)
        other.config = replace(model.config, tau_days=tau_days, order_power=order_power)
        if (reached := rung.value(other, metric)) > value:
            best, value = other, reached

    for days in _AGES:
        attempt(days, 0.0)
    for power in _ORDERS:
        for days in (best.config.tau_days, 0.0):
            attempt(days, power)
    return best
