"""Text of any encoding as UTF-8: found out from all bytes of a file, and recoded while it is read."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ..errors import InputError, UsageError

READ_BYTES = 1 << 22
MIXED = "mixed"  # lines of UTF-8 beside lines of Windows-1252: files of two programs, pasted together
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Encoding:
    """How the text is written.

    Parameters
    ----------
    name
        Python's name, or MIXED.
    damaged
        UTF-8 with stray bytes that are no text in any encoding; those become U+FFFD.
    """

    name: str = "utf-8"
    damaged: bool = False


def open_bytes(path: Path, compression: str | None) -> pa.NativeFile:
    """The file's content, unpacked, as a stream of bytes."""
    raw = pa.OSFile(str(path), "rb")
    return pa.CompressedInputStream(raw, compression) if compression else raw


def damaged_file(path: Path, why: Exception) -> InputError:
    """The sentence for a file that ends too early or is not what it says it is."""
    text = str(why).strip().splitlines()[0].rstrip(".") if str(why).strip() else type(why).__name__
    return InputError(f"{path} is damaged or cut off ({text[:200]}).", "Export or copy it again; nothing was changed.")


def find_encoding(path: Path, compression: str | None, sample: bytes, said: str | None) -> Encoding:
    """The encoding of a text file.

    Raises
    ------
    UsageError
        When `said` names no encoding.
    InputError
        When the file ends too early.
    """
    if said:
        try:
            return Encoding(codecs.lookup(said).name)
        except LookupError:
            raise UsageError(f"'{said}' is not a text encoding.", "Try utf-8, utf-16 or latin-1.") from None
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return Encoding(name)
    if wide := _utf16_without_mark(sample):
        return Encoding(wide)
    evidence = _evidence(path, compression)
    if not evidence.invalid:
        return Encoding()
    # Lines of their own in another encoding; the one that spreadsheets write is Windows-1252 (Latin-1, and the euro).
    if evidence.valid_lines and evidence.invalid_lines and not evidence.torn_lines:
        return Encoding(MIXED)
    if evidence.valid > 4 * evidence.invalid:
        return Encoding(damaged=True)
    return Encoding("cp1252", _undefined_in_cp1252(path, compression))


def _chunks(path: Path, compression: str | None) -> Iterator[bytes]:
    with open_bytes(path, compression) as f:
        while data := f.read(READ_BYTES):
            yield bytes(data)


def _utf16_without_mark(sample: bytes) -> str | None:
    even, odd = sample[0:2000:2].count(0), sample[1:2000:2].count(0)
    half = len(sample[:2000]) // 2
    if half >= 4 and odd > half * 0.6 and even < half * 0.1:
        return "utf-16-le"
    return "utf-16-be" if half >= 4 and even > half * 0.6 and odd < half * 0.1 else None


@dataclass
class _Evidence:
    """Characters beyond ASCII that are UTF-8, and bytes that are not; lines with either, and with both (torn)."""

    valid: int = 0
    invalid: int = 0
    valid_lines: int = 0
    invalid_lines: int = 0
    torn_lines: int = 0

    def add(self, lines: list[bytes]) -> None:
        """Count what lines hold that are not all UTF-8."""
        for line in lines:
            if line.isascii():
                continue
            text = line.decode("utf-8", "replace")
            wrong = max(text.count("\ufffd") - line.count(b"\xef\xbf\xbd"), 0)
            right = (len(line) - len(text)) // 2 + wrong if not wrong else sum(c > "\x7f" for c in text) - wrong
            self.valid += right
            self.invalid += wrong
            self.valid_lines += bool(right and not wrong)
            self.invalid_lines += bool(wrong and not right)
            # Bytes that Windows-1252 has no characters for are damage too.
            self.torn_lines += bool(wrong and (right or any(hole in line for hole in _HOLES)))


_HOLES = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")


def _evidence(path: Path, compression: str | None) -> _Evidence:
    found, left = _Evidence(), b""
    try:
        for data in _chunks(path, compression):
            whole, cut, rest = (left + data).rpartition(b"\n")
            if not cut and len(rest) < 4 * READ_BYTES:
                left = rest
                continue
            whole, left = (whole, rest) if cut else (rest, b"")
            if whole.isascii():
                continue
            try:
                text = whole.decode("utf-8")
            except UnicodeDecodeError:
                found.add(whole.split(b"\n"))
            else:
                found.valid += (len(whole) - len(text)) // 2
                found.valid_lines += 1
    except (OSError, pa.ArrowInvalid, EOFError) as e:
        raise damaged_file(path, e) from None
    found.add(left.split(b"\n"))
    return found


def _undefined_in_cp1252(path: Path, compression: str | None) -> bool:
    return any(hole in data for data in _chunks(path, compression) for hole in _HOLES)


def open_utf8(
    path: Path, compression: str | None, encoding: Encoding, exchange: tuple[bytes, bytes] | None = None
) -> pa.NativeFile | pa.PythonFile:
    """The text as a stream of UTF-8 without a byte order mark.

    Parameters
    ----------
    exchange
        Bytes to write for others (a delimiter of several characters for one of one).
    """
    source = open_bytes(path, compression)
    if encoding == Encoding() and exchange is None:
        return source  # the CSV reader skips a byte order mark by itself
    return pa.PythonFile(_Recoded(source, encoding, exchange), mode="r")


class _Recoded(io.RawIOBase):
    """Reads text of any encoding as UTF-8, whole lines at a time where lines matter."""

    def __init__(self, source: pa.NativeFile, encoding: Encoding, exchange: tuple[bytes, bytes] | None) -> None:
        self._source = source
        self._by_line = encoding.name == MIXED or exchange is not None
        self._exchange = exchange
        self._mixed = encoding.name == MIXED
        errors = "replace" if encoding.damaged else "strict"
        self._decoder = codecs.getincrementaldecoder("utf-8" if self._mixed else encoding.name)(errors)
        self._line = b""
        self._left = b""
        self._first = True

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        want = 1 << 62 if size is None or size < 0 else size
        parts, have = [self._left], len(self._left)
        while have < want:
            data = bytes(self._source.read(READ_BYTES))
            parts.append(self._recoded(data))
            have += len(parts[-1])
            if not data:
                break
        whole = b"".join(parts)
        self._left = whole[want:]
        return whole[:want]

    def _recoded(self, data: bytes) -> bytes:
        if self._mixed:
            lines = self._whole_lines(data, last=not data)
            return self._exchanged(_lines_as_utf8(lines))
        text = self._decoder.decode(data, final=not data)
        if self._first and text:
            text, self._first = text.removeprefix("\ufeff"), False
        recoded = text.encode("utf-8")
        return self._exchanged(self._whole_lines(recoded, last=not data) if self._by_line else recoded)

    def _whole_lines(self, data: bytes, *, last: bool) -> bytes:
        whole, cut, rest = (self._line + data).rpartition(b"\n")
        if last:
            self._line = b""
            return whole + cut + rest
        self._line = rest
        return whole + cut

    def _exchanged(self, data: bytes) -> bytes:
        return data.replace(*self._exchange) if self._exchange else data


def _lines_as_utf8(data: bytes) -> bytes:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return b"\n".join(_line_as_utf8(line) for line in data.split(b"\n"))
    return data


def _line_as_utf8(line: bytes) -> bytes:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace").encode("utf-8")
    return line
