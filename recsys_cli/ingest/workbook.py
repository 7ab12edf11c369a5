"""Workbooks (.xlsx, .xls, .ods) and archives with one table in them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..errors import InputError
from .columns import plain
from .dialect import above_header, column_name, is_value
from .header_words import in_english
from .text_encoding import damaged_file

if TYPE_CHECKING:
    from .formats import Format
    from .readers import Source

MOST_UNPACKED = 2 << 30
MOST_TIMES = 200  # a workbook unpacks to some twenty times its size
_PIECE = 50_000
_READ_ME = re.compile(  # no table by its whole name: which of two tables is meant is not guessed
    r"(?i)^(read.?me|li[cz]en[cs]e|lies.?mich)(\.(txt|rtf|html?))?$|\.(md|pdf|docx?|png|jpe?g|sha256|md5)$"
)
_OF_WORKBOOKS = ("xl/workbook", "content.xml", "mimetype", "[Content_Types].xml")


def is_archive(path: Path) -> bool:
    """Whether this is an archive of files, not a workbook (which is an archive, too)."""
    with path.open("rb") as f:
        if f.read(4) != b"PK\x03\x04":
            return False
    return not any(name.startswith(_OF_WORKBOOKS) for name in _names(path))


def _names(path: Path) -> list[str]:
    return [entry.filename for entry in _entries(path)]


def _entries(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
        raise damaged_file(path, e) from None


def unpack(path: Path, folder: Path) -> Path:
    """The one table of an archive, unpacked into the folder.

    Raises
    ------
    InputError
        When it holds none or several, is encrypted, or unpacks to more than any export is.
    """
    entries = [e for e in _entries(path) if not e.is_dir() and not _beside(e.filename)]
    tables = [e for e in entries if not _READ_ME.search(Path(e.filename).name)]
    entries = tables if len(tables) == 1 else entries
    if len(entries) != 1:
        names = ", ".join(e.filename for e in entries[:5]) or "nothing"
        raise InputError(
            f"{path} is an archive with {len(entries)} files in it ({names}).",
            "Unpack it, and ingest its files; nothing was changed.",
        )
    _check_size(path, entries)
    target = folder / (Path(entries[0].filename).name or "table")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entries[0]) as packed, target.open("wb") as out:
            left = entries[0].file_size
            while data := packed.read(min(1 << 22, left + 1)):
                left -= len(data)
                if left < 0:
                    raise InputError(f"{path} unpacks to more than it says.", "Export it again; nothing was changed.")
                out.write(data)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as e:
        raise damaged_file(path, e) from None
    return target


def _beside(name: str) -> bool:
    return name.startswith("__MACOSX/") or Path(name).name.startswith(".")


def _check_size(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    size, packed = sum(e.file_size for e in entries), max(path.stat().st_size, 1)
    if size > MOST_UNPACKED or (size > 100 << 20 and size > MOST_TIMES * packed):
        raise InputError(
            f"{path} would unpack to {size >> 20:,} MB from {packed >> 10:,} kB.",
            "Save the table as CSV; nothing was changed.",
        )


def open_workbook(path: Path, form: Format) -> Source:
    """The sheet with the most rows, or the one that was named; its columns are named by the first full row.

    Raises
    ------
    InputError
        When it is damaged or encrypted, has no such sheet, or its reader is not installed.
    """
    from .readers import Source

    rows, sheet, others = _rows(path, form.sheet)
    if not rows:
        raise InputError(f"{path} has no rows.", "Export it again; nothing was changed.")
    width = max(len(row) for row in rows[:2000])
    shown = [[_text(cell) or "" for cell in row] + [""] * (width - len(row)) for row in rows[:400]]
    above = next((n for n, row in enumerate(shown) if sum(map(bool, row)) * 2 >= width), 0)
    above += above_header(shown[above:])
    header = not any(is_value(cell) for cell in shown[above] if cell)
    names = _names_below(shown, above) if header else [f"column{i + 1}" for i in range(width)]
    while (
        names
        and not names[-1]
        and not any(len(row) >= len(names) and row[len(names) - 1] not in ("", None) for row in rows[above + 1 :])
    ):
        names.pop()
    body = rows[above + int(header) :]
    first = above + int(header) + 1
    notes = (f"The sheet {sheet!r} is read, not {', '.join(map(repr, others))}.",) if others else ()
    return Source(path, replace(form, sheet=sheet), names, partial(_read, body, first), notes=notes)


def _names_below(shown: list[list[str]], at: int) -> list[str]:
    """The names of the columns; where some occur twice, with the merged head above each: `Kunde Nr.`, `Artikel Nr.`"""
    names = [column_name(cell) for cell in shown[at]]
    if at == 0 or len({n for n in names if n}) == len([n for n in names if n]):
        return names
    heads: list[str] = []
    for cell in shown[at - 1]:
        heads.append(cell.strip() or (heads[-1] if heads else ""))
    both = [f"{head} {name}".strip() for head, name in zip(heads, names, strict=True)]
    return [b if names.count(n) > 1 or in_english(plain(b)) else n for n, b in zip(names, both, strict=True)]


def _rows(path: Path, wanted: str | None) -> tuple[list[list[Any]], str, list[str]]:
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        raise InputError(
            f"{path} is a workbook, and its reader is not installed.",
            "Run: pip install python-calamine. Or save the sheet as CSV (UTF-8).",
        ) from None
    with path.open("rb") as f:
        zipped = f.read(4) == b"PK\x03\x04"
    if zipped:
        _check_size(path, _entries(path))
    try:
        book = CalamineWorkbook.from_path(str(path))
        names = book.sheet_names
        if wanted is not None and wanted not in names:
            raise InputError(f"{path} has no sheet '{wanted}'.", f"It has: {', '.join(names)}.")
        sheets = {name: book.get_sheet_by_name(name) for name in ([wanted] if wanted else names)}
        best = max(sheets, key=lambda n: sheets[n].total_height * min(sheets[n].total_width, 3))
        rows = sheets[best].to_python(skip_empty_area=True)
    except (CalamineError, OSError, ValueError) as e:
        raise damaged_file(path, e) from None
    others = [n for n, s in sheets.items() if n != best and s.total_height > 1]
    return [row for row in rows if any(cell not in ("", None) for cell in row)], best, others


def _read(rows: list[list[Any]], first: int, source: Source, used: list[int]) -> Iterator[pa.RecordBatch]:
    for at in range(0, len(rows), _PIECE):
        piece = rows[at : at + _PIECE]
        columns = [pa.array([_text(row[i]) if i < len(row) else None for row in piece], pa.string()) for i in used]
        numbers = pa.array(np.arange(first + at, first + at + len(piece)))
        yield pa.record_batch([numbers, *columns], names=["row_number", *(f"c{i}" for i in used)])


def _text(cell: Any) -> str | None:
    """A cell as a CSV would have it: whole numbers without a fraction, times as ISO writes them."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return str(cell)
    return str(cell)
