"""What kind of file this is: found out from its bytes, never from its name alone."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ..errors import InputError, UsageError

SAMPLE_BYTES = 1 << 20
READ_BYTES = 1 << 22
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATOR = re.compile(r'"?sep=(.)"?')
_NEVER_TEXT = re.compile("[\x01-\x08\x0e-\x1f\x7f]")
_BINARY_SHARE = 0.05
_NUMBER_OR_TIME = re.compile(r"\s*[-+]?[\d.,:/ TZ-]*\d[\d.,:/ TZ-]*\s*")


@dataclass(frozen=True)
class Hints:
    """What the person said about the file; None is to be found out."""

    encoding: str | None = None
    delimiter: str | None = None
    header: bool | None = None


@dataclass(frozen=True)
class Format:
    """How to read a file.

    Parameters
    ----------
    name
        parquet, csv, jsonl (an object a line) or json (one document).
    compression
        gzip or zstd, around the whole file.
    encoding
        Python's name of the text encoding.
    damaged
        The text is UTF-8 with stray bytes that are not; those become U+FFFD.
    delimiter
        Between fields of a csv.
    header
        The first line of a csv names the columns.
    skip
        Lines before that: empty ones, and the `sep=;` of spreadsheets.
    """

    name: str
    compression: str | None = None
    encoding: str = "utf-8"
    damaged: bool = False
    delimiter: str = ","
    header: bool = True
    skip: int = 0

    def described(self) -> str:
        """For people: `CSV, semicolon, Latin-1`."""
        parts = [self.name.upper() if self.name != "jsonl" else "JSON lines"]
        if self.name == "csv":
            parts.append(next((k for k, v in DELIMITERS.items() if v == self.delimiter), repr(self.delimiter)))
        if self.name != "parquet" and self.encoding != "utf-8":
            parts.append(self.encoding)
        if self.damaged:
            parts.append("with damaged characters")
        if self.compression:
            parts.append(self.compression)
        return ", ".join(parts)


def detect(path: Path, hints: Hints | None = None) -> Format:
    """Find out how to read the file.

    Raises
    ------
    InputError
        When it is missing, empty or of a kind that we do not read.
    """
    hints = hints or Hints()
    compression = _compression(_head(path, 8))
    sample = _sample(path, compression)
    if not sample.strip(b"\0 \t\r\n"):
        raise InputError(f"{path} is empty.", "Export it again; nothing was changed.")
    if sample[:4] == b"PAR1":
        return Format("parquet", compression)
    if sample[:4] == b"PK\x03\x04":
        raise InputError(
            f"{path} is an Excel workbook or ZIP archive.", "Save it as CSV (UTF-8), or unpack it, and ingest that."
        )
    if path.suffix.lower() == ".parquet":
        raise InputError(f"{path} is no Parquet file.", "Export or copy it again; nothing was changed.")
    encoding, damaged = _encoding(path, compression, sample, hints.encoding)
    text = codecs.decode(sample, encoding, "replace").lstrip("\ufeff")
    if _is_binary(text):
        raise no_text(path)
    if text.lstrip()[:1] in "[{":
        return Format(_json_kind(text), compression, encoding, damaged)
    skip, said = _preamble(text)
    text = "".join(text.splitlines(keepends=True)[skip:])
    delimiter = _delimiter(text, hints.delimiter or said)
    header = _has_header(text, delimiter) if hints.header is None else hints.header
    return Format("csv", compression, encoding, damaged, delimiter, header, skip)


def no_text(path: Path) -> InputError:
    """The sentence for what is neither text nor any format that we read."""
    return InputError(
        f"{path} is no text table, and of no format that we know.",
        "Export it as CSV, JSON or Parquet; nothing was changed.",
    )


def open_bytes(path: Path, compression: str | None) -> pa.NativeFile:
    """The file's content, unpacked, as a stream of bytes."""
    raw = pa.OSFile(str(path), "rb")
    return pa.CompressedInputStream(raw, compression) if compression else raw


