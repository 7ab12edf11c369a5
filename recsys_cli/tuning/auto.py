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
    # With the weights as they were learned on the sample: learning them again would take two more fits on everything.
    return Picked(final.name, final.model.config.as_dict() if final.name == Blend.name else final.config)
