"""Find thousands of byte strings in gigabytes: a hash of every window, looked up for all of them at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .patterns import Pattern, folded

_CHUNK = 8 << 20
_TABLE_BITS = 18
_MULTIPLIER = {8: 0x9E3779B97F4A7C15, 4: 0x9E3779B1}


@dataclass(frozen=True)
class Hit:
    """A pattern at an offset."""

    offset: int
    pattern: Pattern


class Matcher:
    """Looks for all patterns of at least four bytes; shorter ones cannot be told from noise and are left out."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._widths = [
            _Windows(width, [p for p in patterns if low <= len(p.data) <= high])
            for width, low, high in ((8, 8, 1 << 30), (4, 4, 7))
        ]
        self.longest = 2 + max((len(p.data) for p in patterns), default=0)

    def find(self, data: bytes | memoryview) -> Iterator[Hit]:
        """All places where a pattern stands in `data`; those that are part of a longer word are left out."""
        view = memoryview(data)
        for start in range(0, max(len(view), 1), _CHUNK):
            piece = view[start : start + _CHUNK + self.longest]
            limit = min(_CHUNK, len(view) - start)
            for windows in self._widths:
                for at, pattern in windows.find(piece, limit):
                    if not pattern.word or _stands_alone(view, start + at, len(pattern.data)):
                        yield Hit(start + at, pattern)


class _Windows:
    """Patterns of one width class, found by their first `width` bytes."""

    def __init__(self, width: int, patterns: Sequence[Pattern]) -> None:
        self.width = width
        self.dtype = np.dtype(f"<u{width}")
        # Capitals and small letters differ in this bit. A second search for those in any case would take twice as long.
        blind = bytes([0x20 if any(p.fold for p in patterns) else 0]) * width
        self.blind = self.dtype.type(int.from_bytes(blind, "little"))
        self.by_prefix: dict[int, list[Pattern]] = defaultdict(list)
        for pattern in patterns:
            self.by_prefix[int.from_bytes(pattern.data[:width], "little") | int(self.blind)].append(pattern)
        self.prefixes = np.sort(np.array(list(self.by_prefix), dtype=self.dtype))
        self.table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        self.table[self._hash(self.prefixes)] = True

    def _hash(self, values: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        multiplier, shift = self.dtype.type(_MULTIPLIER[self.width]), self.dtype.type(8 * self.width - _TABLE_BITS)
        hashed: NDArray[np.unsignedinteger] = np.right_shift(np.multiply(values, multiplier), shift)
        return hashed

    def find(self, data: memoryview, limit: int) -> Iterator[tuple[int, Pattern]]:
        """Patterns that begin before `limit`."""
        if not len(self.prefixes):
            return
        for shift in range(self.width):
            count = (len(data) - shift) // self.width
            if count <= 0:
                continue
            values = np.frombuffer(data, self.dtype, count=count, offset=shift)
            if self.blind:
                values = np.bitwise_or(values, self.blind)
            places = np.flatnonzero(self.table[self._hash(values)])
            if not len(places):
                continue
            places = places[np.isin(values[places], self.prefixes)]
            for place in places.tolist():
                at = place * self.width + shift
                if at >= limit:
                    break
                for pattern in self.by_prefix[int(values[place])]:
                    here = bytes(data[at : at + len(pattern.data)])
                    if (folded(here) if pattern.fold else here) == pattern.data:
                        yield at, pattern


def _stands_alone(data: memoryview, at: int, length: int) -> bool:
    return not (_continues(bytes(data[max(at - 1, 0) : at])) or _continues(bytes(data[at + length : at + length + 1])))


def _continues(byte: bytes) -> bool:
    return byte.isalnum() or byte == b"_"
