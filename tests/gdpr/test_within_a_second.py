"""Decisions and erasures count on running servers by themselves, in every process, for customers and for guests."""

from __future__ import annotations

import time
from collections.abc import Callable

from recsys_cli.gdpr import erase
from recsys_cli.gdpr.rights.consent import decide
from recsys_cli.schema import guest_id

from .conftest import LONG, Shop
from .serving import Server, serving

# The promise is one second, and bench_gdpr.py measures it on a machine that is idle. One that does other things may
# take its time with a process; what is tested here is that every process hears of it, and by itself.
SECONDS = 30.0
IN_A_ROW = 20  # answers, from connections of their own: two processes answer, and both must have heard
FOR_LONG = 0.5  # seconds, or a process that waits for its turn at the machine would have no part in them


def seconds_until(changed: Callable[[], bool], since: float) -> float:
    """From `since` to the first of many changed answers in a row."""
    first, row = 0.0, 0
    while row < IN_A_ROW or time.monotonic() - first < FOR_LONG:
        if changed():
            first, row = first or time.monotonic(), row + 1
        else:
            first, row = 0.0, 0
        assert time.monotonic() - since < 4 * SECONDS, "the answer does not change"
    return first - since


def takes(server: Server, **who: str) -> bool:
    """Whether the server keeps an event of theirs."""
    return bool(server.post("/events", {"item_id": "p1", "event_type": "view", **who})[1]["accepted"])


def test_every_process_follows_a_decision_its_end_and_an_erasure(shop: Shop) -> None:
    state = (shop.store, shop.artifacts, shop.settings)
    with serving(shop, workers=2) as server:
        assert server.known(LONG)
        assert takes(server, user_id=LONG)
        assert takes(server, session_id="guest-7")
        began = time.monotonic()
        decide(*state, [LONG], "restricted")
        limited = seconds_until(lambda: not server.known(LONG), began)
        assert not takes(server, user_id=LONG)
        began = time.monotonic()
        decide(*state, [LONG], "full")
        lifted = seconds_until(lambda: takes(server, user_id=LONG), began)
        began = time.monotonic()
        decide(*state, ["guest-7"], "none")
        guest = seconds_until(lambda: not takes(server, session_id="guest-7"), began)
        assert takes(server, session_id="guest-8")
        began = time.monotonic()
        assert erase(*state, ["guest-8"]).erased == 1
        erased = seconds_until(lambda: not takes(server, session_id="guest-8"), began)
    print(f"restricted {limited:.2f} s, lifted {lifted:.2f} s, guest {guest:.2f} s, guest erased {erased:.2f} s")
    assert max(limited, lifted, guest) < SECONDS
    assert shop.count("events", "session_id = 'guest-8'") == 0
    assert guest_id("guest-8").encode() not in b"".join(chunk.data for chunk in shop.spool.read({}))
    assert b'"guest-8"' not in b"".join(chunk.data for chunk in shop.spool.read({}))
