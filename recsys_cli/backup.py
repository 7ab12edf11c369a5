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
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .artifacts import Artifacts, suppressed
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
    RecsysError,
    StoreError,
    StoreMissing,
    UsageError,
)
from .gdpr.rights.reapply import reapply
from .identity import secret_path, state_dir
from .progress import SILENT, Progress
from .settings import Settings
from .store import Store
from .updates import alone

FORMAT = 1
LIST = "backup.json"
_STORE, _ARTIFACTS, _SETTINGS = "store", "artifacts", "recsys.toml"
_DRAFT = ".recsys-backup-"
_DATABASE, _KEY, _PRIVATE = "shop.duckdb", "shop.duckdb.key", "shop.duckdb.gdpr"


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
        Where the list of erased people would have been; empty when it was there. Without it, whoever was erased since
        the backup is back.
    versions
        How many versions there are now, in the backup or where it was put back.
    damaged
        Those of them with a file that is not as it was published.
    """

    path: Path
    files: int
    bytes: int
    created_at: int
    kept_out: int = 0
    list_missing: str = ""
    versions: int = 0
    damaged: tuple[str, ...] = ()


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
        `target` is there already.
    StoreError
        It cannot be written.
    """
    _refuse_own_places(store, artifacts, target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already.", "Name a directory that does not exist yet.")
    if not store.exists():
        raise StoreMissing(f"There is no database {store.path} to back up.", "Name it with --db.")
    # It is a database, and not a text file that --db named by mistake; writing takes in the log of a killed command.
    with store.writing() if _wal(store.path).exists() else store.reading():
        pass
    private_dir(target.parent)
    sweep_drafts(target.parent, _DRAFT)
    # Before the first training there is none, and the shop is worth a backup all the same; a mistyped name makes none.
    trained = artifacts.root.is_dir()
    try:
        with (
            draft_dir(target.parent, _DRAFT) as draft,
            progress.stage("Copying"),
            store.lock(),
            artifacts.exclusive(waiting=progress.note) if trained else nullcontext(),
        ):
            _copy_store(store, draft / _STORE)
            private_dir(draft / _ARTIFACTS)
            if trained:
                _copy_tree(artifacts.root, draft / _ARTIFACTS)
            if settings_file is not None and settings_file.is_file():
                _copy(settings_file, draft / _SETTINGS)
            made = _seal(draft)
            if target.is_dir():
                target.rmdir()
            draft.rename(target)
            fsync_dir(target.parent)
    except OSError as e:
        raise explain_os(e, target) from e
    copied = Artifacts(target / _ARTIFACTS)
    return Backup(
        target,
        len(made["files"]),
        _size(made),
        made["created_at"],
        versions=len(copied.names()),
        damaged=damaged_versions(copied),
    )


def _refuse_own_places(store: Store, artifacts: Artifacts, target: Path) -> None:
    """A copy there would be in the next copy, and every proof that a person is gone would find them in it."""
    place, db = target.resolve(), store.path.resolve()
    for own in (artifacts.root, state_dir(store.path)):
        if place.is_relative_to(own.resolve()):
            raise UsageError(f"{target} is in {own}, which is to be backed up.", "Name a directory elsewhere.")
    if place.parent == db.parent and place.name.startswith(db.name):
        raise UsageError(f"{target} is named like what belongs to {store.path}.", "Name a directory elsewhere.")


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
    _copy(store.path, target / _DATABASE)
    # There is none, unless a command was killed just now; the next one to open the database takes it in.
    for here, there in ((_wal(store.path), _wal(target / _DATABASE)), (secret_path(store.path), target / _KEY)):
        if here.exists():
            _copy(here, there)
    if state_dir(store.path).is_dir():
        _copy_tree(state_dir(store.path), target / _PRIVATE)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _copy_tree(source: Path, target: Path) -> None:
    """All files that are no locks and nobody's drafts; those that grow meanwhile, up to where they were.

    The spool comes last: see the module.
    """
    private_dir(target)
    if not source.is_dir():
        return
    files = sorted(_files(source), key=lambda p: (p.relative_to(source).parts[0] == "spool", p))
    for file in files:
        there = target / file.relative_to(source)
        for folder in reversed(list(there.relative_to(target).parents)[:-1]):
            private_dir(target / folder)
        try:
            _copy(file, there)
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


def _copy(source: Path, target: Path) -> None:
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


def _size(made: dict[str, Any]) -> int:
    return sum(int(f["bytes"]) for f in made["files"].values())


def check(source: Path) -> dict[str, Any]:
    """Read every file of a backup and compare it with the list.

    Returns
    -------
    dict
        The list.

    Raises
    ------
    InputError
        It is no backup, it is damaged, or a newer recsys made it.
    """
    try:
        made = json.loads((source / LIST).read_bytes())
        files = dict(made["files"])
    except (OSError, ValueError, KeyError, TypeError):
        text = f"{source} is no backup of recsys, or its list is damaged."
        raise InputError(text, "Name another directory.") from None
    if made["format"] > FORMAT:
        raise InputError(f"{source} was made by a newer recsys ({made['recsys']}).", "Upgrade recsys.")
    for name, entry in files.items():
        path = source / name
        if not path.is_file() or path.stat().st_size != entry["bytes"] or sha256_of(path) != entry["sha256"]:
            raise InputError(f"{path} is not what was backed up.", "Use another backup; nothing was changed.")
    return dict(made)


def restore(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    source: Path,
    *,
    replace: bool = False,
    settings_file: Path | None = None,
    progress: Progress = SILENT,
) -> Backup:
    """Put a backup back; killed half way, running it again completes it.

    What must not go back in time stays as it is where it is there: the list of erased people and their choices, and the
    spool, from which the next pass takes everything that was received since the backup.

    Parameters
    ----------
    replace
        Take the place of a database that is there. It must be the one that the backup was made of.
    settings_file
        Where to put the settings file if there is none.

    Raises
    ------
    InputError
        See `check`; or something is there and `replace` is not given, or it is another shop's.
    StoreBusy, StoreError, AnotherWorker
    """
    with progress.stage("Checking"):
        made = check(source)
    _refuse_strangers(store, source, replace)
    erased = state_dir(store.path) / suppressed.FILE
    missing = "" if store.exists() or erased.exists() else str(erased)
    try:
        with alone(artifacts), store.lock():
            with progress.stage("Restoring"), artifacts.exclusive(waiting=progress.note):
                _restore_private(store, source)
                _restore_versions(artifacts, source / _ARTIFACTS)
                _restore_spool(artifacts, source / _ARTIFACTS / "spool")
                _restore_database(store, source / _STORE)
            if settings_file is not None and not settings_file.exists() and (source / _SETTINGS).is_file():
                _copy(source / _SETTINGS, settings_file)
    except OSError as e:
        raise explain_os(e, store.path) from e
    # Before anything of it is served: whoever was erased since must not be in it for a second.
    gone = reapply(store, artifacts, settings, progress)
    with artifacts.exclusive(waiting=progress.note):
        _restore_pointer(artifacts, source / _ARTIFACTS)
    return Backup(
        source,
        len(made["files"]),
        _size(made),
        made["created_at"],
        gone,
        missing,
        len(artifacts.names()),
        damaged_versions(artifacts),
    )


def _refuse_strangers(store: Store, source: Path, replace: bool) -> None:
    key, ours = source / _STORE / _KEY, secret_path(store.path)
    if ours.exists() and key.exists() and ours.read_bytes() != key.read_bytes():
        raise InputError(
            f"{store.path} belongs to another shop than the backup {source}: their keys differ.",
            "Restore it elsewhere with --db and --artifacts, or move that database and its .key away first.",
        )
    if store.exists() and not replace:
        raise InputError(f"{store.path} is there already.", "Add --replace to put the backup in its place.")


def _restore_private(store: Store, source: Path) -> None:
    """The key, and what is known of erased people: only where there is nothing yet."""
    private_dir(store.path.parent)
    key = source / _STORE / _KEY
    if key.exists() and not secret_path(store.path).exists():
        write_atomic(secret_path(store.path), key.read_bytes())
    if (source / _STORE / _PRIVATE).is_dir() and not state_dir(store.path).exists():
        draft = state_dir(store.path).with_name(f".{state_dir(store.path).name}.{secrets.token_hex(4)}.tmp")
        _copy_tree(source / _STORE / _PRIVATE, draft)
        draft.rename(state_dir(store.path))
    private_dir(state_dir(store.path))


def _restore_versions(artifacts: Artifacts, source: Path) -> None:
    """Versions that are not there, or not whole; those after the backup go once the pointer has moved."""
    private_dir(artifacts.versions_dir)
    present = {_number(name) for name in artifacts.names() if _whole(artifacts, name)}
    for folder in sorted((source / "versions").glob("v*")) if (source / "versions").is_dir() else []:
        if _number(folder.name) in present:
            continue  # also when it was replaced by one without somebody since
        draft = artifacts.versions_dir / f".doomed-restoring-{secrets.token_hex(4)}"
        _copy_tree(folder, draft)
        old = artifacts.versions_dir / folder.name
        if old.exists():
            old.rename(artifacts.versions_dir / f".doomed-{folder.name}-{secrets.token_hex(4)}")
        draft.rename(old)
    fsync_dir(artifacts.versions_dir)
    for name in ("tuning/choice.json", "choices.json"):
        if (source / name).is_file() and not (artifacts.root / name).exists():
            private_dir((artifacts.root / name).parent)
            _copy(source / name, artifacts.root / name)


def _whole(artifacts: Artifacts, name: str) -> bool:
    try:
        artifacts.open(name)
    except RecsysError:
        return False
    return True


def _number(name: str) -> str:
    return name.split("-")[0]


def _restore_spool(artifacts: Artifacts, source: Path) -> None:
    """Segments that are gone. One that is there has at least what the backup has, and forgot who was erased since."""
    if not source.is_dir():
        return
    private_dir(artifacts.spool_dir)
    for segment in sorted(source.glob("*.jsonl")):
        if not (artifacts.spool_dir / segment.name).exists():
            draft = artifacts.spool_dir / f".{segment.name}.tmp"
            _copy(segment, draft)
            draft.rename(artifacts.spool_dir / segment.name)
    fsync_dir(artifacts.spool_dir)


def _restore_database(store: Store, source: Path) -> None:
    fresh = store.path.with_name(f".{store.path.name}.restoring")
    _copy(source / _DATABASE, fresh)
    # The log of the database that goes must not be replayed into the one that comes.
    _wal(store.path).unlink(missing_ok=True)
    if _wal(source / _DATABASE).exists():
        _copy(_wal(source / _DATABASE), _wal(store.path))
    fresh.replace(store.path)
    fsync_dir(store.path.parent)


def _restore_pointer(artifacts: Artifacts, source: Path) -> None:
    """Serve what was served then, or what has replaced it, and remove what was published after."""
    try:
        pointed = (source / "current").read_text(encoding="ascii").split(" ")[0]
    except FileNotFoundError:
        return
    then = {_number(p.name) for p in (source / "versions").glob("v*")}
    same = [name for name in artifacts.names() if _number(name) == _number(pointed)]
    if not same:
        raise StoreError(f"The backup lacks the version {pointed} that was served.", "Use another backup.")
    artifacts.point_to(same[-1])
    for name in artifacts.names():
        if _number(name) not in then:
            artifacts.remove(name)
