"""How delimited text is written: found out once from its beginning, and written down with the file in the ledger."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from .columns import FIELDS, plain, tier_of

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
SEVERAL = ("::", "||", ";;", "\\t")  # delimiters of several characters that exports have; a \t that was never a tab
UNIT = "\x1f"  # stands for a delimiter of several characters while such a file is read
PREAMBLE = 40  # lines that may stand above the header
_SEPARATOR = re.compile(r'"?sep=(.)"?')
_NUMBER_OR_TIME = re.compile(r"[-+]?[\d.,:/ TZ-]*\d[\d.,:/ TZ-]*")


@dataclass(frozen=True)
class Dialect:
    """How fields and lines of a file are told apart.

    Parameters
    ----------
    delimiter
        Between fields; of one character or several.
    header
        The first line that is read names the columns.
    skip
        Lines above it: empty ones, the `sep=;` of spreadsheets, remarks, what a report says of itself.
    quoted
        Quotes enclose fields; else they are characters like any other (inches).
    escape
        The character that makes a quote within a field no end of it, where it is not doubled.
    """

    delimiter: str = ","
    header: bool = True
    skip: int = 0
    quoted: bool = True
    escape: str = ""

    @property
    def single(self) -> str:
        """The delimiter as one character."""
        return self.delimiter if len(self.delimiter) == 1 else UNIT

    def described(self) -> str:
        """For people."""
        parts = [next((k for k, v in DELIMITERS.items() if v == self.delimiter), repr(self.delimiter))]
        if self.skip > 1:
            parts.append(f"{self.skip} lines above the header")
        if not self.quoted:
            parts.append("quotes as they are")
        return ", ".join(parts)


def find_dialect(
    text: str, *, delimiter: str | None = None, header: bool | None = None, skip: int | None = None, cut: bool = False
) -> Dialect:
    """The dialect of a text from its beginning.

    Parameters
    ----------
    delimiter, header, skip
        What the person said; None is found out.
    cut
        The text ends before the file does: its last line may be half a one.
    """
    noted_at, noted = _noted(text)
    lines = text.replace("\0", "").splitlines(keepends=True)
    lines = lines[:-1] if cut and len(lines) > 1 else lines
    first = noted_at if skip is None else skip
    found = Dialect(delimiter=_said(delimiter) or noted or _delimiter(lines[first:]))
    escape = "\\" if _escapes(lines[first:], found.delimiter) else ""
    found = Dialect(found.delimiter, True, first, not (escape == "" and _stray_quotes(lines[first:], found)), escape)
    rows = rows_of(lines[first:], found, 400)
    if skip is None and noted is None:
        above = above_header(rows)
        found = Dialect(found.delimiter, True, first + _lines_of(lines[first:], found, above), found.quoted, escape)
        rows = rows[above:]
    if header is None:
        header = not rows or not any(is_value(cell) for cell in rows[0] if cell.strip())
    return Dialect(found.delimiter, header, found.skip, found.quoted, escape)


def rows_of(lines: Sequence[str], dialect: Dialect, limit: int) -> list[list[str]]:
    """The first rows; empty lines are none."""
    if not dialect.quoted or len(dialect.delimiter) > 1:
        split = (line.rstrip("\r\n").split(dialect.delimiter) for line in lines[: limit * 2] if line.strip())
        return list(split)[:limit]
    rows: list[list[str]] = []
    try:
        escape = dialect.escape or None
        for row in csv.reader(lines, delimiter=dialect.delimiter, escapechar=escape, doublequote=not escape):
            if row:
                rows.append(row)
            if len(rows) >= limit:
                break
    except csv.Error:
        return rows
    return rows


def header_of(text: str, dialect: Dialect) -> list[str]:
    """Names of the columns: from the first row, or column1, column2, …"""
    rows = rows_of(text.replace("\0", "").splitlines(keepends=True), dialect, 1)
    if not rows:
        return []
    if dialect.header:
        return [column_name(cell) for cell in rows[0]]
    return [f"column{i + 1}" for i in range(len(rows[0]))]


def column_name(cell: str) -> str:
    """A column's name without what marks it for other programs: `user_id:token` of RecBole, `g:` of Google."""
    name = cell.strip().strip('"').strip()
    name = re.sub(r"^g:(?=\w)", "", name)
    return re.sub(r":(token|float|token_seq|float_seq)$", "", name)


def is_value(cell: str) -> bool:
    """Names are not numbers or times; a first row that holds one is data."""
    return len(cell) <= 40 and bool(_NUMBER_OR_TIME.fullmatch(cell.strip()))


def _noted(text: str) -> tuple[int, str | None]:
    """Empty and remarked lines to pass over, and the delimiter that a spreadsheet has noted there."""
    for number, line in enumerate(text.splitlines()[: PREAMBLE * 2]):
        if len(line) < 12 and (note := _SEPARATOR.fullmatch(line.strip())):
            return number + 1, note[1]
        if line.strip() and not line.startswith("#"):
            return number, None
    return 0, None


def _said(said: str | None) -> str | None:
    if not said:
        return None
    found = DELIMITERS.get(said, said.replace("\\t", "\t"))
    if len(found) > 4 or '"' in found or "\n" in found:
        raise UsageError(
            f"'{said}' cannot be a delimiter.", f"Give one to four characters, or {', '.join(DELIMITERS)}."
        )
    return found


