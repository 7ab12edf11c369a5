"""A model that was trained elsewhere, as a version: what `recsys models import` does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts import Artifacts, Version, suppressed
from ..errors import InputError
from ..evaluation import Report
from ..evaluation.bench import FLOOR, Bench, Recipe, Served
from ..evaluation.gate import Decision, decide
from ..models.base import State
from ..models.support.vectors import VectorModel
from ..progress import SILENT, Progress
from ..ranking.outcome import PENDING, RANKER, off
from ..schema import Histories, IdMap
from ..settings import Settings
from ..store import Store
from .model_bundle import ModelBundle, read_model_bundle
from .train import judge_newcomers, read_snapshot
from .version import Release, publish_version

_ASKED = 256  # histories that a model is tried on before anything is published


@dataclass(frozen=True)
class Imported:
    """What came of an import; a version that the gate kept back is published but not served."""

    version: Version
    recipe: Recipe
    report: Report | None
    decision: Decision
    seconds: float


def import_model(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    folder: Path,
    progress: Progress = SILENT,
    *,
    force: bool = False,
) -> Imported:
    """Publish the model of a bundle with the customers and items of now, and serve it unless it is worse.

    It is judged as it is, on events later than those that its training saw. Items that the shop has beyond the
    bundle's get vectors from who bought them.

    Parameters
    ----------
    folder
        See `model_bundle`.
    force
        Serve it whatever the gate says.

    Raises
    ------
    InputError
        The bundle is refused; nothing has changed.
    StoreMissing, NotEnoughData
    """
    started = time.monotonic()
    bundle = read_model_bundle(folder)
    erasures = suppressed.mark(settings.db)
    served = Served.of(artifacts)
    snapshot = read_snapshot(store, settings, progress, item_order=served.items if served else None)
    seen = snapshot.data.interactions
    known = _of_shop(bundle, seen.items)
    _try(known, seen.histories, seen.end)
    recipe = Recipe(known.name, known.config)
    bench = Bench.of_fitted(snapshot.data, settings, recipe, known, bundle.until, served, progress)
    decision = _decision(bench, bundle, recipe, served, settings)
    version = publish_version(
        artifacts,
        settings,
        Release(
            snapshot,
            known.grow(snapshot.data, seen.end),
            kind="import",
            erasures=erasures,
            metrics=bench.report.as_dict() if bench else {},
            promote=decision.promote or force,
            newcomers=judge_newcomers(snapshot, settings),
            notes={
                "recipe": recipe.as_dict(),
                "imported": {"until": bundle.until, "items": len(bundle.items)},
                "gate": {**decision.as_dict(), "forced": force and not decision.promote},
                RANKER: off("It is learned by the update worker.").as_dict() | {PENDING: settings.train.ranker},
            },
        ),
        progress,
    )
    return Imported(version, recipe, bench.report if bench else None, decision, time.monotonic() - started)


def _of_shop(bundle: ModelBundle, items: IdMap) -> VectorModel:
    """The model over the shop's item codes."""
    codes = items.codes(bundle.items)
    if (unknown := np.flatnonzero(codes < 0)).size:
        some = ", ".join(ascii(bundle.items[n][:40]) for n in unknown[:3])
        raise InputError(
            f"{len(unknown):,} of {len(codes):,} items of the bundle are not in this shop: {some}.",
            "Ingest them, or leave them out of the bundle.",
        )
    n_items = len(items)

    def moved(array: NDArray[Any]) -> NDArray[Any]:
        whole = np.zeros((n_items, *array.shape[1:]), array.dtype)
        whole[codes] = array
        return whole

    axes = bundle.model.item_axes
    arrays = {name: moved(array) if axes.get(name) == (0,) else array for name, array in bundle.state.arrays.items()}
    return bundle.model.from_state(bundle.config, n_items, State(arrays, bundle.state.meta))


def _try(model: VectorModel, histories: Histories, now: int) -> None:
    """Refuse a model whose answers are all zero or not finite, as those of unfit hyperparameters are."""
    some = histories.rows(np.flatnonzero(np.diff(histories.indptr))[:_ASKED])
    weights = model.weights(some, now)
    try:
        with np.errstate(all="ignore"):
            # A visitor with one click goes another way than a history that is longer than the vectors.
            vectors = model.user_vectors(some, now), model.fold_in(weights.indices[:1], weights.data[:1])
        fine = all(np.isfinite(made).all() for made in vectors) and bool(vectors[0].any())
    except np.linalg.LinAlgError:
        fine = False
    if not fine:
        raise InputError(
            "The model's answers are all zero, or not finite numbers.", "Check the bundle's hyperparameters and arrays."
        )


def _decision(
    bench: Bench | None, bundle: ModelBundle, recipe: Recipe, served: Served | None, settings: Settings
) -> Decision:
    if bench is not None:
        margin = settings.update.gate_margin
        return decide(bench.report, recipe.name, floor=FLOOR, served=served is not None, margin=margin)
    if served is None:
        return Decision(True, "Nothing was served before.")
    day = time.strftime("%Y-%m-%d", time.gmtime(bundle.until))
    return Decision(False, f"Its training saw events until {day}; too few customers came back later to judge it by.")
