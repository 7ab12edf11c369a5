"""Rewrite published versions without certain people; everything else in them stays as it was, byte for byte."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..durable_files import sha256_of
from ..errors import CorruptArtifact, NewerVersion
from ..identity import UserKeys, find_key, rows_hashed
from ..progress import SILENT, Progress
from ..schema import Histories
from .bundle import Bundle, read_bundle, write_histories
from .choices import HASHED, barred
from .versions import Artifacts, Version

HISTORIES = "histories"


class Reshelve(Protocol):
    """Writes these folders of a version into its draft as they are without the people who go; see
    `publishing.reshelving`."""

    folders: tuple[str, ...]

    def __call__(self, bundle: Bundle, draft: Path) -> None: ...


def forget(
    artifacts: Artifacts,
    keys: UserKeys,
    *,
    store_events: int = 0,
    erased: bool = True,
    reshelve: Reshelve | None = None,
    progress: Progress = SILENT,
) -> dict[str, int]:
    """Take these people out of every version.

    Versions whose files are damaged are removed whole: what cannot be read cannot be shown to be free of them.

    Parameters
    ----------
    keys
        Keyed hashes, shape (n, 2).
    store_events
        Rows that the store lost with them, which the manifests counted.
    erased
        Whether what the model learned from them must go as well, in time: else they only are not to be profiled.
    reshelve
        Makes the counts, pairs and shelves of a version without them; None leaves those as they are.

    Returns
    -------
    Counts: `version_rows` (customer rows in versions), `versions` (rewritten), `damaged_versions` (removed).
    """
    counts = {"version_rows": 0, "versions": 0, "damaged_versions": 0}
    if not artifacts.versions_dir.is_dir():
        return counts
    with artifacts.exclusive(waiting=progress.note):
        renamed: dict[str, str] = {}
        for name in artifacts.names():
            try:
                version = artifacts.open(name)
                held = read_bundle(version.path)
            except NewerVersion:
                raise  # it cannot be rewritten here, and is too good to be removed
            except CorruptArtifact as e:
                progress.note(f"{e.message} It is removed.")
                _discard(artifacts, name)
                counts["damaged_versions"] += 1
                continue
            rows = people_in(held.keys, keys)
            if len(rows):
                lost = store_events if erased else None
                renamed[name] = _replace(artifacts, version, held, rows, lost, renamed, reshelve)
                counts["version_rows"] += len(rows)
                counts["versions"] += 1
    return counts


def trim(artifacts: Artifacts, *, before: int, progress: Progress = SILENT) -> int:
    """Take events from before `before` (epoch seconds) out of every version; returns how many versions changed."""
    changed = 0
    if not artifacts.versions_dir.is_dir():
        return 0
    with artifacts.exclusive(waiting=progress.note):
        for name in artifacts.names():
            try:
                version = artifacts.open(name)
                held = read_bundle(version.path)
            except CorruptArtifact:
                continue  # never served; pruned in time
            old = np.asarray(held.histories.ts) < before
            if not old.any():
                continue
            kept = held.histories.where(~old)
            some = np.flatnonzero(np.diff(kept.indptr))
            keys, kept = np.array(held.keys[some], dtype=np.uint64), kept.rows(some)
            with artifacts.draft() as draft:
                _link(version, draft.path, (HISTORIES,))
                write_histories(draft.path, keys, kept)
                data = version.manifest["data"] | {"events": kept.n_events, "users": len(kept), "first_ts": before}
                artifacts.replace(name, draft, version.manifest | {"kind": "forget", "data": data})
            changed += 1
    return changed


def people_in(held: UserKeys, keys: UserKeys) -> NDArray[np.intp]:
    """Rows of `held` (sorted, as in a version) that belong to one of `keys`."""
    found = [find_key(held, (int(high), int(low))) for high, low in keys]
    return np.unique(np.array([row for row in found if row >= 0], dtype=np.intp))


@dataclass(frozen=True)
class Dropped:
    """What was taken out of a version: people, and their events; and when what is left begins and ends."""

    people: int = 0
    events: int = 0
    left: tuple[int, int] | None = None


def drop_rows(path: Path, keys: UserKeys) -> Dropped:
    """Take these people out of a version that is still a draft."""
    held = read_bundle(path)
    rows = people_in(held.keys, keys)
    if not len(rows):
        return Dropped()
    shutil.rmtree(path / HISTORIES)  # never written over: the arrays just read are mapped from these files
    kept = _write_without(path, held, rows)
    return _dropped(rows, held.histories, kept)


def drop_barred(draft: Path, root: Path, secret: str, left_out: Collection[str]) -> Dropped:
    """Take out of a written draft everybody who decided against a profile while it was made. Inside
    `Artifacts.exclusive`.

    Parameters
    ----------
    root
        The artifacts directory, where the choices are.
    left_out
        Those, as `choices.barred` has them, who were left out from the start: for them alone nobody is hashed again.
    """
    names = barred(root).difference(left_out)
    keys = read_bundle(draft).keys
    return drop_rows(draft, np.array(keys[rows_hashed(secret + HASHED, keys, names)], dtype=np.uint64))


def readable(artifacts: Artifacts) -> Iterator[tuple[str, Bundle]]:
    """The versions by name, without those that are damaged: they are never served, and an erasure removes them."""
    for name in artifacts.names():
        with suppress(CorruptArtifact):
            yield name, read_bundle(artifacts.versions_dir / name)


def keys_of(artifacts: Artifacts, secret: str, names: Collection[str]) -> UserKeys:
    """Keyed hashes in the versions of these people, by `choices.hash_of`, shape (n, 2)."""
    found = [np.zeros((0, 2), dtype=np.uint64)]
    for _, bundle in readable(artifacts) if names else ():
        found.append(np.array(bundle.keys[rows_hashed(secret + HASHED, bundle.keys, names)], dtype=np.uint64))
    return np.unique(np.concatenate(found), axis=0)


def without(manifest: dict[str, Any], dropped: Dropped, *, store_events: int | None = None) -> dict[str, Any]:
    """The manifest after people were taken out: its counts, and that the items' side was learned with them.

    Parameters
    ----------
    store_events
        Rows that the store lost with them; default is what the version lost.
    """
    if not dropped.people:
        return manifest
    lost = dropped.events if store_events is None else max(store_events, dropped.events)
    data = dict(manifest["data"])
    data |= {"events": data["events"] - dropped.events, "users": data["users"] - dropped.people}
    if dropped.left is not None:  # the shop's first or newest event may have been theirs
        data |= dict(zip(("first_ts", "newest_ts"), dropped.left, strict=True))
    data["store_events"] = max(data.get("store_events", 0) - lost, data["events"])
    if isinstance(data.get("watermark"), dict) and "events" in data["watermark"]:
        data["watermark"] = data["watermark"] | {"events": data["store_events"]}
    now = int(time.time())
    before = manifest.get("forgotten", {"people": 0, "first_at": now})
    # What the items' side of the model learned from them stays until the next training; see `receipts.retrain_by`.
    forgotten = {"people": before["people"] + dropped.people, "first_at": before["first_at"], "last_at": now}
    return manifest | {"data": data, "forgotten": forgotten}


def still_learned(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a version that grows from this one without training must keep saying about the people it forgot."""
    return {"forgotten": manifest["forgotten"]} if "forgotten" in manifest else {}


