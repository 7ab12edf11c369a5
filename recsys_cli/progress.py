"""How long work tells where it is; the library logs, the command line draws."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


class Progress:
    """Passes reports of progress on to `logging` (level INFO); `cli.common` has the ones that draw."""

    @contextmanager
    def stage(self, text: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """A named piece of work; the yielded function is told how much more is done, out of `total`."""
        started = time.monotonic()
        yield lambda done: None
        logger.info("%s: %.1f s", text, time.monotonic() - started)

    def note(self, text: str) -> None:
        """One line worth reading on its own."""
        logger.info("%s", text)


SILENT = Progress()
