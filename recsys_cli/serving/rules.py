"""The shop's rules: each in one place, in the order in which they work, and able to say what it did.

Some rules decide which items may be in a list at all (`Catalogue.allowed`, `bought_lately`, `shown_enough`), some
change scores (`boosted`, `freshened`), some put a list together (`diversified`, `Picker` with its limits and pins).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import DAY, Float32, Int64
from ..settings import RuleSettings
from .campaigns import Campaign, InForce, read_campaigns
from .words import Words, read_words

PUSHED_DOWN = 0.75  # of the score of what is just like a disliked item
MMR_DEPTH = 200  # candidates among which diversity is sought


@dataclass(frozen=True)
class Rules:
    """The rules of one shop, or of one request.

    Parameters
    ----------
    settings
        See `RuleSettings`.
    campaigns
        The ones of the settings, read.
    words
        What the shop calls things; see `words.read_words`.
    """

    settings: RuleSettings = field(default_factory=RuleSettings)
    campaigns: tuple[Campaign, ...] = ()
    words: Words = field(default_factory=lambda: read_words({}))

    @staticmethod
    def of(settings: RuleSettings) -> Rules:
        """The rules of the settings.

        Raises
        ------
        UsageError
            A campaign or a word cannot be read.
        """
        return Rules(settings, read_campaigns(settings.campaigns, settings.timezone), read_words(settings.words))

    def with_changes(self, **changes: Any) -> Rules:
        """With other values of some settings; those that are None stay."""
        given = {name: value for name, value in changes.items() if value is not None}
        return replace(self, settings=replace(self.settings, **given)) if given else self

    @property
    def shape(self) -> bool:
        """Anything beyond the best first."""
        s = self.settings
        return bool(s.max_per_category or s.max_per_brand or s.freshness or s.diversity)


NO_RULES = Rules()


@dataclass
class Lines:
    """Candidates, best first; parallel.

    Parameters
    ----------
    code, score, source
        `source` is a number among `Lines.names`.
    """

    code: NDArray[np.int32]
    score: NDArray[np.float32]
    source: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.code)

    def take(self, order: Any) -> Lines:
        """These, in this order."""
        return Lines(self.code[order], self.score[order], self.source[order])

    def ranked(self, score: NDArray[Any]) -> Lines:
        """With other scores, best first again; ties stay in their order."""
        order = np.argsort(-score, kind="stable")
        return Lines(self.code[order], score[order].astype(np.float32), self.source[order])


def bought_lately(
    codes: NDArray[np.int32], ts: Int64, now: int, rules: Rules, interval_days: Float32 | None
) -> set[int]:
    """Bought items that are not to be shown: all, or those of the last days, or whose usual interval is not over."""
    s = rules.settings
    if not s.bought_days and not (s.consumables and interval_days is not None):
        return set(codes.tolist())
    last: dict[int, int] = {}
    for code, at in zip(codes.tolist(), ts.tolist(), strict=True):
        last[code] = max(at, last.get(code, 0))
    kept = set()
    for code, at in last.items():
        days = s.bought_days or np.inf
        if s.consumables and interval_days is not None and interval_days[code] > 0:
            days = min(days, float(interval_days[code]))
        if now - at < days * DAY:
            kept.add(code)
    return kept


def boosted(lines: Lines, now: InForce) -> Lines:
    """Scores times the campaigns' factors."""
    if now.factor is None or not len(lines):
        return lines
    return lines.ranked(_times(lines.score, now.factor[lines.code]))


def freshened(lines: Lines, rules: Rules, first_seen: Int64, now: int) -> Lines:
    """Scores times 1 + freshness, halving every `freshness_days`."""
    s = rules.settings
    if not s.freshness or not len(lines):
        return lines
    born = first_seen[lines.code]
    age = np.maximum(now - born, 0)
    gain = np.exp2(age * (-1 / (s.freshness_days * DAY)))
    gain *= s.freshness
    gain[born <= 0] = 0  # nobody knows when
    gain += 1
    return lines.ranked(_times(lines.score, gain))


def pushed_down(lines: Lines, likeness: Mapping[int, float]) -> Lines:
    """Scores less what is like something that was disliked; `likeness` from 0 to 1 by item code."""
    if not likeness or not len(lines):
        return lines
    factor = np.array([1 - PUSHED_DOWN * likeness.get(code, 0.0) for code in lines.code.tolist()], dtype=np.float32)
    return lines.ranked(_times(lines.score, factor))


