"""XML of shops and of Google Merchant as JSON objects: the element that is repeated is an entry, what is in it a field.

No document type is accepted: entities are how a few lines of XML become gigabytes, or a file of this machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

import orjson
import pyarrow as pa

from ..errors import InputError
from .text_encoding import READ_BYTES, damaged_file, open_bytes

_PIECE = 10_000  # entries
_LOOKED_AT = 4 << 20  # bytes in which the repeated element must show
MOST_DEPTH = 32
_ENTRIES = ("item", "entry", "product", "shopitem", "order", "row", "record", "offer", "event")


def entries(path: Path, compression: str | None) -> Iterator[list[str]]:
    """The entries of the document as JSON text, in pieces.

    Raises
    ------
    InputError
        When it is not well-formed, declares a document type, or repeats no element.
    """
    tag = _repeated(path, compression)
    reader = _Entries(path, tag)
    pieces: list[str] = []
    for _ in _fed(path, compression, reader.parser):
        pieces += [orjson.dumps(e).decode() for e in reader.done]
        reader.done.clear()
        while len(pieces) >= _PIECE:
            yield pieces[:_PIECE]
            pieces = pieces[_PIECE:]
    pieces += [orjson.dumps(e).decode() for e in reader.done]
    if pieces:
        yield pieces


def _fed(path: Path, compression: str | None, parser: Any, limit: int = 1 << 62) -> Iterator[None]:
    read = 0
    try:
        with open_bytes(path, compression) as f:
            while (data := bytes(f.read(READ_BYTES))) and read < limit:
                read += len(data)
                parser.Parse(data, False)
                yield
            if not data:
                parser.Parse(b"", True)
                yield
    except expat.ExpatError as e:
        raise damaged_file(path, e) from None
    except (OSError, pa.ArrowInvalid, EOFError) as e:
        raise damaged_file(path, e) from None


def _parser(path: Path) -> Any:
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise InputError(f"{path} declares a document type, which is not read.", "Export it without <!DOCTYPE …>.")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    return parser


def _repeated(path: Path, compression: str | None) -> tuple[str, ...]:
    """The path of the element that is repeated: of a usual name, else the most frequent one with elements in it."""
    parser, stack = _parser(path), []
    seen: Counter[tuple[str, ...]] = Counter()
    parents: set[tuple[str, ...]] = set()

    def start(name: str, _: dict[str, str]) -> None:
        stack.append(name)
        if len(stack) > MOST_DEPTH:
            raise InputError(f"{path} nests elements more than {MOST_DEPTH} deep.", "Export a plain list of entries.")
        seen[tuple(stack)] += 1
        parents.add(tuple(stack[:-1]))

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: stack.pop()
    for _ in _fed(path, compression, parser, _LOOKED_AT):
        pass
    whole = [p for p in seen if p in parents and len(p) > 1]
    usual = [p for p in whole if _plain(p[-1]) in _ENTRIES]
    best = min(usual, key=lambda p: (len(p), -seen[p])) if usual else None
    best = best or max(whole, key=lambda p: (seen[p], -len(p)), default=None)
    if best is None:
        raise InputError(f"{path} has no element that is repeated, as products or orders are.", "Export it as CSV.")
    return best


def _plain(name: str) -> str:
    return name.rsplit(":", 1)[-1].lower()


class _Entries:
    """Collects the entries while the parser runs."""

    def __init__(self, path: Path, tag: tuple[str, ...]) -> None:
        self.done: list[Any] = []
        self._path, self._tag = path, tag
        self._names: list[str] = []
        self._open: list[dict[str, Any]] = []
        self._text: list[list[str]] = []
        self.parser = _parser(path)
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._names.append(name)
        if len(self._names) > MOST_DEPTH:
            raise InputError(f"{self._path} nests too deep.", "Export a plain list of entries.")
        if self._open or tuple(self._names) == self._tag:
            self._open.append({_plain_key(k): v for k, v in attributes.items()})
            self._text.append([])

    def _data(self, text: str) -> None:
        if self._text:
            self._text[-1].append(text)

    def _end(self, name: str) -> None:
        self._names.pop()
        if not self._open:
            return
        fields, text = self._open.pop(), "".join(self._text.pop()).strip()
        if not self._open:
            self.done.append(fields)
            return
        # <link href="…"/> of Atom is its address; of an element with a text its attributes are no more.
        value: Any = text or fields.get("href") or fields or None
        if fields and not text and "href" not in fields:
            value = fields
        self._add(_plain_key(name), value)

    def _add(self, key: str, value: Any) -> None:
        parent = self._open[-1]
        if key not in parent:
            parent[key] = value
        elif isinstance(parent[key], list):
            if len(parent[key]) < 10_000:
                parent[key].append(value)
        else:
            parent[key] = [parent[key], value]


def _plain_key(name: str) -> str:
    return name.rsplit(":", 1)[-1]
