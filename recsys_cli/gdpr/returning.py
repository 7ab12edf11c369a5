"""After a backup was restored: whoever was erased since it was made is erased again, before anything is served."""

from __future__ import annotations

import numpy as np

from ..artifacts import Artifacts, Spool
from ..artifacts.bundle import read_bundle
from ..errors import CorruptArtifact
from ..identity import UserKeys, load_secret, user_key
from ..progress import SILENT, Progress
from ..schema import GUEST
from ..settings import Settings
from ..store import Store
from ..store.hashing import sha256_column
from ..store.personal_data import erased_guests, erased_ids, erased_visits
from . import suppression
from .deciding import erased as erased_choice
from .deciding import tell
from .erasing import erase
from .forgetting import forget
from .needles import is_email
from .spooled import people_of


def reapply(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> int:
    """Erase everybody on the suppression list who is there all the same; returns how many were.

    Raises
    ------
    ErasureIncomplete, StoreBusy, StoreError
    """
    listed = suppression.kept_out(settings.db)
    if not listed:
        return 0
    secret = load_secret(settings.db)
    ids, guests, visits = _in_store(store, secret, listed)
    received = _in_spool(artifacts, secret, listed)
    ids |= {one for one in received if not one.startswith(GUEST)}
    guests |= {one.removeprefix(GUEST) for one in received if one.startswith(GUEST)}
    if ids or guests or visits:
        erase(store, artifacts, settings, sorted(ids), progress, sessions=sorted(guests | visits))
    keys = _in_versions(artifacts, secret, listed)
    if len(keys):  # in no row, only in a version
        tell(artifacts, secret, {(int(a), int(b)): erased_choice(settings.gdpr) for a, b in keys})
        forget(artifacts, keys, progress=progress)
        Spool(artifacts.spool_dir).new_epoch()
    return len(ids) + len(guests) + len(keys)


def _in_store(store: Store, secret: str, listed: dict[str, int]) -> tuple[set[str], set[str], set[str]]:
    """Customers, sessions of guests, and sessions of theirs that stand in rows of others."""
    if not store.exists():
        return set(), set(), set()
    with store.reading() as con:
        found = (ask(con, secret, listed) for ask in (erased_ids, erased_guests, erased_visits))
        ids, guests, visits = map(set, found)
        return ids, guests, visits


def _in_spool(artifacts: Artifacts, secret: str, listed: dict[str, int]) -> set[str]:
    first = people_of(Spool(artifacts.spool_dir))
    # An address is the same in any case; see `people.refusal`.
    keys = {one: user_key(secret, one.lower() if is_email(one) and not one.startswith(GUEST) else one) for one in first}
    hashes = {one: suppression.hash_of(secret, key) for one, key in keys.items()}
    return {one for one, ts in first.items() if ts <= listed.get(hashes[one], -1)}


def _in_versions(artifacts: Artifacts, secret: str, listed: dict[str, int]) -> UserKeys:
    found: set[tuple[int, int]] = set()
    for name in artifacts.names():
        try:
            bundle = read_bundle(artifacts.versions_dir / name)
        except CorruptArtifact:
            continue
        histories = bundle.histories  # oldest first; nobody in a version has none
        first = histories.ts[np.minimum(histories.indptr[:-1], max(histories.n_events - 1, 0))]
        for row, hashed in enumerate(sha256_column(f"{secret}erased", bundle.keys)):
            if hashed in listed and first[row] <= listed[hashed]:
                found.add((int(bundle.keys[row, 0]), int(bundle.keys[row, 1])))
    return np.array(sorted(found), dtype=np.uint64).reshape(-1, 2)
