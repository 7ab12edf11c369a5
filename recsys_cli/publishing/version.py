"""How every version is put together, written and published."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..artifacts import Artifacts, Version, suppressed
from ..artifacts.bundle import Bundle, read_bundle, sort_by_key, write_bundle
from ..artifacts.forgetting import drop_barred, still_learned, without
from ..artifacts.shop_id import claim
from ..errors import Superseded
from ..features import ItemTable
from ..features.item_table import ITEM_TABLE
from ..identity import load_secret
from ..models.base import Model
from ..progress import SILENT, Progress
from ..ranking.outcome import RANKER
from ..ranking.ranker import Ranker
from ..serving.item_index import INDEX_FILE
from ..settings import Settings
from ..store import Snapshot
from .index import build_index, save
from .segment_popularity import Judged, kept, newcomer_shelves
from .shelves import Counts, Shelves, build_shelves


@dataclass(frozen=True)
class Release:
    """What a version is made of.

    Parameters
    ----------
    snapshot, model
        The customers and items, and the model fitted on them.
    kind
        "train", "update" or "ranker".
    erasures
        `suppressed.mark` from before `snapshot` was read: who was erased since is left out.
    metrics
        For the manifest: how the model was judged.
    promote
        Make it the one that is served.
    notes
        More for the manifest.
    ranker
        The second stage; one that grows from `base` keeps that one's.
    newcomers
        What profiles say of customers, as it was judged; a version that grows from `base` keeps what that one holds.
    base, pointer
        The version this one was grown from, and what `current` held when it was read: growing takes time, and what
        others publish meanwhile must not be replaced by something made from an older version.
    counts
        What the shelves are made of, when another engine counts it.
    """

    snapshot: Snapshot
    model: Model
    kind: str
    erasures: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    promote: bool = True
    notes: Mapping[str, Any] = field(default_factory=dict)
    ranker: Ranker | None = None
    base: Version | None = None
    pointer: str | None = None
    newcomers: Sequence[Judged] = ()
    counts: Counts | None = None


def publish_version(artifacts: Artifacts, settings: Settings, release: Release, progress: Progress = SILENT) -> Version:
    """Write, seal and publish a version.

    Raises
    ------
    Superseded
        `current` is no longer `release.pointer`; nothing was published.
    """
    base = release.base
    with progress.stage("Publishing"), artifacts.draft() as draft:
        notes = _write(draft.path, release, settings) | dict(release.notes)
        with artifacts.exclusive(waiting=progress.note):
            if base is not None and artifacts.current_name() != release.pointer:
                raise Superseded(f"{artifacts.current_name()} was published meanwhile.", "Run the command again.")
            manifest = _manifest(artifacts, release) | notes
            if base is not None:
                manifest = {RANKER: base.manifest.get(RANKER)} | manifest
                manifest |= {"parent": base.name, **still_learned(base.manifest)}
            secret = load_secret(settings.db)
            erased = suppressed.drop_erased(draft.path, settings.db, secret, since=release.erasures)
            manifest = without(manifest, erased)
            drop_barred(draft.path, artifacts.root, secret, release.snapshot.left_out)
            # Before the first version is there: a worker with a mistyped path must not make it another shop's.
            claim(settings.db, artifacts.root)
            version = artifacts.publish(draft, manifest, promote=release.promote)
            artifacts.prune(settings.train.keep, days=settings.train.keep_days)
    return version


def _write(path: Path, release: Release, settings: Settings) -> dict[str, Any]:
    """Write a draft's files; gives what the manifest says of them."""
    snapshot, model, base = release.snapshot, release.model, release.base
    previous = read_bundle(base.path).shelves if base is not None else None
    least = settings.privacy.min_customers
    # Shelves are sorted on one core, and an index is built on another: together they take as long as the shelves.
    with ThreadPoolExecutor(1) as pool:
        indexed = pool.submit(_write_index, path, release)
        bundle = make_bundle(snapshot, model, least, previous=previous, counts=release.counts)
        shelves = {**bundle.shelves, **_newcomers(release, bundle.shelves, previous, least)}
        write_bundle(path, replace(bundle, shelves=shelves))
        notes = indexed.result()
    if release.ranker is not None:
        release.ranker.save(path / RANKER)
    elif base is not None and RANKER not in release.notes and base.intact(RANKER):
        shutil.copytree(base.file(RANKER), path / RANKER)
    return notes


def _write_index(path: Path, release: Release) -> dict[str, Any]:
    """Write what is known of items besides, and the search over their vectors; gives what the manifest says of it."""
    ItemTable.of(release.snapshot.data).save(path / ITEM_TABLE)
    vectors = release.model.item_vectors()
    if vectors is None:
        return {}
    index = build_index(release.model, vectors, release.snapshot, like=release.base)
    save(index, path / INDEX_FILE)
    return {"index": index.figures}


def _newcomers(release: Release, shelves: Shelves, previous: Shelves | None, least: int) -> Shelves:
    """What sells among customers of one kind, where that is better than what sells."""
    profiles = release.snapshot.profiles
    if release.base is not None or profiles is None:
        return kept(previous)
    return newcomer_shelves(release.snapshot.data.interactions, profiles, release.newcomers, shelves["popular"], least)


def make_bundle(
    snapshot: Snapshot,
    model: Model,
    least: int,
    *,
    previous: Mapping[str, NDArray[Any]] | None = None,
    counts: Counts | None = None,
) -> Bundle:
    """What goes into a version: the model, the catalogue, the histories by keyed hash, the shelves.

    For `least`, for `previous`, the shelves of the version that the model was grown from, and for `counts` see
    `build_shelves`.
    """
    data = snapshot.data
    shelves = build_shelves(data, model, least=least, previous=previous, counts=counts)
    # After the shelves: it is all events once more, and they take the most memory of a training.
    keys, histories = sort_by_key(snapshot.keys, data.interactions.histories)
    state = model.state()
    return Bundle(
        model_name=model.name,
        model_config=model.config.as_dict(),
        model_arrays=state.arrays,
        model_meta=state.meta,
        catalogue=data.catalogue,
        keys=keys,
        histories=histories,
        now=data.interactions.end,
        shelves=shelves,
        view_seconds=snapshot.view_seconds,
    )


def _manifest(artifacts: Artifacts, release: Release) -> dict[str, Any]:
    snapshot, model = release.snapshot, release.model
    seen = snapshot.data.interactions
    return {
        "kind": release.kind,
        "parent": artifacts.current_name() or None,
        "model": {"name": model.name, "config": model.config.as_dict()},
        "metrics": dict(release.metrics),
        "data": {
            "events": seen.histories.n_events,
            "users": seen.n_users,
            "items": seen.n_items,
            "first_ts": int(seen.histories.ts.min()),
            "last_ts": seen.end,
            "newest_ts": int(seen.histories.ts.max()),
            "store_events": snapshot.events,
            "watermark": snapshot.watermark,
            "currency": snapshot.currency,
        },
        "spool": snapshot.spool,
        "newcomers": [one.as_dict() for one in release.newcomers]
        if release.base is None
        else release.base.manifest.get("newcomers", []),
    }
