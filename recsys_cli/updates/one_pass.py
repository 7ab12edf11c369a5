"""One pass of the update worker: log into the store, store into a new version, and a training when there is reason."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ..artifacts import Artifacts, Position, Spool
from ..durable_files import locked, private_dir
from ..errors import ErasureIncomplete, MemoryExceeded, NoModel, NotEnoughData, RecsysError, StoreMissing, Superseded
from ..gdpr import carry_out
from ..gdpr.rights.erase import together
from ..ingest.watch import Folder, SetAside, take_ready
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from ..store.reading import spool_position, watermark
from ..store.spool_import import Taken
from .drain import drain, drain_served, remove_old_segments
from .retrain_triggers import FIRST_EVENTS, Attempt, reason, uncured

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
    version
        The version served after the pass; None when there is no model yet.
    taken
        What came out of the spool.
    new_events, new_items
        In the version after the pass, more than in the one before.
    removed
        Spool segments deleted.
    seconds
        How long it took.
    training
        The training it did, if it did one.
    """

    outcome: str
    version: str | None
    taken: Taken = field(default_factory=Taken)
    new_events: int = 0
    new_items: int = 0
    removed: int = 0
    seconds: float = 0.0
    training: Attempt | None = None


class Unfinished(ErasureIncomplete):
    """A pass that did all the rest, and could not finish an erasure.

    Parameters
    ----------
    done
        What it did.
    failed
        Why not.
    """

    def __init__(self, done: Pass, failed: Sequence[ErasureIncomplete]) -> None:
        said = together(failed)
        super().__init__(said.message, said.hint)
        self.done = done


class TooLarge(MemoryExceeded):
    """A training took more memory than it may.

    Parameters
    ----------
    attempt
        Kept, so that the next pass does not try the same again from the same data.
    """

    def __init__(self, why: MemoryExceeded, attempt: Attempt) -> None:
        super().__init__(why.message, why.hint)
        self.attempt = attempt


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


def expect_work(store: Store, artifacts: Artifacts, settings: Settings) -> None:
    """Refuse to begin where there has never been anything: a mistyped path must not come into being.

    Raises
    ------
    StoreMissing
        There is no database, no version, nothing received and no watched folder.
    StoreError
        The database is none, and there are no artifacts to note that failure in.
    """
    if artifacts.root.is_dir() and (artifacts.names() or Spool(artifacts.spool_dir).segments()):
        return
    if not look(store)[1] and not settings.ingest.folder:
        raise StoreMissing(
            f"There is no database {store.path} yet, and nothing in {artifacts.root}.",
            "Run recsys ingest FILE, or name them with --db and --artifacts.",
        )


def run_pass(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    progress: Progress = SILENT,
    *,
    folder: Folder | None = None,
    last: Attempt | None = None,
) -> Pass:
    """Take in folder and spool, and publish a version with what the served one lacks; nothing when it lacks nothing.

    Call it inside `alone`.

    Parameters
    ----------
    folder
        The watched folder.
    last
        The last training that a pass did.

    Raises
    ------
    StoreBusy, StoreError, ArtifactError
    Unfinished
        An erasure failed; everything else was done.
    """
    started = time.monotonic()
    _tidy(artifacts)
    if folder is not None:
        _take_files(settings, folder, progress)
    spool = Spool(artifacts.spool_dir)
    position, mark = look(store)
    taken = Taken()
    if spool.backlog(position):
        with progress.stage("Taking in what the server received"):
            taken = drain(store, spool, hash_emails=settings.ingest.emails == "hash")
        position, mark = look(store)
    if store.exists():
        drain_served(store, Spool(artifacts.served_dir))
    people = carry_out.run(store, artifacts, settings, mark, progress)
    if people.counts:
        position, mark = look(store)
    done = _freshen(store, artifacts, settings, mark, last, progress)
    removed = remove_old_segments(spool, position, settings.update.keep_spool_hours)
    done = replace(done, taken=taken, removed=len(removed), seconds=round(time.monotonic() - started, 3))
    if people.failed:
        raise Unfinished(done, people.failed)
    return done


def _tidy(artifacts: Artifacts) -> None:
    """Remove what killed processes left behind; publishing does so as well, but there may be nothing to publish."""
    for litter in artifacts.root.glob(".worker.json.*.tmp"):
        litter.unlink(missing_ok=True)
    if any(artifacts.versions_dir.glob(".d*")):
        with artifacts.exclusive():
            pass  # entering sweeps


