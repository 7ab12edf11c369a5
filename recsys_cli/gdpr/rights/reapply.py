"""After a backup was restored: people who were erased since it was made are erased again, before anything is served."""

from __future__ import annotations

import numpy as np

from ...artifacts import Artifacts, Spool, suppressed
from ...artifacts.audit_log import forget_people
from ...artifacts.bundle import read_bundle
from ...artifacts.forgetting import forget
from ...errors import CorruptArtifact
from ...identity import UserKeys, load_secret, sha256_column, user_key
from ...progress import SILENT, Progress
from ...schema import GUEST
from ...settings import Settings
from ...store import Store
from ...store.erased_people import erased_people
from ...store.personal_data import cell
from ..received import owners
from .consent import erased as erased_choice
from .consent import tell
from .erase import Ask, erase


def reapply(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> int:
    """Erase everybody on the suppression list who is there all the same; returns how many were.

    Somebody who cannot be shown to be gone has a journal, as after any erasure, and stops nothing.

    Raises
    ------
    StoreBusy, StoreError
    """
    listed = suppressed.kept_out(settings.db)
    if not listed:
        return 0
    forget_people(artifacts.root, list(listed))
    secret = load_secret(settings.db)
    ids, sessions = set[str](), set[str]()
    if store.exists():
        with store.reading() as con:
            ids, sessions = erased_people(con, secret, listed)
    received = _in_spool(artifacts, secret, listed)
    ids |= {one for one in received if not one.startswith(GUEST)}
    sessions |= {one.removeprefix(GUEST) for one in received if one.startswith(GUEST)}
    asks = [*(Ask((one,)) for one in sorted(ids)), *(Ask((one,), guest=True) for one in sorted(sessions))]
    if asks:
        for failure in erase(store, artifacts, settings, asks, progress).failed:
            progress.note(str(failure))
    keys = _in_versions(artifacts, secret, listed)
    if len(keys):  # in no row, only in a version
        tell(artifacts, secret, {(int(a), int(b)): erased_choice(settings.gdpr) for a, b in keys})
        forget(artifacts, keys, progress=progress)
        Spool(artifacts.spool_dir).new_epoch()
    return len(asks) + len(keys)


def _in_spool(artifacts: Artifacts, secret: str, listed: dict[str, int]) -> set[str]:
    first = owners(Spool(artifacts.spool_dir))
    keys = {one: user_key(secret, one if one.startswith(GUEST) else cell(one)) for one in first}
    hashes = {one: suppressed.hash_of(secret, key) for one, key in keys.items()}
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
