"""The state of a shop's recommender in one look: store, served version, and what lies between them."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import Any

from .artifacts import Artifacts, Spool, Version, health
from .artifacts.health import Health
from .errors import CorruptArtifact, NoModel, RecsysError, StoreMissing
from .gdpr.journal import pending
from .store import Store
from .store.reading import StoreSummary, spool_position, summary


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
    erasure_unfinished
        An erasure was interrupted; the next one, or the worker's next pass, finishes it.
    """

    store: StoreSummary | None
    version: Version | None
    damaged: list[str]
    unseen: int | None
    spool_bytes: int
    worker: Health | None = None
    kept_back: str = ""
    erasure_unfinished: bool = False

    def as_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"store": asdict(self.store) if self.store else None}
        if self.version is None:
            shown["version"] = None
        else:
            manifest = self.version.manifest
            keys = ("name", "kind", "created_at", "parent")
            shown["version"] = {k: manifest.get(k) for k in keys} | {
                "model": manifest["model"]["name"],
                "last_ts": manifest["data"]["last_ts"],
                "unseen_events": self.unseen,
            }
        if self.erasure_unfinished:
            shown["erasure"] = "unfinished: run recsys gdpr resume"
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
                "last_training": f"{training['version']}: {training['reason']}" if training else None,
            }
        return shown | {"damaged": self.damaged or None, "spool": {"waiting_bytes": self.spool_bytes}}


def status(store: Store, artifacts: Artifacts) -> Status:
    """Look at everything without changing anything.

    Raises
    ------
    StoreMissing
        When there is neither a database nor a version.
    """
    damaged: list[str] = []
    version = None
    with contextlib.suppress(NoModel, CorruptArtifact):
        version = artifacts.current(damaged=lambda e: damaged.append(e.message))
    held, position = None, {}
    try:
        with store.reading() as con:
            held, position = summary(con), spool_position(con)
    except StoreMissing:
        if version is None:
            raise
    unseen = max(held.events - version.manifest["data"]["store_events"], 0) if held and version else None
    backlog = Spool(artifacts.spool_dir).backlog(position)
    worker = health.read(artifacts.root)
    unfinished = pending(store.path) is not None
    last = worker if worker.passes else None
    return Status(held, version, damaged, unseen, backlog, last, _kept_back(artifacts), unfinished)


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
