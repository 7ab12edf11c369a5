"""One pass of the update worker: log into the store, store into a new version, and a training when there is reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..artifacts import Artifacts, Position, Spool, Version, orders, worker_state
from ..artifacts.shop_id import expect_same_shop, has_owner
from ..artifacts.versions import METRICS_DRAFT
from ..durable_files import locked, private_dir, sweep_drafts, sweep_writes
from ..errors import MemoryExceeded, NoModel, NotEnoughData, RecsysError, StoreMissing, Superseded
from ..gdpr import carry_out
from ..gdpr.records.receipts import note_retrained, retrain_by
from ..ingest.watch import Folder, SetAside, take_ready
from ..progress import SILENT, Progress
from ..ranking.outcome import RANKER, due
from ..schema import DAY
from ..settings import Settings, StoreSettings
from ..store import Store
from ..store.merge import set_state
from ..store.reading import spool_position, state_of, watermark
from ..store.seen_lists import clicked_lists
from ..store.spool_import import Taken
from ..typed_values import bytes_of
from . import retention_run
from .collection import collect, collected
from .drain import drain, drain_served, remove_old_segments
from .failures import Failures, TooLarge
from .leftovers import sweep_backups, sweep_restores
from .retrain_triggers import FIRST_EVENTS, Attempt, reason, uncured

LOCK = ".worker.lock"
_MEMORY = "400MB"  # of DuckDB in a pass; a training has its own bound, see update.memory
_HAS_VERSIONS = "has versions"  # name of a fact in the store


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


@contextmanager
def alone(
    artifacts: Artifacts, *, timeout: float = 0.0, waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the worker's place for these artifacts.

    Parameters
    ----------
    timeout, waiting
        See `durable_files.locked`; a worker does not wait for another.

    Raises
    ------
    AnotherWorker
        When another process holds it.
    """

    def busy(who: str) -> RecsysError:
        return AnotherWorker(f"An update worker is already running on {artifacts.root} ({who}); nothing to do.")

    private_dir(artifacts.root)
    told = (lambda who: waiting(f"Waiting for the update worker ({who}) …")) if waiting else None
    with locked(artifacts.root / LOCK, timeout=timeout, busy=busy, waiting=told):
        yield


