"""Files of the watched folder that name somebody: listed with column and count, and left as they are.

They are read piece by piece and unpacked up to a limit, so that a shop's years of exports need no more memory than one.
"""

from __future__ import annotations

import csv
import lzma
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pyarrow as pa

from ...ingest.columns import EVENT_FIELDS, plain, tier_of
from ...store.personal_data import cell
from ..person import Person
from ..proof.containers import columns_of, fields_of, names_people, object_at
from ..proof.matcher import Matcher
from ..proof.patterns import Pattern, folded, written

_CHUNK = 8 << 20
_UNPACKED = 64 << 30  # bytes that one packed file is read to
_SESSION = next(f for f in EVENT_FIELDS if f.name == "session_id")
_CANNOT_READ = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    pa.ArrowException,
)


@dataclass
class Original:
    """A file that names somebody.

    Parameters
    ----------
    path
        The file.
    columns
        Column to the number of rows in which it names them; "" where the file shows no columns.
    who
        Index of each person it names.
    why
        Why it could not be read to its end; empty when it could.
    """

    path: Path
    columns: Counter[str] = field(default_factory=Counter)
    who: set[int] = field(default_factory=set)
    why: str = ""

    def __str__(self) -> str:
        told = [f"{n:,} in {name}" if name else f"{n:,} times" for name, n in self.columns.items()]
        return f"{self.path} ({', '.join([*told, *([self.why] if self.why else [])])})"

    def shown(self, folder: Path, people: Sequence[Person]) -> str:
        """The name for a receipt, which names nobody."""
        name = str(self.path.relative_to(folder))
        if any(one.lower() in name.lower() for p in people for one in p.names):
            return "a file whose name names them"
        return name


def named_in(folder: Path, people: Sequence[Person]) -> list[Original]:
    """Files of the folder, and of the folders in it, that name one of these people; nothing when there is no folder."""
    look = _Look(people)
    found = []
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            original = Original(Path(place) / name)
            try:
                look.into(original)
            except FileNotFoundError:
                continue  # taken away meanwhile
            except _CANNOT_READ:
                original.why = "it cannot be read to its end"
            if original.columns:
                found.append(original)
    return found


class _Look:
    def __init__(self, people: Sequence[Person]) -> None:
        self._ids = {cell(one): n for n, p in enumerate(people) for one in p.ids}
        self._sessions = {cell(one): n for n, p in enumerate(people) for one in p.sessions}
        forms = {form.encode("utf-8", "surrogatepass"): n
                 for n, p in enumerate(people) for name in p.names for form in written(name)}  # fmt: skip
        patterns = [Pattern(folded(form), "", n, True, True) for form, n in forms.items() if len(form) >= 4]
        self._matcher = Matcher(patterns)
        # Shorter names are no pattern: such a file's rows are all taken apart.
        self._all = any(len(form) < 4 for form in forms)

    def into(self, original: Original) -> None:
        with original.path.open("rb") as f:
            head = f.read(256)
        columns = columns_of(original.path, head)
        if columns is not None:
            for name, values in columns:
                self._count(original, name, [str(v) for v in values.to_pylist()])
            return
        with ExitStack() as stack:
            for stream in _streams(original.path, head, stack):
                self._text(original, stream)

    def _count(self, original: Original, name: str, values: Sequence[str]) -> None:
        for value in values:
            if (who := self._owner(name, value)) is not None:
                original.columns[name] += 1
                original.who.add(who)

    def _owner(self, name: str, value: str) -> int | None:
        if names_people(name):
            return self._ids.get(cell(value))
        return self._sessions.get(cell(value)) if tier_of(_SESSION, plain(name)) is not None else None

    def _text(self, original: Original, stream: IO[bytes]) -> None:
        """Rows of CSV and objects of JSON lines; of other text, how often they are named."""
        header: list[str] | None = None
        delimiter, rest, read = ",", b"", 0
        while piece := stream.read(_CHUNK):
            read += len(piece)
            if read > _UNPACKED:
                original.why = f"more than {_UNPACKED >> 30} GB unpacked; the rest was not read"
                return
            data = rest + piece
            cut = data.rfind(b"\n") + 1 or len(data)
            data, rest = data[:cut], data[cut:]
            if header is None:
                first = data.partition(b"\n")[0].decode("utf-8-sig", "replace")
                delimiter = max(",;\t|", key=first.count)
                header = [] if first.lstrip().startswith(("{", "[", "<")) else _split(first, delimiter)
            self._lines(original, data, header, delimiter)
        if rest:
            self._lines(original, rest, header or [], delimiter)

    def _lines(self, original: Original, data: bytes, header: Sequence[str], delimiter: str) -> None:
        view, done = memoryview(data), -1
        hits = ((hit.offset, hit.pattern.who) for hit in self._matcher.find(data))
        for at, who in _starts(data) if self._all else sorted(hits):
            if at < done:
                continue
            if not header:
                found, done = object_at(view, at)
                if found is None and who >= 0:
                    original.columns[""] += 1
                    original.who.add(who)
                for name, _, text in fields_of(found):
                    self._count(original, name, [text])
                continue
            start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            done = end + 1 if end >= 0 else len(data)
            cells = _split(data[start : done if end < 0 else end].decode("utf-8", "replace"), delimiter)
            for name, value in zip(header, cells, strict=False):
                self._count(original, name, [value])


def _starts(data: bytes) -> Iterator[tuple[int, int]]:
    """Where lines begin, of nobody yet."""
    at = 0
    while at < len(data):
        yield at, -1
        at = data.find(b"\n", at) + 1 or len(data)


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return [part.strip() for part in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return line.split(delimiter)


def _streams(path: Path, head: bytes, stack: ExitStack) -> Iterator[IO[bytes]]:
    """The text of a file, unpacked as it is read."""
    if head.startswith(b"PK\x03\x04"):
        archive = stack.enter_context(zipfile.ZipFile(path))
        yield from (stack.enter_context(archive.open(entry)) for entry in archive.infolist())
        return
    packed = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
    kind = next((name for magic, name in packed.items() if head.startswith(magic)), None)
    if head.startswith(b"\xfd7zXZ\0"):
        yield stack.enter_context(lzma.open(path))  # noqa: SIM115
    else:
        yield stack.enter_context(pa.input_stream(str(path), compression=kind))
