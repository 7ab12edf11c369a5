"""Which events are in the spool already, so that one delivered again is not even written again.

The database takes an event once by its id, whatever the spool says twice; until its next pass, though, live lists would
count it twice.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..artifacts import Spool

_REMEMBERED = 200_000  # the newest events; what is older and comes again is left to the database


class _Identity(msgspec.Struct, gc=False):
    """What makes an event the same one; see `store.spool_import.take_lines`."""

    event_id: str | None = None
    order_id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    item_id: str | None = None
    ts: int | None = None
    event_type: str | None = None
    qty: float | None = None

    def hashed(self) -> bytes:
        said = self.event_id or "\0".join(map(str, msgspec.structs.astuple(self)[1:]))
        return hashlib.sha256(said.encode()).digest()[:12]


_decode = msgspec.json.Decoder(_Identity).decode
_FIELDS = _Identity.__struct_fields__


def identity_of(line: Mapping[str, Any]) -> bytes:
    """What two lines of the same event have in common."""
    values = {name: line[name] for name in _FIELDS if name in line}
    return _Identity(**values | ({"qty": float(values["qty"])} if "qty" in values else {})).hashed()


class RecentEvents:
    """Remembers the newest events by hash."""

    def __init__(self) -> None:
        self._order: deque[bytes] = deque()
        self._held: set[bytes] = set()
        self._read = False

    def read(self, spool: Spool) -> None:
        """Take in what the spool holds; done once, for what comes later is told by `add`."""
        if self._read:
            return
        self._read = True
        for chunk in spool.read({}):
            for line in chunk.lines():
                try:
                    found = _decode(line)
                except (ValueError, RecursionError):  # a line that is not ours: readers set it aside
                    continue
                if found.event_id or found.order_id:
                    self.add([found.hashed()])

    def holds(self, identity: bytes) -> bool:
        """Whether this event is on disk."""
        return identity in self._held

    def add(self, identities: Iterable[bytes]) -> None:
        """These are on disk now."""
        for one in identities:
            if one not in self._held:
                self._held.add(one)
                self._order.append(one)
        while len(self._order) > _REMEMBERED:
            self._held.discard(self._order.popleft())