def open_utf8(path: Path, form: Format) -> pa.NativeFile | pa.PythonFile:
    """The text as a stream of UTF-8 without a byte order mark."""
    source = open_bytes(path, form.compression)
    if form.encoding == "utf-8" and not form.damaged:
        return source  # the CSV reader skips a byte order mark by itself
    return pa.PythonFile(_Recoded(source, form.encoding, "replace" if form.damaged else "strict"), mode="r")


class _Recoded(io.RawIOBase):
    """Reads text of any encoding as UTF-8."""

    def __init__(self, source: pa.NativeFile, encoding: str, errors: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._left = b""
        self._first = True

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        want = 1 << 62 if size is None or size < 0 else size
        parts, have = [self._left], len(self._left)
        while have < want:
            data = self._source.read(READ_BYTES)
            text = self._decoder.decode(data, final=not data)
            if self._first and text:
                text, self._first = text.removeprefix("\ufeff"), False
            parts.append(text.encode("utf-8"))
            have += len(parts[-1])
            if not data:
                break
        whole = b"".join(parts)
        self._left = whole[want:]
        return whole[:want]


def check_readable(path: Path) -> None:
    """Refuse a file that is not there or may not be read.

    Raises
    ------
    InputError
    """
    _head(path, 1)


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as f:
            return f.read(size)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.", "Check the name; nothing was changed.") from None
    except IsADirectoryError:
        raise InputError(
            f"{path} is a directory.", f"Name its files, or watch it: recsys ingest --watch {path}"
        ) from None
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}.", "Check its permissions.") from None


def _compression(head: bytes) -> str | None:
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    return "zstd" if head[:4] == b"\x28\xb5\x2f\xfd" else None


def _sample(path: Path, compression: str | None) -> bytes:
    try:
        with open_bytes(path, compression) as f:
            return bytes(f.read(SAMPLE_BYTES))
    except (OSError, pa.ArrowInvalid, EOFError) as e:
        raise damaged_file(path, e) from None


def damaged_file(path: Path, why: Exception) -> InputError:
    """The sentence for a file that ends too early or is not what it says it is."""
    text = str(why).strip().splitlines()[0].rstrip(".") if str(why).strip() else type(why).__name__
    return InputError(f"{path} is damaged or cut off ({text[:200]}).", "Export or copy it again; nothing was changed.")


def _chunks(path: Path, compression: str | None) -> Iterator[bytes]:
    with open_bytes(path, compression) as f:
        while data := f.read(READ_BYTES):
            yield bytes(data)


def _encoding(path: Path, compression: str | None, sample: bytes, said: str | None) -> tuple[str, bool]:
    if said:
        try:
            return codecs.lookup(said).name, False
        except LookupError:
            raise UsageError(f"'{said}' is no text encoding.", "Try utf-8, utf-16 or latin-1.") from None
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name, False
    if wide := _utf16_without_mark(sample):
        return wide, False
    good, bad = _utf8_evidence(path, compression)
    if not bad:
        return "utf-8", False
    # A few stray bytes in UTF-8 text are damage; mostly invalid sequences are another encoding, and the one that
    # spreadsheets write is Windows-1252 (which has what Latin-1 has, and the euro).
    return ("utf-8", True) if good > 4 * bad else ("cp1252", _undefined_in_cp1252(path, compression))


def _utf16_without_mark(sample: bytes) -> str | None:
    even, odd = sample[0:2000:2].count(0), sample[1:2000:2].count(0)
    half = len(sample[:2000]) // 2
    if half >= 4 and odd > half * 0.6 and even < half * 0.1:
        return "utf-16-le"
    return "utf-16-be" if half >= 4 and even > half * 0.6 and odd < half * 0.1 else None


