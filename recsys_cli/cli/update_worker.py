"""`recsys update-worker`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RecsysError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start

if TYPE_CHECKING:
    from ..updates import Pass
    from ..updates.retrain_triggers import Attempt


def update_worker(
    once: Annotated[bool, typer.Option("--once", help="Run one pass, then exit; for cron.")] = False,
    interval: Annotated[
        float | None,
        typer.Option("--interval", min=0.1, help="Seconds between passes. [default: 60]"),
    ] = None,
    on_failure: Annotated[
        str | None,
        typer.Option(
            "--on-failure",
            metavar="CMD",
            help="Command to run when a pass fails; it gets the reason on standard input.",
        ),
    ] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take what the server received into the database, and publish what is new without retraining.

    Safe under cron: a second one started meanwhile says so and ends.
    """
    run = start(db, artifacts, config, as_json, update__interval=interval, update__on_failure=on_failure)
    run.give_way()
    from ..artifacts import Artifacts
    from ..store import Store
    from ..updates import AnotherWorker, alone, beside_server, expect_work, loop, run_once

    store = Store(run.settings.db, beside_server(run.settings.store), waiting=run.waiting)
    published = Artifacts(run.settings.artifacts, lock_timeout=run.settings.store.lock_timeout)
    try:
        if once:
            _show(run, run_once(store, published, run.settings, run.progress))
            return
        expect_work(store, published, run.settings)
        with alone(published):
            loop(store, published, run.settings, run.progress, done=lambda done: _log(run, done))
    except AnotherWorker as e:
        _say(run, e)


def _show(run: Run, done: Pass) -> None:
    run.emit(_as_dict(done), lambda out: out.print(sentence(done), highlight=False, markup=False))


def _log(run: Run, done: Pass) -> None:
    """One line for each pass that did something: a log of 1,440 lines a day that say nothing helps nobody."""
    if run.as_json:
        run.emit(_as_dict(done), lambda out: None)
    elif done.outcome != "nothing new" or done.taken != type(done.taken)() or done.removed:
        run.progress.note(sentence(done))


def _say(run: Run, e: RecsysError) -> None:
    run.emit({"outcome": "another worker"}, lambda out: out.print(str(e), highlight=False, markup=False))


def _as_dict(done: Pass) -> dict[str, Any]:
    return asdict(done)


def _fate(made: Attempt) -> str:
    if made.promoted:
        return "is served"
    return f"was kept back ({made.verdict.rstrip('.')}); serve it anyway with recsys models promote"


def _growth(count: int, what: str) -> str:
    """As "3 more events"; after an erasure a version holds less than the one before."""
    plural = "s" if abs(count) != 1 else ""
    return f"{count:,} {what}{plural}" if count >= 0 else f"{-count:,} {what.split()[-1]}{plural} fewer"


def sentence(done: Pass) -> str:
    """What a pass did, in one line."""
    taken, parts = done.taken, []
    counts = (
        (taken.events, "new event", "from the server"),
        (taken.known_events, "event", "known already"),
        (taken.items, "change", "of the catalogue"),
        (taken.merged, "event", "of guests given to the customers they became"),
        (taken.rejected, "line", "rejected"),
    )
    for count, noun, rest in counts:
        if count:
            parts.append(f"{count:,} {noun}{'s' if count != 1 else ''} {rest}")
    if done.outcome == "published":
        events, items = _growth(done.new_events, "more event"), _growth(done.new_items, "new item")
        parts.append(f"published {done.version} with {events} and {items}")
    if done.training:
        made = done.training
        parts.append(f"retrained because {made.reason}: {made.version} {_fate(made)}")
    elif done.outcome == "drained":
        parts.append("there is no model yet: run recsys train")
    elif not parts:
        parts.append(f"nothing new; {done.version} is still current" if done.version else "nothing new")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]} ({done.seconds:.1f} s)."
