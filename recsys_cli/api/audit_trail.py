"""What a server notes in the audit logs: acts of keys before they are answered, and, by setting, every list."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson

from ..artifacts.audit_log import PREDICTIONS, AuditLog, Entry, hash_of
from ..artifacts.choices import ERASED, Choices
from ..artifacts.served_log import Answered
from ..errors import RecsysError, Refused
from ..identity import pseudonym, user_key
from ..schema import guest_id
from .access import NoKey
from .call import Call, Route
from .event_sink import GroupCommit

_FLUSH_EVERY = 2.0  # seconds
_MOST_WAITING = 1_000_000  # items of predictions in memory, a hundred MB or so
_WEBHOOKS = "/webhooks/"


class AuditTrail:
    """The audit logs as one server process writes them.

    Parameters
    ----------
    root
        The artifacts directory.
    secret
        See `identity.load_secret`.
    predictions
        Whether answered lists are noted.
    log
        Told, once until it works again, that predictions cannot be written.
    """

    def __init__(self, root: Path, secret: str, predictions: bool, log: Callable[..., None]) -> None:
        self._secret, self._log = secret, log
        self._choices = Choices(root, secret)  # of its own: it is read in the writing thread
        self._actions: GroupCommit[Entry] = GroupCommit(partial(AuditLog(root).append, gone=self._gone))
        self._predictions = AuditLog(root, PREDICTIONS) if predictions else None
        self._waiting: list[Entry] = []
        self._items = 0  # of the lists that wait
        self._failed: list[Entry] = []  # touched by the writing thread alone
        self._flushed = time.monotonic()
        self._error = ""
        self.dropped = 0

    async def note(self, route: Route, call: Call, error: RecsysError | None) -> None:
        """Note what a caller did, or was refused, before the answer goes out.

        Strangers and public pages that were refused are not noted: anybody could fill the log. Nor is what was to be
        changed where it was not: it may be anything.

        Raises
        ------
        StoreError
            It cannot be written.
        """
        webhook = route.path.startswith(_WEBHOOKS)
        if isinstance(error, NoKey) or (isinstance(error, Refused) and (webhook or call.caller.signing)):
            return
        if webhook and error is not None and not call.raw:
            return  # it was not even read, so nobody has looked at its signature
        outcome = "done" if error is None else f"failed: {error.code}"
        facts: dict[str, Any] = {"request_id": call.request_id}
        facts |= {name: value for name, value in call.path.items() if name not in ("user_id", "session_id")}
        if route.scope == "merchandise" and call.body is not None and error is None:
            facts["change"] = call.body
        by = {"platform": route.path.split("/")[2]} if webhook else call.caller.described
        people, keys = self._people(call)
        entry = Entry(by, f"{route.method} {route.path}", outcome, facts, people, keys=keys)
        await self._actions.append([entry])

    def _people(self, call: Call) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
        def named(what: str) -> Any:
            return call.path.get(what) or call.query.get(what) or getattr(call.body, what, None)

        user, session = named("user_id"), named("session_id")
        owners = [*([pseudonym(self._secret, user)] if user else []), *([guest_id(session)] if session else [])]
        return tuple(hash_of(self._secret, one) for one in owners), tuple(user_key(self._secret, one) for one in owners)

    def _gone(self, entry: Entry) -> bool:
        """Whether somebody of an entry has been erased since it was made: what waits must not outlast the erasure."""
        self._choices.refresh()
        return any(self._choices.of(key).mode == ERASED for key in entry.keys)

    def predicted(self, call: Call, answered: Answered) -> None:
        """Remember an answered list until the next flush."""
        if self._predictions is None:
            return
        self._items += 1 + len(answered.items)
        if self._items > _MOST_WAITING:
            self.dropped += 1
            return
        facts = {"request_id": call.request_id, "version": answered.version, "items": list(answered.items)}
        # By hash already here: what waits must not hold a megabyte of somebody's body for each list.
        parts = (call.query_string, orjson.dumps(dict(call.path), option=orjson.OPT_SORT_KEYS), call.raw)
        asked = {"asked": [hashlib.sha256(part).hexdigest() for part in parts]}
        people, keys = self._people(call)
        entry = Entry(call.caller.described, answered.route, "done", facts, people, asked, time.time(), keys)
        self._waiting.append(entry)

    def look(self) -> None:
        """Have what waits written, in the writing thread, when it has waited long enough."""
        if self._waiting and time.monotonic() - self._flushed >= _FLUSH_EVERY:
            self._flushed = time.monotonic()
            batch, self._waiting, self._items = self._waiting, [], 0
            self._actions.soon(partial(self._flush, batch))

    def _flush(self, batch: list[Entry]) -> None:
        waiting = [*self._failed, *batch]
        items = accumulate(1 + len(entry.facts["items"]) for entry in waiting)
        self._failed = [entry for entry, held in zip(waiting, items, strict=True) if held <= _MOST_WAITING]
        self.dropped += len(waiting) - len(self._failed)
        if self._predictions is None or not self._failed:
            return
        try:
            self._predictions.append(self._failed, gone=self._gone)
            self._failed, self._error = [], ""
            if self.dropped:
                self._log("predictions_left_out_of_the_audit_log", count=self.dropped)
                self.dropped = 0
        except RecsysError as e:
            if e.message != self._error:
                self._log("predictions_not_audited", error=e.message)
            self._error = e.message

    async def close(self) -> None:
        """Finish what was begun."""
        await self._actions.close(partial(self._flush, self._waiting))
