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
from ..models.blend import (
    Blend,
    BlendConfig,
    Learned,
    fit_members,
    learn_newer,
    learn_weights,
    member_names,
    popularities,
    weighed,
)
from ..models.popular import Popular
from ..models.support.vectors import VectorModel
from ..progress import SILENT, Progress
from .objective import Rung, aged

_NEAR = 0.98  # a blend this near to the best single model is preferred: it leans on no one model's luck
_MEMBERS = 6
_VECTORS = 60_000_000  # numbers in all item vectors of a member: to read them takes about 15 ms an answer
_WORTH = 0.5  # of the best; a weaker model is not worth its time in a blend
_RELEARN = 3_000_000  # events; beyond, a training takes the weights as they were learned here
_SINGLES = 0.45  # of the time may go by before the last single model is begun: a blend takes two more fits of each
_A_WINDOW = 1.25  # of the time of its fit, for learning a member's weight on one window
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
    model
        The winner as it was judged, fitted on the past.
    whole
        What to fit on everything there is now: `config`, with weights that the newest days were learned from, too.
        They are found here without a fit; a training that learned them itself would fit every member twice more.
    """

    name: str
    config: dict[str, Any]
    report: Report
    model: Model
    whole: dict[str, Any]


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
    newest: bool = True,
    progress: Progress = SILENT,
) -> Final:
    """Fit, blend, judge, choose.

    Parameters
    ----------
    finalists
        Model name to its hyperparameters, in the order they are to be fitted while time lasts.
    deadline
        `time.monotonic()` after which no more is begun; one finalist is always fitted. The more models are fitted, the
        less time is left to blend them, and a blend of some is worth more than the next one of them.
    blend
        Whether a blend of them may win.
    ageing
        Whether to find out, too, how fast histories age; a search has done so.
    newest
        Whether a blend that wins learns its weights from the hidden days, too; for nothing where `split` is a sample.
    """
    models: dict[str, Model] = {}
    cost: dict[str, dict[str, float]] = {}
    configs: dict[str, dict[str, Any]] = {}
    rung = Rung.of(split, seed) if ageing else None
    began = time.monotonic()
    singles_until = began + _SINGLES * (deadline - began) if blend else deadline
    with progress.stage("Fitting finalists on the past", len(finalists)) as advance:
        for name, values in finalists.items():
            if models and time.monotonic() + max(c["fit_seconds"] for c in cost.values()) > singles_until:
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
    made = None
    if blend:
        report = evaluate(models, split, seed=seed, max_users=min(max_users, 3000))
        able = {name: config for name, config in configs.items() if quick_to_blend(models[name])}
        members, windows = _members(report, able, metric, cost, deadline - time.monotonic())
        made = _blended(split, members, windows, models, seed, threads, progress)
        if made is not None:
            models[Blend.name] = made.model
            configs[Blend.name] = _config(made.model, split)
    report = evaluate(models, split, seed=seed, max_users=max_users, cost=cost, progress=progress)
    name = winner(report, list(models), metric)
    whole = configs[name]
    if newest and made is not None and name == Blend.name and _relearns(split):
        whole = made.with_newest(split, seed)
    return Final(name, configs[name], report, models[name], whole)


def quick_to_blend(model: Model) -> bool:
    """Whether a blend with it answers in milliseconds: a blend scores all items, a model alone has an index."""
    return not isinstance(model, VectorModel) or model.item_vectors().size <= _VECTORS


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
) -> tuple[dict[str, Any], int]:
    """The better models for whose weights there is time, with popularity over several times; and on how many windows.

    Rather fewer windows than fewer members: what another model adds is more than what the weights gain.
    """
    value = {n: report.metrics[n][metric].value for n in configs if n in member_names() and n != Popular.name}
    worth = [n for n in sorted(value, key=lambda n: -value[n])[:_MEMBERS] if value[n] > _WORTH * max(value.values())]
    windows = BlendConfig().windows
    chosen = _affordable(worth, cost, left, windows)
    more = _affordable(worth, cost, left, 1)
    if len(more) > len(chosen):
        chosen, windows = more, 1
    members = {name: {"model": name, "config": configs[name]} for name in chosen}
    return (members | popularities() if members else {}), windows


def _affordable(names: list[str], cost: Mapping[str, dict[str, float]], left: float, windows: int) -> list[str]:
    """Those of some models, best first, that can be fitted once more for each window in the seconds left."""
    chosen = []
    for name in names:
        price = _A_WINDOW * windows * cost[name]["fit_seconds"]
        if price < left:  # one that is too dear must not take the time of those after it
            chosen.append(name)
            left -= price
    return chosen


@dataclass(frozen=True)
class _Made:
    """A blend, and what learning its weights anew takes: all members fitted on the past, and what it learned from."""

    model: Blend
    members: Mapping[str, Any]
    fitted: Mapping[str, Model]
    learned: Learned

    def with_newest(self, split: Split, seed: int) -> dict[str, Any]:
        """Its config with weights learned from the hidden days, too."""
        newer = learn_newer(self.learned, split, self.fitted, self.members, self.model.config, seed)
        config = self.model.config.as_dict()
        return {**config, "members": weighed(self.members, newer.shares), "own": newer.own}


def _blended(
    split: Split,
    members: Mapping[str, Any],
    windows: int,
    models: Mapping[str, Model],
    seed: int,
    threads: int,
    progress: Progress,
) -> _Made | None:
    """The blend with weights learned on windows before the split; None where there is nothing to learn from."""
    if not members:
        return None
    config = BlendConfig(windows=windows)
    try:
        with progress.stage("Learning weights of the blend", config.windows) as advance:
            learned = learn_weights(split.train, members, config, seed, threads, advance)
    except NotEnoughData:
        progress.note("No blend: too few customers came back in earlier windows to learn its weights from.")
        return None
    missing = {label: member for label, member in members.items() if label not in models}
    fitted = {label: models[label] for label in members if label in models}
    fitted |= fit_members(split.train, missing, seed, threads)
    fitted = {label: fitted[label] for label in members}  # in the order of the weights
    told = weighed(members, learned.shares)
    config = replace(config, own=learned.own)
    blend = Blend.of_fitted(split.train, told, fitted, config=config, seed=seed, threads=threads)
    return _Made(blend, members, fitted, learned)


def _relearns(split: Split) -> bool:
    """Whether a training learns weights anew with the newest days, because that is quick."""
    return split.train.interactions.histories.n_events <= _RELEARN


def _config(made: Blend, split: Split) -> dict[str, Any]:
    """What later trainings are to fit, which learn weights anew where that is quick."""
    relearn = _relearns(split)
    members = {
        label: {key: value for key, value in member.items() if key != "weight" or not relearn}
        for label, member in made.config.members.items()
    }
    return {**made.config.as_dict(), "members": members}
