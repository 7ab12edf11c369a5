"""API keys: who may do what. Kept as hashes in one small file beside the versions, where every server reads it."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ..durable_files import private_dir, write_atomic
from ..errors import InputError, NotFound, UsageError

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
    InputError
        The file is damaged: to go on would open the server to everybody.
    """
    try:
        rows = json.loads((root / FILE).read_bytes())
        return [Key(r["name"], r["sha256"], tuple(r["scopes"]), r["created_at"]) for r in rows]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError):
        raise InputError(f"The keys in {root / FILE} cannot be read.", "Restore the file, or remove it.") from None


def keys_wanted(root: Path) -> bool:
    """Whether there ever was a key: then nobody is answered without one, also when the last was revoked."""
    return (root / FILE).exists()


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
    _write(root, [*held, Key(name, _hash(text), wanted, int(time.time()))])
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
    _write(root, left)


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


def _write(root: Path, keys: list[Key]) -> None:
    private_dir(root)
    write_atomic(root / FILE, json.dumps([asdict(key) for key in keys], indent=1).encode())


class KeyRing:
    """The keys as a server knows them; `refresh` reads the file again when it has changed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: tuple[int, int] | None = None
        self._by_hash: dict[str, Key] = {}
        self.exists = False
        self.refresh()

    def refresh(self) -> None:
        """Costs one `stat` when nothing has changed."""
        try:
            stat = (self._root / FILE).stat()
            seen: tuple[int, int] | None = (stat.st_ino, stat.st_mtime_ns)
        except FileNotFoundError:
            seen = None
        if seen != self._seen:
            keys = read_keys(self._root)
            # A file without keys still says that keys are wanted: revoking the last one must not open the server.
            self._by_hash, self._seen, self.exists = {key.sha256: key for key in keys}, seen, seen is not None

    def find(self, text: str) -> Key | None:
        """The key that was presented, if it is one."""
        return self._by_hash.get(_hash(text))
