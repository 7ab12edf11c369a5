"""The versions there are, where each comes from, and going back or forth between them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..artifacts import Artifacts, Version
from ..artifacts.bundle import read_bundle
from ..errors import ArtifactError, CorruptArtifact, NewerVersion, NoModel, NotFound
from ..evaluation.bench import fitted

METRIC = "ndcg@10"


@dataclass(frozen=True)
class Entry:
    """One version in the list.

    Parameters
    ----------
    current
        Whether it is the served one.
    trained
        The version whose training its model comes from: itself after a training.
    value
        NDCG@10 of its model when it was trained; None when it was not judged.
    kept_back
        The gate's reason; empty when it passed.
    last_ts
        Epoch seconds of the newest event it holds.
    bytes
        Of all its files.
    damaged
        Its manifest cannot be read, and nothing else is known; or a file is not as published.
    """

    name: str
    current: bool
    kind: str = ""
    model: str = ""
    trained: str = ""
    parent: str | None = None
    created_at: int = 0
    value: float | None = None
    events: int = 0
    users: int = 0
    items: int = 0
    last_ts: int = 0
    bytes: int = 0
    kept_back: str = ""
    damaged: bool = False


def entries(artifacts: Artifacts) -> list[Entry]:
    """All versions, newest first, by what their manifests say; quick, however large they are.

    Those that lack a file, or have one of another size, are marked as damaged; see `checked` for the rest.
    """
    current = artifacts.current_name()
    return [_entry(artifacts, name, name == current) for name in reversed(artifacts.names())]


def checked(artifacts: Artifacts) -> list[Entry]:
    """All versions, newest first; those with a file that is not as published are marked as damaged.

    Every file is read, which takes seconds where versions have hundreds of megabytes.
    """
    return [e if e.damaged or _whole(artifacts, e.name) else replace(e, damaged=True) for e in entries(artifacts)]


def served(artifacts: Artifacts) -> str:
    """Name of the version that a server takes when it starts now; empty when none is whole."""
    try:
        return artifacts.current().name
    except NoModel:
        return ""


def _whole(artifacts: Artifacts, name: str) -> bool:
    try:
        artifacts.open(name)
    except CorruptArtifact:
        return False
    except NotFound:
        return True  # replaced or pruned while we read
    return True


def _entry(artifacts: Artifacts, name: str, current: bool) -> Entry:
    try:
        version = artifacts.open(name, verify=False)
    except NewerVersion:
        return Entry(name, current, kind="of a newer recsys", damaged=True)
    except CorruptArtifact:
        return Entry(name, current, damaged=True)
    m = version.manifest
    gate = m.get("gate", {})
    return Entry(
        name=name,
        current=current,
        kind=m["kind"],
        model=m["model"]["name"],
        trained=fitted(version)["version"],
        parent=m.get("parent"),
        created_at=m["created_at"],
        value=quality(version),
        events=m["data"]["events"],
        users=m["data"]["users"],
        items=m["data"]["items"],
        last_ts=m["data"]["last_ts"],
        bytes=size(version),
        kept_back="" if gate.get("promote", True) or gate.get("forced") else gate["reason"],
        damaged=not _complete(version),
    )


def _complete(version: Version) -> bool:
    """Whether all files are there with their sizes, without reading them."""
    try:
        return all(version.file(name).stat().st_size == f["bytes"] for name, f in version.manifest["files"].items())
    except OSError:
        return not version.path.is_dir()  # replaced or pruned while we looked


def quality(version: Version) -> float | None:
    """NDCG@10 of the version's model on the days before it was trained."""
    found = version.manifest["metrics"].get("metrics", {}).get(version.manifest["model"]["name"], {})
    return found[METRIC]["value"] if METRIC in found else None


def size(version: Version) -> int:
    """Bytes of all files."""
    return sum(int(entry["bytes"]) for entry in version.manifest["files"].values())


def open_named(artifacts: Artifacts, name: str, *, verify: bool = True) -> Version:
    """A version by name; the v of it, leading zeros and the revision may be left out, `current` is the served one.

    Raises
    ------
    NotFound, CorruptArtifact, NoModel
    """
    if name == "current":
        return artifacts.current(verify=verify)
    names = artifacts.names()
    number = re.fullmatch(r"v?0*(\d+)", name)
    if name not in names and number:
        same = [n for n in names if n[1:].split("-")[0].lstrip("0") == number[1]]
        name = same[-1] if same else name
    return artifacts.open(name, verify=verify)


def promote(artifacts: Artifacts, name: str) -> Version:
    """Serve a version from now on, after checking its files.

    Raises
    ------
    NotFound, CorruptArtifact
    """
    with artifacts.exclusive():
        version = open_named(artifacts, name)
        artifacts.point_to(version.name)
    return version


