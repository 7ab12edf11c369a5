"""One pass of the update worker: log into the store, store into a new version, without training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..artifacts import Artifacts, Position, Spool, Version
from ..artifacts.bundle import read_bundle
from ..errors import CorruptArtifact, NoModel, RecsysError, StoreMissing, Superseded
from ..files import locked, private_dir
from ..gdpr import suppression
from ..identity import load_secret
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from ..store.lines import Taken
from ..store.reading import Snapshot, spool_position, watermark
from .drain import drain, remove_old_segments

LOCK = ".worker.lock"


class AnotherWorker(RecsysError):
    """A worker is at it already; the one that notices leaves it to it."""

    code = "worker_running"


@dataclass(frozen=True)
class Pass:
    """What one pass did.

    Parameters
    ----------
    outcome
        See `health.Health.outcome`.
    taken
        What came out of the spool.
    version
        The version served after the pass; None when there is no model yet.
    new_events
        Events in the new version that its base did not have.
    new_items
        Items in the new version that its base did not have.
    removed
        Spool segments deleted.
    seconds
        How long it took.
    """

    outcome: str
    taken: Taken
    version: str | None
    new_events: int = 0
    new_items: int = 0
    removed: int = 0
    seconds: float = 0.0
    reason: str = ""


@contextmanager
def alone(artifacts: Artifacts) -> Iterator[None]:
    """Hold the worker's place for these artifacts.

    Raises
    ------
    AnotherWorker
        At once, when another process holds it.
    """

    def busy(who: str) -> RecsysError:
        return AnotherWorker(f"An update worker is already running on {artifacts.root} ({who}); leaving it to it.")

    private_dir(artifacts.root)
    with locked(artifacts.root / LOCK, timeout=0, busy=busy):
        yield


def run_pass(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> Pass:
    """Drain the spool, and publish a version with everything the served one lacks; nothing when it lacks nothing.

    Call it inside `alone`.

    Raises
    ------
    StoreBusy, StoreError, ArtifactError
    """
    started = time.monotonic()
    spool = Spool(artifacts.spool_dir)
    position, mark = look(store)
    taken = Taken()
    if spool.backlog(position):
        with progress.stage("Taking in what the server received"):
            taken = drain(store, spool, hash_emails=settings.ingest.emails == "hash")
        position, mark = look(store)
    done = _freshen(store, artifacts, settings, mark, progress)
    removed = remove_old_segments(spool, position, settings.update.keep_spool_hours)
    return Pass(
        taken=taken, removed=len(removed), seconds=round(time.monotonic() - started, 3), **done
    )


def look(store: Store) -> tuple[Position, dict[str, int]]:
    """How far the spool was taken, and the store's watermark; quick, and without changing anything."""
    try:
        with store.reading() as con:
            return spool_position(con), watermark(con)
    except StoreMissing:
        return {}, {}


def _freshen(
    store: Store, artifacts: Artifacts, settings: Settings, mark: dict[str, int], progress: Progress
) -> dict[str, Any]:
    """Publish what the served version lacks; again from the start when somebody else published meanwhile."""
    while True:
        pointer = artifacts.current_name()
        try:
            base = artifacts.current(damaged=lambda e: progress.note(e.message))
        except NoModel as e:
            progress.note(str(e))
            return {"outcome": "drained", "version": None}
        whole = base.name == pointer
        if not mark or (whole and base.manifest["data"].get("watermark") == mark):
            return {"outcome": "nothing new", "version": base.name}
        try:
            version = fold(store, artifacts, base, settings, progress, pointer=pointer)
        except Superseded as e:
            progress.note(e.message)
            continue
        before, after = base.manifest["data"], version.manifest["data"]
        return {
            "outcome": "published",
            "version": version.name,
            "new_events": after["events"] - before["events"],
            "new_items": after["items"] - before["items"],
        }


def fold(
    store: Store,
    artifacts: Artifacts,
    base: Version,
    settings: Settings,
    progress: Progress = SILENT,
    *,
    pointer: str | None,
) -> Version:
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
    from ..judging import fitted
    from ..models import registry
    from ..training import publish_version

    erasures = suppression.mark(settings.db)
    bundle = read_bundle(base.path)
    with progress.stage("Reading events"), store.reading() as con:
        snapshot = Snapshot.read(
            con, load_secret(settings.db), settings.events.weights, item_order=bundle.items().ids
        )
    if len(snapshot.data.catalogue) < bundle.catalogue.num_rows:
        raise CorruptArtifact(f"Version {base.name} repeats an item.", "Run recsys train.")
    with progress.stage("Folding in"):
        model = registry.load(bundle).grow(snapshot.data, snapshot.data.interactions.end)
    return publish_version(
        artifacts,
        snapshot,
        model,
        kind="update",
        base=base,
        pointer=pointer,
        metrics=base.manifest["metrics"],
        settings=settings,
        erasures=erasures,
        progress=progress,
        notes={"trained": fitted(base)},
    )
