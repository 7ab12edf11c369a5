"""One small document on disk: written whole, read as a type, and followed by the server."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from .durable_files import explain_os, private_dir, write_atomic
from .errors import DamagedState, RecsysError, StoreError

T = TypeVar("T")


@dataclass(frozen=True)
class StateFile(Generic[T]):
    """One small JSON document with a version and a checksum: written whole, read as a type, one error when damaged.

    On disk: `{"version": 1, "sha256": …, "data": …}`. Documents of the time before this class are the bare data.

    Parameters
    ----------
    path
        The file; its folder is made, 0700, by the first `write`.
    kind
        What `data` is: a dataclass, a `msgspec.Struct`, or `dict[str, X]`, `list[X]` of such. Fields that the type
        does not know are left out, fields that the document lacks take their defaults.
    empty
        Makes what is read where there is no file.
    without
        One sentence for the hint of the error: what is lost by removing the file.
    version
        Of the type; a document of a higher one is refused.
    """

    path: Path
    kind: Any
    empty: Callable[[], T]
    without: str = ""
    version: int = 1

    def read(self) -> T:
        """The document; `empty()` when there is none.

        Raises
        ------
        DamagedState
            It is not what was written: half a document, another type, a flipped bit.
        StoreError
            It cannot be read (permissions, descriptors used up), or a newer recsys wrote it. That is no damage.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return self.empty()
        except OSError as e:
            raise explain_os(e, self.path) from None
        try:
            value: T = msgspec.convert(self._data(content), self.kind)
        except (ValueError, RecursionError):  # which JSON's, UTF-8's and msgspec's own errors are
            raise DamagedState(self.path, self.without) from None
        return value

    def read_or_empty(self) -> T:
        """As `read`, for what the next writer writes again whole: damage counts as nothing there."""
        try:
            return self.read()
        except DamagedState:
            return self.empty()

    def write(self, value: T) -> None:
        """Replace the document, on disk."""
        data = msgspec.to_builtins(value)
        private_dir(self.path.parent)
        text = json.dumps({"version": self.version, "sha256": _digest(data), "data": data}, indent=1)
        write_atomic(self.path, text.encode())

    def exists(self) -> bool:
        """Whether it was ever written, and not removed since."""
        return self.path.exists()

    def _data(self, content: bytes) -> Any:
        document = json.loads(content)
        if not isinstance(document, dict) or document.keys() != {"version", "sha256", "data"}:
            return document
        if isinstance(document["version"], int) and document["version"] > self.version:
            raise StoreError(f"{self.path} was written by a newer recsys.", "Upgrade recsys.")
        if document["sha256"] != _digest(document["data"]):
            raise ValueError
        return document["data"]


@dataclass
class Watched(Generic[T]):
    """A `StateFile` as a server follows it: read again when it has changed, and the last good content kept meanwhile.

    Parameters
    ----------
    file
        Read at once; a server without any good content must not start.

    Attributes
    ----------
    value
        The last content that could be read.
    error
        Why the present content cannot be; None when all is well.
    """

    file: StateFile[T]
    value: T = field(init=False)
    error: RecsysError | None = field(init=False, default=None)
    _seen: tuple[int, int, int] | None = field(init=False, default=None)
    _spare: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        self._seen = self._stamp()
        self.value = self.file.read()
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)

    def refresh(self) -> bool:
        """Look again, at the price of one `stat` when nothing has changed; whether `value` is new. Never raises."""
        try:
            seen = self._stamp()
            if seen == self._seen:
                return False
            value = self._read()
        except DamagedState as e:
            self._seen, self.error = seen, e  # it stays damaged until it is written again
            return False
        except (RecsysError, OSError) as e:
            self.error = explain_os(e, self.file.path) if isinstance(e, OSError) else e
            return False  # descriptors used up, perhaps: the next look tries again
        self._seen, self.error, self.value = seen, None, value
        return True

    def _read(self) -> T:
        """Read with a descriptor kept for it: who has used up the others must not keep a revoked key alive."""
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)
        try:
            return self.file.read()
        finally:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.file.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size  # a replaced file has another inode


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
