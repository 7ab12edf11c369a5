"""How long work tells where it is; the library reports, the command line draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    """Takes reports of progress and shows nothing; `cli.output` has the ones that draw."""

    @contextmanager
    def stage(self, text: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """A named piece of work; the yielded function is told how much more is done, out of `total`."""
        yield lambda done: None

    def note(self, text: str) -> None:
        """One line worth reading on its own."""


SILENT = Progress()