def _utf8_evidence(path: Path, compression: str | None) -> tuple[int, int]:
    """Characters beyond ASCII that are valid UTF-8, and bytes that are not."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    good = bad = 0
    try:
        for data in _chunks(path, compression):
            text = decoder.decode(data)
            if not text.isascii():
                wrong = max(text.count("\ufffd") - data.count(b"\xef\xbf\xbd"), 0)
                bad += wrong
                good += (len(text.encode()) - len(text)) // 2 - wrong
    except (OSError, pa.ArrowInvalid, EOFError) as e:
        raise damaged_file(path, e) from None
    bad += decoder.decode(b"", final=True).count("\ufffd")
    return good, bad


def _undefined_in_cp1252(path: Path, compression: str | None) -> bool:
    holes = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")
    return any(hole in data for data in _chunks(path, compression) for hole in holes)


def _is_binary(text: str) -> bool:
    """Whether more than a twentieth are control characters that no text has; nulls are what a cut-off copy ends in,
    and what none begins with."""
    found = len(_NEVER_TEXT.findall(text))
    return text.startswith("\0") or (found > 8 and found > len(text) * _BINARY_SHARE)


def _json_kind(text: str) -> str:
    """Lines of objects, or one document: an array, an object written over several lines, or on one line alone."""
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    return "jsonl" if len(lines) > 1 and lines[0].lstrip()[0] == "{" and lines[0].rstrip()[-1] == "}" else "json"


def _preamble(text: str) -> tuple[int, str | None]:
    """Lines to pass over before the header, and the delimiter that a spreadsheet has noted there."""
    for number, line in enumerate(text.splitlines()):
        if note := _SEPARATOR.fullmatch(line.strip()):
            return number + 1, note[1]
        if line.strip():
            return number, None
    return 0, None


def _delimiter(text: str, said: str | None) -> str:
    if said:
        found = DELIMITERS.get(said, said.replace("\\t", "\t"))
        if len(found) != 1:
            raise UsageError(f"'{said}' is no delimiter.", f"Give one character or {', '.join(DELIMITERS)}.")
        return found
    best, best_score = ",", 0.0
    for candidate in DELIMITERS.values():
        widths = [len(row) for row in _rows(text, candidate, 200)]
        if not widths or widths[0] < 2:
            continue
        agree = sum(w == widths[0] for w in widths) / len(widths)
        score = agree * 100 + widths[0]
        if score > best_score:
            best, best_score = candidate, score
    return best


def _rows(text: str, delimiter: str, limit: int) -> list[list[str]]:
    """The first rows of a sample; a last one that the sample may have cut is left off."""
    lines = text.replace("\0", "").splitlines(keepends=True)
    if len(text) >= SAMPLE_BYTES // 4 and len(lines) > 1:
        lines = lines[:-1]
    rows: list[list[str]] = []
    try:
        for row in csv.reader(lines, delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) >= limit:
                break
    except csv.Error:
        return rows
    return rows


def _has_header(text: str, delimiter: str) -> bool:
    """Names are not numbers or times; a first row that holds one is data."""
    rows = _rows(text, delimiter, 2)
    return not rows or not any(_NUMBER_OR_TIME.fullmatch(cell) for cell in rows[0] if cell.strip())


def header_of(text: str, form: Format) -> list[str]:
    """Names of the columns of a csv: from its first row, or column1, column2, …"""
    rows = _rows(text, form.delimiter, 1)
    if not rows:
        return []
    if form.header:
        return [cell.strip() for cell in rows[0]]
    return [f"column{i + 1}" for i in range(len(rows[0]))]


def sample_text(path: Path, form: Format) -> str:
    """The beginning of a text file, decoded."""
    with open_bytes(path, form.compression) as f:
        data = bytes(f.read(SAMPLE_BYTES))
    errors = "replace" if form.damaged else "ignore"
    text = codecs.decode(data, form.encoding, errors).lstrip("\ufeff")
    return "".join(text.splitlines(keepends=True)[form.skip :])
