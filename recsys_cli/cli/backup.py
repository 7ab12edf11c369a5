"""`recsys backup` and `recsys restore`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..settings_sources import settings_file
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start

if TYPE_CHECKING:
    from ..backup import Backup


def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory to create; must not exist yet.")],
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy database, versions, spool and settings as one whole; the server may go on meanwhile."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts import Artifacts
    from ..backup import backup
    from ..store import Store

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    published = Artifacts(run.settings.artifacts, lock_timeout=run.settings.store.lock_timeout)
    made = backup(store, published, directory, settings_file=settings_file(config, db), progress=run.progress)
    text = f"Backed up {made.files:,} files, {made.bytes / 1e6:,.1f} MB, to {made.path}."
    root = run.settings.artifacts
    if not root.is_dir():
        text += f"\nThere is no version to back up in {root}: only the database was."
    elif not made.versions:
        text += f"\nThere is no version in {root} yet."
    run.emit(asdict(made), lambda out: out.print(text, highlight=False, markup=False))
    _warn(run, made, "was copied as it is")


def _warn(run: Run, made: Backup, what: str) -> None:
    for name in made.damaged:
        run.waiting(f"Version {name} is damaged and {what}; recsys models list --verify says what is served instead.")


def restore(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A backup.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace the existing database.")] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup back; people erased since stay erased, and what was received since is taken in again."""
    run = start(db, artifacts, config, as_json, same_shop=False)
    from ..artifacts import Artifacts
    from ..restore import restore
    from ..store import Store

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    published = Artifacts(run.settings.artifacts, lock_timeout=run.settings.store.lock_timeout)
    done = restore(
        store,
        published,
        run.settings,
        directory,
        replace=replace,
        settings_file=settings_file(config, db),
        progress=run.progress,
    )
    text = sentence(done)
    run.emit(asdict(done), lambda out: out.print(text, highlight=False, markup=False))
    _warn(run, done, "was so in the backup")


def sentence(done: Backup) -> str:
    """What a restore did."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(done.created_at))
    text = f"Restored the backup of {when}: {done.files:,} files, {done.bytes / 1e6:,.1f} MB."
    if done.kept_out:
        who, were = ("1 person", "was") if done.kept_out == 1 else (f"{done.kept_out:,} people", "were")
        text += f" {who} erased since then {were} erased from it."
    if done.corrections:
        what, are = ("1 correction", "is") if done.corrections == 1 else (f"{done.corrections:,} corrections", "are")
        text += (
            f"\n{what} of people's data, made since then, {are} undone: recsys gdpr log has the dates and references "
            "of these rectifications; make them again with recsys gdpr rectify."
        )
    if done.list_missing:
        text += (
            "\nThe list of erased people was not here, so anyone erased since then is back: copy erased.json from "
            f"the .gdpr folder of the shop's last place to {done.list_missing}, and run this again with --replace."
        )
    return text
