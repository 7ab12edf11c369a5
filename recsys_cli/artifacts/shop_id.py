"""A database and its versions know each other: by an id that is made of the database's secret and stands in both.

Without it, one mistyped path is enough for a worker to drain the events of one shop into another, or into nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import ArtifactError, StoreMissing
from ..identity import load_secret, secret_path
from ..state_file import StateFile
from .versions import Artifacts

FILE = "shop.json"


class OtherShop(ArtifactError):
    """A database and a directory of versions that belong to different shops."""

    code, http_status = "other_shop", 409


@dataclass(frozen=True)
class Owner:
    """Whose versions these are: `shop_id` of the database's secret."""

    id: str


def shop_id(secret: str) -> str:
    """An id that says nothing of the secret it is made of."""
    return hashlib.sha256(f"{secret}shop".encode()).hexdigest()[:32]


def refuse_other_shop(db: Path, root: Path) -> None:
    """Refuse a database and an artifacts directory that are known not to belong together; changes nothing.

    Raises
    ------
    OtherShop
    DamagedState
        The directory's id cannot be read.
    """
    owner = _file(root).read()
    if owner is not None and secret_path(db).exists() and owner.id != shop_id(load_secret(db)):
        raise OtherShop(
            f"{db} and {root} belong to different shops.",
            "Name the two that belong together with --db and --artifacts (or RECSYS_DB and RECSYS_ARTIFACTS).",
        )


def refuse_owner_other_than(secret: str, root: Path) -> None:
    """Refuse an artifacts directory that belongs to another shop than the one with this secret.

    Raises
    ------
    OtherShop, DamagedState
    """
    owner = _file(root).read()
    if owner is not None and owner.id != shop_id(secret):
        raise OtherShop(f"{root} holds the versions of another shop than the backup.", "Name another --artifacts.")


def refuse_missing_half(db: Path, root: Path) -> None:
    """Refuse to begin a new database beside the versions of a shop: its own is elsewhere, or lost.

    Raises
    ------
    StoreMissing
    """
    if not _is_there(db) and (has_owner(root) or Artifacts(root).names()):
        raise StoreMissing(
            f"There is no database {db}, and {root} holds the versions of a shop.",
            "Name the shop's database with --db (or RECSYS_DB), restore it from a backup, or name another --artifacts.",
        )


def expect_same_shop(db: Path, root: Path) -> None:
    """Both refusals; a database and versions that are seen together for the first time become each other's.

    Raises
    ------
    OtherShop, StoreMissing, DamagedState
    """
    refuse_missing_half(db, root)
    refuse_other_shop(db, root)
    claim(db, root)


def is_satellite(db: Path, root: Path) -> bool:
    """Whether this machine only serves: it has the versions and the key of a shop whose database is on another one."""
    owner = _file(root).read()
    key = owner is not None and not _is_there(db) and secret_path(db).exists()
    return bool(key and owner and owner.id == shop_id(load_secret(db)))


def claim(db: Path, root: Path) -> None:
    """Make a directory of versions without an owner the database's own."""
    if not has_owner(root) and root.is_dir() and _is_there(db) and secret_path(db).exists():
        _file(root).write(Owner(shop_id(load_secret(db))))


def _is_there(db: Path) -> bool:
    return db.is_file() and db.stat().st_size > 0


def has_owner(root: Path) -> bool:
    """Whether the directory belongs to a shop already."""
    return _file(root).exists()


def _file(root: Path) -> StateFile[Owner | None]:
    return StateFile(root / FILE, Owner, lambda: None, "It is written again with the database that is used next.")
