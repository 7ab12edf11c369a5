"""The state of a shop's recommender in one look: store, served version, and what lies between them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .artifacts import Artifacts, Spool, Version, consumer_state, worker_state
from .artifacts.consumer_state import Consumption
from .artifacts.worker_state import Health
from .errors import NewerVersion, NoModel, RecsysError, StoreBusy, StoreMissing
from .gdpr.records.journal import unfinished
from .ranking.outcome import RANKER, told, unusable
from .store import Store
from .store.reading import StoreSummary, spool_position, summary
from .store.retention import told as retention_told


@dataclass(frozen=True)
class Status:
    """What `recsys status` shows.

    Parameters
    ----------
    store
        None when there is no database yet.
    version
        None when nothing usable has been published.
    damaged
        Sentences about versions that were passed over because their files have changed.
    unseen
        Events in the store that the served version does not know.
    spool_bytes
        Received by the server, not yet taken into the store.
    worker
        The update worker's last pass; None when it has never run.
    kept_back
        Newest model that the gate refused, and why; empty when the newest training is served.
    consumer
        What was taken from the shop's queue; None when it never was.
    retention
        From when on events that are too old are erased; empty when none are.
    erasures
        Those that were interrupted, or whose proof has failed, as a sentence; empty when there are none.
    busy
        Why the database could not be looked at: nobody is waited for.
    """

    store: StoreSummary | None
    version: Version | None
    damaged: list[str]
    unseen: int | None
    spool_bytes: int
    worker: Health | None = None
    kept_back: str = ""
    erasures: str = ""
    busy: str = ""
    retention: str = ""
    consumer: Consumption | None = None

    def as_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"store": asdict(self.store) if self.store else None}
        if self.version is None:
            shown["version"] = None
        else:
            manifest = self.version.manifest
            keys = ("name", "kind", "created_at", "parent")
            shown["version"] = {k: manifest.get(k) for k in keys} | {
                "model": manifest["model"]["name"],
                "last_ts": self.version.newest_ts,
                "unseen_events": self.unseen,
                "ranker": _ranker(self.version),
            }
        if self.busy:
            shown["database"] = self.busy
        if self.erasures:
            shown["erasure"] = self.erasures
        if self.retention:
            shown["retention"] = self.retention
        if self.kept_back:
            shown["kept back"] = self.kept_back
        if self.worker is not None:
            w, training = self.worker, self.worker.training
            shown["worker"] = {
                "last_pass_at": int(w.ended_at),
                "outcome": w.outcome,
                "message": w.message or None,
                "failures_in_a_row": w.failures,
                "lag_seconds": round(w.lag_seconds, 1),
                "last_training": _told(training) if training else None,
            } | ({"links_not_followed": ", ".join(w.links)} if w.links else {})
        if self.consumer is not None:
            c = self.consumer
            how = "stopped" if c.stopped else "connected" if c.connected else "not connected"
            shown["consumer"] = {"state": how, "last_word_at": int(c.at), "message": c.error or None, **c.counts()}
        return shown | {"damaged": self.damaged or None, "spool": {"waiting_bytes": self.spool_bytes}}


def status(store: Store, artifacts: Artifacts) -> Status:
    """Look at everything without changing anything and without waiting for anybody.

    Raises
    ------
    StoreMissing
        When there is neither a database nor a version.
    """
    damaged: list[str] = []
    version = None
    with contextlib.suppress(NoModel, NewerVersion):
        version = artifacts.current(damaged=lambda e: damaged.append(e.message))
    held, position, busy = None, {}, ""
    try:
        with store.impatient().reading() as con:
            held, position = summary(con), spool_position(con)
    except StoreMissing:
        if version is None:
            raise
    except StoreBusy as e:
        busy = f"{e.message} Its contents were not checked."
        position = dict(version.manifest["spool"]) if version else {}
    unseen = max(held.events - version.manifest["data"]["store_events"], 0) if held and version else None
    backlog = Spool(artifacts.spool_dir).backlog(position)
    worker = worker_state.read(artifacts.root)
    last = worker if worker.passes else None
    consumed = consumer_state.file(artifacts.root).read_or_empty()
    retention = retention_told(store.path)
    return Status(
        held, version, damaged, unseen, backlog, last, _kept_back(artifacts), _erasures(store.path), busy,
        retention.held or retention.announced, consumed if consumed.at else None,
    )  # fmt: skip


def _ranker(version: Version) -> str:
    """Whether the version's ranker is on, and why not."""
    if trouble := unusable(version):
        return f"off: {trouble[0]}. {trouble[1]}."
    return told(version.manifest.get(RANKER) or {})


def _told(training: dict[str, Any]) -> str:
    """The last training of a worker: its version and reason; why there is no version, when it failed."""
    return f"{training['version'] or training['verdict']}: {training['reason']}"


def _erasures(db: Path) -> str:
    """What is unfinished, and when the worker tries it again by itself."""
    held = unfinished(db)
    if not held:
        return ""
    count = "unfinished" if len(held) == 1 else f"{len(held)} unfinished"
    failed = [plan for plan in held if plan.next_at]
    if not failed:
        return f"{count}: run recsys gdpr resume"
    soonest = min(plan.next_at for plan in held)
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(soonest)) if soonest else "with its next pass"
    tries = sum(plan.failures for plan in failed)
    return (
        f"{count} after {tries} failed {'try' if tries == 1 else 'tries'}; the worker tries again {when}; "
        "run recsys gdpr resume to see what is left, and to try at once"
    )


def _kept_back(artifacts: Artifacts) -> str:
    """What became of the newest training, if it is not served: its version and the gate's sentence."""
    for name in reversed(artifacts.names()):
        try:
            manifest = artifacts.open(name, verify=False).manifest
        except RecsysError:
            continue
        if manifest.get("kind") == "train":
            gate = manifest.get("gate", {})
            refused = not (gate.get("promote", True) or gate.get("forced") or name == artifacts.current_name())
            return f"{name}: {gate['reason']}" if refused else ""
    return ""
