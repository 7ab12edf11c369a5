"""Candidates of several sources into one list, under the rules that order lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..schema import Float32, Int32, Int64
from . import rules as r
from .catalogue import Catalogue
from .request import Request
from .retrieval import Scored
from .rules import Lines, Picker, Rules
from .sources import SOURCES, Found, fuse

DEPTH = 128  # candidates that are put in order; more only where a page lies deeper, so that pages stay stable

UnitRows = Callable[[Int32], Float32 | None]


def depth(request: Request, skipped: int) -> int:
    """How many candidates an ordered list is made from: the same for all pages of the usual depth."""
    need = request.offset + request.k + skipped
    steps = 0
    while DEPTH << (2 * steps) < 2 * need:
        steps += 1
    return DEPTH << (2 * steps)


def lines(
    model: Scored, others: Mapping[str, Found], weights: Mapping[str, float], name: str, skip: set[int]
) -> tuple[Lines, tuple[str, ...]]:
    """Candidates without those to be skipped, and the names of their sources."""
    names = (name, *SOURCES)
    if others:
        number = {"": 0} | {each: place for place, each in enumerate(names) if place}
        found = list(zip(model[0].tolist(), model[1].tolist(), strict=True))
        rows = [(c, s, number[n]) for c, s, n in fuse(found, others, weights) if c not in skip]
        code, score, source = zip(*rows, strict=True) if rows else ((), (), ())
        mixed = np.array(code, dtype=np.int32), np.array(score, dtype=np.float32), np.array(source, dtype=np.uint8)
        return Lines(*mixed), names
    codes, scores = model
    listed = codes.tolist()
    if gone := skip.intersection(listed):  # few of many
        keep = np.ones(len(codes), dtype=np.bool_)
        keep[[listed.index(code) for code in gone]] = False
        codes, scores = codes[keep], scores[keep]
    return Lines(codes, scores, np.zeros(len(codes), dtype=np.uint8)), names


def plain_lines(codes: Int32, popular: Float32, skip: set[int]) -> tuple[Lines, tuple[str, ...]]:
    """Popular items, then the rest, as candidates."""
    keep = codes[[code not in skip for code in codes.tolist()]] if skip else codes
    score = popular[keep]
    # What never sold goes on in its order, below what did.
    score = np.where(score > 0, score, -1e-6 * np.arange(1, len(keep) + 1)).astype(np.float32)
    return Lines(keep, score, (popular[keep] <= 0).astype(np.uint8)), ("popular", "catalogue")


class Shaper:
    """The rules that order lists, for one request.

    Parameters
    ----------
    catalogue, rules
        The shop's.
    first_seen
        Epoch seconds from which each item is known.
    now
        Epoch seconds that ages are counted from.
    unwanted
        How much items are like what was disliked, from 0 to 1; see `rules.pushed_down`.
    """

    def __init__(
        self, catalogue: Catalogue, rules: Rules, first_seen: Int64, now: int, unwanted: Mapping[int, float]
    ) -> None:
        self._catalogue = catalogue
        self._rules = rules
        self._first_seen = first_seen
        self._now = now
        self._unwanted = unwanted

    def picker(self, request: Request, skip: set[int]) -> Picker:
        """An empty list with the limits and pins that hold for the request."""
        s, words = self._rules.settings, self._catalogue.words
        limits = []
        # A request for one category wants a page of it.
        if s.max_per_category and not request.filters.category:
            limits.append((s.max_per_category, words["category"].code))
        if s.max_per_brand and not request.filters.brand:
            limits.append((s.max_per_brand, words["brand"].code))
        mask = self._catalogue.allowed(request.filters).mask
        pins = {p: c for p, c in self._catalogue.campaigns().pins.items() if mask[c] and c not in skip}
        return Picker(request.offset + request.k, set(skip), request.k, limits, pins)

    def put(self, picker: Picker, given: tuple[Lines, tuple[str, ...]], unit: UnitRows, *, fallback: bool) -> None:
        """Order these candidates and add them to the list."""
        lines, names = given
        before = len(lines)
        lines = r.pushed_down(lines, self._unwanted)
        lines = r.boosted(lines, self._catalogue.campaigns())
        lines = r.freshened(lines, self._rules, self._first_seen, self._now)
        if self._rules.settings.diversity and len(lines):
            codes = lines.code[: r.looked_through(len(lines), picker.want)]
            groups = self._catalogue.words["category"].code[codes]
            lines = r.diversified(lines, self._rules, unit(codes), groups, picker.want)
        picker.note("candidates", fallback=fallback, found=before)
        picker.take_lines(lines, names, fallback)
        picker.end()
