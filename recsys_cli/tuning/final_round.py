"""The last round: finalists and their blend, fitted on the past, judged by the newest days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
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
from ..splitting.usable_time import usable_time
from .objective import Rung, aged

_NEAR = 0.98  # a blend this near to the best single model is preferred: it leans on no one model's luck
_MEMBERS = 6
_VECTORS = 60_000_000  # numbers in all item vectors of a member: to read them takes about 15 ms an answer
_WORTH = 0.5  # of the best; a weaker model is not worth its time in a blend
_RELEARN = 3_000_000  # events; beyond, a training takes the weights as they were learned here


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


@dataclass(frozen=True)
class Terms:
    """How a last round is held.

    Parameters
    ----------
    metric
        What is maximised, as "ndcg@10".
    windows
        Stretches of time before the hidden one that a blend learns its weights on; 0 for no blend.
    ageing
        Whether to find out, too, how fast histories age; a search has done so.
    max_users
        Customers who are asked.
    newest
        Whether a blend that wins learns its weights from the hidden days, too; for nothing where they are of a sample.
    """

    metric: str
    seed: int = 42
    threads: int = 0
    windows: int = 2
    ageing: bool = False
    max_users: int = 20_000
    newest: bool = True


@dataclass
class _Field:
    """The finalists: fitted on the past, what to fit them by again, and what that took."""

    models: dict[str, Model] = dataclass_field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = dataclass_field(default_factory=dict)
    cost: dict[str, dict[str, float]] = dataclass_field(default_factory=dict)


def last_round(
    split: Split, finalists: Mapping[str, Mapping[str, Any]], terms: Terms, progress: Progress = SILENT
) -> Final:
    """Fit, blend, judge, choose.

    Parameters
    ----------
    finalists
        Model name to its hyperparameters.
    """
    field = _fitted(split, finalists, terms, progress)
    models, configs = field.models, field.configs
    made = None
    if terms.windows:
        judges = Rung.of(split, terms.seed)
        value = {name: judges.value(model, terms.metric) for name, model in models.items() if quick_to_blend(model)}
        members = _members(value, configs, usable_time(split.train.interactions.histories))
        made = _blended(split, members, terms, models, progress)
        if made is not None:
            models[Blend.name] = made.model
            configs[Blend.name] = _config(made.model, split)
    report = evaluate(models, split, seed=terms.seed, max_users=terms.max_users, cost=field.cost, progress=progress)
    name = winner(report, list(models), terms.metric)
    whole = configs[name]
    if terms.newest and made is not None and name == Blend.name and _relearns(split):
        whole = made.with_newest(split, terms.seed)
    return Final(name, configs[name], report, models[name], whole)


def _fitted(split: Split, finalists: Mapping[str, Mapping[str, Any]], terms: Terms, progress: Progress) -> _Field:
    field = _Field()
    rung = Rung.of(split, terms.seed) if terms.ageing else None
    with progress.stage("Fitting finalists on the past", len(finalists)) as advance:
        for name, values in finalists.items():
            cls = registry.get(name)
            with measured() as spent:
                model = cls.fit(split.train, cls.Config.from_values(values), seed=terms.seed, threads=terms.threads)
            model = model if rung is None else aged(model, rung, terms.metric)
            settled = cls.settled if rung is not None else ()
            field.models[name], field.cost[name] = model, spent
            field.configs[name] = {**values, **{key: getattr(model.config, key) for key in settled}}
            advance(1)
    return field


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


def _members(value: Mapping[str, float], configs: Mapping[str, Any], timed: bool) -> dict[str, Any]:
    """The better models by their metric, those that know items by their content, and popularity over several times.

    Content alone foresees little, and it knows what no history tells: on Amazon Beauty, where it has a quarter of the
    others' NDCG@10, it adds 4 % to that of a blend of them.
    """
    value = {name: found for name, found in value.items() if name in member_names() and name != Popular.name}
    best = sorted(value, key=lambda name: -value[name])[:_MEMBERS]
    best = [name for name in best if value[name] > _WORTH * max(value.values())]
    best += [name for name in value if registry.get(name).capabilities.cold_items and name not in best]
    members = {name: {"model": name, "config": configs[name]} for name in best}
    return members | popularities(timed) if members else {}


@dataclass(frozen=True)
class _Made:
    """A blend, and what learning its weights again takes: all members fitted on the past, and what it learned from."""

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
    split: Split, members: Mapping[str, Any], terms: Terms, models: Mapping[str, Model], progress: Progress
) -> _Made | None:
    """The blend with weights learned on windows before the split; None where there is nothing to learn from."""
    if not members:
        return None
    config, seed, threads = BlendConfig(windows=terms.windows), terms.seed, terms.threads
    try:
        with progress.stage("Learning weights of the blend", config.windows) as advance:
            later = terms.newest and _relearns(split)  # what own items are worth is then learned with the hidden days
            learned = learn_weights(split.train, members, config, seed, threads, advance, own=not later)
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
    """Whether a training learns weights again with the newest days, because that is quick."""
    return split.train.interactions.histories.n_events <= _RELEARN


def _config(made: Blend, split: Split) -> dict[str, Any]:
    """What later trainings are to fit, which learn weights again where that is quick."""
    relearn = _relearns(split)
    members = {
        label: {key: value for key, value in member.items() if key != "weight" or not relearn}
        for label, member in made.config.members.items()
    }
    return {**made.config.as_dict(), "members": members}
