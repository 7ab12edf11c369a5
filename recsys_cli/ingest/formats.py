"""What kind of file this is: found out from its bytes, never from its name alone."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import InputError
from .dialect import Dialect, find_dialect, header_of, known_names
from .text_encoding import MIXED, READ_BYTES, Encoding, damaged_file, find_encoding, open_bytes

_CODE_PAGES = ("cp1250", "cp1253", "cp1251", "cp1257", "cp1254")  # of the middle, Greece, the east, the Baltics, Turkey
SAMPLE_BYTES = 1 << 20
_NEVER_TEXT = re.compile("[\x01-\x08\x0e-\x1f\x7f]")
_NOT_WESTERN = re.compile(r"[^\W\d_][³¹¿¼¾][^\W\d_]|\bz³(?!\w)|\d\s?Kè\b")
_BINARY_SHARE = 0.05
# A packed file may unpack to this much, and to so many times its size: a few kilobytes of zeros fill a disk.
MOST_UNPACKED = 64 << 30
MOST_TIMES = 1_000
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_NAMES = {
    "csv": "CSV",
    "json": "JSON",
    "jsonl": "JSON lines",
    "parquet": "Parquet",
    "xml": "XML",
    "workbook": "workbook",
}


@dataclass(frozen=True)
class Hints:
    """What the person said about the file; None is to be found out."""

    encoding: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    skip: int | None = None
    sheet: str | None = None


@dataclass(frozen=True)
class Format:
    """How to read a file.

    Parameters
    ----------
    name
        parquet, csv, jsonl (an object a line), json (one document), xml or workbook.
    compression
        gzip or zstd, around the whole file.
    encoding
        Of text.
    dialect
        Of a csv.
    sheet
        Of a workbook, where somebody said which.
    """

    name: str
    compression: str | None = None
    encoding: Encoding = Encoding()
    dialect: Dialect = field(default_factory=Dialect)
    sheet: str | None = None

    def described(self) -> str:
        """For people: `CSV, semicolon, Latin-1`."""
        parts = [_NAMES[self.name]]
        if self.name == "csv":
            parts.append(self.dialect.described())
        if self.encoding.name == MIXED:
            parts.append("lines of UTF-8 and of Windows-1252")
        elif self.encoding.name != "utf-8":
            parts.append(self.encoding.name)
        if self.encoding.damaged:
            parts.append("with damaged characters")
        if self.compression:
            parts.append(self.compression)
        return ", ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """For the ledger: all that another reader of the same file must know."""
        found: dict[str, Any] = {"name": self.name, "compression": self.compression}
        if self.name not in ("parquet", "workbook"):
            found |= {"encoding": self.encoding.name, "damaged": self.encoding.damaged}
        if self.name == "csv":
            found |= {n: getattr(self.dialect, n) for n in self.dialect.__dataclass_fields__}
        return found


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
    if sample[:4] == b"PK\x03\x04" or sample[:4] == _OLD_EXCEL:
        return Format("workbook", compression, sheet=hints.sheet)
    if path.suffix.lower() == ".parquet":
        raise InputError(f"{path} is not a Parquet file.", "Export or copy it again; nothing was changed.")
    _check_unpacked(path, compression)
    encoding = find_encoding(path, compression, sample, hints.encoding)
    if encoding.name == "cp1252" and hints.encoding is None:
        encoding = _code_page(sample, encoding)
    text = codecs.decode(sample, _codec(encoding), "replace").lstrip("\ufeff")
    if _is_binary(text):
        raise no_text(path)
    start = text.lstrip()[:200]
    if re.match(r"[\[{]\s*[{]?'", start):
        raise InputError(
            f"{path} is not JSON: line 1 has its keys in single quotes, as Python prints dictionaries.",
            "Write it with json.dumps, one object a line; nothing was changed.",
        )
    if start[:1] in ("[", "{"):
        return Format(_json_kind(text), compression, encoding)
    if re.match(r"(?i)<(!doctype html|html|table)", start):
        raise InputError(f"{path} is an HTML page, whatever its name.", "Export it as CSV or as a workbook (.xlsx).")
    if re.match(r"<(\?xml|!--|[A-Za-z])", start):
        return Format("xml", compression, encoding)
    cut = len(sample) >= SAMPLE_BYTES
    dialect = find_dialect(text, delimiter=hints.delimiter, header=hints.header, skip=hints.skip, cut=cut)
    return Format("csv", compression, encoding, dialect)


def _code_page(sample: bytes, western: Encoding) -> Encoding:
    """Of Windows' code pages the one in whose letters the most columns are called as columns are."""
    known: dict[str, int] = {}
    for page in (western.name, *_CODE_PAGES):
        text = codecs.decode(sample[: 1 << 16], page, "replace")
        found = find_dialect(text, cut=True)
        known[page] = known_names(header_of("".join(text.splitlines(keepends=True)[found.skip :]), found))
    best = max(known, key=lambda page: known[page])
    text = codecs.decode(sample[: 1 << 16], western.name, "replace")
    if best == western.name and (_NOT_WESTERN.search(text) or ("ø" in text and re.search("[ìùè]", text))):
        best = "cp1250"  # Polish `ł` in the place of `³`; no language has both `ø` and `ì`, which are Czech `ř` and `ě`
    if best == western.name:
        return western
    return Encoding(best, "\ufffd" in codecs.decode(sample, best, "replace"))


def _codec(encoding: Encoding) -> str:
    return "utf-8" if encoding.name == MIXED else encoding.name


def _check_unpacked(path: Path, compression: str | None) -> None:
    """Refuse what unpacks to more than any export is.

    Raises
    ------
    InputError
    """
    if compression is None:
        return
    packed, size = path.stat().st_size, 0
    try:
        with open_bytes(path, compression) as f:
            while data := f.read(READ_BYTES):
                size += len(data)
                if size > MOST_UNPACKED or (size > 1 << 30 and size > MOST_TIMES * packed):
                    raise InputError(
                        f"{path} unpacks to more than {size >> 30} GB from {packed >> 10:,} kB.",
                        "Unpack it yourself and look at it; nothing was changed.",
                    )
    except (OSError, pa.ArrowInvalid, EOFError) as e:
        raise damaged_file(path, e) from None


def no_text(path: Path) -> InputError:
    """The sentence for what is neither text nor any format that we read."""
    return InputError(
        f"{path} is not a text table or another format that recsys reads.",
        "Export it as CSV, JSON or Parquet; nothing was changed.",
    )


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


def _is_binary(text: str) -> bool:
    """Whether more than a twentieth are control characters that no text has; nulls are what a cut-off copy ends in,
    and what none begins with."""
    found = len(_NEVER_TEXT.findall(text))
    return text.startswith("\0") or (found > 8 and found > len(text) * _BINARY_SHARE)


def _json_kind(text: str) -> str:
    """Lines of objects, or one document: an array, an object written over several lines, or on one line alone."""
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    return "jsonl" if len(lines) > 1 and lines[0].lstrip()[0] == "{" and lines[0].rstrip()[-1] == "}" else "json"


def sample_text(path: Path, form: Format) -> str:
    """The beginning of a text file, decoded, from the row that names the columns on."""
    with open_bytes(path, form.compression) as f:
        data = bytes(f.read(SAMPLE_BYTES))
    errors = "replace" if form.encoding.damaged or form.encoding.name == MIXED else "ignore"
    text = codecs.decode(data, _codec(form.encoding), errors).lstrip("\ufeff")
    return "".join(text.splitlines(keepends=True)[form.dialect.skip :])
