"""The log of what was answered: lists, not people. Written off the answers' path, a batch at a time.

It has a folder of its own beside the spool, so that servers, which tail the spool, do not read it; segments and
positions are the spool's. A line that was lost with a killed server was of an answer that nobody has confirmed to have
seen: `flush` runs before impressions are acknowledged.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from ..errors import RecsysError
from .spool import Spool, SpoolWriter

_MOST_WAITING = 50_000  # lines in memory
_MOST_BYTES = 512 << 20  # on disk: where no worker runs, the log must not fill it
_MEASURED_EVERY = 30.0  # seconds
_FLUSH_EVERY = 2.0  # seconds, unless an event is acknowledged before


@dataclass(frozen=True)
class Answered:
    """A list as it was answered.

    Parameters
    ----------
    items, sources
        Ids in the order of the list, and what proposed each.
    fallbacks
        Items that are there because nothing better was known.
    swap
        See `schema.SERVED_COLUMNS`; 0 where no place was drawn.
    """

    route: str
    version: str
    items: Sequence[str]
    sources: Sequence[str]
    fallbacks: int
    swap: int = 0


@dataclass(frozen=True)
class Trial:
    """What of an experiment a list was; `teams`, of an interleaved one, is a letter for each position."""

    experiment: str
    arm: str = ""
    teams: str = ""


@dataclass
class ServedLog:
    """Takes answers of one process; `note` from the event loop, `flush` from any thread.

    Parameters
    ----------
    writer
        To a segment of this process's own.
    share
        Of answers that are logged, 0 to 1; those of experiments, and with places drawn by chance, always are.
    dropped
        Answers that were not logged because the disk or the worker did not keep up.
    """

    writer: SpoolWriter
    share: float = 1.0
    dropped: int = 0
    _waiting: list[bytes] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _measured: float = float("-inf")
    _flushed: float = float("-inf")
    _full: bool = False

    def note(
        self,
        request_id: str,
        answered: Answered,
        *,
        seconds: float = 0.0,
        placement: str = "",
        trial: Trial | None = None,
    ) -> None:
        """Remember an answer until the next flush; `seconds` is what it took, `trial` the experiment it is part of."""
        share = 1.0 if trial or answered.swap else self.share
        if share < 1.0 and random.random() >= share:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.dropped += 1
            return
        line = {
            "request_id": request_id,
            "ts": int(time.time()),
            "route": answered.route,
            "version": answered.version,
            "items": answered.items,
            "sources": answered.sources,
            "fallbacks": answered.fallbacks,
            "seconds": round(seconds, 6),
            "share": share,
        }
        if answered.swap:
            line["swap"] = answered.swap
        if placement:
            line["placement"] = placement
        if trial:
            line |= {"experiment": trial.experiment, "arm": trial.arm, "teams": trial.teams}
        self._waiting.append(orjson.dumps(line))

    @property
    def waiting(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._waiting)

    @property
    def due(self) -> bool:
        """Whether it has waited long enough: a flush costs as much for one answer as for hundreds."""
        return bool(self._waiting) and time.monotonic() - self._flushed >= _FLUSH_EVERY

    def flush(self) -> None:
        """Write what waits; what cannot be written is dropped and counted, and never stops an answer or an event."""
        with self._mutex:
            lines, self._waiting = self._waiting, []
            self._flushed = time.monotonic()
            if not lines:
                return
            if time.monotonic() - self._measured > _MEASURED_EVERY:
                self._measured = time.monotonic()
                self._full = sum(Spool(self.writer.path).segments().values()) > _MOST_BYTES
            try:
                if not self._full:
                    self.writer.append(lines)
                    return
            except RecsysError:
                self._measured = float("-inf")
            self.dropped += len(lines)

    def close(self) -> None:
        """Flush, and let go of the segment."""
        self.flush()
        self.writer.close()
