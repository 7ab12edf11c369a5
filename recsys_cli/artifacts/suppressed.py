"""Who stays out: erased people by a hash of their own, so that neither a training that had read them before, nor an old
export or a backup, brings them back.

The list is a file of its own beside the database (a restored database must not bring back an older list). It holds
SHA-256 over the database's secret and the word "erased" and the keyed hash of the person: neither the id nor the keyed
hash that artifacts know people by, and nothing to anyone without the secret.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..durable_files import private_dir, write_atomic
from ..identity import rows_hashed, state_dir
from .bundle import read_bundle
from .forgetting import Dropped, drop_rows

FILE = "erased.json"
GUARD_SECONDS = 7 * 86_400  # longer than any training takes that may still hold a person in memory


@dataclass(frozen=True)
class Erased:
    """One erasure.

    Parameters
    ----------
    mark
        Grows with every erasure.
    hash
        Hex, 64 digits.
    at
        Epoch seconds of the erasure: what happened before it is not taken in again.
    until
        Epoch seconds when this entry is dropped.
    keeps_out
        Whether old events are refused; else the entry only guards against trainings that were under way.
    """

    mark: int
    hash: str
    at: int
    until: int
    keeps_out: bool


def hash_of(secret: str, key: tuple[int, int]) -> str:
    """What the list holds of a person with this keyed hash."""
    return hashlib.sha256(f"{secret}erased{key[0]:016x}{key[1]:016x}".encode()).hexdigest()


def entries(db: Path) -> list[Erased]:
    """The list, without what has expired."""
    now = time.time()
    return [e for e in _read(db)[1] if e.until > now]


def mark(db: Path) -> int:
    """How many erasures there have been; ask before reading the store, and hand it to `drop_erased`."""
    return _read(db)[0]


def add(db: Path, secret: str, keys: Sequence[tuple[int, int]], *, days: float, keeps_out: bool) -> None:
    """Note an erasure, on disk. Inside the store's lock, before the rows go: see `drop_erased`."""
    last, held = _read(db)
    now = int(time.time())
    until = now + max(int(days * 86_400) if keeps_out else 0, GUARD_SECONDS)
    new = [Erased(last + 1, hash_of(secret, key), now, until, keeps_out) for key in keys]
    again = {e.hash for e in new}
    _write(db, last + 1, [e for e in held if e.hash not in again and e.until > now] + new)


def kept_out(db: Path) -> dict[str, int]:
    """Whose old events are refused, and until when an event counts as old, by `hash_of`."""
    return {e.hash: e.at for e in entries(db) if e.keeps_out}


def drop_erased(draft: Path, db: Path, secret: str, *, since: int) -> Dropped:
    """Take people out of a written draft who were erased since `mark` gave `since`.

    Call it inside `Artifacts.exclusive`. An erasure notes itself here before it rewrites the versions, which it does
    inside `exclusive` as well: so a version is either published before and rewritten, or comes here after.
    """
    wanted = {e.hash for e in _read(db)[1] if e.mark > since}
    if not wanted:
        return Dropped()
    keys = read_bundle(draft).keys
    return drop_rows(draft, np.array(keys[rows_hashed(f"{secret}erased", keys, wanted)], dtype=np.uint64))


def _read(db: Path) -> tuple[int, list[Erased]]:
    try:
        found = json.loads((state_dir(db) / FILE).read_bytes())
    except FileNotFoundError:
        return 0, []
    return found["mark"], [Erased(**e) for e in found["erased"]]


def _write(db: Path, last: int, held: Sequence[Erased]) -> None:
    private_dir(state_dir(db))
    write_atomic(state_dir(db) / FILE, json.dumps({"mark": last, "erased": [asdict(e) for e in held]}).encode())
