"""The last round: finalists and their blend, fitted on the past, judged by the newest days."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import NotEnoughData
from ..evaluation import Report, Split, evaluate
from ..evaluation.leaderboard import measured
from ..models import registry
from ..models.base import Model
from ..models.blend import Blend, BlendConfig, learn_weights, member_names, popularities
from ..models.popular import Popular
from ..progress import SILENT, Progress
from .objective import Rung, aged

_NEAR = 0.98  # a blend this near to the best single model is preferred: it leans on no one model's luck
_MEMBERS = 6
_WORTH = 0.5  # of the best; a weaker model is not worth its time in a blend
_RELEARN = 3_000_000  # events; beyond, a training takes the weights as they were learned here
_MAX_USERS = 20_000


@dataclass(frozen=True)
class Final:
    """Who won.

    Parameters
    ----------
    name, config
        Model and hyperparameters, as `Config.from_values` takes them.
    report
        Of all finalists.
    """

    name: str
    config: dict[str, Any]
    report: Report


def last_round(
    split: Split,
    finalists: Mapping[str, Mapping[str, Any]],
    metric: str,
    *,
    seed: int,
    threads: int = 0,
    deadline: float = float("inf"),
    blend: bool = True,
    ageing: bool = False,
    max_users: int = _MAX_USERS,
    progress: Progress = SILENT,
) -> Final:
    """Fit, blend, judge, choose.

    Parameters
    ----------
    finalists
        Model name to its hyperparameters, in the order they are to be fitted while time lasts.
    deadline
        `time.monotonic()` after which no more is begun; one finalist is always fitted.
    blend
        Whether a blend of them may win.
    ageing
        Whether to find out, too, how fast histories age; a search has done so.
    """
    models: dict[str, Model] = {}
    cost: dict[str, dict[str, float]] = {}
    configs: dict[str, dict[str, Any]] = {}
    rung = Rung.of(split, seed) if ageing else None
    with progress.stage("Fitting finalists on the past", len(finalists)) as advance:
        for name, values in finalists.items():
            if models and time.monotonic() + max(c["fit_seconds"] for c in cost.values()) > deadline:
                break
            cls = registry.get(name)
            with measured() as spent:
                models[name] = cls.fit(split.train, cls.Config.from_values(values), seed=seed, threads=threads)
            configs[name] = dict(finalists[name])
            if rung is not None and time.monotonic() < deadline:
                models[name] = aged(models[name], rung, metric)
                found = models[name].config
                configs[name] |= {"tau_days": found.tau_days, "order_power": found.order_power}
            cost[name] = spent
            advance(1)
    if blend:
        report = evaluate(models, split, seed=seed, max_users=min(max_users, 3000))
        members = _members(report, configs, metric, cost, deadline - time.monotonic())
        made = _blended(split, members, models, seed, threads, progress)
        if made is not None:
            models[Blend.name] = made
            configs[Blend.name] = _config(made, split)
    report = evaluate(models, split, seed=seed, max_users=max_users, cost=cost, progress=progress)
    name = winner(report, list(models), metric)
    return Final(name, configs[name], report)


def winner(report: Report, names: list[str], metric: str) -> str:
    """The best by `metric`; the blend where it is as good as best, or the best is not surely better.

    Where few can be judged, the best of several single models is the luckiest one: the ageing of its histories was
    chosen by the same customers. In small shops the blend has foreseen more than it.
    """
    value = {name: report.metrics[name][metric].value for name in names}
    best = max(names, key=lambda name: value[name])
    if Blend.name not in value or best == Blend.name:
        return best
    sure = report.differences[best][Blend.name][metric].low > 0
    return best if sure and value[Blend.name] < _NEAR * value[best] else Blend.name


def _members(
    report: Report, configs: Mapping[str, Any], metric: str, cost: Mapping[str, dict[str, float]], left: float
) -> dict[str, Any]:
    """The better models for whose weights there is time (two more fits each), and popularity over several times."""
    able = [name for name in configs if name in member_names() and name != Popular.name]
    able.sort(key=lambda name: -report.metrics[name][metric].value)
    chosen: dict[str, Any] = {}
    for name in able[:_MEMBERS]:
        left -= 2.5 * cost[name]["fit_seconds"]
        if left > 0 and report.metrics[name][metric].value > _WORTH * report.metrics[able[0]][metric].value:
            chosen[name] = {"model": name, "config": configs[name]}
    return chosen | popularities() if chosen else {}


def _blended(
    split: Split, members: Mapping[str, Any], fitted: Mapping[str, Model], seed: int, threads: int, progress: Progress
) -> Blend | None:
    """The blend with weights learned on windows before the split; None where there is nothing to learn from."""
    if not members:
        return None
    config = BlendConfig()
    try:
        with progress.stage("Learning weights of the blend", config.windows) as advance:
            shares, own = learn_weights(split.train, members, config, seed, threads, advance)
    except NotEnoughData:
        progress.note("No blend: too few customers came back in earlier windows to learn its weights from.")
        return None
    weighed = {label: {**member, "weight": shares[label]} for label, member in members.items()}
    return Blend.of_fitted(split.train, weighed, fitted, config=replace(config, own=own), seed=seed, threads=threads)


def _config(made: Blend, split: Split) -> dict[str, Any]:
    """What a training is to fit; where that is quick, weights are learned anew with the newest days."""
    relearn = split.train.interactions.histories.n_events <= _RELEARN
    members = {
        label: {key: value for key, value in member.items() if key != "weight" or not relearn}
        for label, member in made.config.members.items()
    }
    return {**made.config.as_dict(), "members": members}