def _times(score: Float32, factor: NDArray[Any]) -> NDArray[Any]:
    if not len(score) or score.min() >= 0:
        return np.asarray(score * factor)
    # A factor above 1 must help an item with a negative score, too.
    return np.asarray(np.where(score >= 0, score * factor, score / np.maximum(factor, 1e-9)))


def looked_through(candidates: int, want: int) -> int:
    """How many of the best candidates `diversified` chooses from."""
    return min(candidates, max(MMR_DEPTH, want))


def diversified(lines: Lines, rules: Rules, unit: Float32 | None, groups: NDArray[np.int32], want: int) -> Lines:
    """The first `want` chosen by maximal marginal relevance (Carbonell and Goldstein 1998), then the others.

    Parameters
    ----------
    unit
        Vectors of length 1 of the first `looked_through` lines, whose likeness counts; None tells it from `groups`.
    groups
        Parallel to the same lines: the category of each candidate, -1 for none.
    """
    weight = np.float32(rules.settings.diversity)
    n = looked_through(len(lines), want)
    if not weight or n < 2:
        return lines
    score = lines.score[:n]
    worth = (1 - weight) * (score - score.min()) / max(float(np.ptp(score)), 1e-9)
    like = np.zeros(n, dtype=np.float32)
    same, gain = np.empty(n, dtype=np.float32), np.empty_like(worth)
    order: list[int] = []
    most = min(want, n)
    while True:
        # Into the same arrays every time: making new ones took as long as the sums.
        np.multiply(like, weight, out=gain)
        np.subtract(worth, gain, out=gain)
        best = int(gain.argmax())
        order.append(best)
        if len(order) == most:
            break
        worth[best] = -np.inf
        if unit is not None:
            np.dot(unit, unit[best], out=same)
        else:
            same[:] = (groups == groups[best]) & (groups[best] >= 0)
        np.maximum(like, same, out=like)
    left = np.ones(len(lines), dtype=np.bool_)
    left[order] = False
    return lines.take(np.concatenate([np.array(order, dtype=np.int64), np.flatnonzero(left)]))


