"""What handlers work with: one object for each server process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..artifacts import Artifacts, SpoolWriter, consumer_state, running, worker_state
from ..artifacts.keys import KeyRing
from ..artifacts.served_log import ServedLog
from ..connections import DetailsSettings
from ..errors import RecsysError
from ..serving.arms import Comparison
from ..serving.reloader import Live, Log
from ..serving.rules import Rules
from ..settings import IngestSettings, ServeSettings
from . import prometheus
from .access import Access, read_proxies
from .audit_trail import AuditTrail
from .event_limits import EventLimits
from .event_sink import EventSink
from .item_details import ItemDetails
from .live_settings import LiveSettings, Source
from .tokens import Tokens

_STATES_EVERY = 1.0  # seconds
_COUNTED = {"version_served": prometheus.SWAPS, "version_refused": prometheus.REFUSED}


@dataclass
class Service:
    """The engine, the spool and the settings of one server process.

    Parameters
    ----------
    settings
        The server's own.
    live
        Keeps the engine up to date.
    sink
        Takes events.
    images
        Folder shown under /sample-images/, or None.
    swap_share
        See `arms.Comparison`.
    earliest
        The day before which no event is taken, as `ingest.earliest`.
    event_types
        The shop's own words for types of events, as `ingest.event_types`.
    """

    settings: ServeSettings
    live: Live
    images: Path | None
    log: Log
    swap_share: float = 0.0
    earliest: str = IngestSettings.earliest
    event_types: Mapping[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    sink: EventSink = field(init=False)
    access: Access = field(init=False)
    tokens: Tokens | None = field(init=False)
    served: ServedLog = field(init=False)
    audit: AuditTrail = field(init=False)
    comparison: Comparison = field(init=False)
    settings_now: LiveSettings = field(init=False)
    _active: Sequence[running.Experiment] = ()
    _compared: tuple[int, int] = (0, 0)
    _figures: tuple[int, int] = (0, 0)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _catching_up: asyncio.Task[None] | None = None
    _states_at: float = 0.0
    limits: EventLimits = field(init=False)
    details: ItemDetails | None = None
    spool_error: str = ""
    buffered: int = 0  # bytes of bodies that have not arrived whole

    def enrich(self, settings: DetailsSettings) -> None:
        """Put details of the shop's product service into lists, if the settings name one.

        Raises
        ------
        UsageError, MissingDependency
        """
        if settings.url:
            self.details = ItemDetails(settings, self.log)

    def follow(self, source: Source | None, placements: Mapping[str, Any]) -> None:
        """Serve these placements, and take up what changes of them and of the rules in the settings file."""
        self.settings_now = LiveSettings(source, placements, self.log)
        self._want_versions()

    @staticmethod
    def of(
        settings: ServeSettings,
        rules: Rules,
        artifacts: Artifacts,
        secret: str,
        images: Path | None,
        log: Log,
        swap_share: float = 0.0,
    ) -> Service:
        """A service on an artifacts directory; `secret` as in `identity.load_secret`."""

        def counted(event: str, **facts: Any) -> None:
            if event in _COUNTED:
                _COUNTED[event].inc()
            log(event, **facts)

        live = Live(artifacts, secret, settings.poll, counted, rules, ranker_ms=settings.ranker_ms)
        return Service(settings, live, images, log, swap_share)

    def __post_init__(self) -> None:
        # Not divided by the workers: a client that keeps its connection meets the same one every time.
        keys = KeyRing(self.live.artifacts.root)
        proxies = read_proxies(self.settings.trusted_proxies)
        given = self.settings
        self.tokens = Tokens(given) if given.jwt_keys is not None else None
        signed = self.tokens.check if self.tokens else None
        self.access = Access(keys, given.rate_limit, given.cors_origins, proxies, given.role_rates, signed)
        self.live.also = self._also
        self.served = ServedLog(SpoolWriter(self.live.artifacts.served_dir), self.settings.log_share)
        root, secret = self.live.artifacts.root, self.live.secret
        self.audit = AuditTrail(root, secret, self.settings.audit_predictions, self.log)
        # What was answered is on disk before anybody is told that it was seen.
        self.limits = EventLimits(self.settings)
        self.sink = EventSink(SpoolWriter(self.live.artifacts.spool_dir), self._written, self.served.flush)
        self.comparison = self._comparison(())
        self.settings_now = LiveSettings(None, {}, self.log)

    async def start(self) -> None:
        """Begin to keep up; the version is loaded by `live.start` before."""
        task = asyncio.create_task(self.live.run())
        self._tasks.add(task)

    async def stop(self) -> None:
        """Finish what was acknowledged or is being written, then let go."""
        self.live.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.sink.close()
        await self.audit.close()
        await asyncio.to_thread(self.served.close)
        if self.details is not None:
            await self.details.close()

    async def write(self, lines: Sequence[dict[str, Any]]) -> None:
        """Return once the lines are on disk; that they cannot be is logged once, and shown by /health.

        Raises
        ------
        StoreError
        """
        try:
            await self.sink.append(lines)
        except RecsysError as e:
            if e.message != self.spool_error:
                self.log("events_not_written", error=e.message)
            self.spool_error = e.message
            raise
        if self.spool_error:
            self.log("events_written_again")
            self.spool_error = ""

    def _written(self) -> None:
        # The next request to this process sees the event, without waiting for the next look.
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = asyncio.create_task(self.live.catch_up())

    def _also(self) -> None:
        """At every look at what others did."""
        self.access.keys.refresh()
        if self.tokens is not None:
            self.tokens.refresh()
        if self.live.engine is not None and self.live.engine.overlay is not None:
            for lag in self.live.engine.overlay.take_lags():
                prometheus.LAG.observe(lag)
        if self.served.due:
            self.sink.flush_before()
        self.audit.look()
        self._look_at_experiments()
        if (rules := self.settings_now.look()) is not None:
            self.live.rule_by(rules)
            self._want_versions()
        # Each process speaks for itself, also when Prometheus happens to ask the others only.
        if time.monotonic() - self._states_at >= _STATES_EVERY:
            self.gauges()

    def _look_at_figures(self) -> None:
        """Pass on to Prometheus what the worker counted, once for each time it did."""
        file = running.report_file(self.live.artifacts.root)
        seen = running.stamp(file.path)
        if seen != self._figures:
            self._figures = seen
            prometheus.observe_report(file.read())

    def _look_at_experiments(self) -> None:
        """Take up what was started or stopped (one `stat` when nothing was)."""
        seen = running.stamp(self.live.artifacts.root / running.FILE)
        if seen != self._compared:
            active = running.read(self.live.artifacts.root).active()
            self.comparison = self._comparison(active)
            self._compared = seen
            self._active = active
            self._want_versions()

    def _comparison(self, active: Sequence[running.Experiment]) -> Comparison:
        placements = lambda: self.settings_now.placements  # noqa: E731
        return Comparison(active, self.live.other, self.settings.holdout, self.swap_share, placements)

    def _want_versions(self) -> None:
        """Those that experiments compare and placements name."""
        compared = {arm.removeprefix("version:") for one in self._active for arm in one.arms if ":v" in arm}
        self.live.want(compared | {p.version for p in self.settings_now.placements.values() if p.version})

    def gauges(self) -> None:
        """Bring the metrics up to date that are states, not counts."""
        self._states_at = time.monotonic()
        if self.live.engine is not None:
            prometheus.SERVED.version = self.live.ready().version
            prometheus.VERSION_AGE.set(self.live.created_at)
            prometheus.WORKER_AGE.set(time.time() - self.live.created_at)
            prometheus.observe_steps(self.live.engine.watch.take())
            times, late = self.live.engine.second.take_counts()
            for seconds in times:
                prometheus.RANKER_SECONDS.observe(seconds)
            prometheus.RANKER_LATE.inc(late)
            if self.live.engine.overlay is not None:
                waiting, since = self.live.spool.waiting(self.live.engine.overlay.floor)
                prometheus.BACKLOG.set(waiting)
                self.limits.note_waiting(waiting, time.time() - since)
        for loop in self.live.loops:
            prometheus.LOOP_FAILURES.labels(loop.state.name).set(loop.state.failures)
        if self.details is not None:
            self.details.gauge()
        self._look_at_figures()
        worker = worker_state.read(self.live.artifacts.root)
        prometheus.WORKER_PASS.set(worker.ended_at)
        prometheus.WORKER_FAILURES.set(worker.failures)
        prometheus.WORKER_LAG.set(worker.lag_seconds)
        consumed = consumer_state.file(self.live.artifacts.root).read_or_empty()
        if consumed.at:
            prometheus.observe_consumer(consumed.at, consumed.counts())
        statm = Path("/proc/self/statm")
        if statm.exists():
            prometheus.MEMORY.set(int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
