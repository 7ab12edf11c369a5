"""How many events are taken: of one key, one address, one person, and in all while they wait for the update worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..artifacts.keys import PAGE
from ..schema import DAY
from ..settings import ServeSettings
from .access import Buckets, Caller, TooMany

_BURST = 2.0  # seconds' worth of events that may come at once
_ADDRESS = 0.1  # share of a page's key that one of its visitors may use
_HOUR = 3600.0
_PEOPLE = 100_000  # whose events are counted
_FULL_WAIT = 60.0  # seconds: a pass of the update worker is due by then


class EventLimits:
    """Refuses events beyond the ceilings, whole requests at a time and before anything is acknowledged."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._callers = Buckets(_PEOPLE)
        self._people = Buckets(_PEOPLE)
        self.full = ""

    def note_waiting(self, waiting: int, oldest: float) -> None:
        """What waits for the update worker: bytes, and seconds since the oldest event came."""
        settings, self.full = self._settings, ""
        if waiting > settings.max_spool:
            self.full = f"{waiting} bytes of events wait for the update worker, and {settings.max_spool} may."
        elif waiting and oldest > settings.max_spool_days * DAY > 0:
            self.full = f"Events have waited {oldest / DAY:.0f} days for the update worker."

    def check(self, caller: Caller, events: Iterable[Mapping[str, Any]]) -> None:
        """Count the events of a request.

        Raises
        ------
        TooMany
        """
        if self.full:
            raise TooMany(_FULL_WAIT, self.full, "serve.max_spool or serve.max_spool_days, after recsys update-worker")
        people = Counter(event.get("user_id") or event.get("session_id") or "" for event in events)
        count, rate = people.total(), self._settings.event_rate
        if rate and caller.name:
            self._take(self._callers, caller.name, rate, count)
            if PAGE in caller.scopes:
                self._take(self._callers, (caller.name, caller.address), rate * _ADDRESS, count)
        most = float(self._settings.session_events)
        for person, number in people.items() if most else ():
            if seconds := self._people.take(person, most / _HOUR, most, number):
                raise TooMany(seconds, "Too many events of one session or customer.", "serve.session_events")

    @staticmethod
    def _take(buckets: Buckets, who: object, rate: float, count: int) -> None:
        # A batch may be larger than what comes in two seconds; it is paid for by waiting longer.
        if seconds := buckets.take(who, rate, max(rate * _BURST, float(count)), count):
            raise TooMany(seconds, "Too many events.", "serve.event_rate")
