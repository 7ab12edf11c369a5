"""What was heard since the version was published: events by person, and changes of items, read from the spool."""

from __future__ import annotations

import heapq
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from ..artifacts import Position, Spool
from ..artifacts.spool import EventLine, MergeLine, read_lines
from ..identity import pseudonym, user_key
from ..schema import CART, CLICK, DAY, IMPRESSION, PURCHASE, guest_id

_WITNESSES = 100  # events that must be later before the clock is
MOST_REMEMBERED = 1000  # events of one person since the version, and items shown to them; half of what may be held
MOST_RECENT = 200_000  # events kept for the next version's overlay; beyond, that one reads the spool again
_PIECE = 200  # lines taken at a time: about a millisecond
_ANSWERS_AN_IMPRESSION = (CLICK, CART, PURCHASE)

Key = tuple[int, int]  # of a customer or guest, see `identity.user_key`


def customer_key(secret: str, user_id: str) -> Key:
    """Under which a customer's history is found, e-mail addresses as ingest keeps them."""
    return user_key(secret, pseudonym(secret, user_id) if "@" in user_id else user_id)


def guest_key(secret: str, session_id: str) -> Key:
    """Under which a guest's history is found."""
    return user_key(secret, guest_id(session_id))


@dataclass(frozen=True, slots=True)
class Heard:
    """One event of the spool, with the item's id because it may be newer than the version."""

    item_id: str
    ts: int
    kind: str
    qty: float
    duration_ms: int | None = None


# An event and whose it is, a customer and the guest they turned out to be, or a line of another kind.
Entry = Any