def _write_without(path: Path, held: Bundle, rows: NDArray[np.intp]) -> Histories:
    keep = np.ones(len(held.keys), dtype=np.bool_)
    keep[rows] = False
    kept = held.histories.rows(np.flatnonzero(keep))
    write_histories(path, held.keys[keep], kept)
    return kept


def _dropped(rows: NDArray[np.intp], before: Histories, kept: Histories) -> Dropped:
    left = (int(kept.ts.min()), int(kept.ts.max())) if kept.n_events else None
    return Dropped(len(rows), before.n_events - kept.n_events, left)


def _replace(
    artifacts: Artifacts,
    version: Version,
    held: Bundle,
    rows: NDArray[np.intp],
    lost: int | None,
    renamed: Mapping[str, str],
    reshelve: Reshelve | None,
) -> str:
    """Put a version without these rows in the place of one; `lost` counts the store's rows, None if nobody is erased.

    Returns its name.
    """
    with artifacts.draft() as draft:
        _link(version, draft.path, (HISTORIES, *(reshelve.folders if reshelve else ())))
        kept = _write_without(draft.path, held, rows)
        if reshelve:
            reshelve(held, draft.path)
        parent = version.manifest.get("parent")
        manifest = version.manifest
        if lost is not None:
            manifest = without(manifest, _dropped(rows, held.histories, kept), store_events=lost)
        else:
            manifest = manifest | {"data": manifest["data"] | {"events": kept.n_events, "users": len(kept)}}
        manifest |= {"kind": "forget", "parent": renamed.get(parent or "", parent)}
        return artifacts.replace(version.name, draft, manifest).name


def _link(version: Version, target: Path, but: tuple[str, ...]) -> None:
    """Take over all files but those in the folders `but`; links, because files of versions are never written to."""
    for name, entry in version.manifest["files"].items():
        if Path(name).parts[0] in but:
            continue
        path = target / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.link(version.file(name), path)
        except OSError:  # a file system without hard links
            shutil.copyfile(version.file(name), path)
            if sha256_of(path) != entry["sha256"]:
                raise CorruptArtifact(f"{version.file(name)} has changed.", "Run recsys train.") from None


def _discard(artifacts: Artifacts, name: str) -> None:
    """Remove a version that cannot be read, after pointing to another if it was current."""
    if artifacts.current_name() == name:
        for other in reversed([n for n in artifacts.names() if n != name]):
            try:
                artifacts.open(other)
            except CorruptArtifact:
                continue
            artifacts.point_to(other)
            break
        else:
            (artifacts.root / "current").unlink()
    artifacts.remove(name)