def _take_files(settings: Settings, folder: Folder, progress: Progress) -> None:
    """Ingest the files that have arrived; one that cannot be taken is set aside and does not stop the pass."""
    for outcome in take_ready(settings, folder, progress=progress, waiting=progress.note):
        if isinstance(outcome, SetAside):
            progress.note(f"{outcome.file} was set aside as {outcome.moved_to}: {outcome.error}")
        else:
            progress.note(f"Took {outcome.file} in.")


def look(store: Store) -> tuple[Position, dict[str, int]]:
    """How far the spool was taken, and the store's watermark; quick, and without changing anything."""
    try:
        with store.reading() as con:
            return spool_position(con), watermark(con)
    except StoreMissing:
        return {}, {}


def _freshen(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    mark: dict[str, int],
    last: Attempt | None,
    progress: Progress,
) -> Pass:
    """Publish what the served version lacks; again from the start when somebody else published meanwhile."""
    while True:
        pointer = artifacts.current_name()
        try:
            base = artifacts.current(damaged=lambda e: progress.note(e.message))
        except NoModel as e:
            return _first(store, artifacts, settings, mark, e, last, progress)
        whole = base.name == pointer
        if not mark or (whole and base.manifest["data"].get("watermark") == mark):
            return Pass("nothing new", base.name)
        from .fold_in import fold  # loads what a pass with nothing new does not need

        try:
            folded = fold(store, artifacts, base, settings, progress, pointer=pointer)
        except Superseded as e:
            progress.note(e.message)
            continue
        version = folded.version
        before, after = base.manifest["data"], version.manifest["data"]
        growth = {"new_events": after["events"] - before["events"], "new_items": after["items"] - before["items"]}
        why = reason(version, folded.watch, last, settings.update) if settings.update.retrain else ""
        if not why:
            return Pass("published", version.name, **growth)
        training = replace(_train(artifacts, settings, why, after, progress), uncured=uncured(why, last))
        served = training.version if training.promoted else version.name
        return Pass("published", served, training=training, **growth)


def _first(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    mark: dict[str, int],
    none: NoModel,
    last: Attempt | None,
    progress: Progress,
) -> Pass:
    """The first training, once there is enough to learn from; before that, the drain was all there was to do."""
    if last is not None and mark.get("events", 0) < last.events * (1 + settings.update.retrain_share):
        progress.note(f"{none} {last.verdict}")  # it failed, and would fail again
        return Pass("drained", None)
    if not settings.update.retrain or mark.get("events", 0) < FIRST_EVENTS:
        progress.note(str(none))
        return Pass("drained", None)
    try:
        known = {"last_ts": 0, "events": mark.get("events", 0), "items": mark.get("items", 0)}
        training = _train(artifacts, settings, "there was no model yet", known, progress)
    except NotEnoughData as e:
        progress.note(str(e))
        return Pass("drained", None)
    return Pass("published", training.version, new_events=training.events, new_items=training.items, training=training)


def _train(artifacts: Artifacts, settings: Settings, why: str, known: Mapping[str, int], progress: Progress) -> Attempt:
    """Train by the served recipe, or by what tuning has chosen since; the gate decides whether it is served.

    Parameters
    ----------
    known
        The newest event, events and items that there are; noted when the training fails.
    """
    from ..evaluation.bench import Served
    from ..publishing.train import choose
    from ..tuning import load_choice
    from .training_process import train_apart

    progress.note(f"Training anew: {why}.")
    served, tuned = Served.of(artifacts), load_choice(settings.artifacts)
    newer = tuned is not None and served is not None and tuned.chosen_at > served.created_at
    recipe = choose(settings, None, {}) if served is None or newer else served.recipe
    try:
        version = train_apart(settings, recipe, why, artifacts, progress)
    except MemoryExceeded as e:
        raise TooLarge(e, Attempt(known["last_ts"], known["events"], known["items"], why, "", False, e.message)) from e
    data, gate = version.manifest["data"], version.manifest["gate"]
    promoted = gate["promote"] or gate["forced"]
    progress.note(f"{'Serving' if promoted else 'Kept back'} {version.name}: {gate['reason']}")
    return Attempt(data["last_ts"], data["events"], data["items"], why, version.name, promoted, gate["reason"])
