"""The second stage of a version: learned alone, for the model that is served."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..artifacts import Artifacts, Version, suppressed
from ..artifacts.bundle import read_bundle
from ..errors import NotEnoughData
from ..evaluation.bench import UNJUDGED, fitted
from ..models import registry
from ..models.base import Model
from ..progress import SILENT, Progress
from ..ranking.learning import learn
from ..ranking.outcome import RANKER, Outcome
from ..settings import Settings
from ..splitting.holdout import holdout
from ..store import Snapshot, Store
from .train import read_seen, read_snapshot
from .version import Release, publish_version


@dataclass(frozen=True)
class Reordered:
    """A version with the served model and a ranker learned again."""

    version: Version
    second: Outcome
    seconds: float


def train_ranker(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> Reordered:
    """Learn a ranker for the served model, which is not trained, and publish both with the events of now.

    Where the gate keeps the new ranker off, the version has none.

    Raises
    ------
    NoModel, StoreMissing, NotEnoughData
    Superseded
        Another version was published meanwhile.
    """
    started = time.monotonic()
    erasures = suppressed.mark(settings.db)
    pointer = artifacts.current_name()
    base = artifacts.current()
    snapshot, model, second = _learned(base, store, settings, progress)
    version = publish_version(
        artifacts,
        settings,
        Release(
            snapshot,
            model,
            kind="ranker",
            metrics=base.manifest["metrics"],
            erasures=erasures,
            ranker=second.ranker,
            notes={
                "trained": fitted(base),
                "watch": base.manifest.get("watch"),
                RANKER: second.as_dict(until=snapshot.data.interactions.end),
            },
            base=base,
            pointer=pointer,
        ),
        progress,
    )
    return Reordered(version, second, time.monotonic() - started)


def judge_ranker(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> Outcome:
    """What a ranker learned now for the served model would gain on the newest days; nothing is published.

    Raises
    ------
    NoModel, StoreMissing, NotEnoughData
    """
    return _learned(artifacts.current(), store, settings, progress)[2]


def _learned(base: Version, store: Store, settings: Settings, progress: Progress) -> tuple[Snapshot, Model, Outcome]:
    bundle = read_bundle(base.path)
    snapshot = read_snapshot(store, settings, progress, item_order=bundle.items().ids)
    model = registry.load(bundle).grow(snapshot.data, snapshot.data.interactions.end)
    split = holdout(snapshot.data, settings.evaluation.window_days)
    if split is None:
        raise NotEnoughData(UNJUDGED.reason, "Ingest a longer period.")
    seed, threads = settings.train.seed, settings.train.threads
    with progress.stage(f"Fitting {model.name} on the past"):
        past = type(model).fit(split.train, model.config, seed=seed, threads=threads, progress=progress)
    seen = read_seen(store, settings, snapshot, progress)
    second = learn(
        split, past, model, seen=seen, ranking=settings.ranking, seed=seed, threads=threads, progress=progress
    )
    return snapshot, model, second
