"""Names of people that say nothing without a key.

Artifacts know customers only by `user_key`: SHA-256 over a secret and the user id, cut to 128 bits (what is cut off
makes extending a known hash impossible). The secret is a file beside the database, so copies of the artifacts
alone name nobody. DuckDB computes the same for whole columns: `sha256(secret || user_id)`.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .durable_files import explain_os, fsync_dir, private_dir, write_atomic
from .errors import StoreError

UserKeys = NDArray[np.uint64]  # shape (n, 2): high and low half, big-endian order


def secret_path(db: Path) -> Path:
    """Where the secret of this database is kept."""
    return db.with_name(db.name + ".key")


def state_dir(db: Path) -> Path:
    """Where everything about requests of people is kept: beside the database, only for its owner."""
    return db.with_name(db.name + ".gdpr")


def load_secret(db: Path, *, create: bool = False) -> str:
    """The secret that goes with a database, 64 hex digits; made on first use when `create`.

    Raises
    ------
    StoreError
        When it is missing or damaged: without it nobody can be found in the artifacts.
    """
    path = secret_path(db)
    if create and not path.exists():
        private_dir(path.parent)
        _create(path)
    try:
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        if not db.exists():
            raise StoreError(
                f"There is no database {db}, nor its key file {path}, without which no customer can be found.",
                f"Name the right one with --db, or copy store/shop.duckdb.key from a backup to {path}.",
            ) from None
        raise StoreError(
            f"The key file {path} is missing: without it no customer can be found in the versions.",
            f"Copy store/shop.duckdb.key from a backup to {path}. Without a backup, move the database and the versions "
            "away and ingest the exports again.",
        ) from None
    except OSError as e:
        raise explain_os(e, path) from None
    if not re.fullmatch(rb"[0-9a-f]{64}", secret):
        raise StoreError(f"The key file {path} is damaged.", f"Copy store/shop.duckdb.key from a backup to {path}.")
    return secret.decode()


def _create(path: Path) -> None:
    """Write a new secret unless another process was quicker; both then read the same one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    write_atomic(draft, secrets.token_hex(32).encode())
    try:
        os.link(draft, path)
        fsync_dir(path.parent)
    except FileExistsError:
        return
    except OSError as e:
        raise explain_os(e, path) from None
    finally:
        draft.unlink(missing_ok=True)


def user_key(secret: str, user_id: str) -> tuple[int, int]:
    """The two halves of one customer's key."""
    digest = hashlib.sha256((secret + user_id).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")


def user_keys(secret: str, user_ids: Sequence[str]) -> UserKeys:
    """Keys of a few customers, shape (n, 2); whole columns are hashed in the store."""
    return np.array([user_key(secret, u) for u in user_ids], dtype=np.uint64).reshape(-1, 2)


def rows_hashed(prefix: str, keys: UserKeys, wanted: Collection[str]) -> NDArray[np.intp]:
    """Rows of `keys`, shape (n, 2), in order, whose hex SHA-256 over `prefix` and 32 hex digits is one of `wanted`; a
    million keys in half a second."""
    if not wanted or not len(keys):
        return np.zeros(0, dtype=np.intp)
    import duckdb  # here, because servers import this module and never load a database
    import pyarrow as pa

    con = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false", "memory_limit": "500MB"})
    try:
        rows = pa.array(np.arange(len(keys)))
        con.register("keys", pa.table({"row": rows, "high": pa.array(keys[:, 0]), "low": pa.array(keys[:, 1])}))
        con.register("wanted", pa.table({"hash": pa.array(list(wanted), pa.string())}))
        hashed = "sha256(? || lower(printf('%016x', high)) || lower(printf('%016x', low)))"
        found = con.sql(
            f"SELECT row FROM keys WHERE {hashed} IN (SELECT hash FROM wanted) ORDER BY row", params=[prefix]
        )
        return np.array(found.to_arrow_table()["row"].to_numpy(), dtype=np.intp)
    finally:
        con.close()


def find_key(keys: UserKeys, key: tuple[int, int]) -> int:
    """Row of `key` in keys sorted by both halves, or -1."""
    high, low = np.uint64(key[0]), np.uint64(key[1])
    row = int(np.searchsorted(keys[:, 0], high))
    while row < len(keys) and keys[row, 0] == high:
        if keys[row, 1] == low:
            return row
        row += 1
    return -1


HASHED_EMAIL = "^mail-[0-9a-f]{32}$"  # what `pseudonym` makes of an address
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def pseudonym(secret: str, user: str) -> str:
    """The id under which an e-mail address is kept as a customer; anything else stays as it is.

    Ingest does the same for whole columns, so every command that takes a customer takes the address again.
    """
    text = user.strip()
    if not _EMAIL.fullmatch(text):
        return user
    return "mail-" + hashlib.sha256(f"{secret}email:{text.lower()}".encode()).hexdigest()[:32]
