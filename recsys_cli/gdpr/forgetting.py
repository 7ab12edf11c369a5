"""Rewrite published versions without certain people; everything else in them stays as it was, byte for byte."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import Artifacts, Version
from ..artifacts.bundle import read_bundle, write_histories
from ..durable_files import sha256_of
from ..errors import CorruptArtifact
from ..identity import UserKeys, find_key
from ..progress import SILENT, Progress
from ..schema import Histories

HISTORIES = "histories"


def forget(
    artifacts: Artifacts,
    keys: UserKeys,
    *,
    store_events: int = 0,
    erased: bool = True,
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
            except CorruptArtifact as e:
                progress.note(f"{e.message} It is removed.")
                _discard(artifacts, name)
                counts["damaged_versions"] += 1
                continue
            rows = people_in(held.keys, keys)
            if len(rows):
                renamed[name] = _replace(
                    artifacts, version, held.keys, held.histories, rows, renamed, store_events, erased
                )
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
                _link(version, draft.path)
                write_histories(draft.path, keys, kept)
                data = version.manifest["data"] | {"events": kept.n_events, "users": len(kept), "first_ts": before}
                artifacts.replace(name, draft, version.manifest | {"kind": "forget", "data": data})
            changed += 1
    return changed


def people_in(held: UserKeys, keys: UserKeys) -> np.ndarray[Any, np.dtype[np.intp]]:
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
    kept = _write_without(path, held.keys, held.histories, rows)
    return _dropped(rows, held.histories, kept)


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


def _write_without(
    path: Path, keys: UserKeys, histories: Histories, rows: np.ndarray[Any, np.dtype[np.intp]]
) -> Histories:
    keep = np.ones(len(keys), dtype=np.bool_)
    keep[rows] = False
    kept = histories.rows(np.flatnonzero(keep))
    write_histories(path, keys[keep], kept)
    return kept


def _dropped(rows: np.ndarray[Any, np.dtype[np.intp]], before: Histories, kept: Histories) -> Dropped:
    left = (int(kept.ts.min()), int(kept.ts.max())) if kept.n_events else None
    return Dropped(len(rows), before.n_events - kept.n_events, left)


def _replace(
    artifacts: Artifacts,
    version: Version,
    keys: UserKeys,
    histories: Histories,
    rows: np.ndarray[Any, np.dtype[np.intp]],
    renamed: dict[str, str],
    store_events: int,
    erased: bool,
) -> str:
    with artifacts.draft() as draft:
        _link(version, draft.path)
        kept = _write_without(draft.path, keys, histories, rows)
        dropped = _dropped(rows, histories, kept)
        parent = version.manifest.get("parent")
        manifest = version.manifest
        if erased:
            manifest = without(manifest, dropped, store_events=store_events)
        else:
            manifest = manifest | {"data": manifest["data"] | {"events": kept.n_events, "users": len(kept)}}
        manifest |= {"kind": "forget", "parent": renamed.get(parent or "", parent)}
        return artifacts.replace(version.name, draft, manifest).name


def _link(version: Version, target: Path) -> None:
    """Take over all files but the histories; links, because files of versions are never written to."""
    for name, entry in version.manifest["files"].items():
        if Path(name).parts[0] == HISTORIES:
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
