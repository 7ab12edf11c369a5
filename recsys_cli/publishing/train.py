"""Store to model to published version: what `recsys train` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..artifacts import Artifacts, Version, choices, suppressed
from ..artifacts.choices import HASHED, barred
from ..errors import UsageError
from ..evaluation import Report
from ..evaluation.bench import UNJUDGED, Bench, Recipe, Served
from ..evaluation.gate import Decision
from ..evaluation.learning_curve import Standing, learned_from, shows_pairs, standing
from ..features.own_attributes import own_column, with_attributes
from ..identity import load_secret, rows_hashed
from ..models.base import Model, ModelConfig
from ..processes import give_memory_back
from ..progress import SILENT, Progress
from ..ranking.learning import learn
from ..ranking.outcome import PENDING, RANKER, Outcome, off
from ..ranking.seen import Seen
from ..schema import DAY, Dataset
from ..settings import Settings
from ..store import Snapshot, Store
from ..store.attribution import Windows, attribute
from ..store.profiles import LEAST
from ..store.seen_lists import any_seen, seen_lists
from ..tuning import load_choice
from ..tuning.auto import AUTO, pick
from ..tuning.final_round import Final
from .segment_popularity import Judged, judge
from .shelves import Counts
from .version import Release, publish_version

_SEEN_DAYS = 120  # before the newest event, of which what was seen is learned from


@dataclass(frozen=True)
class Trained:
    """What came of a training; a version that the gate kept back is published but not current."""

    version: Version
    recipe: Recipe
    report: Report | None
    decision: Decision
    seconds: float
    second: Outcome
    standing: Standing


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
        snapshot = Snapshot.read(
            con,
            secret,
            settings.events.weights,
            view_seconds=settings.events.view_seconds,
            item_order=item_order,
            shared_by=shared_by(settings),
        )
    return with_own(leave_out(snapshot, settings.artifacts, secret), settings, progress)


def shared_by(settings: Settings) -> int:
    """Customers who must share what a profile says for it to count; 0 where profiles are not used."""
    used = settings.train.newcomers or settings.ranking.customer_attributes
    return max(settings.privacy.min_customers, LEAST) if used else 0


def with_own(snapshot: Snapshot, settings: Settings, progress: Progress = SILENT) -> Snapshot:
    """The snapshot with the attributes that settings name as features, see `features.own_attributes` and
    `features.customer_groups`; says which are not there."""
    snapshot = _with_groups(snapshot, settings, progress)
    names = settings.ranking.attributes
    if not names:
        return snapshot
    catalogue = with_attributes(snapshot.data.catalogue, names)
    for name in names:
        if own_column(catalogue, name).null_count == len(catalogue):
            progress.note(f"No item has the attribute '{name}', which ranking.attributes names.")
    return replace(snapshot, data=replace(snapshot.data, catalogue=catalogue))


def _with_groups(snapshot: Snapshot, settings: Settings, progress: Progress) -> Snapshot:
    names = settings.ranking.customer_attributes
    if not names or snapshot.profiles is None:
        return snapshot
    named = snapshot.profiles.only(names, settings.privacy.min_customers)
    for name in set(names) - set(named.names):
        progress.note(
            f"ranking.customer_attributes names '{name}', but no value of it is shared by "
            f"{shared_by(settings)} customers in their profiles."
        )
    return replace(snapshot, data=replace(snapshot.data, profiles=named))


def leave_out(snapshot: Snapshot, root: Path, secret: str) -> Snapshot:
    """The snapshot without the people who are not to be profiled, as noted in the artifacts directory `root`."""
    if not (names := barred(root)):
        return snapshot
    gone = np.zeros(len(snapshot.keys), dtype=np.bool_)
    gone[rows_hashed(secret + HASHED, snapshot.keys, names)] = True
    return replace(snapshot.without(gone) if gone.any() else snapshot, left_out=frozenset(names))


def train(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    recipe: Recipe,
    progress: Progress = SILENT,
    *,
    force: bool = False,
    notes: Mapping[str, Any] | None = None,
    counts: Callable[[Dataset], Counts] | None = None,
) -> Trained:
    """Judge the recipe on the last part of time, fit it on all of it, publish, and serve it unless it is worse.

    Parameters
    ----------
    force
        Serve it whatever the gate says.
    notes
        More for the manifest.
    counts
        Makes what the shelves count over all events, in place of this process.

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
        give_memory_back()
    bench = Bench.of(snapshot.data, settings, recipe, served, progress)
    give_memory_back()
    recipe = replace(recipe, past=None)  # as large as the model that is fitted next
    with progress.stage(f"Fitting {recipe.name} on everything"):
        model = recipe.fit(snapshot.data, settings, progress, past=bench.past if bench else None)
    decision = bench.decide(model, settings, progress) if bench else UNJUDGED
    newcomers = judge_newcomers(snapshot, settings)
    report = bench.report if bench else None
    seen = read_seen(store, settings, snapshot, progress) if settings.train.ranker and bench else None
    second = learn_order(bench, model, settings, progress, seen)
    del served, bench  # models and histories that a large shop has no room for beside what is published
    version = publish_version(
        artifacts,
        settings,
        Release(
            snapshot,
            model,
            kind="train",
            metrics=report.as_dict() if report else {},
            erasures=erasures,
            promote=decision.promote or force,
            ranker=second.ranker,
            newcomers=newcomers,
            counts=counts(snapshot.data) if counts else None,
            notes={
                **(notes or {}),
                RANKER: second.as_dict(until=snapshot.data.interactions.end),
                "recipe": recipe.as_dict(),
                "gate": {**decision.as_dict(), "forced": force and not decision.promote},
            },
        ),
        progress,
    )
    all_seen = snapshot.data.interactions
    here = standing(learned_from(all_seen.histories), report, recipe.name, pairs=shows_pairs(all_seen))
    return Trained(version, recipe, report, decision, time.monotonic() - started, second, here)


