"""Putting a backup back, whole, without what must not go back in time: erasures, revoked keys, what was received."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .artifacts import Artifacts, choices, keys, orders, suppressed, worker_state
from .artifacts.audit_log import FOLDER as AUDIT
from .artifacts.shop_id import expect_same_shop, refuse_owner_other_than
from .backup import (
    ARTIFACTS,
    DATABASE,
    FORMAT,
    KEY,
    LIST,
    PRIVATE,
    SETTINGS,
    STORE,
    Backup,
    copy,
    damaged_versions,
    total,
    wal,
)
from .durable_files import draft_dir, explain_os, fsync_dir, private_dir, sha256_of, write_atomic
from .errors import InputError, RecsysError, StoreError
from .gdpr.carry_out import reapply
from .gdpr.records.request_log import requests
from .identity import secret_path, state_dir
from .progress import SILENT, Progress
from .settings import Settings
from .store import Store
from .store.rewrite import restoring_path
from .updates import alone
from .updates.leftovers import AUDIT_DRAFT, private_draft

_KEPT = ("tuning/choice.json", choices.FILE, keys.FILE)  # of the artifacts, when there is none


def check(source: Path) -> dict[str, Any]:
    """Read every file of a backup and compare it with the list.

    Returns
    -------
    dict
        The list.

    Raises
    ------
    InputError
        It is not a backup, it is damaged, or a newer recsys made it.
    """
    try:
        made = json.loads((source / LIST).read_bytes())
        files, newer = dict(made["files"]), int(made["format"]) > FORMAT
        # Asked now: found missing after the shop has been replaced, they would be asked for too late.
        if not newer and (f"{STORE}/{DATABASE}" not in files or not time.gmtime(made["created_at"])):
            raise KeyError(DATABASE)
    except (OSError, OverflowError, ValueError, KeyError, TypeError):
        text = f"{source} is not a recsys backup, or its list is damaged."
        raise InputError(text, "Name another directory.") from None
    if newer:
        raise InputError(f"{source} was made by a newer recsys ({made['recsys']}).", "Upgrade recsys.")
    for name, entry in files.items():
        path = source / name
        if Path(name).is_absolute() or ".." in Path(name).parts or _through_a_link(source, name):
            raise InputError(f"{path} is a link, or outside of the backup.", "Use another backup; nothing was changed.")
        if not path.is_file() or path.stat().st_size != entry["bytes"] or sha256_of(path) != entry["sha256"]:
            raise InputError(f"{path} is not what was backed up.", "Use another backup; nothing was changed.")
    return dict(made)


def _through_a_link(source: Path, name: str) -> bool:
    """Whether a listed file, or a folder on the way to it, is a link: what is behind it was not backed up."""
    places = [source / part for part in (name, *map(str, Path(name).parents)) if part != "."]
    return any(place.is_symlink() for place in places)


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

    What must not go back in time stays as it is where it is there: keys, so that a revoked one stays revoked, the audit
    log, the list
    of erased people and their choices, and the spool, from which the next pass takes everything that was received since
    the backup. Files of the watched folder are looked at again, and requests that waited then wait again, unless they
    were answered since. Nothing is taken that the backup's list does not name.

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
    _refuse_strangers(store, artifacts, source, replace)
    erased = state_dir(store.path) / suppressed.FILE
    missing = "" if store.exists() or erased.exists() else str(erased)
    try:
        with alone(artifacts, timeout=store.settings.lock_timeout, waiting=progress.note), store.lock():
            with progress.stage("Restoring"), artifacts.exclusive(waiting=progress.note):
                saved = Saved(source, tuple(made["files"]))
                _restore_private(store, saved)
                _restore_versions(artifacts, saved)
                _restore_state(store, artifacts, saved)
                _restore_spool(artifacts, saved)
                _restore_database(store, saved)
            if settings_file is not None and not settings_file.exists() and SETTINGS in saved.files:
                copy(source / SETTINGS, settings_file)
    except OSError as e:
        raise explain_os(e, store.path) from e
    # Before anything of it is served: people erased since must not be in it for a second.
    gone = reapply(store, artifacts, settings, progress)
    with artifacts.exclusive(waiting=progress.note):
        _restore_pointer(artifacts, saved)
    expect_same_shop(store.path, artifacts.root)
    return Backup(
        source,
        len(made["files"]),
        total(made),
        made["created_at"],
        gone,
        missing,
        len(artifacts.names()),
        damaged_versions(artifacts),
        _undone(store, made["created_at"]),
    )


def _undone(store: Store, since: int) -> int:
    """How many corrections that people asked for were made after the backup: no list brings these back."""
    asked = (r for r in requests(store.path) if r.kind == "rectification" and r.outcome == "done")
    return sum(r.closed_at > since for r in asked)


@dataclass(frozen=True)
class Saved:
    """A checked backup: its directory and the files that its list names, relative to it."""

    root: Path
    files: tuple[str, ...]

    def under(self, *folder: str) -> list[Path]:
        """Paths of the listed files below a folder."""
        parts = tuple(folder)
        return [self.root / name for name in self.files if Path(name).parts[: len(parts)] == parts]

    def copy(self, folder: Path, target: Path) -> None:
        """The listed files below `folder`, to `target`."""
        private_dir(target)
        for file in self.under(*folder.relative_to(self.root).parts):
            there = target / file.relative_to(folder)
            for parent in reversed(list(there.relative_to(target).parents)[:-1]):
                private_dir(target / parent)
            copy(file, there)


def _refuse_strangers(store: Store, artifacts: Artifacts, source: Path, replace: bool) -> None:
    key, ours = source / STORE / KEY, secret_path(store.path)
    if ours.exists() and key.exists() and ours.read_bytes() != key.read_bytes():
        raise InputError(
            f"{store.path} belongs to another shop than the backup {source}: their keys differ.",
            "Restore it elsewhere with --db and --artifacts, or move that database and its .key away first.",
        )
    if key.exists():
        refuse_owner_other_than(key.read_text(encoding="ascii", errors="replace").strip(), artifacts.root)
    if store.exists() and not replace:
        raise InputError(f"{store.path} already exists.", "Add --replace to put the backup in its place.")


def _restore_private(store: Store, saved: Saved) -> None:
    """The key, and what is known of erased people: only where there is nothing yet."""
    private_dir(store.path.parent)
    key = saved.root / STORE / KEY
    if f"{STORE}/{KEY}" in saved.files and not secret_path(store.path).exists():
        write_atomic(secret_path(store.path), key.read_bytes())
    if saved.under(STORE, PRIVATE) and not state_dir(store.path).exists():
        with draft_dir(store.path.parent, private_draft(store.path)) as draft:
            saved.copy(saved.root / STORE / PRIVATE, draft)
            draft.rename(state_dir(store.path))
    private_dir(state_dir(store.path))


def _restore_versions(artifacts: Artifacts, saved: Saved) -> None:
    """Versions that are not there, or not whole; those after the backup go once the pointer has moved."""
    private_dir(artifacts.versions_dir)
    present = {_number(name) for name in artifacts.names() if _whole(artifacts, name)}
    for folder in saved_versions(saved):
        if _number(folder.name) in present:
            continue  # also when it was replaced by one without somebody since
        draft = artifacts.versions_dir / f".doomed-restoring-{secrets.token_hex(4)}"
        saved.copy(folder, draft)
        old = artifacts.versions_dir / folder.name
        if old.exists():
            old.rename(artifacts.versions_dir / f".doomed-{folder.name}-{secrets.token_hex(4)}")
        draft.rename(old)
    fsync_dir(artifacts.versions_dir)


def saved_versions(saved: Saved) -> list[Path]:
    """Directories of the versions in a backup, oldest first."""
    places = {file.relative_to(saved.root).parts[:3] for file in saved.under(ARTIFACTS, "versions")}
    return [saved.root.joinpath(*place) for place in sorted(places) if place[2].startswith("v")]


def _restore_state(store: Store, artifacts: Artifacts, saved: Saved) -> None:
    """Small files where there are none, and requests that have waited since; see `restore`."""
    answered = {r.id for r in requests(store.path) if r.closed_at}
    for file in saved.under(ARTIFACTS):
        name = file.relative_to(saved.root / ARTIFACTS)
        asked = name.parts[0] == orders.FOLDER and name.stem not in answered
        there = artifacts.root / name
        if (str(name) in _KEPT or asked) and not there.exists():
            private_dir(there.parent)
            copy(file, there)
    _restore_audit(artifacts, saved)
    worker = worker_state.read(artifacts.root)
    if worker.seen:  # by a store that knew more than this one will
        worker_state.write(artifacts.root, dataclasses.replace(worker, seen={}))


def _restore_audit(artifacts: Artifacts, saved: Saved) -> None:
    """The audit log, as one whole, where there is none."""
    target = artifacts.root / AUDIT
    if saved.under(ARTIFACTS, AUDIT) and not target.exists():
        with draft_dir(artifacts.root, AUDIT_DRAFT) as draft:
            saved.copy(saved.root / ARTIFACTS / AUDIT, draft / AUDIT)
            (draft / AUDIT).rename(target)
            fsync_dir(artifacts.root)


def _whole(artifacts: Artifacts, name: str) -> bool:
    try:
        artifacts.open(name)
    except RecsysError:
        return False
    return True


def _number(name: str) -> str:
    return name.split("-")[0]


def _restore_spool(artifacts: Artifacts, saved: Saved) -> None:
    """Segments that are gone. One that is there has at least what the backup has, and forgot who was erased since."""
    segments = [file for file in saved.under(ARTIFACTS, "spool") if file.suffix == ".jsonl"]
    if not segments:
        return
    private_dir(artifacts.spool_dir)
    for segment in segments:
        if not (artifacts.spool_dir / segment.name).exists():
            draft = artifacts.spool_dir / f".{segment.name}.tmp"
            copy(segment, draft)
            draft.rename(artifacts.spool_dir / segment.name)
    fsync_dir(artifacts.spool_dir)


def _restore_database(store: Store, saved: Saved) -> None:
    source, fresh = saved.root / STORE, restoring_path(store.path)
    copy(source / DATABASE, fresh)
    # The log of the database that goes must not be replayed into the one that comes.
    wal(store.path).unlink(missing_ok=True)
    if str(wal(Path(STORE) / DATABASE)) in saved.files:
        copy(wal(source / DATABASE), wal(store.path))
    fresh.replace(store.path)
    fsync_dir(store.path.parent)


def _restore_pointer(artifacts: Artifacts, saved: Saved) -> None:
    """Serve what was served then, or what has replaced it, and remove what was published after."""
    if f"{ARTIFACTS}/current" not in saved.files:
        return
    pointed = (saved.root / ARTIFACTS / "current").read_text(encoding="ascii").split(" ")[0]
    then = {_number(folder.name) for folder in saved_versions(saved)}
    same = [name for name in artifacts.names() if _number(name) == _number(pointed)]
    if not same:
        raise StoreError(f"The backup lacks the version {pointed} that was served.", "Use another backup.")
    artifacts.point_to(same[-1])
    for name in artifacts.names():
        if _number(name) not in then:
            artifacts.remove(name)
