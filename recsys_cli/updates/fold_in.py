"""The served model with everything the store knows now, as a new version; nothing is fitted."""

from __future__ import annotations

from dataclasses import dataclass

from ..artifacts import Artifacts, Version, suppressed
from ..artifacts.bundle import read_bundle
from ..errors import CorruptArtifact
from ..evaluation.bench import fitted
from ..identity import load_secret
from ..models import registry
from ..models.base import Model
from ..progress import SILENT, Progress
from ..publishing.train import leave_out, shared_by, with_own
from ..publishing.version import Release, publish_version
from ..schema import DAY
from ..settings import Settings
from ..store import Snapshot, Store
from .drift import Watch
from .drift import look as look_for_drift


@dataclass(frozen=True)
class Folded:
    """A version made by folding in.

    Parameters
    ----------
    watch
        The look at the newest days, when it was time for one.
    """

    version: Version
    watch: Watch | None


def fold(
    store: Store,
    artifacts: Artifacts,
    base: Version,
    settings: Settings,
    progress: Progress = SILENT,
    *,
    pointer: str | None,
) -> Folded:
    """A new version: the model of `base` with the store's customers, events and items of now.

    Parameters
    ----------
    pointer
        What `current` held when `base` was chosen: its name, or that of a damaged version.

    Raises
    ------
    Superseded
        Another version was published meanwhile; nothing was changed.
    """
    erasures = suppressed.mark(settings.db)
    bundle = read_bundle(base.path)
    with progress.stage("Reading events"), store.reading() as con:
        secret = load_secret(settings.db)
        snapshot = Snapshot.read(
            con,
            secret,
            settings.events.weights,
            view_seconds=settings.events.view_seconds,
            item_order=bundle.items().ids,
            shared_by=shared_by(settings) if settings.ranking.customer_attributes else 0,
        )
    snapshot = with_own(leave_out(snapshot, artifacts.root, secret), settings)
    if len(snapshot.data.catalogue) < bundle.catalogue.num_rows:
        raise CorruptArtifact(f"Version {base.name} repeats an item.", "Run recsys train.")
    with progress.stage("Folding in"):
        model = registry.load(bundle).grow(snapshot.data, snapshot.data.interactions.end)
    watch = _watch(base, snapshot, model, settings, progress)
    last = base.manifest.get("watch") if watch is None else watch.as_dict()
    version = publish_version(
        artifacts,
        settings,
        Release(
            snapshot,
            model,
            kind="update",
            base=base,
            pointer=pointer,
            metrics=base.manifest["metrics"],
            erasures=erasures,
            notes={"trained": fitted(base), "watch": last},
        ),
        progress,
    )
    return Folded(version, watch)


def _watch(base: Version, snapshot: Snapshot, model: Model, settings: Settings, progress: Progress) -> Watch | None:
    """A look at drift and quality, once in `update.check_days` days of events; else None."""
    until, now = int(fitted(base)["data"]["last_ts"]), snapshot.data.interactions.end
    before = max(until, (base.manifest.get("watch") or {}).get("at", 0))
    if not settings.update.retrain or now - before < settings.update.check_days * DAY:
        return None
    with progress.stage("Looking for drift"):
        return look_for_drift(snapshot.data, model, until)
