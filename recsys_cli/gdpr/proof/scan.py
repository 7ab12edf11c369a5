"""The proof: every file under the state directories, and every row, searched for people.

A *trace* is a whole cell in a column that names people, our keyed hash of them, or their identifier in bytes that
nothing explains. A *mention* is the same characters in another cell: somebody's order number, a product, a remark. It
is listed with its place and is no failure; and where there is one, the same characters in bytes prove nothing.
"""

from __future__ import annotations

import mmap
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ...artifacts import Artifacts, orders
from ...durable_files import draft_is_alive, scratch_elsewhere
from ...identity import state_dir
from ...progress import SILENT, Progress
from ...settings import Settings
from ...store import Store
from ...store.personal_data import PERSON_COLUMN, cell, count_rows, mentions, rejected_of, spelled
from ..person import People, Person
from ..records import journal
from ..records.request_log import Handling, close_requests, open_request
from .containers import Cell, Owners, cells_at, columns_of, names_people
from .matcher import KEYED, LEAST, Hit, Matcher, patterns_of
from .originals import Original, in_watched_folder

_HOLDER = re.compile(rb"\d+\n")  # all that a lock file says: the number of a process
_DRAFT_SECONDS = 120.0


@dataclass(frozen=True)
class Trace:
    """A place where somebody still is."""

    path: str
    inside: str  # column or field; empty for bytes
    encoding: str  # how it is written
    who: int  # index of the person
    offset: int = -1  # in bytes; -1 for a cell, or the file's name

    def __str__(self) -> str:
        at = f", byte {self.offset}" if self.offset >= 0 else ""
        return f"{self.path} » {self.inside}" if self.inside else f"{self.path} ({self.encoding}{at})"


@dataclass
class Scan:
    """What a search saw."""

    findings: list[Trace] = field(default_factory=list)
    mentions: Counter[str] = field(default_factory=Counter)  # by place: `events.order_id, first in row 7`
    unread: list[str] = field(default_factory=list)  # damaged files; only their bytes were searched
    files: int = 0
    bytes: int = 0
    explained: set[int] = field(default_factory=set)  # index of each person of whom there is a mention

    @property
    def clean(self) -> bool:
        """Whether nobody was found."""
        return not self.findings

    def mention(self, place: str, who: int) -> None:
        self.mentions[place] += 1
        self.explained.add(who)

    def of(self, who: int) -> list[Trace]:
        """Traces of one person."""
        return [f for f in self.findings if f.who == who]

    def sifted(self) -> Scan:
        """Without the bytes that a cell of somebody else explains."""
        left = [f for f in self.findings if f.encoding == KEYED or f.inside or f.who not in self.explained]
        return replace(self, findings=left)


def search(store: Store, settings: Settings, people: Sequence[Person], secret: str) -> Scan:
    """Search the database, everything named after it, and the artifacts; what must name people for now, such as the
    journal of their erasure, is passed over.

    A training that had read a person before their erasure takes them out when it publishes; it is waited for.
    """
    skip = [state_dir(settings.db) / journal.FILE, settings.artifacts / orders.FOLDER]
    look = Search(people, secret)
    with store.lock(shared=True):
        found = look.files(state_roots(settings.db, settings.artifacts), skip)
    deadline = time.monotonic() + _DRAFT_SECONDS
    while (drafts := [f for f in found.findings if draft_is_alive(Path(f.path))]) and time.monotonic() < deadline:
        time.sleep(0.2)
        again = look.files(sorted({Path(f.path) for f in drafts}))
        found.findings = [f for f in found.findings if f not in drafts] + again.findings
    if store.exists():
        _rows(store, people, found)
    return found.sifted()


def _rows(store: Store, people: Sequence[Person], found: Scan) -> None:
    """Traces in rows, and the cells of others that look like these people."""
    who = {name: n for n, p in enumerate(people) for name in p.names}
    ids, sessions = ([i for p in people for i in p.ids], [s for p in people for s in p.sessions])
    db, owners = str(store.path), Owners(people).names
    with store.reading() as con:
        for table, names in count_rows(con, ids, sessions).items():
            others = {"guest_events": "events.session_id", "served": "served.request_id"}
            column = others.get(table, f"{table}.{PERSON_COLUMN}")
            found.findings += [Trace(db, column, "a cell", who[name]) for name in names]
        named = rejected_of(con, ids, sessions).values()
        found.findings += [Trace(db, "rejected.raw", "a cell", owners[name]) for name in named]
        for (table, column), (n, first) in mentions(con, [*who]).items():
            found.mentions[f"{table}.{column}, first in row {first}"] += n
        # Of bytes that nothing explains yet, a part of a cell may be the reason.
        bare = {f.who for f in found.findings if not f.inside} - {f.who for f in found.findings if f.inside}
        words = {name: n for name, n in who.items() if n in bare - found.explained and len(name.encode()) >= LEAST}
        for word, place in spelled(con, list(words)).items():
            found.mention(place, words[word])


