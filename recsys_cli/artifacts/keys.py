"""API keys: who may do what. Kept as hashes in one small file beside the versions, where every server reads it.

The owner's own key is different: it lies there as text, in a file that only the owner can read, so that who administers
the machine has it without typing. A key for pages comes with a secret that stays on the shop's server: with it the shop
signs, for a while, which customer a page may ask for (`sign`, `verify`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..durable_files import private_dir, write_atomic
from ..errors import NotFound, RecsysError, UsageError
from ..state_file import StateFile, Watched

FILE = "keys.json"
OWNER_FILE = "owner.key"
PAGE = "page"
ADMIN = "admin"
SCOPES = (PAGE, "serve", "ingest", "catalogue", "view", "merchandise", "operate", "people", ADMIN)
ROLES: dict[str, tuple[str, ...]] = {
    "viewer": ("serve", "view"),
    "merchandiser": ("serve", "view", "catalogue", "merchandise"),
    "operator": ("serve", "view", "ingest", "operate"),
    "privacy-officer": ("view", "people"),
    ADMIN: SCOPES[1:],
}
_OWNER = re.compile(r"X-API-Key: (recsys_[\w-]{43})\n?")
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
        What it may be used for: page (lists in a public page), serve (all lists), ingest (events), catalogue (items),
        view (report, status, metrics), merchandise (rules and placements), operate (updates, trainings, versions),
        people (customers' profiles), admin (the last four).
    created_at
        Epoch seconds.
    signing
        Secret with which the shop signs customers' ids for a page; empty for other keys.
    role
        One of `ROLES` whose scopes it was given; else empty.
    """

    name: str
    sha256: str
    scopes: tuple[str, ...]
    created_at: int
    signing: str = field(default="", repr=False)
    role: str = ""


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


def granted(scopes: Iterable[str]) -> frozenset[str]:
    """What scopes allow in the end: admin is everything that no page, till or platform does."""
    held = frozenset(scopes)
    return held | {"view", "merchandise", "operate", "people"} if ADMIN in held else held


def add_key(root: Path, name: str, scopes: Iterable[str], role: str = "") -> tuple[str, str]:
    """Make a key, and its signing secret if it is for pages. Inside `Artifacts.exclusive`.

    Parameters
    ----------
    role
        One of `ROLES`, whose scopes are added.

    Returns
    -------
    key, signing
        The key can never be shown again; `signing` is empty unless the key has the scope page.

    Raises
    ------
    UsageError
        The name is taken or not allowed, or the scopes or the role are.
    """
    if role and role not in ROLES:
        raise UsageError(f"Unknown role '{role}'.", f"Roles: {', '.join(ROLES)}.")
    wanted = tuple(dict.fromkeys((*ROLES.get(role, ()), *scopes)))
    unknown = [s for s in wanted if s not in SCOPES]
    if unknown or not wanted:
        raise UsageError(f"Unknown scope '{', '.join(unknown)}'.", f"Scopes: {', '.join(SCOPES)}.")
    if PAGE in wanted and not set(wanted) <= {PAGE, "ingest"}:
        raise UsageError(
            "A key with the scope page is public: every visitor can read it, so it can have only ingest besides.",
            "Make another key for the shop's server.",
        )
    if not _NAME.fullmatch(name) or name == "owner":
        raise UsageError(
            f"'{name}' cannot be the name of a key.",
            "Use letters, digits, spaces, dots and dashes; 'owner' is taken.",
        )
    held = read_keys(root)
    if any(key.name == name for key in held):
        raise UsageError(f"A key named '{name}' already exists.", "Revoke it first, or choose another name.")
    text, signing = _new(), secrets.token_hex(32) if PAGE in wanted else ""
    file(root).write([*held, Key(name, _hash(text), wanted, int(time.time()), signing, role)])
    return text, signing


