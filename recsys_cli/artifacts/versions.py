"""Immutable, checksummed versions and the pointer to the current one.

    model_artifacts/
      current              the name of the served version, replaced by one rename
      versions/v000007/    manifest.json and the files it lists with their SHA-256
      spool/               see `spool`
      served/              see `served_log`
      experiments.json     see `running`
      .lock                held while a version is published or removed

A version is written into a hidden draft directory, flushed to disk, renamed into place and only then pointed to:
killed at any moment, either the old or the new version is current, and both are whole.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..durable_files import (
    draft_dir,
    explain_os,
    fsync_dir,
    is_damage,
    locked,
    private_dir,
    sha256_of,
    sweep_drafts,
    sweep_writes,
    write_atomic,
)
from ..errors import ArtifactError, CorruptArtifact, NewerVersion, NoModel, NotFound, StoreBusy
from ..schema import DAY
from .choices import FILE as CHOICES
from .keys import FILE as KEYS
from .manifest import MANIFEST, digest, dump_manifest, format_of, jumped, read_manifest, seal
from .running import FILE as EXPERIMENTS
from .running import compared

OPTIONAL = "ranker"  # folder that a version can be served without
_LAST = "last-removed"
_DRAFT = ".draft-"
METRICS_DRAFT = ".metrics-"  # folders in which the processes of one server add up what they count
_TRAININGS = 2
_NAME = re.compile(r"v(\d{6,})(?:-r(\d+))?")


@dataclass(frozen=True)
class Version:
    """One published version: its directory and its manifest."""

    path: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def newest_ts(self) -> int:
        """When the newest event it knows happened; `last_ts` of its data is the shop's clock (`schema.clock`)."""
        data = self.manifest["data"]
        return int(data.get("newest_ts", data["last_ts"]))  # which older versions do not have

    def file(self, name: str) -> Path:
        """Path of one of the files in the manifest."""
        return self.path / name

    def verify(self) -> None:
        """Read every file and compare it with the manifest.

        Raises
        ------
        CorruptArtifact
            When a file is missing, too short or changed.
        StoreError
            A file cannot be read, which is not damage: no permission, or descriptors used up.
        """
        for name in self.manifest["files"]:
            # Without it lists are in the first stage's order: no reason to serve an older version.
            if not name.startswith(f"{OPTIONAL}/") and not self._whole(name):
                path = self.path / name
                raise CorruptArtifact(
                    f"{path} is not what version {self.name} was published with.",
                    "Run recsys train, which publishes a whole one; until then the previous version is used.",
                )

    def intact(self, folder: str) -> bool:
        """Whether all files of a folder are there and as published."""
        names = [name for name in self.manifest["files"] if name.startswith(f"{folder}/")]
        return bool(names) and all(map(self._whole, names))

    def _whole(self, name: str) -> bool:
        path, entry = self.path / name, self.manifest["files"][name]
        try:
            return bool(path.stat().st_size == entry["bytes"] and sha256_of(path) == entry["sha256"])
        except OSError as e:
            if not is_damage(e):
                raise explain_os(e, path) from None
            return False


@dataclass(frozen=True)
class Draft:
    """A version being written: put files under `path`, then hand it to `Artifacts.publish`."""

    path: Path


