"""What was heard since the version was published: events by person, and changes of items, read from the spool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from ..artifacts import Position, Spool
from ..identity import user_key

_PIECE = 200  # lines taken at a time: about a millisecond

Key = tuple[int, int]  # of a customer, see `identity.user_key`


@dataclass(frozen=True, slots=True)
class Heard:
    """One event of the spool, with the item's id because it may be newer than the version."""

    item_id: str
    ts: int
    kind: str
    qty: float


@dataclass
class Overlay:
    """Reads the spool forward and remembers who did what.

    Parameters
    ----------
    spool, floor
        Customers' events before `floor` are in the version's histories already. Guests are in no version, so theirs
        are taken from the start of what is left of the spool.
    secret
        See `identity.load_secret`. Customers are remembered by keyed hash only.
    """

    spool: Spool
    floor: Position
    secret: str
    epoch: str = ""
    position: Position = field(default_factory=dict)
    users: dict[Key, list[Heard]] = field(default_factory=dict)
    guests: dict[str, list[Heard]] = field(default_factory=dict)
    newest: int = 0
    events: int = 0

    def __post_init__(self) -> None:
        self.epoch = self.spool.epoch()

    def read(self) -> Iterator[list[dict[str, Any]]]:
        """Take what is new, a chunk of the spool at a time; yields the lines that are no events (changes of items)."""
        for chunk in self.spool.read(self.position):
            self.position[chunk.segment] = chunk.end
            cut = min(max(self.floor.get(chunk.segment, 0) - chunk.start, 0), len(chunk.data))
            others: list[dict[str, Any]] = []
            for part, in_version in ((chunk.data[:cut], True), (chunk.data[cut:], False)):
                for number, line in enumerate(_parsed(part)):
                    if not self._take(line, in_version) and not in_version:
                        others.append(line)
                    if number % _PIECE == _PIECE - 1:
                        yield others
                        others = []
            yield others

    def _take(self, line: dict[str, Any], in_version: bool) -> bool:
        """Remember an event; False for other lines."""
        if line["t"] == "merge":
            self.guests.pop(line["session_id"], None)
            return True
        if line["t"] != "event":
            return False
        heard = Heard(line["item_id"], line["ts"], line["event_type"], line.get("qty", 1))
        self.newest = max(self.newest, heard.ts)
        self.events += 1
        user_id = line.get("user_id")
        if user_id is None:
            self.guests.setdefault(line["session_id"], []).append(heard)
        elif not in_version:
            self.users.setdefault(user_key(self.secret, user_id), []).append(heard)
        return True


def _parsed(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        if not line or line.isspace():
            continue  # forgotten: see `Spool.blank`
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # damaged on disk; the worker counts and reports those