@dataclass
class Overlay:
    """Reads the spool forward and remembers who did what. People are remembered by keyed hash only.

    Parameters
    ----------
    spool, floor
        Events before `floor` are in the version's histories already.
    secret
        See `identity.load_secret`.
    shown_days
        Days that showings are remembered.
    people
        What each did since the version.
    merged
        Customer to the guests whose sessions turned out to be theirs since the version.
    gone
        Those guests, and how much had been heard of each by then. What the version holds of them is given away for
        good: the next one to log in in the same session gets only what came after.
    shown
        For each person, how often an item was shown since it was last clicked, and when last; who was shown something
        lately comes last. No version holds that, so it is taken from the start of what is left of the spool. The items
        shown last, `MOST_REMEMBERED` at most.
    forgotten
        How many of somebody's events are too many to be remembered here; the worker takes all of them.
    recent
        What came after `floor`, each with its segment and the offset after it: the overlay of the next version takes
        from there what that version does not hold, instead of reading the spool again. Empty once there were more
        than `MOST_RECENT`, as when no worker takes them.
    events, set_aside
        Lines taken since the version, and lines that are not ours.
    """

    spool: Spool
    floor: Position
    secret: str
    shown_days: float = 7.0
    epoch: str = ""
    position: Position = field(default_factory=dict)
    people: dict[Key, list[Heard]] = field(default_factory=dict)
    merged: dict[Key, list[Key]] = field(default_factory=dict)
    gone: dict[Key, int] = field(default_factory=dict)
    shown: dict[Key, dict[str, tuple[int, int]]] = field(default_factory=dict)
    forgotten: dict[Key, int] = field(default_factory=dict)
    events: int = 0
    recent: list[tuple[str, int, Entry]] = field(default_factory=list)
    set_aside: int = 0
    _overflowed: bool = False
    _newest: list[int] = field(default_factory=list)
    _lags: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.epoch = self.spool.epoch()

    @classmethod
    def of_what_was_shown(cls, spool: Spool, secret: str, shown_days: float) -> Self:
        """One that only remembers what was shown, for callers that use the version alone; see `read`."""
        return cls(spool, dict.fromkeys(spool.segments(), sys.maxsize), secret, shown_days)

    def read(self) -> Iterator[list[Any]]:
        """Take what is new, a little at a time; yields the changes of items, as `spool.ItemLine`."""
        for chunk in self.spool.read(self.position):
            self.position[chunk.segment] = chunk.end
            floor = self.floor.get(chunk.segment, 0)
            others: list[Any] = []
            for number, (end, line) in enumerate(read_lines(chunk.data, chunk.start)):
                if line is None:
                    self.set_aside += end > floor
                    continue
                entry = self._entry(line)
                if end > floor:
                    self._keep_recent(chunk.segment, end, entry)
                    others += self._take(entry)
                    if isinstance(line, EventLine) and line.received_at is not None and len(self._lags) < 1000:
                        self._lags.append(time.time() - line.received_at)
                if number % _PIECE == _PIECE - 1:
                    yield others
                    others = []
            yield others

    def follows(self, before: Overlay) -> bool:
        """Whether `take_over` can be used instead of reading the spool: nobody was forgotten, nothing was too much to
        be kept, and time went forward."""
        held = self.spool.segments()
        return (
            not before._overflowed
            and self.epoch == before.epoch
            and all(self.floor.get(segment, 0) >= end for segment, end in before.floor.items() if segment in held)
        )

    def take_over(self, before: Overlay) -> Iterator[list[Any]]:
        """As `read`, from what the overlay of the version before knows, which is used up by it."""
        for start in range(0, len(before.recent), _PIECE):
            others: list[Any] = []
            for segment, end, entry in before.recent[start : start + _PIECE]:
                if end > self.floor.get(segment, 0):
                    self._keep_recent(segment, end, entry)
                    others += self._take(entry)
            yield others
        self.position, self.shown, self._newest = before.position, before.shown, before._newest
        self._forget_shown()

    def _keep_recent(self, segment: str, end: int, entry: Entry) -> None:
        if len(self.recent) >= MOST_RECENT:
            self.recent, self._overflowed = [], True
        if not self._overflowed:
            self.recent.append((segment, end, entry))

    def _entry(self, line: Any) -> Entry:
        """What a line says; what it says of shown items is remembered at once."""
        if isinstance(line, MergeLine):
            return customer_key(self.secret, line.user_id), guest_key(self.secret, line.session_id)
        if not isinstance(line, EventLine):
            return line
        user = line.user_id
        key = customer_key(self.secret, user) if user else guest_key(self.secret, line.session_id or "")
        took = line.duration_ms if isinstance(line.duration_ms, int) else None
        heard = Heard(line.item_id, line.ts, line.event_type, line.qty, took)
        self._count_shown(key, heard)
        return key, heard

    def _take(self, entry: Entry) -> list[Any]:
        """Remember what no version holds yet; gives back a change of an item."""
        if not isinstance(entry, tuple):
            return [entry]
        key, what = entry
        if not isinstance(what, Heard):
            self._merge(key, what)
            return []
        self._note_time(what.ts)
        self.events += 1
        if what.kind != IMPRESSION:
            self._remember(key, what)
        return []

    def _remember(self, key: Key, heard: Heard) -> None:
        events = self.people.setdefault(key, [])
        events.append(heard)
        if len(events) >= 2 * MOST_REMEMBERED:
            # A robot's visit must neither grow without bound nor be gone through whole at every answer.
            del events[:-MOST_REMEMBERED]
            self.forgotten[key] = self.forgotten.get(key, 0) + MOST_REMEMBERED

    def take_lags(self) -> list[float]:
        """Seconds from an event's receipt until it was taken, for some of those since the last time."""
        lags, self._lags = self._lags, []
        return lags

    @property
    def clock(self) -> int:
        """A time that the newest events agree on: one visitor today does not make an old shop's stock older."""
        return self._newest[0] if len(self._newest) == _WITNESSES else 0

    def _note_time(self, ts: int) -> None:
        if len(self._newest) < _WITNESSES:
            heapq.heappush(self._newest, ts)
        elif ts > self._newest[0]:
            heapq.heapreplace(self._newest, ts)

    def _merge(self, user: Key, guest: Key) -> None:
        events = self.people.pop(guest, [])
        if guest not in self.gone:
            self.merged.setdefault(user, []).append(guest)
        if events:
            self.people.setdefault(user, []).extend(events)
        self.gone[guest] = self.gone.get(guest, 0) + len(events) + 1

    def heard_of(self, key: Key) -> int:
        """How much was heard of somebody; grows with everything that is, also when a guest's past is given away."""
        remembered = len(self.people.get(key, ())) + self.forgotten.get(key, 0)
        return remembered + len(self.merged.get(key, ())) + self.gone.get(key, 0)

    def _count_shown(self, key: Key, heard: Heard) -> None:
        if heard.kind == IMPRESSION:
            items = self.shown[key] = self.shown.pop(key, {})  # to the end
            count, _ = items.pop(heard.item_id, (0, 0))  # so that what was shown last stands last
            items[heard.item_id] = (count + 1, heard.ts)
            if len(items) > MOST_REMEMBERED:
                del items[next(iter(items))]
        elif heard.kind in _ANSWERS_AN_IMPRESSION and key in self.shown:
            self.shown[key].pop(heard.item_id, None)

    def _forget_shown(self) -> None:
        """Drop those to whom nothing was shown for longer than it counts; they come first."""
        since = time.time() - self.shown_days * DAY
        for key in list(itertools.takewhile(lambda k: self._shown_last(k) < since, self.shown)):
            del self.shown[key]

    def _shown_last(self, key: Key) -> int:
        return max((last for _, last in self.shown[key].values()), default=0)

    def shown_often(self, keys: list[Key], limit: int, now: int) -> list[str]:
        """Items shown to somebody at least `limit` times lately without a click."""
        since = now - self.shown_days * DAY
        return [
            item_id
            for key in keys
            for item_id, (count, last) in self.shown.get(key, {}).items()
            if count >= limit and last >= since
        ]
