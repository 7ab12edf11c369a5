"""Store to model to published version: what `recsys train` does, and how every version is put together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .artifacts import Artifacts, Version
from .artifacts.bundle import Bundle, sort_by_key, write_bundle
from .errors import Superseded
from .evaluation import Report, evaluate, holdout
from .gdpr import suppression
from .identity import load_secret
from .index import ItemIndex
from .models import registry
from .models.base import Model, ModelConfig
from .progress import SILENT, Progress
from .serving.shelves import build_shelves
from .settings import Settings
from .store import Snapshot, Store
from .tuning import load_choice

INDEX_FILE = "index.faiss"
FLOOR = "popular"


@dataclass(frozen=True)
class Recipe:
    """What to fit: a model's name and its config."""

    name: str
    config: ModelConfig

    @staticmethod
    def of(name: str, values: Mapping[str, Any]) -> Recipe:
        """The recipe with these hyperparameters, the others at their defaults.

        Raises
        ------
        UsageError
            No such model, or no such hyperparameter.
        """
        return Recipe(name, registry.get(name).Config.from_values(values))

    def fit(self, data: Any, settings: Settings, progress: Progress) -> Model:
        """A fitted model."""
        cls = registry.get(self.name)
        train = settings.train
        return cls.fit(data, self.config, seed=train.seed, threads=train.threads, progress=progress)

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "config": self.config.as_dict()}


@dataclass(frozen=True)
class Trained:
    """What came of a training."""

    version: Version
    report: Report | None
    seconds: float


def choose(settings: Settings, name: str | None, values: Mapping[str, Any]) -> Recipe:
    """The recipe to train: the named model, else what tuning chose, else the setting.

    Parameters
    ----------
    name
        A registered model, or None. When it is the one tuning chose, tuning's values are where `values` start from.
    values
        Hyperparameters given by hand.
    """
    tuned = load_choice(settings.artifacts)
    wanted = name or (tuned["name"] if tuned else settings.train.model)
    start = tuned["config"] if tuned and tuned["name"] == wanted else {}
    return Recipe.of(wanted, {**start, **values})


def read_snapshot(store: Store, settings: Settings, progress: Progress = SILENT) -> Snapshot:
    """Everything in the store that models learn from; the database is closed again on return."""
    with progress.stage("Reading events"), store.reading() as con:
        return Snapshot.read(con, load_secret(settings.db, create=True), settings.events.weights)


def train(
    store: Store, artifacts: Artifacts, settings: Settings, recipe: Recipe, progress: Progress = SILENT
) -> Trained:
    """Judge the recipe on the last part of time, fit it on all of it, and publish.

    Raises
    ------
    StoreMissing, NotEnoughData
    """
    started = time.monotonic()
    erasures = suppression.mark(settings.db)
    snapshot = read_snapshot(store, settings, progress)
    report = judge(snapshot, settings, recipe, progress)
    with progress.stage(f"Fitting {recipe.name} on everything"):
        model = recipe.fit(snapshot.data, settings, progress)
    version = publish_version(
        artifacts,
        snapshot,
        model,
        kind="train",
        metrics=report.as_dict() if report else {},
        settings=settings,
        erasures=erasures,
        progress=progress,
    )
    return Trained(version, report, time.monotonic() - started)


def judge(snapshot: Snapshot, settings: Settings, recipe: Recipe, progress: Progress = SILENT) -> Report | None:
    """The recipe and the popularity floor, fitted on the past and scored on the future.

    Returns
    -------
    None when the data has no future to judge by: too few days, or nobody who came back.
    """
    split = holdout(snapshot.data, settings.evaluation.window_days)
    if split is None:
        return None
    recipes = {recipe.name: recipe, FLOOR: Recipe.of(FLOOR, {})}
    models: dict[str, Model] = {}
    for name, each in recipes.items():
        with progress.stage(f"Fitting {name} on the past"):
            models[name] = each.fit(split.train, settings, progress)
    return evaluate(
        models, split, max_users=settings.evaluation.max_users, seed=settings.train.seed, progress=progress
    )


def publish_version(
    artifacts: Artifacts,
    snapshot: Snapshot,
    model: Model,
    *,
    kind: str,
    metrics: Mapping[str, Any],
    settings: Settings,
    erasures: int,
    progress: Progress = SILENT,
    promote: bool = True,
    notes: Mapping[str, Any] | None = None,
    base: Version | None = None,
    pointer: str | None = None,
) -> Version:
    """Write, seal and publish a version of `model` with the customers and items of `snapshot`.

    Parameters
    ----------
    kind
        "train" or "update".
    metrics
        For the manifest: how the model was judged.
    erasures
        `suppression.mark` from before `snapshot` was read: who was erased since is left out.
    promote
        Make it the one that is served.
    notes
        More for the manifest.
    base, pointer
        The version this one was grown from, and what `current` held when it was read: growing takes time, and what
        others publish meanwhile must not be replaced by something made from an older version.

    Raises
    ------
    Superseded
        `current` is no longer `pointer`; nothing was published.
    """
    with progress.stage("Publishing"), artifacts.draft() as draft:
        vectors = model.item_vectors()
        write_bundle(draft.path, make_bundle(snapshot, model))
        if vectors is not None:
            ItemIndex.build(vectors).save(draft.path / INDEX_FILE)
        with artifacts.exclusive(waiting=progress.note):
            if base is not None and artifacts.current_name() != pointer:
                raise Superseded(f"{artifacts.current_name()} was published meanwhile.", "Run the command again.")
            manifest = _manifest(artifacts, snapshot, model, kind, metrics) | dict(notes or {})
            if base is not None:
                manifest["parent"] = base.name
            suppression.drop_erased(draft.path, settings.db, load_secret(settings.db), since=erasures)
            version = artifacts.publish(draft, manifest, promote=promote)
            artifacts.prune(settings.train.keep)
    return version


def make_bundle(snapshot: Snapshot, model: Model) -> Bundle:
    """What goes into a version: the model, the catalogue, the histories by keyed hash, the shelves."""
    data = snapshot.data
    keys, histories = sort_by_key(snapshot.keys, data.interactions.histories)
    state = model.state()
    return Bundle(
        model_name=model.name,
        model_config=model.config.as_dict(),
        model_arrays=state.arrays,
        model_meta=state.meta,
        catalogue=data.catalogue,
        keys=keys,
        histories=histories,
        now=data.interactions.end,
        shelves=build_shelves(data, model),
    )


def _manifest(
    artifacts: Artifacts, snapshot: Snapshot, model: Model, kind: str, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    seen = snapshot.data.interactions
    return {
        "kind": kind,
        "parent": artifacts.current_name() or None,
        "model": {"name": model.name, "config": model.config.as_dict()},
        "metrics": dict(metrics),
        "data": {
            "events": seen.histories.n_events,
            "users": seen.n_users,
            "items": seen.n_items,
            "first_ts": int(seen.histories.ts.min()),
            "last_ts": seen.end,
            "store_events": snapshot.events,
            "watermark": snapshot.watermark,
        },
        "spool": snapshot.spool,
    }