def judge_newcomers(snapshot: Snapshot, settings: Settings) -> list[Judged]:
    """What profiles say, against popularity, by customers who came for the first time in the newest days."""
    if snapshot.profiles is None or not settings.train.newcomers:
        return []
    days, seed = settings.evaluation.window_days, settings.train.seed
    return judge(snapshot.data, snapshot.profiles, window_days=days, seed=seed, least=settings.privacy.min_customers)


def read_seen(store: Store, settings: Settings, snapshot: Snapshot, progress: Progress = SILENT) -> Seen | None:
    """What was seen of lists in the last months, and what came of it, as people allow; None where nothing was."""
    until = snapshot.data.interactions.end + 1
    since = until - _SEEN_DAYS * DAY
    barred_people = {name: choice.mode for name, choice in choices.read(settings.artifacts).items()}
    windows = Windows(settings.report.click_days, settings.report.seen_days)
    with progress.stage("Reading what was seen"), store.reading() as con:
        if not any_seen(con, since):
            return None
        secret = load_secret(settings.db)
        attribute(con, since, until, windows, barred=barred_people, secret=secret)
        return Seen.of(seen_lists(con), snapshot.data)


def learn_order(
    bench: Bench | None, model: Model, settings: Settings, progress: Progress, seen: Seen | None = None
) -> Outcome:
    """The second stage on `model`, judged and learned by what the bench hid and fitted."""
    if not settings.train.ranker:
        return off("The training left it out, as train.ranker = false has it. recsys train --ranker learns one.")
    if bench is None or bench.past is None:
        return off(UNJUDGED.reason)
    train = settings.train
    return learn(
        bench.split, bench.past, model, seen=seen, ranking=settings.ranking, seed=train.seed, threads=train.threads,
        progress=progress,
    )  # fmt: skip


def _picked(snapshot: Snapshot, settings: Settings, progress: Progress) -> Recipe:
    """The recipe that validation prefers among those this data allows."""
    won = pick(
        snapshot.data,
        budget=settings.train.budget,
        window_days=settings.evaluation.window_days,
        seed=settings.train.seed,
        threads=settings.train.threads,
        given={"content": {"meaning": settings.train.meaning}} if settings.train.meaning else {},
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
    with progress.stage(f"Fitting {recipe.name} again"):
        model = recipe.fit(snapshot.data, settings, progress)
    version = publish_version(
        artifacts,
        settings,
        Release(snapshot, model, kind="train", erasures=erasures, notes={"recipe": recipe.as_dict(), RANKER: again}),
        progress,
    )
    with artifacts.exclusive(waiting=progress.note):
        for name in artifacts.names():
            if name != artifacts.current_name():
                artifacts.remove(name)
    return version
