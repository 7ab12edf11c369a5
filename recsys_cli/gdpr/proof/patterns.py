"""What to look for in the bytes of a file: an identifier in each of the encodings that we write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..person import Person

# Shorter identifiers turn up in bytes by chance (a time, part of a number): they are looked for in cells alone.
LEAST = 5
# Letters to small ones, byte by byte: of ASCII, and the accented ones of UTF-8's two bytes.
_SMALL = bytes(b + 32 if 0x41 <= b <= 0x5A else b | 32 if b >= 0x80 else b for b in range(256))


@dataclass(frozen=True)
class Pattern:
    """Some bytes.

    Parameters
    ----------
    data
        The bytes; `folded` when `fold`.
    encoding
        What they are, for people: `text`, `JSON`, `our keyed hash`.
    who
        Index of the person.
    word
        Whether a letter or digit beside it makes it part of something else: 13085 is not in 513085.
    fold
        Whether it means the same in any case.
    """

    data: bytes
    encoding: str
    who: int
    word: bool = False
    fold: bool = False


def folded(data: bytes) -> bytes:
    """Bytes of text with their capitals made small."""
    return data.translate(_SMALL)


def written(name: str) -> set[str]:
    """The name as it stands in text and, with its quotes and accents escaped, in JSON."""
    return {name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1]}


def patterns_of(people: Sequence[Person], secret: str) -> list[Pattern]:
    """Everything by which files of ours could name these people."""
    found: dict[bytes, Pattern] = {}
    for who, person in enumerate(people):
        for name in person.names:
            if len(name.encode()) < LEAST:
                continue
            fold = "@" in name
            for form in sorted(written(name), key=lambda f: f != name):
                data = folded(form.encode()) if fold else form.encode()
                found.setdefault(data, Pattern(data, "text" if form == name else "JSON", who, True, fold))
        for high, low in person.keys(secret):
            big = high.to_bytes(8, "big") + low.to_bytes(8, "big")
            for data in (big, high.to_bytes(8, "little") + low.to_bytes(8, "little"), big.hex().encode()):
                found.setdefault(data, Pattern(data, "our keyed hash", who))
    return list(found.values())
