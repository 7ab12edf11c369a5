"""Look through every file under the state directories for people.

A *trace* is a whole cell in a column that names people, our keyed hash of them, or their identifier in bytes that
nothing explains. A *mention* is the same characters in another cell: somebody's order number, a product, a remark. It
is listed with its place and is no failure; and where there is one, the same characters in bytes prove nothing.
"""

from __future__ import annotations

import mmap
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from ...durable_files import scratch_elsewhere
from ...store.personal_data import cell
from ..person import Person
from .containers import columns_of, fields_of, names_people, object_at
from .matcher import Hit, Matcher
from .patterns import LEAST, Pattern, patterns_of

_HOLDER = re.compile(rb"\d+\n")  # all that a lock file says: the number of a process
_KEYED = "our keyed hash"


@dataclass(frozen=True)
class Trace:
    """A place where somebody still is.

    Parameters
    ----------
    path
        The file.
    inside
        Column or field; empty for bytes.
    encoding
        How it is written.
    who
        Index of the person.
    offset
        Byte offset; -1 for a cell, or the file's name.
    """

    path: str
    inside: str
    encoding: str
    who: int
    offset: int = -1

    def __str__(self) -> str:
        at = f", byte {self.offset}" if self.offset >= 0 else ""
        return f"{self.path} » {self.inside}" if self.inside else f"{self.path} ({self.encoding}{at})"


@dataclass
class Scan:
    """What a search saw.

    Parameters
    ----------
    findings
        Traces.
    mentions
        Places where the same characters mean something else, to how many there are; `events.order_id, first in row 7`.
    unread
        Files that are damaged; only their bytes were searched.
    files, bytes
        Looked through.
    explained
        Index of each person of whom there is a mention.
    """

    findings: list[Trace] = field(default_factory=list)
    mentions: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    explained: set[int] = field(default_factory=set)

    @property
    def clean(self) -> bool:
        """Whether nobody was found."""
        return not self.findings

    def mention(self, place: str, who: int, count: int = 1) -> None:
        self.mentions[place] += count
        self.explained.add(who)

    def of(self, who: int) -> list[Trace]:
        """Traces of one person."""
        return [f for f in self.findings if f.who == who]

    def sifted(self) -> Scan:
        """Without the bytes that a cell of somebody else explains."""
        left = [f for f in self.findings if f.encoding == _KEYED or f.inside or f.who not in self.explained]
        return replace(self, findings=left)


class Search:
    """A search for some people.

    Parameters
    ----------
    secret
        See `identity.load_secret`.
    """

    def __init__(self, people: Sequence[Person], secret: str) -> None:
        patterns = patterns_of(people, secret)
        self._matcher = Matcher(patterns)
        self._who = {cell(name): n for n, p in enumerate(people) for name in p.names}
        self._customers = {cell(one) for p in people for one in p.ids}
        self._sessions = {cell(one) for p in people for one in p.sessions}
        # In a file without columns or fields, a name alone may be a number of ours; in cells it is looked up whole.
        self._in_names = Matcher([p for p in patterns if p.word and not p.data.isdigit()])

    def files(self, roots: Iterable[Path], skip: Iterable[Path] = ()) -> Scan:
        """Search files and everything below directories.

        Parameters
        ----------
        roots
            Files and directories; missing ones are passed over.
        skip
            Files, and folders with nothing but files, not to look at.
        """
        result, passed = Scan(), {p.resolve() for p in skip}
        for path in _files(roots):
            if not {path.resolve(), path.parent.resolve()} & passed:
                self._file(path, result)
        return result

    def _file(self, path: Path, result: Scan) -> None:
        for hit in self._in_names.find(os.fsencode(path.name)):
            result.findings.append(Trace(str(path), "", "the file's name", hit.pattern.who))
        try:
            with path.open("rb") as f:
                size = os.fstat(f.fileno()).st_size
                result.files, result.bytes = result.files + 1, result.bytes + size
                if size:
                    # Not closed by hand: Arrow may still hold parts of it.
                    self._content(path, memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)), result)
        except FileNotFoundError:
            return  # swapped or swept while we looked; what took its place is looked at on its own

    def _content(self, path: Path, data: memoryview, result: Scan) -> None:
        head = bytes(data[:256])
        if path.name.endswith("lock") and _HOLDER.fullmatch(bytes(data[:32])):
            return
        try:
            for name, values in columns_of(path, head) or ():
                self._column(path, name, values, result)
        except (OSError, ValueError, pa.ArrowException):
            result.unread.append(str(path))
        done = -1
        for hit in sorted(self._matcher.find(data), key=lambda h: h.offset):
            if hit.offset < done:
                continue
            found, end = (None, 0) if _is_key(hit) or b"\0" in head else object_at(data, hit.offset)
            if isinstance(found, dict | list):
                done = end
                self._object(path, found, result)
            else:
                result.findings.append(Trace(str(path), "", hit.pattern.encoding, hit.pattern.who, hit.offset))

    def _column(self, path: Path, name: str, values: pa.Array, result: Scan) -> None:
        texts = values.to_pylist()
        for text in texts:
            who = self._who.get(cell(text))
            if who is not None and names_people(name):
                result.findings.append(Trace(str(path), name, "a cell", who))
            elif who is not None:
                result.mention(f"{path.name}, {name}", who)
        for hit in self._matcher.find("\n".join(texts).encode("utf-8", "surrogatepass")):
            if not names_people(name) and not _is_key(hit):
                result.mention(f"{path.name}, {name}", hit.pattern.who)

    def _object(self, path: Path, found: object, result: Scan) -> None:
        for name, of_people, text in fields_of(found):
            whole = cell(text)
            who = self._who.get(whole)
            if who is not None and of_people and whole in (self._sessions if name == "session_id" else self._customers):
                result.findings.append(Trace(str(path), name, "a cell", who))
            elif who is not None:
                if len(text) >= LEAST:  # a count of 7 is not worth a line
                    result.mention(f"{path.name}, {name}", who)
            else:
                for hit in self._matcher.find(text.encode("utf-8", "surrogatepass")):
                    if _is_key(hit):
                        result.findings.append(Trace(str(path), name, _KEYED, hit.pattern.who))
                    else:
                        result.mention(f"{path.name}, {name}", hit.pattern.who)


def state_roots(db: Path, artifacts: Path) -> list[Path]:
    """Everything that is ours: the database with all that is named after it, the artifacts directory, and trials in the
    folder for temporary files."""
    folder = db.parent if str(db.parent) else Path()
    beside = [p for p in folder.glob("*") if p.name.startswith(db.name)] if folder.is_dir() else []
    hidden = list(folder.glob(f".{db.name}*")) if folder.is_dir() else []
    trials = [p for place, prefix in (scratch_elsewhere(),) for p in place.glob(f"{prefix}*")]
    return [*sorted(beside), *sorted(hidden), artifacts, *sorted(trials)]


def _files(roots: Iterable[Path]) -> Iterator[Path]:
    for root in roots:
        if root.is_file():
            yield root
        for folder, _, names in os.walk(root):
            yield from (Path(folder) / name for name in sorted(names))


def _is_key(hit: Hit) -> bool:
    return hit.pattern.encoding == _KEYED


__all__ = ["Pattern", "Scan", "Search", "Trace", "state_roots"]
