"""A loop that is meant to run for ever survives everything but being told to stop, and can say how it is."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from recsys_cli.errors import StoreError
from recsys_cli.supervisor import LoopState, Supervisor, reasons

ERRORS = [
    StoreError("The disk is full.", "Free some."), ValueError("[]"), MemoryError(), RecursionError(), KeyError("t"),
    OSError(24, "Too many open files"), AssertionError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
]  # fmt: skip


def test_how_it_goes_is_said_in_words() -> None:
    loop = Supervisor("reader")
    assert loop.state.words == "not run yet"
    with loop.turn():
        pass
    assert loop.state.words == "running"
    for said in ("failed once: KeyError: 'x'", "failed 2 times in a row: KeyError: 'x'"):
        with loop.turn():
            raise KeyError("x")
        assert loop.state.words.startswith(said.partition(" (")[0])


def test_a_thread_goes_on_after_every_kind_of_error_and_tells_of_it() -> None:
    stop, left = threading.Event(), list(ERRORS)
    failed: list[tuple[str, int]] = []
    recovered: list[int] = []
    loop = Supervisor(
        "test loop",
        interval=0.001,
        longest=0.001,
        failed=lambda e, state: failed.append((type(e).__name__, state.failures)),
        recovered=lambda state: recovered.append(state.failures),
    )

    def step() -> None:
        if left:
            raise left.pop(0)
        stop.set()

    loop.run(step, stop)
    assert failed == [(type(e).__name__, n) for n, e in enumerate(ERRORS, 1)]
    assert recovered == [len(ERRORS)]
    assert (loop.state.failures, loop.state.total, loop.state.healthy) == (0, len(ERRORS), True)
    assert loop.state.succeeded_at >= loop.state.failed_at > 0


def test_an_asyncio_loop_does_the_same_and_can_be_cancelled() -> None:
    async def main() -> LoopState:
        stop, left = asyncio.Event(), list(ERRORS)
        loop = Supervisor("test loop", interval=0.001, longest=0.001)

        async def step() -> None:
            await asyncio.sleep(0)
            if left:
                raise left.pop(0)

        task = asyncio.create_task(loop.run_async(step, stop))
        while not loop.state.succeeded_at:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return loop.state

    assert asyncio.run(main()).total == len(ERRORS)


def test_what_ends_a_process_ends_the_loop() -> None:
    loop = Supervisor("test loop")
    for end in (KeyboardInterrupt, SystemExit):
        with pytest.raises(end), loop.turn():
            raise end
    assert loop.state.total == 0


def test_it_is_unhealthy_after_so_many_failures_in_a_row_and_says_why() -> None:
    loop, other = Supervisor("spool reader", patience=3), Supervisor("other")
    for _ in range(2):
        with loop.turn():
            raise ValueError("bad line")
    assert reasons([loop, other]) == []
    with loop.turn():
        raise StoreError("The disk is full.")
    assert reasons([loop, other]) == ["The spool reader has failed 3 times in a row: The disk is full."]
    with loop.turn():
        pass
    assert reasons([loop, other]) == []


def test_pauses_grow_and_vary() -> None:
    loop = Supervisor("test loop", interval=1.0, longest=30.0)
    assert loop.pause(0.25) == 0.75
    assert loop.pause(5.0) == 0.05
    pauses = []
    for _ in range(10):
        with loop.turn():
            raise ValueError
        pauses.append(loop.pause())
    assert all(low <= pause <= high for pause, low, high in zip(pauses[1:5], (1, 2, 4, 8), (2, 4, 8, 16), strict=True))
    assert all(15 <= pause <= 30 for pause in pauses[6:])
    assert len(set(pauses[6:])) > 1


def test_the_same_failure_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    loop = Supervisor("test loop")
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            with loop.turn():
                raise ValueError("the same")
        with loop.turn():
            pass
    lines = [r.message for r in caplog.records]
    assert len(lines) == 11  # the 1st, 2nd, 4th … 512th, and the end of it
    assert "ValueError: the same" in lines[0]
    assert lines[-1] == "The test loop recovered after 1000 failures in a row."


def test_a_listener_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*facts: object) -> None:
        raise OSError("nobody there")

    loop = Supervisor("test loop", failed=broken, recovered=broken)
    with loop.turn():
        raise ValueError
    with loop.turn():
        pass
    assert loop.state.healthy
    assert "What the test loop reports to failed." in caplog.text


def test_a_loop_stops_while_it_waits() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=Supervisor("test loop", interval=60.0).run, args=(lambda: None, stop))
    thread.start()
    started = time.monotonic()
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - started < 10
