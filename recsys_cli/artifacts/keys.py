"""API keys: who may do what. Kept as hashes in one small file beside the versions, where every server reads it."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..durable_files import StateFile, Watched
from ..errors import NotFound, RecsysError, UsageError

FILE = "keys.json"
SCOPES = ("serve", "ingest", "catalogue", "admin")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


@dataclass(frozen=True)
class Key:
    """One key, without itself.

    Parameters
    ----------
    name
        What the shop calls it.
    sha256
        Of the key: 256 random bits need no slow hash.
    scopes
        What it may be used for: serve (lists), ingest (events), catalogue (items), admin (profiles, metrics).
    created_at
        Epoch seconds.
    """

    name: str
    sha256: str
    scopes: tuple[str, ...]
    created_at: int


def read_keys(root: Path) -> list[Key]:
    """All keys of an artifacts directory.

    Raises
    ------
    DamagedState
        To go on would open the server to everybody.
    """
    return file(root).read()


def file(root: Path) -> StateFile[list[Key]]:
    """Where the keys of one artifacts directory are kept."""
    return StateFile(
        root / FILE, list[Key], list, "Without it there are no keys: make new ones with recsys keys add NAME."
    )


def keys_wanted(root: Path) -> bool:
    """Whether there ever was a key: then nobody is answered without one, also when the last was revoked."""
    return file(root).exists()


def add_key(root: Path, name: str, scopes: Iterable[str]) -> str:
    """Make a key; it is returned here and can never be shown again. Inside `Artifacts.exclusive`.

    Raises
    ------
    UsageError
        The name is taken or unfit, or a scope is none.
    """
    wanted = tuple(dict.fromkeys(scopes))
    unknown = [s for s in wanted if s not in SCOPES]
    if unknown or not wanted:
        raise UsageError(f"'{', '.join(unknown)}' is no scope.", f"Scopes: {', '.join(SCOPES)}.")
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is no name for a key.", "Use letters, digits, blanks, dots and dashes.")
    held = read_keys(root)
    if any(key.name == name for key in held):
        raise UsageError(f"There is a key '{name}' already.", "Revoke it first, or choose another name.")
    text = f"recsys_{secrets.token_urlsafe(32)}"
    file(root).write([*held, Key(name, _hash(text), wanted, int(time.time()))])
    return text


def revoke_key(root: Path, name: str) -> None:
    """Take a key back; servers refuse it within a second. Inside `Artifacts.exclusive`.

    Raises
    ------
    NotFound
    """
    held = read_keys(root)
    left = [key for key in held if key.name != name]
    if len(left) == len(held):
        raise NotFound(f"There is no key '{name}'.", "Run recsys keys list.")
    file(root).write(left)


def check_place(root: Path) -> None:
    """Stop before a key is put among other people's things.

    Raises
    ------
    UsageError
        The directory holds something, and nothing of ours.
    """
    ours = {"versions", "spool", "current", FILE, ".lock"}
    held = {path.name for path in root.iterdir()} if root.is_dir() else set()
    if held and not held & ours:
        raise UsageError(f"{root.absolute()} is no artifacts directory.", "Name it with --artifacts.")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class KeyRing:
    """The keys as a server knows them; `refresh` reads the file again when it has changed.

    While the file is damaged the last good keys hold, and `exists` stays true: damage must not open the server.
    """

    def __init__(self, root: Path) -> None:
        self._file = Watched(file(root))
        self._take()

    @property
    def error(self) -> RecsysError | None:
        """Why the file as it is now cannot be read; None when it can."""
        return self._file.error

    def refresh(self) -> None:
        """Costs one `stat` when nothing has changed; never raises."""
        if self._file.refresh():
            self._take()

    def _take(self) -> None:
        # A file without keys still says that keys are wanted: revoking the last one must not open the server.
        self.exists = self._file.file.exists()
        self._by_hash = {key.sha256: key for key in self._file.value}

    def find(self, text: str) -> Key | None:
        """The key that was presented, if it is one."""
        return self._by_hash.get(_hash(text))
