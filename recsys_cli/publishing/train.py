"""Store to model to published version: what `recsys train` does, and how every version is put together."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..artifacts import Artifacts, Version, suppressed
from ..artifacts.bundle import Bundle, read_bundle, sort_by_key, write_bundle
from ..artifacts.choices import HASHED, barred
from ..artifacts.forgetting import drop_barred, still_learned, without
from ..errors import Superseded, UsageError
from ..evaluation import Report
from ..evaluation.bench import UNJUDGED, Bench, Recipe, Served
from ..evaluation.gate import Decision
from ..features import ItemTable
from ..features.item_table import ITEM_TABLE
from ..identity import load_secret, sha256_column
from ..models.base import Model, ModelConfig
from ..progress import SILENT, Progress
from ..ranking.learning import learn
from ..ranking.outcome import PENDING, RANKER, Outcome, off
from ..ranking.ranker import Ranker
from ..schema import Float32
from ..serving.item_index import MEASURE_FROM, ItemIndex
from ..settings import Settings
from ..store import Snapshot, Store
from ..tuning import load_choice
from ..tuning.auto import AUTO, pick
from ..tuning.final_round import Final
from .shelves import build_shelves

INDEX_FILE = "index.faiss"


@dataclass(frozen=True)
class Trained:
    """What came of a training; a version that the gate kept back is published but not current."""

    version: Version
    recipe: Recipe
    report: Report | None
    decision: Decision
    seconds: float
    second: Outcome


def choose(settings: Settings, name: str | None, values: Mapping[str, Any]) -> Recipe:
    """The recipe to train: the named model, else what tuning chose, else the setting.

    Parameters
    ----------
    name
        A registered model, "auto" to let validation choose when the data is there, or None. When it is the one
        tuning chose, tuning's values are where `values` start from.
    values
        Hyperparameters given by hand.
    """
    tuned = load_choice(settings.artifacts)
    wanted = name or (tuned.name if tuned else settings.train.model)
    if wanted == AUTO:
        if values:
            raise UsageError("Model auto takes no hyperparameters.", "Name the model that --set is for.")
        return Recipe(AUTO, ModelConfig())
    start = tuned.config if tuned and tuned.name == wanted else {}
    return Recipe.of(wanted, {**start, **values})


def read_snapshot(
    store: Store, settings: Settings, progress: Progress = SILENT, *, item_order: pa.Array | None = None
) -> Snapshot:
    """Everything in the store that models may learn from; the database is closed again on return."""
    with progress.stage("Reading events"), store.reading() as con:
        secret = load_secret(settings.db)
        snapshot = Snapshot.read(con, secret, settings.events.weights, item_order=item_order)
    return leave_out(snapshot, settings.artifacts, secret)


def leave_out(snapshot: Snapshot, root: Path, secret: str) -> Snapshot:
    """The snapshot without the people who are not to be profiled, as noted in the artifacts directory `root`."""
    if not (names := barred(root)):
        return snapshot
    hashes = sha256_column(secret + HASHED, snapshot.keys)
    return snapshot.without(np.fromiter((h in names for h in hashes), dtype=np.bool_, count=len(hashes)))


def train(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    recipe: Recipe,
    progress: Progress = SILENT,
    *,
    force: bool = False,
    notes: Mapping[str, Any] | None = None,
) -> Trained:
    """Judge the recipe on the last part of time, fit it on all of it, publish, and serve it unless it is worse.

    Parameters
    ----------
    force
        Serve it whatever the gate says.
    notes
        More for the manifest.

    Raises
    ------
    StoreMissing, NotEnoughData
    """
    started = time.monotonic()
    erasures = suppressed.mark(settings.db)
    served = Served.of(artifacts)
    # Items keep their codes from version to version, so that the served model can be asked about today's items.
    snapshot = read_snapshot(store, settings, progress, item_order=served.items if served else None)
    if recipe.name == AUTO:
        recipe = _picked(snapshot, settings, progress)
    bench = Bench.of(snapshot.data, settings, recipe, served, progress)
    recipe = replace(recipe, past=None)  # as large as the model that is fitted next
    with progress.stage(f"Fitting {recipe.name} on everything"):
        model = recipe.fit(snapshot.data, settings, progress)
    decision = bench.decide(model, settings, progress) if bench else UNJUDGED
    second = learn_order(bench, model, settings, progress)
    version = publish_version(
        artifacts,
        snapshot,
        model,
        kind="train",
        metrics=bench.report.as_dict() if bench else {},
        settings=settings,
        erasures=erasures,
        progress=progress,
        promote=decision.promote or force,
        ranker=second.ranker,
        notes={
            **(notes or {}),
            RANKER: second.as_dict(until=snapshot.data.interactions.end),
            "recipe": recipe.as_dict(),
            "gate": {**decision.as_dict(), "forced": force and not decision.promote},
        },
    )
    return Trained(version, recipe, bench.report if bench else None, decision, time.monotonic() - started, second)


def learn_order(bench: Bench | None, model: Model, settings: Settings, progress: Progress) -> Outcome:
    """The second stage on `model`, judged and learned by what the bench hid and fitted."""
    if not settings.train.ranker:
        return off("It is turned off by the setting train.ranker.")
    if bench is None or bench.past is None:
        return off(UNJUDGED.reason)
    train = settings.train
    return learn(bench.split, bench.past, model, seed=train.seed, threads=train.threads, progress=progress)


def _picked(snapshot: Snapshot, settings: Settings, progress: Progress) -> Recipe:
    """The recipe that validation prefers among those this data allows."""
    won = pick(
        snapshot.data,
        budget=settings.train.budget,
        window_days=settings.evaluation.window_days,
        seed=settings.train.seed,
        threads=settings.train.threads,
        progress=progress,
    )
    if won.final is None:
        return Recipe.of(won.name, won.config)
    return replace(found(won.final), past=won.final.model)


def found(final: Final) -> Recipe:
    """The recipe that won a last round, with what the round found out, so that training need not find it again.

    The fitted model is not handed on: its item codes are those of the data of then.
    """
    recipe = Recipe.of(final.name, final.config)
    return replace(recipe, before=final.model.config, whole=Recipe.of(final.name, final.whole).config)


def retrain(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> Version:
    """Fit the served recipe on what the store holds now, as if for the first time, and keep no older version.

    For erasures: afterwards nothing that was learned from the erased is left, on the items' side of models either.

    Raises
    ------
    NoModel, StoreMissing, NotEnoughData
    """
    manifest = artifacts.current(verify=False).manifest
    learned = manifest.get("recipe") or manifest.get("trained", {}).get("recipe") or manifest["model"]
    recipe = Recipe.of(learned["name"], learned["config"])
    # What the ranker learned goes as well; the worker's next pass learns another.
    before = manifest.get(RANKER) or {}
    again = off("It is learned again by the update worker.").as_dict() | {PENDING: bool(before.get("verdicts"))}
    erasures = suppressed.mark(settings.db)
    # No item order is handed on: an item that only the erased ever touched is not in the store any more.
    snapshot = read_snapshot(store, settings, progress)
    with progress.stage(f"Fitting {recipe.name} anew"):
        model = recipe.fit(snapshot.data, settings, progress)
    version = publish_version(
        artifacts,
        snapshot,
        model,
        kind="train",
        metrics={},
        settings=settings,
        erasures=erasures,
        progress=progress,
        notes={"recipe": recipe.as_dict(), RANKER: again},
    )
    with artifacts.exclusive(waiting=progress.note):
        for name in artifacts.names():
            if name != artifacts.current_name():
                artifacts.remove(name)
    return version


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
    ranker: Ranker | None = None,
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
        `suppressed.mark` from before `snapshot` was read: who was erased since is left out.
    promote
        Make it the one that is served.
    notes
        More for the manifest.
    ranker
        The second stage; one that grows from `base` keeps that one's.
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
        previous = read_bundle(base.path).shelves if base is not None else None
        write_bundle(draft.path, make_bundle(snapshot, model, settings.privacy.min_customers, previous=previous))
        ItemTable.of(snapshot.data).save(draft.path / ITEM_TABLE)
        if ranker is not None:
            ranker.save(draft.path / RANKER)
        elif base is not None and RANKER not in (notes or {}) and base.intact(RANKER):
            shutil.copytree(base.file(RANKER), draft.path / RANKER)
        if vectors is not None:
            index = build_index(model, vectors, snapshot, like=base)
            index.save(draft.path / INDEX_FILE)
            notes = {"index": index.figures, **(notes or {})}
        with artifacts.exclusive(waiting=progress.note):
            if base is not None and artifacts.current_name() != pointer:
                raise Superseded(f"{artifacts.current_name()} was published meanwhile.", "Run the command again.")
            manifest = _manifest(artifacts, snapshot, model, kind, metrics) | dict(notes or {})
            if base is not None:
                manifest = {RANKER: base.manifest.get(RANKER)} | manifest
                manifest |= {"parent": base.name, **still_learned(base.manifest)}
            secret = load_secret(settings.db)
            manifest = without(manifest, suppressed.drop_erased(draft.path, settings.db, secret, since=erasures))
            drop_barred(draft.path, artifacts.root, secret)
            version = artifacts.publish(draft, manifest, promote=promote)
            artifacts.prune(settings.train.keep, days=settings.train.keep_days)
    return version


def build_index(model: Model, vectors: Float32, snapshot: Snapshot, *, like: Version | None = None) -> ItemIndex:
    """The index over a model's vectors, of the kind that is fastest for some of these customers.

    Parameters
    ----------
    like
        A version whose model this one was grown from: its kind of index is kept instead of being chosen anew.
    """
    if like is not None and like.file(INDEX_FILE).exists():
        return ItemIndex.build(vectors, like=ItemIndex.load(like.file(INDEX_FILE)))
    if len(vectors) < MEASURE_FROM:
        return ItemIndex.build(vectors)
    histories = snapshot.data.interactions.histories
    some = np.linspace(0, len(histories) - 1, min(len(histories), 512)).astype(np.int64)
    return ItemIndex.build(vectors, model.user_vectors(histories.rows(some), snapshot.data.interactions.end))


def make_bundle(
    snapshot: Snapshot, model: Model, least: int, *, previous: Mapping[str, NDArray[Any]] | None = None
) -> Bundle:
    """What goes into a version: the model, the catalogue, the histories by keyed hash, the shelves.

    For `least`, and for `previous`, the shelves of the version that the model was grown from, see `build_shelves`.
    """
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
        shelves=build_shelves(data, model, least=least, previous=previous),
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
            "newest_ts": int(seen.histories.ts.max()),
            "store_events": snapshot.events,
            "watermark": snapshot.watermark,
        },
        "spool": snapshot.spool,
    }
