"""The state of a shop's recommender in one look: store, served version, and what lies between them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .artifacts import Artifacts, Spool, Version
from .errors import CorruptArtifact, NoModel, StoreMissing
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
    """

    store: StoreSummary | None
    version: Version | None
    damaged: list[str]
    unseen: int | None
    spool_bytes: int

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
    try:
        version = artifacts.current(damaged=lambda e: damaged.append(e.message))
    except (NoModel, CorruptArtifact):
        pass
    held, position = None, {}
    try:
        with store.reading() as con:
            held, position = summary(con), spool_position(con)
    except StoreMissing:
        if version is None:
            raise
    unseen = max(held.events - version.manifest["data"]["store_events"], 0) if held and version else None
    backlog = Spool(artifacts.spool_dir).backlog(position)
    return Status(held, version, damaged, unseen, backlog)