class Artifacts:
    """The artifacts directory.

    Parameters
    ----------
    root
        Made, 0700, when something is first written.
    """

    def __init__(self, root: Path, *, lock_timeout: float = 600.0) -> None:
        self.root = root
        self.versions_dir = root / "versions"
        self.spool_dir = root / "spool"
        self.served_dir = root / "served"
        self._lock_timeout = lock_timeout

    # -- reading --------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of all published versions, oldest first."""
        if not self.versions_dir.is_dir():
            return []
        return sorted((p.name for p in self.versions_dir.iterdir() if _NAME.fullmatch(p.name)), key=_order)

    def current_name(self) -> str | None:
        """The name in the pointer; empty if the pointer is damaged, None if it is missing."""
        try:
            name, _, check = (self.root / "current").read_text(encoding="ascii").partition(" ")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            return ""
        except OSError as e:
            if not is_damage(e):
                raise explain_os(e, self.root / "current") from None
            return ""
        # Checked, because one flipped bit can turn the pointer into the name of another version.
        return name if _NAME.fullmatch(name) and check == digest(name.encode())[:16] else ""

    def open(self, name: str, *, verify: bool = True) -> Version:
        """One version by name.

        Raises
        ------
        NotFound
            No such version.
        CorruptArtifact
            Its manifest or, with `verify`, one of its files is damaged.
        """
        path = self.versions_dir / name
        try:
            if _NAME.fullmatch(name) and path.is_dir():
                version = Version(path, read_manifest(path))
                if verify:
                    version.verify()
                return version
        except CorruptArtifact:
            if path.is_dir():
                raise  # else it was removed while we read it
        raise NotFound(f"There is no version '{name}' in {self.versions_dir}.", "Run recsys models list.")

    def current(self, *, verify: bool = True, damaged: Callable[[CorruptArtifact], None] | None = None) -> Version:
        """The served version; when it is damaged, the newest older one that is whole.

        Parameters
        ----------
        damaged
            Told about each version that was passed over.

        Raises
        ------
        NoModel
            Nothing usable has been published.
        NewerVersion
            What has been is of a newer recsys.
        """
        tell = damaged or (lambda e: None)
        newer: NewerVersion | None = None
        pointed = self.current_name()
        if pointed is None and not self.names():
            raise NoModel(f"No model has been trained yet in {self.root}.", "Run recsys train.")
        while pointed:
            try:
                return self.open(pointed, verify=verify)
            except CorruptArtifact as e:
                tell(e)
                newer = e if isinstance(e, NewerVersion) else None
                break
            except NotFound as e:
                before, pointed = pointed, self.current_name()
                if pointed == before:  # else it was replaced since we read its name
                    tell(CorruptArtifact(e.message, "Run recsys train."))
                    break
        if not pointed:
            what = "is missing" if pointed is None else "is damaged"
            hint = "The next pass of recsys update-worker writes it again."
            tell(CorruptArtifact(f"The pointer {self.root / 'current'} {what}.", hint))
        try:
            return self._newest_whole(pointed, verify, tell)
        except NoModel:
            if newer is not None:
                raise newer from None  # nothing is lost: it can be served by upgrading
            raise

    def _newest_whole(self, pointed: str | None, verify: bool, tell: Callable[[CorruptArtifact], None]) -> Version:
        """The newest whole version older than the one pointed to; of all when the pointer is damaged or missing.

        One that was published but held back (by the gate, say) is taken only when there is no other, and never where
        there is no pointer: then it is the first one, and nothing has been served yet.
        """
        held_back = newer = None
        for name in reversed(self.names()):
            if pointed and _order(name) >= _order(pointed):
                continue
            try:
                version = self.open(name, verify=verify)
            except CorruptArtifact as e:
                newer = e if isinstance(e, NewerVersion) else newer
                tell(e)
            except NotFound:
                continue  # removed between listing and opening
            else:
                if version.manifest.get("promoted", True):
                    return version
                held_back = held_back or version
        if held_back is not None and pointed is not None:
            return held_back
        if newer is not None:
            raise newer
        raise NoModel(f"No version in {self.versions_dir} is intact.", "Run recsys train.")

    def was_served(self) -> bool:
        """Whether any version was ever served, as far as can be told: damaged ones count."""
        return self.current_name() is not None or any(self._manifest(n).get("promoted", True) for n in self.names())

    # -- writing --------------------------------------------------------------------------------------------------

    @contextmanager
    def exclusive(self, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Publish, forget or prune alone, after what killed processes left behind is swept; others wait their turn.

        Raises
        ------
        NoModel
            There is nothing yet to be alone with; a first draft makes the directory.
        StoreBusy
        """
        if not self.root.is_dir():
            raise NoModel(f"No model has been trained yet in {self.root}.", "Run recsys train.")
        with locked(
            self.root / ".lock",
            timeout=self._lock_timeout,
            waiting=waiting,
            busy=lambda who: StoreBusy(f"{self.root} is in use by {who}.", "Wait for it to end and run again."),
        ):
            self.sweep()
            yield

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """A hidden directory to write a version into; removed at the end unless it was published."""
        private_dir(self.root)
        with draft_dir(self.versions_dir, _DRAFT) as path:
            try:
                yield Draft(path)
            except OSError as e:
                raise explain_os(e, path) from e

    def publish(self, draft: Draft, manifest: dict[str, Any], *, promote: bool = True) -> Version:
        """Make the draft a version and, with `promote`, the current one. Call it inside `exclusive`.

        Parameters
        ----------
        manifest
            Everything but `name`, `format`, `created_at`, `promoted` and `files`, which are added.
        """
        name = self._next_name()
        files = seal(draft.path)
        manifest = manifest | {
            "name": name,
            "format": format_of(files),
            "created_at": int(time.time()),
            "promoted": promote,
            "files": files,
        }
        return self._install(draft, name, manifest, promote)

    def replace(self, old: str, draft: Draft, manifest: dict[str, Any]) -> Version:
        """Put `draft` in the place of version `old`, which is removed; for forgetting a person. Inside `exclusive`.

        Named after the old one (v000007 becomes v000007-r1), as a name never changes its content; held back as it was.
        """
        match = _NAME.fullmatch(old)
        assert match is not None, old
        name = f"v{match[1]}-r{int(match[2] or 0) + 1}"
        promoted = self._manifest(old).get("promoted", self.current_name() is not None)
        manifest = {"promoted": promoted, **manifest, "name": name, "files": seal(draft.path)}
        version = self._install(draft, name, manifest, promote=self.current_name() == old)
        self.remove(old)
        return version

    def _install(self, draft: Draft, name: str, manifest: dict[str, Any], promote: bool) -> Version:
        try:
            write_atomic(draft.path / MANIFEST, dump_manifest(manifest))
            target = self.versions_dir / name
            draft.path.rename(target)
            fsync_dir(self.versions_dir)
        except OSError as e:
            raise explain_os(e, draft.path) from None
        if promote:
            self.point_to(name)
        return Version(target, manifest)

    def point_to(self, name: str) -> None:
        """Make an existing version the current one. Inside `exclusive`."""
        if not _NAME.fullmatch(name) or not (self.versions_dir / name / MANIFEST).is_file():
            raise NotFound(f"There is no version '{name}' in {self.versions_dir}.", "Run recsys models list.")
        write_atomic(self.root / "current", f"{name} {digest(name.encode())[:16]}".encode())

    def remove(self, name: str) -> None:
        """Delete a version that is not current. Inside `exclusive`."""
        if name == self.current_name():
            raise ArtifactError(f"Version {name} is being served.", "Make another one current first.")
        path = self.versions_dir / name
        doomed = self.versions_dir / f".doomed-{name}-{secrets.token_hex(4)}"
        if path.is_dir():
            if _order(name) == max(map(_order, self.names())):
                # The number is not given out again: a name never changes its content.
                write_atomic(self.versions_dir / _LAST, str(max(_order(name)[0], self._last_removed())).encode())
            # Renamed first: killed half way, what is left is no version that fails its checks, only litter.
            path.rename(doomed)
            shutil.rmtree(doomed)

    def prune(self, keep: int, *, days: float = 0.0) -> list[str]:
        """Remove old versions and return their names. Inside `exclusive`.

        The current one and its parent are always kept, and so is the newest version of each of the last two
        trainings: an update a minute would else soon leave nothing to go back to from a bad one. So are those that a
        running experiment compares, those that a newer recsys wrote, and the last one from before the data collapsed
        to less than half.

        Parameters
        ----------
        keep
            Newest versions to keep.
        days
            Of these, drop those older than this; 0 keeps them whatever their age. None goes for its age just after the
            time has jumped by more than that: the clock may be wrong.
        """
        names, current = self.names(), self.current_name()
        manifests = {name: self._manifest(name) for name in names}
        newer = {name for name in names if self._is_newer(name)}
        oldest = time.time() - days * DAY if days and not jumped(list(manifests.values()), days) else 0.0
        spared = {current} | {n for n in names[-max(keep, 1) :] if manifests[n].get("created_at", 0) >= oldest}
        newest = {training: n for n in names if (training := _training(n, manifests[n]))}
        spared.update(list(newest.values())[-_TRAININGS:])
        spared |= compared(self.root) | newer | _before_collapse(manifests, current)
        parent = manifests.get(current or "", {}).get("parent") or ""
        gone = [n for n in names if n not in spared and _order(n)[0] != _order(parent)[0]]
        for name in gone:
            self.remove(name)
        return gone

    def before_collapse(self, served: Version) -> Version | None:
        """The newest version that knows more than twice the events of the served one, if there is one."""
        manifests = {name: self._manifest(name) for name in self.names()}
        found = _before_collapse(manifests | {served.name: served.manifest}, served.name)
        return next((Version(self.versions_dir / name, manifests[name]) for name in found), None)

    def _is_newer(self, name: str) -> bool:
        try:
            read_manifest(self.versions_dir / name)
        except NewerVersion:
            return True
        except CorruptArtifact:
            return False
        return False

    def _manifest(self, name: str) -> dict[str, Any]:
        """The manifest, empty when it is damaged or a newer recsys wrote it."""
        try:
            return read_manifest(self.versions_dir / name)
        except CorruptArtifact:
            return {}

    def _next_name(self) -> str:
        return f"v{max([self._last_removed(), *(_order(n)[0] for n in self.names())]) + 1:06d}"

    def _last_removed(self) -> int:
        try:
            return int((self.versions_dir / _LAST).read_bytes())
        except (FileNotFoundError, ValueError):
            return 0

    def sweep(self) -> None:
        """Finish what killed processes began: drafts, doomed and replaced versions. Inside `exclusive`."""
        for path in self.versions_dir.glob(".doomed-*"):
            shutil.rmtree(path, ignore_errors=True)
        sweep_drafts(self.versions_dir, _DRAFT)
        for name in ("current", KEYS, CHOICES, EXPERIMENTS):  # which are only written inside `exclusive`
            sweep_writes(self.root, name)
        sweep_writes(self.versions_dir, _LAST)
        names = self.names()
        for name, newer in pairwise(names):
            if _order(name)[0] == _order(newer)[0]:  # killed half way through `replace`
                if name == self.current_name():
                    self.point_to(newer)
                self.remove(name)


def _training(name: str, manifest: dict[str, Any]) -> int:
    """Number of the version that this one's model was trained for; 0 when it never passed the gate."""
    gate = manifest.get("gate", {"promote": True})
    if "kind" not in manifest or not (gate.get("promote") or gate.get("forced")):
        return 0
    return _order(str(manifest.get("trained", {}).get("version", name)))[0]


def _before_collapse(manifests: Mapping[str, dict[str, Any]], current: str | None) -> set[str]:
    """The newest version that knows more than twice the events of the current one; empty if no version does.

    Events do not go away by the thousand by themselves: a wrong database, a failed import. Until somebody has looked,
    the last good version stays.
    """
    held = {name: int(m["data"].get("events", 0)) for name, m in manifests.items() if "data" in m}
    if current not in held:
        return set()
    return set([name for name, events in held.items() if events > 2 * held[current]][-1:])


def _order(name: str) -> tuple[int, int]:
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2] or 0)) if match else (-1, 0)
