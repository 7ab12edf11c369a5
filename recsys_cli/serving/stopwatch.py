"""Where the time of a request goes, step by step."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

STEPS: Final = ("visitor", "filters", "candidates", "features", "trees", "rules")
_KEPT = 1000  # requests whose times are remembered until they are asked for


@dataclass
class Stopwatch:
    """Seconds of the six steps of a request. Not for several threads at a time.

    visitor: who it is and what they did; filters: which items may be shown, and which not again; candidates: the
    model's scores; features and trees: the ranker's; rules: mixing sources, limits, campaigns, filling up. What is
    remembered of an earlier request takes no time.
    """

    _mark: float = 0.0
    _spent: dict[str, float] = field(default_factory=dict)
    _done: list[dict[str, float]] = field(default_factory=list)

    def start(self) -> None:
        """Begin with a request."""
        self._spent = {}
        self._mark = time.perf_counter()

    def lap(self, step: str) -> float:
        """Count the time since the last lap to a step, and give it."""
        now = time.perf_counter()
        seconds = now - self._mark
        self._spent[step] = self._spent.get(step, 0.0) + seconds
        self._mark = now
        return seconds

    def stop(self) -> None:
        """The list is made."""
        self.lap("rules")
        if len(self._done) < _KEPT:
            self._done.append(self._spent)

    def milliseconds(self) -> dict[str, float]:
        """Of each step of the last request."""
        return {step: round(1000 * self._spent.get(step, 0.0), 3) for step in STEPS}

    def take(self) -> list[dict[str, float]]:
        """Seconds by step of some of the requests since the last time; steps that were not needed are missing."""
        done, self._done = self._done, []
        return done
