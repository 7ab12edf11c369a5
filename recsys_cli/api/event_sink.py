"""What pages and tills report: checked, written to the spool, and only then acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from ..artifacts import SpoolWriter
from ..errors import RecsysError


class EventSink:
    """Writes lines to the spool for one process; requests that arrive during a flush share the next one.

    Parameters
    ----------
    writer
        The process's segment.
    written
        Called in the event loop after each flush.
    before
        Called in the writing thread before each flush: what must be on disk before an event is acknowledged.
    """

    def __init__(self, writer: SpoolWriter, written: Callable[[], None], before: Callable[[], None]) -> None:
        self._writer = writer
        self._before = before
        self._written = written
        self._waiting: list[tuple[list[bytes], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "spool")

    async def append(self, lines: Sequence[dict[str, Any]]) -> None:
        """Return once the lines are on disk.

        Raises
        ------
        StoreError
            They are not.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(([orjson.dumps(line) for line in lines], done))
        if self._task is None:
            self._task = asyncio.create_task(self._flush())
        # Shielded by being a future of its own: a client that hangs up does not stop the others' flush.
        await done

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: RecsysError | None = None
            try:
                await loop.run_in_executor(self._thread, self._write, [x for lines, _ in batch for x in lines])
            except RecsysError as e:
                error = e
            for _, done in batch:
                if not done.done():
                    done.set_result(None) if error is None else done.set_exception(error)
            self._written()
        self._task = None

    def _write(self, lines: list[bytes]) -> None:
        self._before()
        self._writer.append(lines)

    def flush_before(self) -> None:
        """Let `before` run in the writing thread, soon."""
        asyncio.get_running_loop().run_in_executor(self._thread, self._before)

    async def close(self) -> None:
        """Finish what was begun and let go of the segment."""
        while self._task is not None:
            await asyncio.wait([self._task])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.close)
        self._thread.shutdown()
