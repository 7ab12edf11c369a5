"""Files that are one table together: orders in one, their lines in another, what customers are called in a third.

They are joined on the column that both have and that is a key of one of them; each is read once, into memory or, where
it does not fit, onto the disk.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import duckdb
import pyarrow as pa

from ..durable_files import draft_dir, scratch_elsewhere
from ..errors import InputError
from .columns import EVENTS, plain
from .json_objects import connect_scratch
from .readers import Source
from .recognition import candidates, event_field, named_alone, rank_of, recognised_kind

_KEYS = ("id", "entity_id")  # what an order calls the number that its lines call order_id
_OVERLAP = 0.5  # of the lines' sampled keys that the other file's sample, or whole, must have


@dataclass
class _Part:
    """A file, and how it can be a part of something."""

    source: Source
    has: dict[str, bool] = field(default_factory=dict)

    def column(self, names: Iterable[str]) -> int | None:
        """The first column that is called so."""
        wanted = list(names)
        called = {plain(c): i for i, c in reversed(list(enumerate(self.source.columns)))}
        return next((called[n] for n in wanted if n in called), None)


def joined(sources: Iterable[Source], kind: str | None, said: Mapping[str, str]) -> Iterator[Source]:
    """The sources, those that are of no use alone joined with the ones that they need.

    Parameters
    ----------
    kind
        What somebody said the files are; those that are no events are not joined.
    said
        Fields whose columns somebody named; `a.b` may be one of the joined files' only.
    """
    if kind not in (None, EVENTS):
        yield from sources
        return
    parts: list[_Part] = []
    failed: InputError | None = None
    try:
        parts += (_Part(s) for s in sources)
    except InputError as e:
        failed = e  # what comes before it is taken
    yield from _grouped(parts, said)
    if failed is not None:
        raise failed


def _grouped(parts: list[_Part], said: Mapping[str, str]) -> Iterator[Source]:
    if len(parts) < 2:
        yield from (p.source for p in parts)
        return
    for part in parts:
        part.has = {n: _has(part.source, n) for n in ("user_id", "item_id", "ts", "order_id")}
    used: set[int] = set()
    for n, lines in enumerate(parts):
        if (
            n in used
            or not lines.has["item_id"]
            or (
                (lines.has["user_id"] or recognised_kind(lines.source, said) == EVENTS)
                and not named_alone(lines.source)
            )
        ):
            continue
        whole, members = lines.source, [n]
        for m, head in enumerate(parts):
            if m not in (n, *used) and (head.has["user_id"] or _is_key(head.source)) and not head.has["item_id"]:
                again = _join(whole, head.source)
                if again is not None:
                    whole, members = again, [*members, m]
        if len(members) < 2:
            continue
        for m, third in enumerate(parts):  # what customers are really called, and when orders were
            if (
                m not in (*members, *used)
                and not third.has["item_id"]
                and (again := _join(whole, third.source)) is not None
            ):
                whole, members = again, [*members, m]
        used |= {*members}
        yield whole
    yield from (p.source for n, p in enumerate(parts) if n not in used)


def _has(source: Source, name: str) -> bool:
    return bool(candidates(source, event_field(name), set()))


def _is_key(source: Source) -> bool:
    """Whether the file tells of orders."""
    return _has(source, "order_id") or any(plain(c) in _KEYS for c in source.columns)


def _join(lines: Source, head: Source) -> Source | None:
    """The lines with what the other file says of each; None where nothing fits."""
    found = _key(lines, head)
    if found is None:
        return None
    left, right = found
    names = {plain(c) for c in lines.columns}
    extra = [i for i, c in enumerate(head.columns) if i != right]
    shown = [
        head.columns[i] if plain(head.columns[i]) not in names else f"{head.path.stem}.{head.columns[i]}" for i in extra
    ]
    parts = (*(lines.parts or (lines.path,)), *(head.parts or (head.path,)))
    note = f"{head.path.name} is joined to {lines.path.name} on {lines.columns[left]!r}."
    tables = _Tables(lines, head, left, right, extra)
    return replace(
        lines,
        columns=[*lines.columns, *shown],
        read=partial(_read, tables),
        levels=(),
        notes=(*lines.notes, note),
        parts=parts,
        broken=[],
        _sample=None,
    )


def _key(lines: Source, head: Source) -> tuple[int, int] | None:
    """Positions of the columns to join on: called alike, a key of the other file, and with the same values."""
    at = {plain(c): i for i, c in reversed(list(enumerate(head.columns)))}
    pairs = [(i, at[plain(c)]) for i, c in enumerate(lines.columns) if plain(c) in at]
    orders = [i for i in range(len(lines.columns)) if rank_of(lines, event_field("order_id"), i) is not None]
    pairs += [(i, at[key]) for i in orders for key in _KEYS if key in at]
    for left, right in pairs:
        keys = head.texts(right)
        if not keys or len(set(keys)) < len(keys):
            continue  # not one row for each
        values = set(lines.texts(left))
        known = set(keys)
        sampled = len(keys) < 4_000
        overlap = len(values & known) / max(len(values), 1)
        if overlap >= _OVERLAP or (not sampled and overlap > 0):
            return left, right
    return None


@dataclass
class _Tables:
    """Both files in a database of their own, loaded when they are first read."""

    lines: Source
    head: Source
    left: int
    right: int
    extra: Sequence[int]
    _con: duckdb.DuckDBPyConnection | None = None

    def connection(self, broken: list) -> duckdb.DuckDBPyConnection:  # type: ignore[type-arg]
        """With the tables `lines` and `heads`."""
        if self._con is None:
            held = ExitStack()
            weakref.finalize(self, held.close)
            # A draft, which the next command sweeps if this one is killed: customers may be spilled there.
            self._con = connect_scratch(self.lines, held.enter_context(draft_dir(*scratch_elsewhere())))
            for name, source in (("lines", self.lines), ("heads", self.head)):
                self._con.register("rows_of_file", source.batches(range(len(source.columns))))
                self._con.execute(f"CREATE TABLE {name} AS SELECT * FROM rows_of_file")
                self._con.unregister("rows_of_file")
            text = f"SELECT *, trim(c{self.right}::VARCHAR) AS key FROM heads"
            first = "row_number() OVER (PARTITION BY key ORDER BY row_number) = 1"
            self._con.execute(f"CREATE OR REPLACE TABLE heads AS SELECT * FROM ({text}) QUALIFY {first}")
        broken += [b for b in (*self.lines.broken, *self.head.broken) if b not in broken]
        return self._con


def _read(tables: _Tables, source: Source, used: list[int]) -> Iterator[pa.RecordBatch]:
    con = tables.connection(source.broken).cursor()
    wide = len(tables.lines.columns)
    picked = "".join(f", l.c{i}" if i < wide else f", h.c{tables.extra[i - wide]} AS c{i}" for i in used)
    query = (
        f"SELECT l.row_number{picked} FROM lines l LEFT JOIN heads h ON trim(l.c{tables.left}::VARCHAR) = h.key "
        "ORDER BY l.row_number"
    )
    yield from con.sql(query).to_arrow_reader(1 << 17)
