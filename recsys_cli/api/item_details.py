"""Lists with details of their items as the shop's product service has them now, within a budget of time each.

What is fresh enough comes from memory. For the rest the service is asked, and waited for until the answer's time is up;
what it says later is there for the next answer. What it said before is shown while it fails, and without that, what the
catalogue says.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from ..connections import DetailsSettings
from ..errors import RecsysError
from ..supervisor import said_by
from . import prometheus
from .call import Reply
from .circuit import CLOSED, HALF_OPEN, OPEN, Circuit
from .product_service import MOST_IDS, NOTHING, Details, ProductService

_MOST_ITEMS = 200  # of one answer
_MOST_ASKING = 16  # requests under way
_MOST_TAGS = 5000
FRESH, STALE, CATALOGUE = "fresh", "stale", "catalogue"
_LEVEL = {CLOSED: 0, HALF_OPEN: 1, OPEN: 2}


@dataclass(slots=True)
class _Held:
    """What was last said of an item, when, and by which answer (their number) it became that."""

    details: Details
    at: float
    since: int


class ItemDetails:
    """Puts details into lists.

    Parameters
    ----------
    log
        Told when the circuit opens and closes.
    """

    def __init__(self, settings: DetailsSettings, log: Callable[..., None]) -> None:
        self._settings, self._log = settings, log
        self._service = ProductService(settings)
        self.circuit = Circuit(settings.patience, settings.rest)
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._tags: OrderedDict[tuple[str, ...], tuple[str, int]] = OrderedDict()  # and the number of its answer
        self._answers = 0
        self._asking: dict[tuple[str, ...], asyncio.Task[None]] = {}

    async def put_into(self, reply: Reply) -> Reply:
        """The same list with details, and with `details` saying whether they are fresh; see `answers.ListAnswer`."""
        body = orjson.loads(reply.body)
        items = body["items"][:_MOST_ITEMS]
        if not items:
            return reply
        now, states = time.monotonic(), set()
        await self._fetch([item["item_id"] for item in items])
        for item in items:
            held = self._held.get(item["item_id"])
            if held is None or now - held.at > self._settings.stale:
                states.add(CATALOGUE)
                continue
            states.add(FRESH if now - held.at <= self._settings.ttl else STALE)
            item.update(held.details.known)
            if held.details.more:
                item["details"] = held.details.more
        body["details"] = next(state for state in (CATALOGUE, STALE, FRESH) if state in states)
        prometheus.DETAILS.labels(body["details"]).inc()
        reply.body = orjson.dumps(body)
        return reply

    async def _fetch(self, ids: Iterable[str]) -> None:
        """Bring what is old up to date; returns when that is done, or when the answer's time is up."""
        now = time.monotonic()
        old = sorted(
            {one for one in ids if (held := self._held.get(one)) is None or now - held.at > self._settings.ttl}
        )
        waits = [
            task for start in range(0, len(old), MOST_IDS) if (task := self._ask(tuple(old[start : start + MOST_IDS])))
        ]
        if waits:
            await asyncio.wait(waits, timeout=self._settings.budget_ms / 1000)

    def _ask(self, ids: tuple[str, ...]) -> asyncio.Task[None] | None:
        """The question for these items, which others may have asked already; None while nothing is asked."""
        if ids in self._asking:
            return self._asking[ids]
        if len(self._asking) >= _MOST_ASKING or not self.circuit.may_ask():
            return None
        task = self._asking[ids] = asyncio.create_task(self._answered(ids))
        task.add_done_callback(lambda _: self._asking.pop(ids, None))
        return task

    async def _answered(self, ids: tuple[str, ...]) -> None:
        before, started = self.circuit.state, time.perf_counter()
        try:
            told = await self._service.ask(ids, self._tag(ids))
        except asyncio.CancelledError:
            self.circuit.failed("stopped")
            raise
        except Exception as e:  # noqa: BLE001 - whatever the service does, the list is answered
            self.circuit.failed(e.message if isinstance(e, RecsysError) else said_by(e))
            prometheus.DETAILS_ASKED.labels("failed").inc()
            if before == CLOSED and self.circuit.state == OPEN:
                self._log("details_off", error=self.circuit.error)
            return
        self.circuit.succeeded()
        prometheus.DETAILS_ASKED.labels("unchanged" if told.items is None else "answered").inc()
        prometheus.DETAILS_SECONDS.observe(time.perf_counter() - started)
        if before != CLOSED:
            self._log("details_on")
        self._hold(ids, told.items, told.etag)

    def _tag(self, ids: tuple[str, ...]) -> str:
        """The tag of what is held of all these; empty where other answers have changed some of it since: a price that
        went down and up again is the one of the tag, and not the one that is held."""
        tag, number = self._tags.get(ids, ("", 0))
        held = [self._held.get(one) for one in ids]
        return tag if all(one is not None and one.since <= number for one in held) else ""

    def _hold(self, ids: tuple[str, ...], items: dict[str, Details] | None, etag: str) -> None:
        now = time.monotonic()
        if items is not None:
            self._answers += 1
        number = self._answers if items is not None else self._tags.get(ids, ("", 0))[1]
        for one in ids:
            held = self._held.get(one)
            if items is None:
                if held is not None and held.since <= number:  # not what others have been told while this was asked
                    held.at = now
            elif held is None or held.details != items.get(one, NOTHING):
                self._held[one] = _Held(items.get(one, NOTHING), now, number)
            else:
                held.at = now
            if one in self._held:
                self._held.move_to_end(one)
        while len(self._held) > self._settings.remembered:
            self._held.popitem(last=False)
        self._tags.pop(ids, None)
        if etag:
            self._tags[ids] = etag, number
        while len(self._tags) > _MOST_TAGS:
            self._tags.popitem(last=False)

    @property
    def words(self) -> str:
        """How it is, for `GET /status`."""
        state = self.circuit.state
        if state == CLOSED:
            again = f"; the last request failed: {self.circuit.error}" if self.circuit.failures else ""
            return f"on, {len(self._held):,} items remembered{again}"
        return f"not asked for now ({state}): {self.circuit.error}"

    def gauge(self) -> None:
        """Bring the metric of its state up to date."""
        prometheus.DETAILS_CIRCUIT.set(_LEVEL[self.circuit.state])

    async def close(self) -> None:
        """Stop asking."""
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        await self._service.close()
