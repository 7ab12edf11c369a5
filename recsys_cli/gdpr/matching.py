"""Find thousands of byte strings in gigabytes: a hash of every window, looked up for all of them at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .needles import Needle, folded

_CHUNK = 8 << 20
_TABLE_BITS = 18
_MULTIPLIER = {8: 0x9E3779B97F4A7C15, 4: 0x9E3779B1}


@dataclass(frozen=True)
class Hit:
    """A needle at an offset."""

    offset: int
    needle: Needle


class Matcher:
    """Looks for all needles of at least four bytes; shorter ones cannot be told from noise and are left out.

    Parameters
    ----------
    needles
        See `needles.needles_for`.
    """

    def __init__(self, needles: Sequence[Needle]) -> None:
        self._widths = [
            _Windows(width, [n for n in needles if low <= len(n.data) <= high])
            for width, low, high in ((8, 8, 1 << 30), (4, 4, 7))
        ]
        self._longest = max((len(n.data) for n in needles), default=0)

    def find(self, data: bytes | memoryview) -> Iterator[Hit]:
        """All places where a needle stands in `data`; those that only continue a longer word are left out."""
        view = memoryview(data)
        for start in range(0, max(len(view), 1), _CHUNK):
            # One byte more on each side than a needle needs, to see what stands beside it.
            piece = view[start : start + _CHUNK + self._longest]
            limit = min(_CHUNK, len(view) - start)
            for windows in self._widths:
                for at, needle in windows.find(piece, limit):
                    if _stands_alone(view, start + at, needle):
                        yield Hit(start + at, needle)


class _Windows:
    """Needles of one width class, found by their first `width` bytes."""

    def __init__(self, width: int, needles: Sequence[Needle]) -> None:
        self.width = width
        self.dtype = np.dtype(f"<u{width}")
        # Capitals and small letters differ in this bit. A second search for those in any case would take twice as long.
        blind = bytes([0x20 if any(n.fold for n in needles) else 0]) * width
        self.blind = self.dtype.type(int.from_bytes(blind, "little"))
        self.by_prefix: dict[int, list[Needle]] = defaultdict(list)
        for needle in needles:
            self.by_prefix[int.from_bytes(needle.data[:width], "little") | int(self.blind)].append(needle)
        self.prefixes = np.sort(np.array(list(self.by_prefix), dtype=self.dtype))
        self.table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        self.table[self._hash(self.prefixes)] = True

    def _hash(self, values: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        multiplier, shift = self.dtype.type(_MULTIPLIER[self.width]), self.dtype.type(8 * self.width - _TABLE_BITS)
        hashed: NDArray[np.unsignedinteger] = np.right_shift(np.multiply(values, multiplier), shift)
        return hashed

    def find(self, data: memoryview, limit: int) -> Iterator[tuple[int, Needle]]:
        """Needles that begin before `limit`."""
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
                for needle in self.by_prefix[int(values[place])]:
                    here = data[at : at + len(needle.data)]
                    if (folded(bytes(here)) if needle.fold else here) == needle.data:
                        yield at, needle


def _stands_alone(data: memoryview, at: int, needle: Needle) -> bool:
    """Whether the needle is no part of a longer word or number: 13085 is not in 513085, nor u7 in u71."""
    if not needle.step:
        return True
    step, end = needle.step, at + len(needle.data)
    return not (_continues(data, at - step, step) or _continues(data, end, step))


def _continues(data: memoryview, at: int, step: int) -> bool:
    if at < 0 or at + step > len(data):
        return False
    unit = bytes(data[at : at + step])
    if step == 1:
        return unit.isalnum() or unit == b"_"
    # Two or four bytes a character: a letter or digit has one byte that is not zero.
    significant = unit.strip(b"\0")
    return len(significant) == 1 and significant.isalnum() and unit.count(0) == step - 1
