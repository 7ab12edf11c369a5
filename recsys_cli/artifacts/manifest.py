"""The manifest of a version: what it is made of, with a checksum of every file and of itself."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..durable_files import explain_os, fsync_dir, fsync_file, is_damage, sha256_of
from ..errors import CorruptArtifact, NewerVersion
from ..schema import DAY

FORMAT = 2  # of what is inside a version; a reader refuses a higher one
_SINCE = {"histories/variant.npy": 2}  # files that readers of earlier formats do not know, and take for damage
MANIFEST = "manifest.json"


def digest(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def canonical(manifest: dict[str, Any]) -> bytes:
    """What the manifest's own checksum is taken over."""
    return json.dumps(manifest, sort_keys=True).encode()


def dump_manifest(manifest: dict[str, Any]) -> bytes:
    """The manifest with a checksum of its own, over everything else in it."""
    plain = json.loads(json.dumps(manifest))
    return json.dumps(plain | {"checksum": digest(canonical(plain))}, indent=1, sort_keys=True).encode()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the version in a directory, checked.

    Raises
    ------
    CorruptArtifact
        It is not what was written.
    NewerVersion
        A newer recsys wrote it.
    StoreError
        It cannot be read, which is not damage.
    """
    manifest = None
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except OSError as e:
        if not is_damage(e):
            raise explain_os(e, path / MANIFEST) from None
    except (ValueError, RecursionError):
        pass  # told below
    if not isinstance(manifest, dict) or manifest.pop("checksum", "") != digest(canonical(manifest)):
        raise CorruptArtifact(f"The manifest of {path} cannot be read.", "Run recsys train.")
    if manifest.get("format", 0) > FORMAT:
        raise NewerVersion(
            f"{path} was written by a newer recsys (format {manifest['format']}, this one reads {FORMAT}).",
            "Upgrade recsys.",
        )
    return manifest


def format_of(files: Iterable[str]) -> int:
    """The lowest format whose readers can read a version of these files."""
    return max((_SINCE.get(name, 1) for name in files), default=1)


def seal(path: Path) -> dict[str, dict[str, Any]]:
    """Flush every file of a draft to disk, make it private, and list it with size and SHA-256."""
    sealed: dict[str, dict[str, Any]] = {}
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        if file.name == MANIFEST:
            continue
        file.chmod(0o600)
        fsync_file(file)
        sealed[str(file.relative_to(path))] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    for folder in [path, *(p for p in path.rglob("*") if p.is_dir())]:
        folder.chmod(0o700)
        fsync_dir(folder)
    return sealed


def jumped(manifests: Sequence[Mapping[str, Any]], days: float) -> bool:
    """Whether more than `days` lie between two versions, and the later one is the first of the last fortnight."""
    times = [int(m["created_at"]) for m in manifests if "created_at" in m]
    recent = time.time() - 14 * DAY
    return any(after - before > days * DAY and after > recent for before, after in pairwise(times))
