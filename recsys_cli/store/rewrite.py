"""Write the database again and swap it in, so that no byte of what was deleted is left.

DELETE, CHECKPOINT and VACUUM leave deleted values in freed blocks and dictionaries of a DuckDB file. Here a process of
its own copies what is still there into a new file, in the same order of rows, and ends; then the new file takes the
place of the old one under our lock.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ..durable_files import fsync_dir, fsync_file
from ..errors import StoreError
from ..processes import own_command, own_environment
from .connection import Store

FRESH = ".fresh"
_COPYING = "recsys_cli.database_copy"


def rewrite(store: Store, *, compression: str = "") -> None:
    """Replace the database file with a new one of the same content.

    Parameters
    ----------
    compression
        How DuckDB must write texts; empty lets it choose. Only the bytes of the file differ.

    Raises
    ------
    StoreBusy, StoreError
        The old file is still in place.
    """
    fresh = store.path.with_name(store.path.name + FRESH)
    with store.lock():
        sweep_rewriting(store)
        try:
            _in_process_of_its_own(store, fresh, compression)
            if _wal(store.path).exists() or _wal(fresh).exists():
                # A log that outlives the swap would be replayed into a file that it does not belong to.
                raise StoreError(f"{store.path} is being written by another program.", "Close it and run this again.")
            fsync_file(fresh)
            fresh.chmod(0o600)
            fresh.replace(store.path)
            fsync_dir(store.path.parent)
        finally:
            sweep_rewriting(store)


def sweep_rewriting(store: Store) -> None:
    """Remove what a killed rewriting or restore left behind, and DuckDB's spill files. Under the store's lock."""
    sweep_restoring(store.path)  # an erasure would find the person in there
    fresh = store.path.with_name(store.path.name + FRESH)
    for path in (fresh, _wal(fresh)):
        path.unlink(missing_ok=True)
    shutil.rmtree(store.spill_path, ignore_errors=True)


def restoring_path(db: Path) -> Path:
    """Where a restore writes the database that is about to take the place of `db`."""
    return db.with_name(f".{db.name}.restoring")


def sweep_restoring(db: Path) -> None:
    """Remove what a killed restore left. Under the store's lock, or inside `updates.alone`: a restore holds both."""
    for path in (restoring_path(db), _wal(restoring_path(db))):
        path.unlink(missing_ok=True)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _in_process_of_its_own(store: Store, fresh: Path, compression: str) -> None:
    settings = store.settings
    paths = (str(store.path), str(fresh), str(store.spill_path))
    what = (*paths, settings.memory_limit, str(settings.threads), compression)
    done = subprocess.run(
        own_command(_COPYING, *what, str(os.getpid())),
        env=own_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise StoreError(f"{store.path} could not be rewritten: {reason}.", "Free disk space for a second copy of it.")