def _delimiter(lines: Sequence[str]) -> str:
    """The delimiter by which most lines have the same number of fields, and many of them."""
    best, best_score = ",", 0.0
    for candidate in (*DELIMITERS.values(), *SEVERAL):
        if candidate[0] == candidate[-1] and len(candidate) == 2:
            alone = re.compile(f"(?<!{re.escape(candidate[0])}){re.escape(candidate[0])}(?!{re.escape(candidate[0])})")
            if sum(bool(alone.search(line)) for line in lines) * 2 > len(lines):
                continue  # `a;;b;c` has an empty field
        widths = [len(row) for row in rows_of(lines, Dialect(candidate), 200)]
        if not widths:
            continue
        width, agreeing = Counter(widths).most_common(1)[0]
        if width < 2:
            continue
        # Of `a::b` a single colon would see empty fields; of `a|b` within one field of a comma table a pipe sees two.
        score = agreeing / len(widths) * 100 + width + (len(candidate) > 1) * 10
        if score > best_score:
            best, best_score = candidate, score
    return best


def _escapes(lines: Sequence[str], delimiter: str) -> bool:
    """Whether quotes in quoted fields are escaped with a backslash: BX-Books writes \"1\\\" so."""
    text = "".join(lines[:2000])
    if '\\"' not in text:
        return False
    plainly = re.sub(r'\\"', "", text)
    doubled = len(re.findall(r'[^,;\t|\n]""[^,;\t|\n]', plainly))
    ending = len(re.findall(r'\\"(?=' + re.escape(delimiter) + r'"|\r?\n)', text))  # "C:\" is a path at the end
    return text.count('\\"') > doubled + ending


def _stray_quotes(lines: Sequence[str], dialect: Dialect) -> bool:
    """Whether quotes are inches: every line has as many fields without them, and some cell opens a quote that it never
    closes, or has text after the one that closes it."""
    if len(dialect.delimiter) > 1:
        return True
    raw = [line.rstrip("\r\n").split(dialect.delimiter) for line in lines[:20_000] if line.strip()]
    # Programs that separate by commas quote; a quote that never closes is a broken line there.
    if len(raw) < 2 or dialect.delimiter == "," or not any('"' in line for line in lines[:20_000]):
        return False
    width = len(raw[0])
    if width < 2 or any(len(row) != width for row in raw):
        return False
    enclosed = rows_of([line for line in lines[:20_000] if line.strip()], Dialect(dialect.delimiter), len(raw) + 1)
    if len(enclosed) == len(raw) and len({len(row) for row in enclosed}) == 1:
        return False  # read as quotes they are in order
    return any(cell.startswith('"') and not _encloses(cell) for row in raw for cell in row)


def _encloses(cell: str) -> bool:
    text = cell.rstrip()
    return len(text) > 1 and text.endswith('"') and text[1:-1].replace('""', "").count('"') == 0


def known_names(row: Sequence[str]) -> int:
    """How many cells are called as columns usually are."""
    names = [plain(cell) for cell in row if 0 < len(cell) < 60]
    return sum(any(tier_of(f, name) is not None for fs in FIELDS.values() for f in fs) for name in names if name)


def above_header(rows: Sequence[Sequence[str]]) -> int:
    """Rows above the one that names the columns: what a report says of itself, and groups of columns."""
    if len(rows) < 3:
        return 0
    top = rows[: min(PREAMBLE, len(rows) - 1)]
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    first = next((n for n, row in enumerate(top) if len(row) == width), 0)
    if sum(bool(cell.strip()) for cell in top[first]) * 3 <= width:
        # Spreadsheets and ERPs fill up the lines above with delimiters: `Orders of May;;;;;` names no columns.
        first = next((n for n, row in enumerate(top) if n > first and len(row) == width and _names_columns(row)), first)
    if any(is_value(cell) for cell in top[first] if cell.strip()) or width < 2:
        return 0 if first and not known_names(top[first]) else first
    # Another row of names below the first: groups above, names beneath.
    below = top[first + 1] if first + 1 < len(top) else ()
    named = len(below) == width and not any(is_value(cell) for cell in below if cell.strip())
    filled = sum(bool(cell.strip()) for cell in top[first])
    if named and known_names(below) > known_names(top[first]) and filled < width:
        return first + 1
    return first


def _names_columns(row: Sequence[str]) -> bool:
    return known_names(row) >= 2 and not any(is_value(cell) for cell in row if cell.strip())


def _lines_of(lines: Sequence[str], dialect: Dialect, rows: int) -> int:
    """How many lines the first rows take, empty ones among them included."""
    if not rows:
        return 0
    if not dialect.quoted or len(dialect.delimiter) > 1:
        filled = [n for n, line in enumerate(lines) if line.strip()]
        return filled[rows]
    reader, seen = csv.reader(lines, delimiter=dialect.delimiter), 0
    for row in reader:
        seen += bool(row)
        if seen == rows:
            break
    at = reader.line_num
    while at < len(lines) and not lines[at].strip():
        at += 1
    return at
