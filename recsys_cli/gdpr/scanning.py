"""Look for people in every file under the state directories: as bytes in all encodings, and inside what is packed.

A telling identifier (an e-mail, or eight characters and more) counts wherever it stands. A short one, such as a
customer number of five digits, is also somebody's order number, a price or four bytes of a float: it counts where the
file names people, and elsewhere as a coincidence that is reported and does not fail the check.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .containers import Part, Unreadable, parts_of
from .matching import Hit, Matcher
from .needles import WHOLE_CELL, Needle

_DEPTH = 6  # archives in archives
# What is opened and read cell by cell: short identifiers turn up in its bytes by chance, and are believed in cells.
_STRUCTURED = frozenset(
    ("npy", "duckdb", "sqlite", "parquet", "arrow", "json", "gzip", "zstd", "lz4", "bzip2", "xz", "zip")
)
# Numbers of processes, which may be those of customers: in the names of segments of the spool, and with them wherever
# versions and the database say how far they have read; and alone in lock files, as long as somebody holds the lock.
_SEGMENT = re.compile(rb"(?<!\d)\d{15}-\d+-[0-9a-f]{8}\.jsonl")
_SEGMENT_LENGTH = 48
_HOLDER = re.compile(rb"\d+\n")


@dataclass(frozen=True)
class Finding:
    """A place where somebody still is.

    Parameters
    ----------
    path
        The file.
    inside
        The way to it inside the file; empty when in its bytes as they are.
    encoding
        How it is written.
    who
        Index of the person.
    offset
        Byte offset in the file or part; -1 for the file's name.
    sure
        Whether it cannot be somebody else's number; see `needles.is_telling`.
    """

    path: str
    inside: str
    encoding: str
    who: int
    offset: int
    sure: bool = True

    def __str__(self) -> str:
        place = f"{self.path} » {self.inside}" if self.inside else self.path
        return f"{place} ({self.encoding}, {f'byte {self.offset}' if self.offset >= 0 else 'in its name'})"


@dataclass
class Scan:
    """What a scan saw.

    Parameters
    ----------
    findings
        Places where somebody is.
    coincidences
        Places where the same short number stands for something else, or by chance.
    unread
        Packed files that could not be opened; only their bytes were searched.
    files, bytes
        Looked through, unpacked bytes included.
    """

    findings: list[Finding] = field(default_factory=list)
    coincidences: list[Finding] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0

    @property
    def clean(self) -> bool:
        """Whether nobody was found, and nothing was left unopened."""
        return not self.findings and not self.unread


def scan(roots: Iterable[Path], needles: Sequence[Needle], *, skip: Iterable[Path] = ()) -> Scan:
    """Search files and everything below directories.

    Parameters
    ----------
    roots
        Files and directories; missing ones are passed over.
    needles
        See `needles.needles_for`.
    skip
        Files, and folders with nothing but files, not to look at.
    """
    matcher, result = Matcher(needles), Scan()
    passed = {p.resolve() for p in skip}
    for path in _files(roots):
        if not {path.resolve(), path.parent.resolve()} & passed:
            _scan_file(path, matcher, result)
    return result


def state_roots(db: Path, artifacts: Path) -> list[Path]:
    """Everything that is ours: the database with all that is named after it, and the artifacts directory."""
    folder = db.parent if str(db.parent) else Path()
    beside = [p for p in folder.glob("*") if p.name.startswith(db.name)] if folder.is_dir() else []
    hidden = list(folder.glob(f".{db.name}*")) if folder.is_dir() else []
    return [*sorted(beside), *sorted(hidden), artifacts]


def _files(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        if root.is_file():
            yield root
        for folder, _, names in os.walk(root):
            yield from (Path(folder) / name for name in sorted(names))


def _scan_file(path: Path, matcher: Matcher, result: Scan) -> None:
    name = os.fsencode(path.name)
    for hit in matcher.find(name):
        _note(result, path, "", hit, believed=not hit.needle.tiny and not _of_a_process(name, hit, path), offset=-1)
    try:
        with path.open("rb") as f:
            size = os.fstat(f.fileno()).st_size
            result.files += 1
            if size:
                # Not closed by hand: Arrow and NumPy may still hold parts of it.
                mapped = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
                _scan_bytes(memoryview(mapped), path, "", path, matcher, result, 0)
    except FileNotFoundError:
        return  # swapped or swept while we looked; what took its place is looked at on its own


def _scan_bytes(
    data: bytes | memoryview, path: Path, inside: str, on_disk: Path | None, matcher: Matcher, result: Scan, depth: int
) -> None:
    result.bytes += len(data)
    kind, parts = parts_of(data, on_disk)
    binary = b"\0" in bytes(data[:4096])
    for hit in matcher.find(data):
        short = kind in _STRUCTURED or hit.needle.tiny or (binary and len(hit.needle.data) < 5)
        believed = hit.needle.telling or not (short or _of_a_process(data, hit, on_disk))
        _note(result, path, inside, hit, believed=believed)
    if kind and depth >= _DEPTH:
        result.unread.append(f"{path} » {inside}")
        return
    try:
        for part in parts:
            _scan_part(part, path, inside, matcher, result, depth)
    except Unreadable:
        result.unread.append(f"{path} » {inside}" if inside else str(path))


def _scan_part(part: Part, path: Path, inside: str, matcher: Matcher, result: Scan, depth: int) -> None:
    place = f"{inside} » {part.inside}" if inside else part.inside
    if not part.cells:
        _scan_bytes(part.data, path, place, None, matcher, result, depth + 1)
        return
    result.bytes += len(part.data)
    for hit in matcher.find(part.data):
        whole = hit.needle.encoding == WHOLE_CELL or not hit.needle.tiny
        believed = hit.needle.telling or (part.about_people and whole and not _of_a_process(part.data, hit, None))
        _note(result, path, place, hit, believed=believed)


def _of_a_process(data: bytes | memoryview, hit: Hit, on_disk: Path | None) -> bool:
    """Whether it is a part of a segment's name, or what a lock file says of its holder."""
    if hit.needle.telling:
        return False
    if on_disk is not None and on_disk.name.endswith("lock") and len(data) < 32 and _HOLDER.fullmatch(bytes(data)):
        return True
    begin = max(hit.offset - _SEGMENT_LENGTH, 0)
    around = bytes(data[begin : hit.offset + _SEGMENT_LENGTH])
    return any(m.start() <= hit.offset - begin < m.end() for m in _SEGMENT.finditer(around))


def _note(result: Scan, path: Path, inside: str, hit: Hit, *, believed: bool, offset: int | None = None) -> None:
    found = Finding(
        str(path), inside, hit.needle.encoding, hit.needle.who, hit.offset if offset is None else offset,
        hit.needle.telling,
    )  # fmt: skip
    (result.findings if believed else result.coincidences).append(found)
