"""Store, artifacts and settings as one consistent whole, copied while the server runs, and put back.

    DIR/
      backup.json      what is here, with sizes and SHA-256; written last
      store/           the DuckDB file, the key that goes with it, and its private state
      artifacts/       versions, pointer, spool
      recsys.toml      the settings file, if there was one

While the copy is made nobody else writes the database or publishes. The server goes on: what it receives is appended to
the spool, which is copied last, so that it holds everything after the position that the database has reached.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .artifacts import Artifacts
from .artifacts.address import FILE as ADDRESS
from .artifacts.audit_log import CHAIN
from .artifacts.keys import OWNER_FILE
from .durable_files import (
    draft_dir,
    explain_os,
    fsync_dir,
    fsync_file,
    private_dir,
    sha256_of,
    sweep_drafts,
    write_atomic,
)
from .errors import (
    ArtifactError,
    CorruptArtifact,
    InputError,
    NotFound,
    StoreMissing,
    UsageError,
)
from .identity import secret_path, state_dir
from .progress import SILENT, Progress
from .store import Store
from .updates.leftovers import BACKUP_DRAFT, remember_backup, sweep_backups

FORMAT = 1
LIST = "backup.json"
STORE, ARTIFACTS, SETTINGS = "store", "artifacts", "recsys.toml"
DATABASE, KEY, PRIVATE = "shop.duckdb", "shop.duckdb.key", "shop.duckdb.gdpr"


@dataclass(frozen=True)
class Backup:
    """A backup that was made or put back.

    Parameters
    ----------
    path
        Its directory.
    files, bytes
        How much is in it.
    created_at
        Epoch seconds.
    kept_out
        People who were erased since it was made and stayed erased.
    list_missing
        Where the list of erased people would have been; empty when it was there. Without it, people who were erased
        since the backup are back.
    versions
        How many versions there are now, in the backup or where it was put back.
    damaged
        Those of them with a file that is not as it was published.
    corrections
        Corrections of people's data since the backup was made, which putting it back has undone.
    """

    path: Path
    files: int
    bytes: int
    created_at: int
    kept_out: int = 0
    list_missing: str = ""
    versions: int = 0
    damaged: tuple[str, ...] = ()
    corrections: int = 0


def backup(
    store: Store, artifacts: Artifacts, target: Path, *, settings_file: Path | None = None, progress: Progress = SILENT
) -> Backup:
    """Copy everything to `target`, which must not exist yet; killed half way, it does not.

    Raises
    ------
    StoreMissing, StoreBusy
    UsageError
        `target` is in a directory that would be copied.
    InputError
        `target` is already there.
    StoreError
        It cannot be written.
    """
    refuse_own_places(store.path, artifacts.root, target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} already exists.", "Name a directory that does not exist yet.")
    if not store.exists():
        raise StoreMissing(f"There is no database {store.path} to back up.", "Name it with --db.")
    # It is a database, and not a text file that --db named by mistake; writing takes in the log of a killed command.
    with store.writing() if wal(store.path).exists() else store.reading():
        pass
    private_dir(target.parent)
    sweep_backups(store.path)
    sweep_drafts(target.parent, BACKUP_DRAFT)
    remember_backup(store.path, target.parent)
    # Before the first training there is none, and the shop is worth a backup all the same; a mistyped name makes none.
    trained = artifacts.root.is_dir()
    try:
        with (
            draft_dir(target.parent, BACKUP_DRAFT) as draft,
            progress.stage("Copying"),
            store.lock(),
            artifacts.exclusive(waiting=progress.note) if trained else nullcontext(),
        ):
            _copy_store(store, draft / STORE)
            private_dir(draft / ARTIFACTS)
            if trained:
                _copy_tree(artifacts.root, draft / ARTIFACTS)
            if settings_file is not None and settings_file.is_file():
                copy(settings_file, draft / SETTINGS)
            made = _seal(draft)
            if target.is_dir():
                target.rmdir()
            draft.rename(target)
            fsync_dir(target.parent)
    except OSError as e:
        raise explain_os(e, target) from e
    sweep_backups(store.path)
    copied = Artifacts(target / ARTIFACTS)
    return Backup(
        target,
        len(made["files"]),
        total(made),
        made["created_at"],
        versions=len(copied.names()),
        damaged=damaged_versions(copied),
    )


def refuse_own_places(path: Path, root: Path, target: Path) -> None:
    """A copy there would be in the next copy, and every proof that a person is gone would find them in it.

    Raises
    ------
    UsageError
        `target` is in the artifacts directory `root`, or where the state of the database `path` is.
    """
    place, db = target.resolve(), path.resolve()
    for own in (root, state_dir(path)):
        if place.is_relative_to(own.resolve()):
            raise UsageError(f"{target} is in {own}, which is to be backed up.", "Name a directory elsewhere.")
    if place.parent == db.parent and place.name.startswith(db.name):
        raise UsageError(f"{target} is named like what belongs to {path}.", "Name a directory elsewhere.")


def damaged_versions(artifacts: Artifacts) -> tuple[str, ...]:
    """Names of the versions with a file that is not as it was published; every file is read."""
    found = []
    for name in artifacts.names():
        try:
            artifacts.open(name)
        except CorruptArtifact:
            found.append(name)
        except (ArtifactError, NotFound):
            continue  # a newer recsys wrote it; it was replaced or pruned while we read
    return tuple(found)


def _copy_store(store: Store, target: Path) -> None:
    private_dir(target)
    copy(store.path, target / DATABASE)
    # There is none, unless a command was killed just now; the next one to open the database takes it in.
    for here, there in ((wal(store.path), wal(target / DATABASE)), (secret_path(store.path), target / KEY)):
        if here.exists():
            copy(here, there)
    if state_dir(store.path).is_dir():
        _copy_tree(state_dir(store.path), target / PRIVATE)


def wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _copy_tree(source: Path, target: Path) -> None:
    """All files that are no locks and nobody's drafts; those that grow meanwhile, up to where they were.

    The owner's key is left out: a stolen backup must not open the shop. Each place makes its
    own.

    The spool comes last: see the module. The note of where an audit log ends comes before the log, to which servers go
    on adding.
    """
    private_dir(target)
    if not source.is_dir():
        return
    taken = [file for file in _files(source) if file not in (source / OWNER_FILE, source / ADDRESS)]
    files = sorted(taken, key=lambda p: (p.relative_to(source).parts[0] == "spool", p.name != CHAIN, p))
    for file in files:
        there = target / file.relative_to(source)
        for folder in reversed(list(there.relative_to(target).parents)[:-1]):
            private_dir(target / folder)
        try:
            copy(file, there)
        except FileNotFoundError:
            continue  # a temporary file of a server, gone again


def _files(root: Path) -> Iterator[Path]:
    for entry in sorted(root.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _files(entry)
        elif entry.is_file():
            yield entry


def copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o600)
    fsync_file(target)


def _seal(root: Path) -> dict[str, Any]:
    """Write the list of what is there."""
    files = {
        str(p.relative_to(root)): {"bytes": p.stat().st_size, "sha256": sha256_of(p)}
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }
    made = {"format": FORMAT, "created_at": int(time.time()), "recsys": __version__, "files": files}
    write_atomic(root / LIST, json.dumps(made, indent=1, sort_keys=True).encode())
    for folder in (root, *(p for p in root.rglob("*") if p.is_dir())):
        fsync_dir(folder)
    return made


def total(made: dict[str, Any]) -> int:
    return sum(int(f["bytes"]) for f in made["files"].values())
