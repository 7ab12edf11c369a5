"""Written to disk, and only then acknowledged: requests that arrive during a flush share the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import orjson

from ..artifacts import SpoolWriter

T = TypeVar("T")


class GroupCommit(Generic[T]):
    """Writes what many requests hand in, one batch after another, in a thread of its own.

    Parameters
    ----------
    write
        Puts a batch on disk; called in the thread.
    written
        Called in the event loop after each batch.
    """

    def __init__(self, write: Callable[[list[T]], None], written: Callable[[], None] = lambda: None) -> None:
        self._write = write
        self._written = written
        self._waiting: list[tuple[Sequence[T], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "commit")

    async def append(self, items: Sequence[T]) -> None:
        """Return once the items are on disk.

        Raises
        ------
        StoreError
            They are not.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, done))
        if self._task is None:
            self._task = asyncio.create_task(self._flush())
        # Shielded by being a future of its own: a client that hangs up does not stop the others' flush.
        await done

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                await loop.run_in_executor(self._thread, self._write, [x for items, _ in batch for x in items])
            except Exception as e:  # noqa: BLE001 - whatever it is, those who wait must hear of it, and the next batch be written
                error = e
            for _, done in batch:
                if not done.done():
                    done.set_result(None) if error is None else done.set_exception(error)
            self._written()
        self._task = None

    def soon(self, work: Callable[[], None]) -> None:
        """Let `work` run in the writing thread."""
        asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self, last: Callable[[], None] = lambda: None) -> None:
        """Finish what was begun, then do `last` in the thread."""
        while self._task is not None:
            await asyncio.wait([self._task])
        await asyncio.get_running_loop().run_in_executor(self._thread, last)
        self._thread.shutdown()


class EventSink:
    """What pages and tills report: checked, written to the spool, and only then acknowledged.

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
        self._commit: GroupCommit[bytes] = GroupCommit(self._write, written)

    async def append(self, lines: Sequence[dict[str, Any]]) -> None:
        """Return once the lines are on disk.

        Raises
        ------
        StoreError
            They are not.
        """
        await self._commit.append([orjson.dumps(line) for line in lines])

    def _write(self, lines: list[bytes]) -> None:
        self._before()
        self._writer.append(lines)

    def flush_before(self) -> None:
        """Let `before` run in the writing thread, soon."""
        self._commit.soon(self._before)

    async def close(self) -> None:
        """Finish what was begun and let go of the segment."""
        await self._commit.close(self._writer.close)
