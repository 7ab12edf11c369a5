"""What people have decided about the use of their data, where every server sees it within a second.

One small file beside the versions, replaced whole, read again when it has changed. It holds hashes of keyed hashes:
neither a name nor the keyed hash that versions know people by.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import RecsysError
from ..state_file import StateFile, Watched

FILE = "choices.json"
HASHED = "choice"  # what is hashed with the secret and the keyed hash, see `hash_of`

FULL, SESSION, NONE = "full", "session", "none"  # consent (article 7)
OBJECTED, RESTRICTED, ERASED = "objected", "restricted", "erased"  # articles 21, 18, 17


@dataclass(frozen=True)
class Choice:
    """What may be done with one person's data.

    Parameters
    ----------
    mode
        full: everything. session: recommendations from what they do in this session, nothing kept under their name.
        none, objected: no profile, popular lists only. restricted: the same, and what is held is only stored. erased:
        gone, and events that were under way are refused.
    keep_events
        Whether their events are kept all the same, without being used.
    until
        Epoch seconds when the choice ends; 0 for never.
    """

    mode: str
    keep_events: bool = False
    until: int = 0

    @property
    def profile(self) -> bool:
        """Whether their history may be used."""
        return self.mode == FULL

    @property
    def live(self) -> bool:
        """Whether what they do in this session may be used."""
        return self.mode in (FULL, SESSION)


EVERYTHING = Choice(FULL)


def hash_of(secret: str, key: tuple[int, int]) -> str:
    """What the file holds of the person with this keyed hash."""
    return hashlib.sha256(f"{secret}{HASHED}{key[0]:016x}{key[1]:016x}".encode()).hexdigest()


class Choices:
    """The choices of one artifacts directory, as they stand; `refresh` before asking.

    Parameters
    ----------
    root
        The artifacts directory.
    secret
        See `identity.load_secret`.
    """

    def __init__(self, root: Path, secret: str) -> None:
        self._secret = secret
        self._file = Watched(file(root))

    @property
    def error(self) -> RecsysError | None:
        """Why the file as it is now cannot be read; the choices before it hold meanwhile."""
        return self._file.error

    def refresh(self) -> bool:
        """Read the file again if it has changed (one `stat` otherwise); whether it had. Never raises."""
        return self._file.refresh()

    def of(self, key: tuple[int, int]) -> Choice:
        """What the person with this keyed hash has chosen; everything is allowed when they have not chosen."""
        if not self._file.value:
            return EVERYTHING
        choice = self._file.value.get(hash_of(self._secret, key), EVERYTHING)
        return choice if not choice.until or choice.until > time.time() else EVERYTHING

    def __len__(self) -> int:
        return len(self._file.value)


def file(root: Path) -> StateFile[dict[str, Choice]]:
    """Where the choices of one artifacts directory are kept, by `hash_of`."""
    lost = "Without it everybody's data is used again: repeat what people asked for since with recsys gdpr."
    return StateFile(root / FILE, dict[str, Choice], dict, lost)


def read(root: Path) -> dict[str, Choice]:
    """All choices by `hash_of`, without those that have ended."""
    now = time.time()
    return {name: choice for name, choice in file(root).read().items() if not choice.until or choice.until > now}


def barred(root: Path) -> set[str]:
    """Those, by `hash_of`, whose history may not be used."""
    return {name for name, choice in read(root).items() if not choice.profile}


def restricted(root: Path) -> list[str]:
    """Those, by `hash_of`, whose data is only to be stored: it is not erased for its age either (article 18)."""
    return [name for name, choice in read(root).items() if choice.mode == RESTRICTED]


def change(root: Path, new: Mapping[str, Choice], gone: Iterable[str] = ()) -> None:
    """Set and lift choices by `hash_of`, on disk. Inside `Artifacts.exclusive`."""
    held = {name: choice for name, choice in {**read(root), **new}.items() if name not in set(gone)}
    file(root).write({name: choice for name, choice in sorted(held.items()) if choice.mode != FULL})