def rollback(artifacts: Artifacts, *, model: bool = False) -> tuple[str, Version]:
    """Serve the version before the served one.

    Parameters
    ----------
    model
        Go back further, to the newest version with a model from an earlier training.

    Returns
    -------
    The name that was served, and the version that is served now.

    Raises
    ------
    NoModel
        Nothing has been published.
    ArtifactError
        There is no earlier version that is whole.
    """
    with artifacts.exclusive():
        pointed = artifacts.current_name()
        if pointed is None and not artifacts.names():
            raise NoModel(f"No model has been trained yet in {artifacts.root}.", "Run recsys train.")
        if not pointed:
            pointed = artifacts.current().name  # what servers take while the pointer is lost
        for name in _earlier(artifacts, pointed, model):
            try:
                version = artifacts.open(name)
            except CorruptArtifact:
                continue
            artifacts.point_to(version.name)
            return pointed, version
    raise ArtifactError(f"There is no intact version older than {pointed}.", "Run recsys models list.")


def _earlier(artifacts: Artifacts, pointed: str, model: bool) -> list[str]:
    """Versions to go back to, the best first: the parent and its parents, then all older ones that were served."""
    found = {e.name: e for e in entries(artifacts) if not e.damaged}
    older = [n for n in found if _number(n) < _number(pointed) and not found[n].kept_back]
    here = found.get(pointed)
    if here is None:
        return older
    chain: list[str] = []
    parent = here.parent
    while parent is not None and (name := _renamed(found, parent)) is not None and name not in chain:
        chain.append(name)
        parent = found[name].parent
    order = chain + [n for n in older if n not in chain]
    return [n for n in order if _number(found[n].trained) < _number(here.trained)] if model else order


def _number(name: str) -> int:
    return int(name[1:].split("-")[0])


def _renamed(found: dict[str, Entry], name: str) -> str | None:
    """The version of this name, or what replaced it when somebody was forgotten."""
    return next((n for n in found if _number(n) == _number(name)), None)


def prune(artifacts: Artifacts, keep: int, days: float) -> list[str]:
    """Remove old versions; see `Artifacts.prune`."""
    with artifacts.exclusive():
        return artifacts.prune(keep, days=days)


@dataclass(frozen=True)
class Diff:
    """How two versions differ.

    Parameters
    ----------
    config, data, metrics
        Name -> the two values, where they are not the same.
    added, removed
        Item ids that only the second, only the first, has.
    customers
        How many more the second has.
    files
        Files whose content differs.
    """

    first: str
    second: str
    config: dict[str, tuple[Any, Any]]
    data: dict[str, tuple[Any, Any]]
    metrics: dict[str, tuple[Any, Any]]
    added: list[str]
    removed: list[str]
    customers: int
    files: list[str]


def diff(artifacts: Artifacts, first: str, second: str) -> Diff:
    """Compare two versions.

    Raises
    ------
    NotFound, CorruptArtifact
    """
    a, b = open_named(artifacts, first), open_named(artifacts, second)
    old, new = read_bundle(a.path), read_bundle(b.path)
    ours, theirs = old.items().ids, new.items().ids
    files = {**a.manifest["files"], **b.manifest["files"]}
    return Diff(
        a.name,
        b.name,
        config=_changes(_model(a), _model(b)),
        data=_changes(_flat(a.manifest["data"]), _flat(b.manifest["data"])),
        metrics=_changes(_metrics(a), _metrics(b)),
        added=_without(theirs, ours),
        removed=_without(ours, theirs),
        customers=len(np.asarray(new.keys)) - len(np.asarray(old.keys)),
        files=sorted(f for f in files if a.manifest["files"].get(f) != b.manifest["files"].get(f)),
    )


def _model(version: Version) -> dict[str, Any]:
    model = version.manifest["model"]
    return {"model": model["name"], "trained": fitted(version)["version"], **model["config"]}


def _metrics(version: Version) -> dict[str, Any]:
    found = version.manifest["metrics"].get("metrics", {}).get(version.manifest["model"]["name"], {})
    return {name: interval["value"] for name, interval in found.items()}


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _changes(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {n: (a.get(n), b.get(n)) for n in sorted(a.keys() | b.keys()) if a.get(n) != b.get(n)}


def _without(ids: pa.Array, known: pa.Array) -> list[str]:
    found: list[str] = ids.filter(pc.invert(pc.is_in(ids, value_set=known))).to_pylist()
    return found


__all__ = ["Diff", "Entry", "NotFound", "checked", "diff", "entries", "open_named", "promote", "prune", "rollback"]
