"""A model for those who name none: what a budget of CPU seconds allows is tried, and validation chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..evaluation import holdout
from ..evaluation.learning_curve import learned_from, shows_pairs, standing
from ..models import registry
from ..models.base import Size
from ..models.blend import Blend
from ..models.popular import Popular
from ..progress import SILENT, Progress
from ..schema import Dataset
from .budget import Plan
from .final_round import Final, Terms, last_round
from .objective import sample
from .shortlist import quick

AUTO, FALLBACK = "auto", "als"  # the latter where there is no future to judge by
_SAMPLE_ABOVE, _SAMPLE_EVENTS = 3_000_000, 1_000_000


@dataclass(frozen=True)
class Picked:
    """The winner, and how it was found where it was found on all of the data: see `Final`."""

    name: str
    config: dict[str, Any]
    final: Final | None = None


def pick(
    data: Dataset,
    *,
    budget: float = 240.0,
    metric: str = "ndcg@10",
    window_days: float = 0.0,
    seed: int = 42,
    threads: int = 0,
    given: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    progress: Progress = SILENT,
) -> Picked:
    """Fit the shortlist on the past, at known-good defaults, and take what foresaw best, a blend included.

    Parameters
    ----------
    budget
        CPU seconds; what is tried in them is known before anything is fitted, see `Plan`.
    given
        Model to hyperparameters that differ from its defaults.

    Returns
    -------
    The winner; popularity where there are too few events to tell, see `learning_curve`, or hardly anybody has to do
    with two products. On more than some million events the families compete on a sample of customers.
    """
    here = standing(learned_from(data.interactions.histories))
    if here.below:
        progress.note(here.sentence)
        return Picked(Popular.name, {})
    split = holdout(data, window_days)
    if split is None and not shows_pairs(data.interactions):
        progress.note(
            "Hardly any customer bought two different products, so no model can tell which belong together: popular "
            "items are served."
        )
        return Picked(Popular.name, {})
    if split is None:
        progress.note(f"There is no later period to evaluate models on, so {FALLBACK} is trained.")
        return Picked(FALLBACK, dict(given.get(FALLBACK, {})))
    sampled = data.interactions.histories.n_events > _SAMPLE_ABOVE
    whole = Size.of(data) if sampled else None
    if sampled:
        split = sample(split, _SAMPLE_EVENTS, seed)
    plan = Plan.of(quick(data), Size.of(split.train), budget, whole=whole)
    plan.tell(progress, budget)
    terms = Terms(metric, seed, threads, windows=plan.windows, ageing=True, max_users=3000, newest=not sampled)
    recipes = {name: {**registry.get(name).Config().as_dict(), **given.get(name, {})} for name in plan.names}
    final = last_round(split, recipes, terms, progress)
    progress.note(f"Chosen by validation: {final.name}.")
    if not sampled:
        return Picked(final.name, final.config, final)
    return Picked(final.name, _enlarged(final, recipes) if final.name == Blend.name else final.config)


def _enlarged(final: Final, recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A blend of a sample, to be fitted on everything: its weights stay, what follows from the amount of data does not.

    Learning the weights again would take two more fits on everything. Vectors as long as the sample allows take twice
    the time of those that so much data gets.
    """
    config = final.model.config.as_dict()

    def member(label: str, values: dict[str, Any]) -> dict[str, Any]:
        settled = registry.get(values["model"]).settled
        asked = {key: value for key, value in recipes.get(label, {}).items() if key not in settled}
        return {**values, "config": {**values["config"], **asked}}

    return {**config, "members": {label: member(label, values) for label, values in config["members"].items()}}