def owner_key(root: Path) -> str:
    """The owner's own key; empty if the file is missing or holds no valid key."""
    try:
        found = _OWNER.fullmatch((root / OWNER_FILE).read_text(encoding="ascii"))
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def make_owner_key(root: Path) -> str:
    """The owner's own key, made if the file is missing.

    Its file holds the header to send, so that `curl -H @model_artifacts/owner.key` is all that is to be typed.
    """
    if not owner_key(root):
        private_dir(root)
        write_atomic(root / OWNER_FILE, f"X-API-Key: {_new()}\n".encode())
    return owner_key(root)  # read again: two commands may have made one at the same time


def sign(signing: str, user_id: str, until: int) -> str:
    """A token with which a page may ask for this customer until then (epoch seconds)."""
    said = f"{until}\n{user_id}".encode("utf-8", "surrogateescape")
    return f"{until}-{hmac.new(signing.encode(), said, hashlib.sha256).hexdigest()}"


def verify(signing: str, user_id: str, token: str, now: float) -> bool:
    """Whether the token is for this customer, made with this secret, and not over."""
    until = token.partition("-")[0]
    if not (signing and until.isascii() and until.isdigit() and len(until) < 13 and token.isascii()):
        return False
    return hmac.compare_digest(sign(signing, user_id, int(until)), token) and now < int(until)


def _new() -> str:
    return f"recsys_{secrets.token_urlsafe(32)}"


def revoke_key(root: Path, name: str) -> None:
    """Take a key back; servers refuse it within a second. Inside `Artifacts.exclusive`.

    Raises
    ------
    NotFound
    """
    held = read_keys(root)
    left = [key for key in held if key.name != name]
    if len(left) == len(held):
        raise NotFound(f"No key is named '{name}'.", "Run recsys keys list.")
    file(root).write(left)


def check_place(root: Path) -> None:
    """Stop before a key is put among other people's things.

    Raises
    ------
    UsageError
        The directory holds something, and nothing of ours.
    """
    if root.is_dir() and any(root.iterdir()) and not (is_artifacts(root) or (root / ".lock").exists()):
        raise UsageError(f"{root.absolute()} is not an artifacts directory.", "Name it with --artifacts.")


def is_artifacts(root: Path) -> bool:
    """Whether a directory holds something of ours."""
    ours = {"versions", "spool", "current", FILE, OWNER_FILE, "audit"}
    return root.is_dir() and any(path.name in ours for path in root.iterdir())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class KeyRing:
    """The keys as a server knows them; `refresh` reads their files again when they have changed.

    While the file is damaged the last good keys hold, and `exists` stays true: damage must not open the server.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = Watched(file(root))
        self._owner: Key | None = None
        self._owner_seen: tuple[int, int] | None = None
        self._take()
        self._take_owner()

    @property
    def error(self) -> RecsysError | None:
        """Why the file as it is now cannot be read; None when it can."""
        return self._file.error

    def refresh(self) -> None:
        """Costs two `stat` when nothing has changed; never raises."""
        if self._file.refresh():
            self._take()
        self._take_owner()

    def _take(self) -> None:
        # A file without keys still says that keys are wanted: revoking the last one must not open the server.
        self.exists = self._file.file.exists()
        self._by_hash = {key.sha256: key for key in self._file.value}

    def _take_owner(self) -> None:
        try:
            stat = (self._root / OWNER_FILE).stat()
            seen = (stat.st_ino, stat.st_mtime_ns)
            if seen != self._owner_seen:
                text = owner_key(self._root)
                self._owner = Key("owner", _hash(text), SCOPES[1:], 0, role=ADMIN) if text else None
                self._owner_seen = seen
        except FileNotFoundError:
            self._owner = self._owner_seen = None
        except OSError:
            self._owner_seen = None  # descriptors used up, say: looked at again the next time

    def find(self, text: str) -> Key | None:
        """The key that was presented, if it is one; the time taken says nothing of how much of it was right."""
        digest = _hash(text)
        if self._owner is not None and hmac.compare_digest(self._owner.sha256, digest):
            return self._owner
        return self._by_hash.get(digest)