@dataclass(frozen=True)
class Verified:
    """What a search saw: of what is ours, for whom, and the shop's own files of the watched folder that name them."""

    scan: Scan
    people: list[Person]
    originals: list[Original] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.scan.clean


def verify(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    asked: Sequence[str],
    progress: Progress = SILENT,
    *,
    handling: Handling | None = None,
) -> Verified:
    """Search every file for these people, without changing anything but the log of requests."""
    who = People(store, artifacts, settings)
    people = who.find([[one] for one in asked])
    request = open_request(settings.db, "verification", len(asked), handling)
    with progress.stage("Searching every file"):
        found = search(store, settings, people, who.secret)
    originals = in_watched_folder(settings, people, progress)
    outcome = "originals name them" if originals else "nobody found"
    close_requests(settings.db, {request: outcome if found.clean else "traces found"})
    return Verified(found, people, originals)


class Search:
    """A search for some people; `secret` as in `identity.load_secret`."""

    def __init__(self, people: Sequence[Person], secret: str) -> None:
        patterns = patterns_of(people, secret)
        self._owners, self._matcher = Owners(people), Matcher(patterns)
        # In a file without columns or fields, a name alone may be a number of ours; in cells it is looked up whole.
        self._in_names = Matcher(p for p in patterns if p.word and not p.data.isdigit())

    def files(self, roots: Iterable[Path], skip: Iterable[Path] = ()) -> Scan:
        """Search files and everything below directories; but not `skip`, files and folders of nothing but files."""
        result, passed = Scan(), {p.resolve() for p in skip}
        for path in _files(roots):
            if {path.resolve(), path.parent.resolve()} & passed:
                continue
            for hit in self._in_names.find(os.fsencode(path.name)):
                result.findings.append(Trace(str(path), "", "the file's name", hit.pattern.who))
            # Swapped or swept while we look, what took its place is looked at on its own.
            with suppress(FileNotFoundError), path.open("rb") as f:
                size = os.fstat(f.fileno()).st_size
                result.files, result.bytes = result.files + 1, result.bytes + size
                if size:  # not closed by hand: Arrow may still hold parts of it
                    self._content(path, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ), result)
        return result

    def _content(self, path: Path, data: mmap.mmap, result: Scan) -> None:
        head = data[:256]
        if path.name.endswith("lock") and _HOLDER.fullmatch(head):
            return
        try:
            for name, values in columns_of(path, head) or ():
                self._column(path, name, values, result)
        except (OSError, ValueError, pa.ArrowException):
            result.unread.append(str(path))
        hits = sorted(self._matcher.find(memoryview(data)), key=lambda h: h.offset)
        keyed = [hit for hit in hits if b"\0" in head or hit.pattern.encoding == KEYED]
        for hit in keyed:
            result.findings.append(Trace(str(path), "", hit.pattern.encoding, hit.pattern.who, hit.offset))
        if len(keyed) == len(hits):
            return
        for found in cells_at(data, (hit for hit in hits if hit.pattern.encoding != KEYED)):
            if isinstance(found, Hit):
                what = found.pattern
                result.findings.append(Trace(str(path), "", what.encoding, what.who, found.offset))
            else:
                self._cell(path, found, result)

    def _column(self, path: Path, name: str, values: pa.Array, result: Scan) -> None:
        texts = pc.unique(values).to_pylist()
        for text in texts:
            if names_people(name) or cell(text) in self._owners.names:
                self._cell(path, Cell(name, text), result)
        if not names_people(name):  # all at once: a catalogue has a hundred thousand titles
            for hit in self._matcher.find("\n".join(texts).encode("utf-8", "surrogatepass")):
                result.mention(f"{path.name}, {name}", hit.pattern.who)

    def _cell(self, path: Path, found: Cell, result: Scan) -> None:
        who = self._owners.of(found)
        if who is not None:
            result.findings.append(Trace(str(path), found.field, "a cell", who))
            return
        whole = self._owners.names.get(cell(found.text))
        inside = self._matcher.find(found.text.encode("utf-8", "surrogatepass"))
        others = [whole] if whole is not None else [hit.pattern.who for hit in inside]
        for one in others if len(found.text) >= LEAST else ():  # a count of 7 is not worth a line
            result.mention(f"{path.name}, {found.field}", one)


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
