"""What a training is judged by: the recipe, the served model and popularity on the newest days."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from ..artifacts import Artifacts, Version
from ..artifacts.bundle import read_bundle
from ..errors import NoModel
from ..models import registry
from ..models.base import Model, ModelConfig
from ..progress import SILENT, Progress
from ..schema import Dataset
from ..settings import Settings
from ..splitting.holdout import later_than
from . import Report, Split, evaluate, holdout
from .gate import SERVED, Decision, decide

FLOOR = "popular"
Engine = Callable[[ModelConfig, Dataset], Model]
UNJUDGED = Decision(True, "The data has no later part with returning customers to evaluate on.")
_FINAL_USERS = 2000  # enough to see that a fit went wrong


@dataclass(frozen=True)
class Recipe:
    """What to fit: a model's name and its config.

    Parameters
    ----------
    past
        The model that comes of it on what was before the newest days, where choosing it has fitted that already.
    before, whole
        What to fit on that, and on everything, where choosing has found out more than `config` says; see
        `tuning.final.Final`.
    engine
        Fits the model in place of this process, on another machine perhaps.
    """

    name: str
    config: ModelConfig
    past: Model | None = field(default=None, compare=False, repr=False)
    before: ModelConfig | None = field(default=None, compare=False, repr=False)
    whole: ModelConfig | None = field(default=None, compare=False, repr=False)
    engine: Engine | None = field(default=None, compare=False, repr=False)

    @staticmethod
    def of(name: str, values: Mapping[str, Any]) -> Recipe:
        """The recipe with these hyperparameters, the others at their defaults.

        Raises
        ------
        UsageError
            No such model, or no such hyperparameter.
        """
        return Recipe(name, registry.get(name).Config.from_values(values))

    def fit(self, data: Any, settings: Settings, progress: Progress, past: Model | None = None) -> Model:
        """A model fitted on everything; by way of what `fit_past` made of a part of it, where that is given."""
        config = self.whole or self.config
        if past is None or self.engine is not None:
            return self._fit(config, data, settings, progress)
        cls, train = registry.get(self.name), settings.train
        return cls.refit(data, config, past, seed=train.seed, threads=train.threads, progress=progress)

    def fit_past(self, data: Any, settings: Settings, progress: Progress) -> Model:
        """A model fitted on what was before the newest days, which must tell it nothing."""
        return self.past or self._fit(self.before or self.config, data, settings, progress)

    def _fit(self, config: ModelConfig, data: Any, settings: Settings, progress: Progress) -> Model:
        if self.engine is not None:
            return self.engine(config, data)
        cls, train = registry.get(self.name), settings.train
        return cls.fit(data, config, seed=train.seed, threads=train.threads, progress=progress)

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "config": self.config.as_dict()}


@dataclass(frozen=True)
class Served:
    """The served version's model.

    Parameters
    ----------
    model
        Loaded from the version.
    recipe
        What it was fitted by.
    items
        Item ids in the order of its codes.
    until
        Epoch seconds of the newest event that the fit saw.
    created_at
        Epoch seconds of the training.
    """

    model: Model
    recipe: Recipe
    items: pa.Array
    until: int
    created_at: int

    @staticmethod
    def of(artifacts: Artifacts) -> Served | None:
        """The version being served; None before the first one."""
        try:
            version = artifacts.current()
        except NoModel:
            return None
        bundle, trained = read_bundle(version.path), fitted(version)
        asked = trained.get("recipe", version.manifest["model"])
        recipe = Recipe.of(asked["name"], asked["config"])
        until, created_at = int(trained["data"]["last_ts"]), int(trained["created_at"])
        return Served(registry.load(bundle), recipe, bundle.items().ids, until, created_at)


def fitted(version: Version) -> dict[str, Any]:
    """The training that a version's model comes from.

    Returns
    -------
    dict
        version, created_at; data: as in its manifest, what was known then; recipe: name and config as they were
        asked for (`model` in the manifest has the numbers that were chosen in place of zeros).
    """
    manifest = version.manifest
    elsewhere = manifest.get("imported")
    known: dict[str, Any] = manifest.get("trained") or {
        "version": version.name,
        "created_at": manifest["created_at"],
        "data": manifest["data"] | ({"last_ts": elsewhere["until"]} if elsewhere else {}),
        "recipe": manifest.get("recipe", manifest["model"]),
    }
    return known


@dataclass(frozen=True)
class Bench:
    """What was found on the newest days.

    Parameters
    ----------
    split
        The newest days, hidden.
    report
        The recipe under its own name, popularity, and the served model as "served" where it could be compared.
    recipe
        Of the candidate.
    served
        Whether anything is served.
    past
        The recipe's model on what was before the newest days.
    """

    split: Split
    report: Report
    recipe: Recipe
    served: bool
    past: Model | None = field(default=None, compare=False, repr=False)

    @staticmethod
    def of(
        data: Dataset, settings: Settings, recipe: Recipe, served: Served | None, progress: Progress = SILENT
    ) -> Bench | None:
        """Fit on the past and score on the future.

        The served model is compared as it is when it has not seen the days it would be asked about. Otherwise it
        would win by knowing the answers, and a model fitted by its recipe on the past takes its place; the same
        recipe needs no comparison with itself.

        Returns
        -------
        None when the data has no future to judge by: too few days, or nobody who came back.
        """
        split = holdout(data, settings.evaluation.window_days)
        return None if split is None else _scored(split, settings, recipe, served, progress)

    @staticmethod
    def of_fitted(
        data: Dataset, settings: Settings, recipe: Recipe, model: Model, until: int, served: Served | None,
        progress: Progress = SILENT,
    ) -> Bench | None:  # fmt: skip
        """Score a model that was fitted elsewhere, as it is, on what came after the newest event that its fit saw.

        Returns
        -------
        None when too few customers came back since.
        """
        split = later_than(data, until, settings.evaluation.window_days)
        if split is None:
            return None
        past = model.grow(split.train, split.now)
        return _scored(split, settings, replace(recipe, past=past), served, progress, alike=False)

    def decide(self, model: Model, settings: Settings, progress: Progress = SILENT) -> Decision:
        """The gate's word on `model`, which is the recipe fitted on everything."""
        name, seed = self.recipe.name, settings.train.seed
        final = evaluate({name: model}, self.split, max_users=_FINAL_USERS, seed=seed, progress=progress)
        return decide(
            self.report, name, floor=FLOOR, served=self.served, margin=settings.update.gate_margin, final=final
        )


def _scored(
    split: Split, settings: Settings, recipe: Recipe, served: Served | None, progress: Progress, *, alike: bool = True
) -> Bench:
    """The candidate and what it is compared with; `alike` where models of the same recipe are the same."""
    recipes = {recipe.name: recipe, FLOOR: Recipe.of(FLOOR, {})}
    models: dict[str, Model] = {}
    if served and split.by == "time" and served.until < split.cut:
        models[SERVED] = served.model.grow(split.train, split.now)
    elif served and (not alike or served.recipe != recipe):
        recipes[SERVED] = served.recipe
    for name, each in recipes.items():
        with progress.stage(f"Fitting {name} on the past"):
            models[name] = each.fit_past(split.train, settings, progress)
    evaluation, seed = settings.evaluation, settings.train.seed
    report = evaluate(models, split, max_users=evaluation.max_users, seed=seed, progress=progress)
    return Bench(split, report, replace(recipe, past=None), served is not None, models[recipe.name])
