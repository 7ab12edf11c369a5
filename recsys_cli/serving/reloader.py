"""A server process's engine, kept up with what other processes publish and receive."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..artifacts import Artifacts, Spool, Version
from ..artifacts.choices import Choices
from ..errors import CorruptArtifact, NoModel, NotFound
from ..schema import DAY
from ..supervisor import Supervisor
from .engine import Engine
from .live_events import Overlay
from .rules import NO_RULES, Rules

Log = Callable[..., None]
_LISTS_DAYS = 7  # that a satellite keeps its log of answered lists
_TIDY_SECONDS = 600.0  # between searches for garbage, when no version is published meanwhile


@dataclass
class Live:
    """Watches the artifacts directory and swaps engines by one assignment.

    Parameters
    ----------
    artifacts
        The version being served.
    secret
        See `identity.load_secret`.
    poll
        Seconds between looks.
    log
        Told of swaps and refusals: an event's name and its facts.
    rules
        The shop's.
    also
        Called at every look.
    ranker_ms
        Milliseconds that the ranker may take for a list.
    satellite
        The database is on another machine, whose worker copies what this one receives (`updates.collection`): what
        the served version says was taken in is deleted here, a day after it was received.

    Attributes
    ----------
    loops
        What keeps this up to date; `supervisor.reasons` of them says why `/ready` must not say yes.
    """

    artifacts: Artifacts
    secret: str
    poll: float
    log: Log
    rules: Rules = NO_RULES
    engine: Engine | None = None
    created_at: float = 0.0
    swaps: int = 0
    refused: int = 0
    _pointer: str | None = None
    _tidied: float = 0.0
    choices: Choices = field(init=False)
    loops: tuple[Supervisor, ...] = field(init=False)
    also: Callable[[], None] | None = None
    _others: dict[str, Engine] = field(default_factory=dict)
    _wanted: frozenset[str] = frozenset()
    ranker_ms: float = 10.0
    satellite: bool = False
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        # A look at the decisions is never put off for long: who takes a key back may rely on one second.
        self.loops = (
            Supervisor("look-out for choices and keys", self.poll, longest=self.poll),
            Supervisor("look-out for new versions", self.poll, longest=10.0),
            Supervisor("reader of received events", self.poll, longest=5.0),
        )
        self.choices = Choices(self.artifacts.root, self.secret)
        self.choices.refresh()

    @property
    def spool(self) -> Spool:
        """What servers received."""
        return Spool(self.artifacts.spool_dir)

    def ready(self) -> Engine:
        """The engine.

        Raises
        ------
        NoModel
            There is none yet.
        """
        if self.engine is None:
            raise NoModel("No version is loaded yet.", "Run recsys train; the server takes what it publishes.")
        return self.engine

    def want(self, versions: Iterable[str]) -> None:
        """Keep engines on these versions as well: an experiment compares them with the served one."""
        self._wanted = frozenset(versions)
        self._others = {name: engine for name, engine in self._others.items() if name in self._wanted}

    def other(self, version: str) -> Engine | None:
        """The engine on a wanted version; None while it is being loaded, and when it cannot be."""
        return self._others.get(version)

    def rule_by(self, rules: Rules) -> None:
        """Answer by other rules from the next look on; the same ones change nothing."""
        if rules != self.rules:
            self.rules = rules

    async def _load_wanted(self) -> None:
        for name in sorted(self._wanted - self._others.keys()):
            version = await asyncio.to_thread(self._whole, name)
            if version is None:
                self._wanted -= {name}  # said once; a new look at the experiments asks for it again
            elif name in self._wanted:
                self._others[name] = await asyncio.to_thread(self._engine_on, version)

    def start(self, pointer: str | None, newest: Version, damaged: Sequence[CorruptArtifact]) -> None:
        """Load a version, or the newest older one that is whole and can be read.

        Parameters
        ----------
        pointer
            What was pointed to before `newest` was chosen.
        newest
            The current version as `Artifacts.current` gives it, checked.
        damaged
            The versions that were passed over for it.

        Raises
        ------
        NoModel
        """
        self._pointer = pointer
        for error in damaged:
            self._refuse(error)
        engine = self._built(newest)
        names = self.artifacts.names()
        older = names[: names.index(newest.name)] if newest.name in names else names  # removed since
        while engine is None and older:
            engine = self._open(older.pop())
        if engine is None:
            raise NoModel(f"No version in {self.artifacts.versions_dir} can be read.", "Run recsys train.")
        self._take(engine)

    async def run(self) -> None:
        """Keep up until `stop`: each part by itself, so that no trouble of one keeps another from its work."""
        steps = (self._look_for_decisions, self._look_for_versions, self._look_for_events)
        await asyncio.gather(*(s.run_async(step, self._stop) for s, step in zip(self.loops, steps, strict=True)))

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    async def look(self) -> None:
        """Take all that is new, once."""
        await self._look_for_decisions()
        await self._look_for_versions()
        await self._look_for_events()

    async def _look_for_decisions(self) -> None:
        """What people chose and which keys there are; counts and garbage besides."""
        self.choices.refresh()
        if self.also is not None:
            self.also()
        if time.monotonic() - self._tidied > _TIDY_SECONDS:
            gc.collect()
            self._tidy()

    async def _look_for_versions(self) -> None:
        """Another current version, or a spool in which somebody was forgotten."""
        await self._load_wanted()
        name = self.artifacts.current_name()
        engine = self.engine
        if name is not None and name != self._pointer:
            if self.satellite and not self._arrived(name):
                return  # what keeps the folders in step may bring the pointer first
            fresh = await asyncio.to_thread(self._open, name)
            self._pointer = name
            if fresh is not None:
                await self._take_over(fresh)
        elif engine is not None and engine.rules is not self.rules:
            self._others = {}
            again = await asyncio.to_thread(self.artifacts.open, engine.version, verify=False)
            await self._take_over(await asyncio.to_thread(self._build, again))
        elif engine is not None and engine.overlay is not None and self.spool.epoch() != engine.overlay.epoch:
            # Somebody was forgotten: what this process remembers of them goes with the old engine.
            self._others = {}
            again = await asyncio.to_thread(self.artifacts.open, engine.version, verify=False)
            self._take(await asyncio.to_thread(self._build, again))

    def _arrived(self, name: str) -> bool:
        """Whether a version has been copied here, as far as the sizes of its files tell."""
        try:
            version = self.artifacts.open(name, verify=False)
            files = version.manifest["files"].items()
            return all(version.file(file).stat().st_size == entry["bytes"] for file, entry in files)
        except (CorruptArtifact, NotFound, OSError):
            return False

    async def _look_for_events(self) -> None:
        await self.catch_up()

    async def catch_up(self) -> None:
        """Take new lines of the spool, a little at a time so that nobody waits long."""
        # Two readers at once would take the same lines twice.
        async with self._reading:
            for engine in (self.engine, *self._others.values()):
                if engine is None:
                    continue
                before = engine.set_aside
                for _ in engine.catch_up():
                    await asyncio.sleep(0)
                if engine.set_aside > before:
                    self.log("lines_set_aside", version=engine.version, lines=engine.set_aside - before)

    def _open(self, name: str) -> Engine | None:
        """The engine on the version pointed to; None when it is damaged, and the served version stays."""
        version = self._whole(name)
        return None if version is None else self._built(version)

    def _whole(self, name: str) -> Version | None:
        try:
            return self.artifacts.open(name)
        except (CorruptArtifact, NotFound) as e:
            self._refuse(e)
            return None

    def _built(self, version: Version) -> Engine | None:
        try:
            return self._build(version)
        except CorruptArtifact as e:
            self._refuse(e)
            return None

    def _build(self, version: Version) -> Engine:
        engine = self._engine_on(version)
        self.created_at = version.manifest["created_at"]
        return engine

    def _engine_on(self, version: Version) -> Engine:
        days = self.rules.settings.shown_days
        overlay = Overlay(self.spool, dict(version.manifest["spool"]), self.secret, days)
        engine = Engine.open(version, self.secret, overlay, self.rules, self.choices, self.ranker_ms)
        # Here, in a thread, and not while the first visitor waits.
        engine.retrieval.warm()
        if self.engine is not None:
            engine.catalogue.attributes.prepare(self.engine.catalogue.attributes.used)
        before = self.engine.overlay if self.engine is not None else None
        if before is None or not overlay.follows(before):
            for _ in engine.catch_up():
                pass
        overlay.take_lags()
        if self.satellite:
            self._let_go(version)
        return engine

    async def _take_over(self, engine: Engine) -> None:
        """Serve the next version, with what the engine before it heard: a day of spool takes long to read again."""
        async with self._reading:
            before = self.engine.overlay if self.engine is not None else None
            unread = engine.overlay is not None and not engine.overlay.position
            if before is not None and engine.overlay is not None and unread and engine.overlay.follows(before):
                for _ in engine.take_over(before):
                    await asyncio.sleep(0)
            self._take(engine)

    def _let_go(self, version: Version) -> None:
        """Delete what the worker has taken in from this machine's logs."""
        now, lists = time.time(), Spool(self.artifacts.served_dir)
        self.spool.remove_drained(version.manifest["spool"], now - DAY)
        lists.remove_drained(lists.segments(), now - _LISTS_DAYS * DAY)  # no version says how far these were taken

    def _take(self, engine: Engine) -> None:
        self.engine = engine
        if self.swaps:
            gc.collect()
        self._tidy()
        self.swaps += 1
        self.log("version_served", version=engine.version, items=len(engine.catalogue), users=len(engine.bundle.keys))

    def _tidy(self) -> None:
        """From now on look for garbage only among what is young.

        What a version holds, and what is remembered of customers, lives long: left to itself the collector goes
        through all of it every second or so while customers come, and each time everybody waits for 60 ms.
        """
        gc.freeze()
        gc.set_threshold(2_000, 5, 1_000_000)
        self._tidied = time.monotonic()

    def _refuse(self, error: Any) -> None:
        self.refused += 1
        self.log("version_refused", error=str(error))