def expect_work(store: Store, artifacts: Artifacts, settings: Settings) -> None:
    """Refuse to begin where there has never been anything: a mistyped path must not come into being.

    Raises
    ------
    StoreMissing
        There is no database, no version, nothing received and no watched folder; or there are versions and no database.
    OtherShop, NoModel
        The versions are another shop's; or the shop's own are not where they were.
    StoreError
        The file is not a database, and there are no artifacts to note that failure in.
    """
    expect_same_shop(settings.db, artifacts.root)
    if not has_owner(artifacts.root) and store.exists() and has_versions(store):
        raise NoModel(
            f"{artifacts.root} does not hold the versions of {store.path}.",
            "Name their directory with --artifacts (or RECSYS_ARTIFACTS) or restore it; recsys train begins a new one.",
        )
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
    RecsysError
        Of what went wrong; everything that could be done all the same was done.
    """
    failures = Failures()
    done = partial_pass(store, artifacts, settings, failures, progress, folder=folder, last=last)
    if failures:
        raise failures.combined()
    return done


def partial_pass(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    failures: Failures,
    progress: Progress = SILENT,
    *,
    folder: Folder | None = None,
    last: Attempt | None = None,
) -> Pass:
    """`run_pass`, in which whatever fails is added to `failures` and the rest is done all the same.

    Raises
    ------
    StoreBusy, ArtifactError, StoreMissing
        Nothing could be done.
    """
    started = time.monotonic()
    expect_same_shop(settings.db, artifacts.root)
    with failures.kept():
        _tidy(artifacts, settings)
    if folder is not None:
        with failures.kept():
            _take_files(settings, folder, progress)
    with failures.kept():
        failures += collect(artifacts, [Path(one) for one in settings.update.servers], settings.db)
    spool = Spool(artifacts.spool_dir)
    position, mark = look(store)
    taken, removed = Taken(), []
    if spool.backlog(position):
        with failures.kept(), progress.stage("Importing what the server received"):
            emails = settings.ingest.emails == "hash"
            taken = drain(store, spool, hash_emails=emails, keep=collected(artifacts))
    with failures.kept():
        if store.exists():
            drain_served(store, Spool(artifacts.served_dir), keep=collected(artifacts))
    with failures.kept():
        people = carry_out.run(store, artifacts, settings, look(store)[1], progress)
        failures += people.failed
    with failures.kept():
        if retention_run.due(settings):
            retention_run.expire(store, artifacts, settings, progress)
    for wrong in orders.damaged(artifacts.root):
        failures.append(wrong)
    done = Pass("failed", artifacts.current_name() or None)
    with failures.kept():
        position, mark = look(store)
        done = _freshen(store, artifacts, settings, mark, last, progress)
    with failures.kept():
        done = _forget_learned(artifacts, settings, done, progress)
    with failures.kept():
        _note_versions(store, artifacts)
    with failures.kept():
        removed = remove_old_segments(spool, position, settings.update.keep_spool_hours)
    return replace(done, taken=taken, removed=len(removed), seconds=round(time.monotonic() - started, 3))


def _tidy(artifacts: Artifacts, settings: Settings) -> None:
    """Remove what killed processes left behind; publishing does so as well, but there may be nothing to publish."""
    sweep_writes(artifacts.root, worker_state.FILE)
    sweep_drafts(artifacts.root, METRICS_DRAFT)
    sweep_restores(settings.db, artifacts)
    sweep_backups(settings.db)
    if any(artifacts.versions_dir.glob(".d*")) or any(artifacts.root.glob(".*.tmp")):
        with artifacts.exclusive():
            pass  # entering sweeps


def _take_files(settings: Settings, folder: Folder, progress: Progress) -> None:
    """Ingest the files that have arrived; one that cannot be taken is set aside and does not stop the pass."""
    settings = replace(settings, store=beside_server(settings.store))
    for outcome in take_ready(settings, folder, progress=progress, waiting=progress.note):
        if isinstance(outcome, SetAside):
            progress.note(f"{outcome.file} was set aside as {outcome.moved_to}: {outcome.error}")
        else:
            progress.note(f"Took {outcome.file} in.")


def beside_server(settings: StoreSettings) -> StoreSettings:
    """The same with at most 400 MB for DuckDB, which spills to disk beyond: a pass shares the machine with the server.

    A file of 3 million JSON lines took 1.4 GB in all with the default of 1500 MB, and 0.8 GB with this.
    """
    least = min(settings.memory_limit, _MEMORY, key=bytes_of)
    return replace(settings, memory_limit=least)


def has_versions(store: Store) -> bool:
    """Whether versions were made from this database, as far as a worker has seen."""
    with store.reading() as con:
        return state_of(con, _HAS_VERSIONS) == "yes"


def _note_versions(store: Store, artifacts: Artifacts) -> None:
    """From now on the database knows that it has versions: a worker that finds none is looking in the wrong place."""
    if artifacts.names() and store.exists() and not has_versions(store):
        with store.writing() as con:
            set_state(con, {_HAS_VERSIONS: "yes"})


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
        if not pointer:  # lost or damaged: servers that start meanwhile must find their way as well
            with artifacts.exclusive(waiting=progress.note):
                if not artifacts.current_name():
                    artifacts.point_to(base.name)
            progress.note(f"{artifacts.root / 'current'} was missing or damaged; it names {base.name} again.")
            continue
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
            return Pass("published", _with_newer_order(store, version, artifacts, settings, progress), **growth)
        training = replace(_train(artifacts, settings, why, after, progress), uncured=uncured(why, last))
        served = training.version if training.promoted else version.name
        return Pass("published", served, training=training, **growth)


def _forget_learned(artifacts: Artifacts, settings: Settings, done: Pass, progress: Progress) -> Pass:
    """The training by which erased people must be trained away, when it is due; the gate has no say in it."""
    due = retrain_by(artifacts, settings)
    if due is None or time.time() < due:
        return done
    from ..evaluation.bench import Served
    from .training_process import train_apart

    served = Served.of(artifacts)
    assert served is not None  # or there would be nothing learned
    progress.note("Retraining: what was learned from erased people is due to be removed.")
    try:
        version = train_apart(settings, served.recipe, "", artifacts, progress, forgetting=True)
    except NotEnoughData as e:
        progress.note(str(e))
        return done
    note_retrained(settings.db, version.name)
    return replace(done, outcome="published", version=version.name)


_tried: dict[Path, int] = {}  # by the shop's clock: what takes too much memory is not tried again in every pass


def _with_newer_order(
    store: Store, version: Version, artifacts: Artifacts, settings: Settings, progress: Progress
) -> str:
    """The name of the version served after the order of candidates was learned again, when that is due."""
    now, tried = int(version.manifest["data"]["last_ts"]), _tried.get(artifacts.root, 0)
    wanted = settings.train.ranker and settings.update.retrain
    if not wanted or now - tried < settings.update.ranker_days * DAY:
        return version.name

    def clicked() -> int:
        with store.reading() as con:
            return clicked_lists(con)

    why = due(version.manifest.get(RANKER), now, settings.update.ranker_days, clicked)
    if not why:
        return version.name
    from .training_process import train_apart

    _tried[artifacts.root] = now
    progress.note(f"Retraining the ranker: {why}.")
    try:
        return train_apart(settings, None, why, artifacts, progress).name
    except (MemoryExceeded, NotEnoughData, Superseded) as e:
        progress.note(str(e))
        return version.name


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
    lost = artifacts.was_served()  # and no version can be any more
    failed = last is not None and not last.version
    if last is not None and mark.get("events", 0) < last.events * (1 + settings.update.retrain_share) and failed:
        if lost:
            raise none
        progress.note(f"{none} {last.verdict}")  # it failed, and would fail again
        return Pass("drained", None)
    if not settings.update.retrain or mark.get("events", 0) < FIRST_EVENTS:
        if lost:
            raise none
        progress.note(str(none))
        return Pass("drained", None)
    try:
        known = {"last_ts": 0, "events": mark.get("events", 0), "items": mark.get("items", 0)}
        why = "no version could be served any more" if lost else "there was no model yet"
        training = _train(artifacts, settings, why, known, progress)
    except NotEnoughData as e:
        if lost:
            raise none from e
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

    progress.note(f"Training again: {why}.")
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
