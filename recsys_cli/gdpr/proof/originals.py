"""Files of the watched folder that name somebody: listed with column and count, and left as they are.

A file in which no name stands in any way is passed over after one look at its bytes. The others are read as ingest
reads them, piece by piece, so that a shop's years of exports need no more memory than one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ...errors import InputError
from ...ingest.formats import Format, detect
from ...ingest.readers import open_source
from ...ingest.text_encoding import open_bytes
from ...progress import SILENT, Progress
from ...settings import Settings
from ..person import Person
from .containers import Cell, Owners, cells_at, names_people, names_sessions
from .matcher import Hit, Matcher, names_of

_CHUNK = 8 << 20
_UNPACKED = 64 << 30  # bytes that one packed file is read to


@dataclass
class Original:
    """A file that names somebody."""

    path: Path
    columns: Counter[str] = field(default_factory=Counter)  # to the rows that name them; "" for a file without columns
    who: set[int] = field(default_factory=set)  # index of each person it names
    why: str = ""  # why it could not be read as a table; empty when it could

    def __str__(self) -> str:
        told = [f"{n:,} in {name}" if name else f"{n:,} times" for name, n in self.columns.items()]
        return f"{self.path} ({', '.join([*told, *([self.why] if self.why else [])])})"

    def shown(self, folder: Path, people: Sequence[Person]) -> str:
        """The name for a receipt, which names nobody."""
        name = str(self.path.relative_to(folder))
        told = any(one.lower() in name.lower() for p in people for one in p.names)
        return "a file whose name names them" if told else name

    def count(self, name: str, who: int | None, rows: int = 1) -> None:
        """More rows in which this column names them."""
        if who is not None:
            self.columns[name] += rows
            self.who.add(who)


def in_watched_folder(settings: Settings, people: Sequence[Person], progress: Progress = SILENT) -> list[Original]:
    """Files of the watched folder, and of the folders in it, that name one of these people."""
    owners, matcher = Owners(people), Matcher(names_of(p.names for p in people))
    found: list[Original] = []
    if not settings.ingest.folder:
        return found
    with progress.stage("Searching the watched folder"):
        for place, _, names in os.walk(settings.ingest.folder):
            for original in (Original(Path(place) / name) for name in sorted(names)):
                try:
                    _look(original, owners, matcher, settings.store.memory_limit)
                except (OSError, EOFError, InputError, pa.ArrowException):
                    original.why = "it cannot be read to its end" if original.path.exists() else ""
                found += [original] if original.columns else []
    return found


def _look(original: Original, owners: Owners, matcher: Matcher, memory: str) -> None:
    try:
        form = detect(original.path)
    except InputError:  # no table
        _bytes(original, Format("none"), matcher, owners)
        return
    if form.name not in ("parquet", "workbook") and form.encoding.name == "utf-8":
        _bytes(original, form, matcher, owners)
        if not original.columns or form.name == "jsonl":
            return
        original.columns, original.who = Counter(), set()
    source = open_source(original.path, form, memory)
    # What a customer's row says of the session is the customer's.
    told = [i for i, name in enumerate(source.columns) if names_people(name)]
    guests = [i for i, name in enumerate(source.columns) if names_sessions(name) and i not in told]
    for batch in source.batches([*told, *guests]):
        for i in (*told, *guests):
            for each in pc.value_counts(batch.column(f"c{i}")).to_pylist():
                name, value = source.columns[i], each["values"]
                original.count(name, owners.of(Cell(name, "" if value is None else str(value))), each["counts"])


def _bytes(original: Original, form: Format, matcher: Matcher, owners: Owners) -> None:
    """How often the names stand anywhere in the file; of lines of JSON, in which fields: taking only those apart takes
    a tenth of the time."""

    def look(data: bytes) -> None:
        hits = sorted(matcher.find(data), key=lambda hit: hit.offset)
        for found in cells_at(data, hits) if form.name == "jsonl" else hits:
            if isinstance(found, Hit):
                original.count("", found.pattern.who)
            else:
                original.count(found.field, owners.of(found))

    rest, read = b"", 0
    with open_bytes(original.path, form.compression) as stream:
        while piece := stream.read(_CHUNK):
            data, read = rest + piece, read + len(piece)
            cut = data.rfind(b"\n") + 1 or len(data)
            look(data[:cut])
            rest = data[cut:]
            if read > _UNPACKED:
                original.why = f"more than {_UNPACKED >> 30} GB unpacked; the rest was not read"
                return
    look(rest)
