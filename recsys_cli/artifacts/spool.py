"""The log of what the server received: append-only segments of JSON lines that are on disk before they count.

Each server process appends to segments of its own, so writers never meet. A line is an object with a `t` that says
which of the types below it is; `read_lines` is the one reader of their content, and sets other lines aside.

Readers keep a `Position`, the offset reached in each segment; the update worker stores its own in the database, in the
transaction that takes the events, and each version's manifest says which position its histories include.

Lines never move: a person is forgotten by overwriting their lines with blanks (`blank`), which readers skip, and by a
new `epoch`, at which readers drop what they remember and read again.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ..durable_files import cut_torn_tail, explain_os, fsync_dir, open_private, private_dir, write_all, write_atomic
from ..errors import RecsysError, StoreError
from ..schema import ATTRIBUTES, ITEM_COLUMNS, PURCHASE

Position = dict[str, int]  # segment name -> bytes read

ROTATE_BYTES = 8 << 20
ROTATE_SECONDS = 3600.0
_READ_BYTES = 8 << 20


@dataclass(frozen=True)
class Chunk:
    """Whole lines of one segment, `data` ending in a newline, and the offset after them."""

    segment: str
    start: int
    end: int
    data: bytes

    def lines(self) -> list[bytes]:
        """The lines that are not blanked."""
        return [line for line in self.data.split(b"\n") if line and not line.isspace()]


# -- what a line says -------------------------------------------------------------------------------------------------

Id = Annotated[str, msgspec.Meta(min_length=1)]
Time = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class EventLine(msgspec.Struct, tag_field="t", tag="event", frozen=True, gc=False):
    """Something that a customer or a guest did; more columns of EVENT_COLUMNS may stand in the line."""

    item_id: Id
    ts: Time
    user_id: str | None = None
    session_id: str | None = None
    event_type: str = PURCHASE
    qty: float = 1
    received_at: float | None = None
    duration_ms: Any = None  # as other columns are, of whatever type: a line is not set aside for it

    def __post_init__(self) -> None:
        if not (self.user_id or self.session_id):
            raise ValueError("nobody did it")


class MergeLine(msgspec.Struct, tag_field="t", tag="merge", frozen=True, gc=False):
    """The guest of a session turned out to be a customer."""

    session_id: Id
    user_id: Id
    ts: Time


_KINDS: dict[str, Any] = {"VARCHAR": str, "DOUBLE": float, "BOOLEAN": bool, "BIGINT": Time}
_ITEM_FIELDS = {**ITEM_COLUMNS, ATTRIBUTES: "VARCHAR"}
_GIVEN = tuple(name for name in _ITEM_FIELDS if name != "item_id")

ItemLine: Any = msgspec.defstruct(
    "ItemLine",
    [
        ("item_id", Id),
        ("ts", Time | None, None),
        ("retired", bool | None, None),
        *((n, _KINDS[_ITEM_FIELDS[n]] | None | msgspec.UnsetType, msgspec.UNSET) for n in _GIVEN),
    ],
    tag_field="t",
    tag="item",
    frozen=True,
)
"""A change of the catalogue: some of ITEM_COLUMNS and the attributes; see `changes`."""

Line = EventLine | MergeLine | Any
_decode = msgspec.json.Decoder(EventLine | MergeLine | ItemLine).decode


def changes(line: Any) -> dict[str, Any]:
    """The columns that an ItemLine changes, with their new values; None takes a value away."""
    return {name: value for name in _GIVEN if (value := getattr(line, name)) is not msgspec.UNSET}


def read_lines(data: bytes, start: int = 0) -> Iterator[tuple[int, Line | None]]:
    """What whole lines say, each with the offset after it; None for a line that is not ours, nothing for a blanked one.

    A bit that fell over on disk, a line of a newer recsys, `[]` or bytes that are no text: none of it may stop a
    server or a worker. The worker keeps such lines among the rejected rows, with their reason.

    Parameters
    ----------
    start
        The offset of `data` in its segment.
    """
    end = start
    for line in data.split(b"\n"):
        end += len(line) + 1
        if not line or line.isspace():
            continue
        try:
            said = _decode(line)
        except (ValueError, RecursionError):  # msgspec's errors and those of the types are ValueErrors
            said = None
        yield end, said


class Spool:
    """All segments of one artifacts directory, for readers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def segments(self) -> dict[str, int]:
        """Segment names, oldest first, with their sizes in bytes."""
        if not self.path.is_dir():
            return {}
        sizes: dict[str, int] = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl"):
                    try:
                        sizes[entry.name] = entry.stat().st_size
                    except FileNotFoundError:
                        continue  # removed by the worker since it was listed
        return dict(sorted(sizes.items()))

    def read(self, position: Position, until: Position | None = None) -> Iterator[Chunk]:
        """Whole lines after `position`, segment by segment; a last line without its newline is not yet there.

        Parameters
        ----------
        until
            Sizes of the segments that are of interest; what is in the log now when not given. The last chunk of a
            segment may reach beyond.
        """
        for segment, size in (self.segments() if until is None else until).items():
            offset = position.get(segment, 0)
            while offset < size:
                chunk = self._chunk(segment, offset)
                if chunk is None:
                    break
                yield chunk
                offset = chunk.end

    def _chunk(self, segment: str, offset: int) -> Chunk | None:
        want = _READ_BYTES
        try:
            with (self.path / segment).open("rb") as f:
                while True:
                    f.seek(offset)
                    data = f.read(want)
                    end = data.rfind(b"\n") + 1
                    if end or len(data) < want:
                        break
                    want *= 2  # one line longer than we read at a time
        except FileNotFoundError:
            return None
        return Chunk(segment, offset, offset + end, data[:end]) if end else None

    def backlog(self, position: Position) -> int:
        """Bytes that a reader at `position` has not read."""
        return sum(max(size - position.get(name, 0), 0) for name, size in self.segments().items())

    def waiting(self, position: Position) -> tuple[int, float]:
        """Bytes that a reader at `position` has not read, and since when (epoch seconds) the first of them may wait."""
        left = {name: size - position.get(name, 0) for name, size in self.segments().items()}
        names = [name for name, size in left.items() if size > 0]
        first = names[0].partition("-")[0] if names else ""
        since = int(first) / 1000 if first.isdigit() else time.time()
        return sum(left[name] for name in names), since

    def epoch(self) -> str:
        """Changes whenever lines were blanked; readers then drop what they remember and read again.

        The file is only looked at, since a server whose descriptors are used up cannot open it: it is written by
        replacing it, so another epoch is another file.
        """
        try:
            found = (self.path / "epoch").stat()
        except FileNotFoundError:
            return ""
        return f"{found.st_ino}-{found.st_mtime_ns}"

    def blank(self, belongs: Callable[[bytes], bool], rest: Callable[[bytes], bytes | None] | None = None) -> int:
        """Overwrite with blanks, on disk, every whole line for which `belongs` is true; return how many.

        Offsets stay what they were, so nobody's position changes and writers need not stop. Half a line that a killed
        server left behind is cut off.

        Parameters
        ----------
        rest
            What stays of such a line, not longer than it; None for nothing. What stays in part is not counted.
        """
        count, seen = 0, False
        for segment in self.segments():
            try:
                fd = os.open(self.path / segment, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                count += sum(_blank_lines(fd, chunk, belongs, rest) for chunk in self._all(segment))
                _left(fd)
                os.fsync(fd)
                seen = True
            finally:
                os.close(fd)
        if seen:  # even if nothing was blanked: we may have been killed between blanking and this
            self.new_epoch()
        return count

    def _all(self, segment: str) -> Iterator[Chunk]:
        offset = 0
        while (chunk := self._chunk(segment, offset)) is not None:
            yield chunk
            offset = chunk.end

    def new_epoch(self) -> None:
        """Make every reader drop what it remembers and read again."""
        private_dir(self.path)
        write_atomic(self.path / "epoch", secrets.token_hex(8).encode())

    def remove_drained(self, drained: Position, older_than: float) -> list[str]:
        """Delete segments that were read to their end, have no writer and were last written before `older_than`.

        Parameters
        ----------
        older_than
            Epoch seconds. Servers that swap to a version trained before the last drain read back that far.
        """
        gone: list[str] = []
        for segment in self.segments():
            path = self.path / segment
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                if not _left(fd):
                    continue  # its server still writes to it
                now = os.fstat(fd)
                if now.st_size <= drained.get(segment, 0) and now.st_mtime <= older_than:
                    path.unlink(missing_ok=True)
                    gone.append(segment)
            finally:
                os.close(fd)
        return gone


def _blank_lines(
    fd: int, chunk: Chunk, belongs: Callable[[bytes], bool], rest: Callable[[bytes], bytes | None] | None
) -> int:
    count, offset = 0, chunk.start
    for line in chunk.data.split(b"\n"):
        if line and not line.isspace() and belongs(line):
            left = rest(line) if rest is not None else None
            os.pwrite(fd, (left or b"").ljust(len(line)), offset)
            count += not left
        offset += len(line) + 1
    return count


def _left(fd: int) -> bool:
    """Lock a segment that nobody writes to, and cut off half a line at its end; False when its writer lives.

    Nobody was told that such a line is kept, no reader gets it, and neither blanking nor draining would ever end it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    cut_torn_tail(fd)
    return True


@dataclass
class _Entry:
    data: bytes
    done: bool = False
    error: RecsysError | None = None


@dataclass
class SpoolWriter:
    """Appends lines to this process's own segment; safe to use from many threads.

    Threads that arrive while one is flushing share the next flush (group commit), so the price of `fsync` is paid
    once for all of them.
    """

    path: Path
    _queue: list[_Entry] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _io: threading.Lock = field(default_factory=threading.Lock)
    _name: str = ""
    _fd: int = -1
    _size: int = 0
    _opened: float = 0.0
    _began: bool = False

    def append(self, lines: list[bytes]) -> None:
        """Return once all lines, JSON without line breaks, are on disk.

        Raises
        ------
        StoreError
            They are not, and will not be.
        """
        entry = _Entry(b"".join(line + b"\n" for line in lines))
        with self._mutex:
            self._queue.append(entry)
        with self._io:
            if not entry.done:
                with self._mutex:
                    batch, self._queue = self._queue, []
                self._flush(batch)
        if entry.error is not None:
            raise entry.error

    def close(self) -> None:
        """Let go of the segment."""
        with self._io:
            self._close()

    def _flush(self, batch: list[_Entry]) -> None:
        data = b"".join(e.data for e in batch)
        error: RecsysError | None = StoreError("Writing to the spool was interrupted.", "Send it again.")
        try:
            self._ready()
            write_all(self._fd, data)
            os.fdatasync(self._fd)
            self._size += len(data)
            error = None
        except OSError as e:
            error = explain_os(e, self.path)
        except StoreError as e:
            error = e
        finally:
            # Whatever happened, nobody who waits for this flush may take it for done.
            if error is not None:
                self._give_up()
            for entry in batch:
                entry.done, entry.error = True, error

    def _ready(self) -> None:
        full = self._size >= ROTATE_BYTES or time.monotonic() - self._opened > ROTATE_SECONDS
        if full or not self._in_place():
            self._close()
        while self._fd < 0:
            if self._began and not self.path.parent.is_dir():
                # Made again here, it would take what nobody reads: the versions and the worker are elsewhere now.
                raise StoreError(f"{self.path.parent} is gone, and events are not taken.", "Move it back to its place.")
            self._began = True
            private_dir(self.path.parent)
            private_dir(self.path)
            self._name = f"{time.time_ns() // 1_000_000:015d}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
            self._size, self._opened = 0, time.monotonic()
            self._fd = open_private(self.path / self._name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
            # The lock says "someone writes here"; the kernel drops it however this process ends.
            fcntl.flock(self._fd, fcntl.LOCK_SH)
            fsync_dir(self.path)
            if not self._in_place():  # the worker removed it, empty as it was, before it was locked
                self._close()

    def _in_place(self) -> bool:
        """Whether readers will find what we write: the directory may have been moved away or restored."""
        try:
            return self._fd >= 0 and os.path.samestat(os.fstat(self._fd), (self.path / self._name).stat())
        except FileNotFoundError:
            return False

    def _give_up(self) -> None:
        """Cut off what was half written, or the next line would be glued to it; then leave the segment."""
        if self._fd >= 0:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
                if not self._size:
                    (self.path / self._name).unlink()  # a disk that is full for an hour must not make a file a request
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
