"""What to look for in the bytes of files, an identifier in each of the encodings that we write, and where it stands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ahocorasick_rs import BytesAhoCorasick

if TYPE_CHECKING:
    from ..person import Person

# Shorter identifiers turn up in bytes by chance (a time, part of a number): they are looked for in cells alone.
LEAST = 5
KEYED = "our keyed hash"
_CHUNK = 4 << 20
# Letters to small ones, byte by byte: of ASCII, and the accented ones of UTF-8's two bytes.
_SMALL = bytes(b + 32 if 0x41 <= b <= 0x5A else b | 32 if b >= 0x80 else b for b in range(256))


@dataclass(frozen=True)
class Pattern:
    """Some bytes."""

    data: bytes  # the bytes
    encoding: str  # what they are, for people: `text`, `JSON`, `our keyed hash`
    who: int  # index of the person
    word: bool = False  # whether a letter or digit beside it makes it part of something else: 13085 is not in 513085
    fold: bool = False  # whether it means the same in any case


@dataclass(frozen=True)
class Hit:
    """A pattern at an offset."""

    offset: int
    pattern: Pattern


def written(name: str) -> set[str]:
    """The name as it stands in text and, with its quotes and accents escaped, in JSON."""
    return {name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1]}


def names_of(people: Iterable[Iterable[str]], least: int = 1, *, fold: bool = True) -> list[Pattern]:
    """The identifiers of people as text and in JSON.

    Parameters
    ----------
    people
        The names of each.
    least
        Bytes of the shortest that is looked for.
    fold
        Whether all are the same in any case; else e-mail addresses alone.
    """
    forms = {
        form.encode("utf-8", "surrogatepass"): ("text" if form == name else "JSON", who, fold or "@" in name)
        for who, names in enumerate(people)
        for name in names
        if len(name.encode("utf-8", "surrogatepass")) >= least
        for form in written(name)
    }
    return [Pattern(data, encoding, who, True, any_case) for data, (encoding, who, any_case) in forms.items()]


def patterns_of(people: Sequence[Person], secret: str) -> list[Pattern]:
    """Everything by which files of ours could name these people."""
    keys: dict[bytes, int] = {}
    for who, person in enumerate(people):
        for high, low in person.keys(secret):
            big = high.to_bytes(8, "big") + low.to_bytes(8, "big")
            little = high.to_bytes(8, "little") + low.to_bytes(8, "little")
            keys |= dict.fromkeys((big, little, big.hex().encode()), who)
    return names_of((p.names for p in people), LEAST, fold=False) + [
        Pattern(data, KEYED, who) for data, who in keys.items()
    ]


class Matcher:
    """Looks for all patterns at once (Aho and Corasick 1975): asking for each of hundreds of people takes hours."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._patterns = [p for p in patterns if p.data]
        self._automaton = BytesAhoCorasick([p.data.translate(_SMALL) for p in self._patterns])
        self._longest = max((len(p.data) for p in self._patterns), default=0)

    def find(self, data: bytes | memoryview) -> Iterator[Hit]:
        """All places where a pattern stands in `data`; those that are part of a longer word are left out."""
        view = memoryview(data)
        for start in range(0, len(view) if self._patterns else 0, _CHUNK):
            piece = bytes(view[start : start + _CHUNK + self._longest])
            for which, at, end in self._automaton.find_matches_as_indexes(piece.translate(_SMALL), overlapping=True):
                pattern = self._patterns[which]
                same = pattern.fold or piece[at:end] == pattern.data
                if at < _CHUNK and same and not (pattern.word and _within_a_word(view, start + at, start + end)):
                    yield Hit(start + at, pattern)


def _within_a_word(data: memoryview, start: int, end: int) -> bool:
    beside = bytes(data[max(start - 1, 0) : start]), bytes(data[end : end + 1])
    return any(byte.isalnum() or byte == b"_" for byte in beside)