@dataclass
class Picker:
    """A list being filled, each item once, within limits of items of one kind.

    Parameters
    ----------
    want
        Length of the list.
    skip
        Items that are not to be in it.
    page
        Limits hold within each stretch of so many positions, so that later pages are not empty.
    limits
        For each limit: how many at most, and the kind of every item (-1 is no kind).
    pins
        Position to item code.
    """

    want: int
    skip: set[int]
    page: int = 0
    limits: list[tuple[int, NDArray[np.int32]]] = field(default_factory=list)
    pins: dict[int, int] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    fallbacks: list[bool] = field(default_factory=list)
    held_back: int = 0
    notes: list[dict[str, Any]] = field(default_factory=list)
    _counts: list[list[dict[int, int]]] = field(default_factory=list)
    _waiting: list[tuple[int, float, str, bool]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """No more is wanted."""
        return len(self.codes) >= self.want

    def take_lines(self, lines: Lines, names: Sequence[str], fallback: bool) -> None:
        """`add` for each, best first."""
        rows = zip(lines.code.tolist(), lines.score.tolist(), lines.source.tolist(), strict=True)
        if self.pins or not self.limits:
            for code, score, source in rows:
                if len(self.codes) >= self.want:
                    return
                self.add(code, score, names[source], fallback)
            return
        for code, score, source in rows:
            if len(self.codes) >= self.want:
                return
            if code in self.skip:
                continue
            self.skip.add(code)
            if len(self._counts) <= len(self.codes) // max(self.page, 1):
                self._turn_page()
                if len(self.codes) >= self.want:
                    return
            if self._fits(code):
                self._append(code, score, names[source], fallback)
            else:
                self._waiting.append((code, score, names[source], fallback))
                self.held_back += 1

    def take(self, found: Iterable[tuple[int, float]], source: str, fallback: bool) -> None:
        """Add these, best first, as far as limits allow."""
        if not self.limits and not self.pins:
            self._take_plainly(found, source, fallback)
            return
        for code, score in found:
            if len(self.codes) >= self.want:
                return
            self.add(code, score, source, fallback)

    def _take_plainly(self, found: Iterable[tuple[int, float]], source: str, fallback: bool) -> None:
        """`add` for each, where nothing but `skip` is in the way; most lists are made here."""
        codes, scores, skip, room = self.codes, self.scores, self.skip, self.want - len(self.codes)
        before = len(codes)
        for code, score in found:
            if room <= 0:
                break
            if code not in skip:
                skip.add(code)
                codes.append(code)
                scores.append(score)
                room -= 1
        added = len(codes) - before
        self.sources += [source] * added
        self.fallbacks += [fallback] * added

    def add(self, code: int, score: float, source: str, fallback: bool) -> None:
        """Add one item, unless it is in the list already or its kind has had its share of the page."""
        if code in self.skip or len(self.codes) >= self.want:
            return
        self.skip.add(code)
        self._advance()
        if len(self.codes) >= self.want:
            return
        if self.limits and not self._fits(code):
            self._waiting.append((code, score, source, fallback))
            self.held_back += 1
            return
        self._append(code, score, source, fallback)

    def give(self, place: int, code: int, source: str) -> None:
        """Put an item into a place, with the score that was there; what follows moves on by one, the last falls out."""
        score = self.scores[place] if place < len(self.scores) else 0.0
        if code in self.codes[place:]:
            at = self.codes.index(code, place)
            for column in (self.codes, self.scores, self.sources, self.fallbacks):
                del column[at]
        self.codes.insert(place, code)
        self.scores.insert(place, score)
        self.sources.insert(place, source)
        self.fallbacks.insert(place, False)
        for column in (self.codes, self.scores, self.sources, self.fallbacks):
            del column[self.want :]

    def end(self) -> None:
        """No more candidates of this kind come: pins beyond them are placed."""
        if self.pins and len(self.codes) in self.pins:
            self._pin()

    def note(self, stage: str, **facts: Any) -> None:
        """Remember what was done, for those who ask."""
        self.notes.append({"stage": stage, **facts})

    def stages(self, allowed: int, items: int, unknown: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        """What the list went through; `unknown` are words of the filters that no item has."""
        counts: dict[str, int] = {}
        for source in self.sources:
            counts[source] = counts.get(source, 0) + 1
        return [
            {"stage": "filters", "items": items, "allowed": allowed, **({"unknown": unknown} if unknown else {})},
            *self.notes,
            {"stage": "left out", "count": len(self.skip) - len(self.codes), "held_back_by_limits": self.held_back},
            {"stage": "sources", **counts},
        ]

    def _append(self, code: int, score: float, source: str, fallback: bool) -> None:
        self.codes.append(code)
        self.scores.append(score)
        self.sources.append(source)
        self.fallbacks.append(fallback)

    def _pin(self) -> None:
        while (code := self.pins.pop(len(self.codes), None)) is not None:
            if len(self.codes) < self.want and code not in self.codes:
                self.skip.add(code)
                self._append(code, self.scores[-1] if self.scores else 0.0, "pinned", False)

    def _advance(self) -> None:
        """Let what is pinned here, and at the start of a page those that had to wait, go first."""
        before = -1
        while before != len(self.codes):
            before = len(self.codes)
            self._pin()
            if self.limits:
                self._turn_page()

    def _turn_page(self) -> None:
        """From the start of a page, or what is pinned there, count again; those that had to wait go first."""
        page = max(self.page, 1)
        while len(self._counts) <= len(self.codes) // page:
            self._counts = [*self._counts, [{} for _ in self.limits]]
            end = min(len(self._counts) * page, self.want)
            waiting, self._waiting = self._waiting, []
            for line in waiting:
                self._pin()
                if len(self.codes) < end and self._fits(line[0]):
                    self._append(*line)
                else:
                    self._waiting.append(line)

    def _fits(self, code: int) -> bool:
        held = self._counts[-1]
        for (most, kind), counts in zip(self.limits, held, strict=True):
            if counts.get(int(kind[code]), 0) >= most:
                return False
        for (_, kind), counts in zip(self.limits, held, strict=True):
            one = int(kind[code])
            if one >= 0:  # what is of no kind is never counted
                counts[one] = counts.get(one, 0) + 1
        return True
