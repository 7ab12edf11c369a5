"""Loops that are meant to run for ever: whatever goes wrong in one is caught, logged, counted and tried again.

A loop that ends in silence is worse than a crash, because everything around it looks well. A supervisor gives one
small step its turns, in a thread or in an asyncio loop, and can be asked at any time how that is going.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from .errors import RecsysError

logger = logging.getLogger(__name__)
_PACKAGE = f"{Path(__file__).resolve().parent}/"
_SHORTEST = 0.05  # seconds between two turns of a step that takes longer than its interval


@dataclass(frozen=True)
class LoopState:
    """How a loop is doing.

    Parameters
    ----------
    name
        What the loop does, as a noun: "update worker".
    failures, total
        Turns that failed in a row, and in all.
    error
        Why the last turn failed; empty when it did not.
    failed_at, succeeded_at
        Epoch seconds of the last failure and success; 0 for never.
    healthy
        False once as many turns in a row have failed as the supervisor puts up with.
    """

    name: str
    failures: int = 0
    total: int = 0
    error: str = ""
    failed_at: float = 0.0
    succeeded_at: float = 0.0
    healthy: bool = True

    @property
    def words(self) -> str:
        """How it is going, for people."""
        if self.failures:
            times = "once" if self.failures == 1 else f"{self.failures} times in a row"
            return f"failed {times}: {self.error}"
        return "running" if self.succeeded_at else "not run yet"

    @property
    def reason(self) -> str:
        """A sentence for `/ready`, `status` and logs; empty while the loop is healthy."""
        return "" if self.healthy else f"The {self.name} has failed {self.failures} times in a row: {self.error}"


@dataclass
class Supervisor:
    """Gives one step its turns until it is told to stop, and survives every `Exception` of that step.

    Parameters
    ----------
    name
        See `LoopState`.
    interval
        Seconds from the start of one turn to the start of the next.
    patience
        Failures in a row after which the loop is unhealthy.
    longest
        Seconds that the pause after a failure grows to at most; it doubles with every failure, and varies by half so
        that processes that failed together do not come back together.
    failed, recovered
        Told after each failure, and at the first success after one; what they raise is logged.
    """

    name: str
    interval: float = 0.0
    patience: int = 3
    longest: float = 60.0
    failed: Callable[[Exception, LoopState], None] | None = None
    recovered: Callable[[LoopState], None] | None = None
    _state: LoopState = field(init=False)
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._state = LoopState(self.name)

    @property
    def state(self) -> LoopState:
        """How it is going; one assignment replaces it, so any thread may ask."""
        return self._state

    def run(self, step: Callable[[], object], stop: threading.Event) -> None:
        """Call `step` again and again in this thread until `stop` is set; a turn that has begun is finished."""
        while not stop.is_set():
            started = time.monotonic()
            with self.turn():
                step()
            stop.wait(self.pause(time.monotonic() - started))

    async def run_async(self, step: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
        """As `run`, in an asyncio loop; a cancelled task ends."""
        while not stop.is_set():
            started = time.monotonic()
            with self.turn():
                await step()
            try:
                await asyncio.wait_for(stop.wait(), self.pause(time.monotonic() - started))
            except TimeoutError:
                continue

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One turn of a loop that has a shape of its own: swallows and counts every `Exception` of the body."""
        try:
            yield
        except Exception as e:  # noqa: BLE001 - the one place that catches everything, so that no loop has to
            self._fail(e)
        else:
            self._succeed()

    def pause(self, took: float = 0.0) -> float:
        """Seconds to wait before the next turn, when the last one took so long."""
        wait = max(self.interval - took, min(_SHORTEST, self.interval))
        if not self._state.failures:
            return wait
        grown = max(self.interval, _SHORTEST) * 2.0 ** min(self._state.failures - 1, 30)
        return max(wait, min(grown, max(self.longest, self.interval)) * self._random.uniform(0.5, 1.0))

    def _fail(self, error: Exception) -> None:
        before = self._state
        text = said_by(error)
        count = before.failures + 1
        self._state = replace(
            before,
            failures=count,
            total=before.total + 1,
            error=text,
            failed_at=time.time(),
            healthy=count < self.patience,
        )
        # At the 1st, 2nd, 4th, 8th failure in a row: a loop that fails five times a second must not fill the disk.
        if count & (count - 1) == 0 or text != before.error:
            logger.error("The %s failed (%d in a row): %s", self.name, count, text)
            logger.debug("In full:", exc_info=error)
        if self.failed is not None:
            self._tell(self.failed, error, self._state)

    def _succeed(self) -> None:
        before = self._state
        self._state = replace(before, failures=0, error="", succeeded_at=time.time(), healthy=True)
        if before.failures:
            logger.warning("The %s recovered after %d failures in a row.", self.name, before.failures)
            if self.recovered is not None:
                self._tell(self.recovered, before)

    def _tell(self, listener: Callable[..., None], *facts: object) -> None:
        try:
            listener(*facts)
        except Exception:
            logger.exception("What the %s reports to failed.", self.name)


def said_by(error: BaseException) -> str:
    """An error in one line; one that nobody foresaw with its kind and the place in our code where it came up."""
    if isinstance(error, RecsysError):
        return str(error)
    ours = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(_PACKAGE)]
    place = f" ({ours[-1].filename.removeprefix(_PACKAGE)}:{ours[-1].lineno})" if ours else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"


def reasons(supervisors: Iterable[Supervisor]) -> list[str]:
    """Why the unhealthy ones among these loops are unhealthy; empty when all are well."""
    return [s.state.reason for s in supervisors if not s.state.healthy]
