"""A circuit breaker: what has failed again and again is left alone for a while, then tried once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"


@dataclass
class Circuit:
    """Says whether to ask, by how asking went.

    Parameters
    ----------
    patience
        Failures in a row after which it opens.
    rest
        Seconds that it stays open; then one question is let through (half-open), which closes it or opens it again.
    clock
        Seconds that never go back.
    """

    patience: int = 5
    rest: float = 30.0
    clock: Callable[[], float] = time.monotonic
    failures: int = 0
    error: str = ""
    _opened: float | None = None
    _trying: bool = False

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        if self._opened is None:
            return CLOSED
        return HALF_OPEN if self._trying or self.clock() - self._opened >= self.rest else OPEN

    def may_ask(self) -> bool:
        """Whether to ask now; who is told yes reports by `succeeded` or `failed`."""
        if self._opened is None:
            return True
        if self._trying or self.clock() - self._opened < self.rest:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The question was answered."""
        self.failures, self.error, self._opened, self._trying = 0, "", None, False

    def failed(self, error: str) -> None:
        """It was not."""
        self.failures += 1
        self.error = error
        if self._trying or (self._opened is None and self.failures >= self.patience):
            self._opened, self._trying = self.clock(), False
