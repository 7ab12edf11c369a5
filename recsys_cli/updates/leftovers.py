"""What killed backups and restores leave behind, which any later pass removes: each is a copy of the shop."""

from __future__ import annotations

from pathlib import Path

from ..artifacts import Artifacts
from ..durable_files import sweep_drafts
from ..identity import state_dir
from ..state_file import StateFile
from ..store.rewrite import sweep_restoring

AUDIT_DRAFT = ".audit-restoring-"
BACKUP_DRAFT = ".recsys-backup-"  # how the folders begin that backups are written into


def _drafts(db: Path) -> StateFile[list[str]]:
    """Folders in which backups were begun: a draft is a whole copy of the shop, with its key."""
    lost = "Without it drafts of killed backups may be left."
    return StateFile(state_dir(db) / "backups.json", list[str], list, lost)


def remember_backup(db: Path, folder: Path) -> None:
    """Note, before it is made, that a draft of a backup may be in this folder."""
    held = _drafts(db).read()
    if str(folder.resolve()) not in held:
        _drafts(db).write([*held, str(folder.resolve())])


def sweep_backups(db: Path) -> None:
    """Remove what killed backups left, wherever they were to go, and forget the folders that hold no draft any more."""
    held = _drafts(db).read()
    for folder in held:
        sweep_drafts(Path(folder), BACKUP_DRAFT)
    left = [folder for folder in held if any(Path(folder).glob(f"{BACKUP_DRAFT}*"))]
    if left != held:
        _drafts(db).write(left)


def private_draft(db: Path) -> str:
    """How drafts of the private state of a database begin; see `sweep_restores`."""
    return f".{state_dir(db).name}.restoring-"


def sweep_restores(db: Path, artifacts: Artifacts) -> None:
    """Remove what a killed restore left. Inside `alone`, where no other is under way."""
    sweep_restoring(db)
    sweep_drafts(db.parent, private_draft(db))
    sweep_drafts(artifacts.root, AUDIT_DRAFT)
    for draft in artifacts.spool_dir.glob(".*.jsonl.tmp"):
        draft.unlink(missing_ok=True)
