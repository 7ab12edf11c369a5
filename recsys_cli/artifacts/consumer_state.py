"""How the consumer of the shop's broker is: one small file that status, doctor and the server read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..state_file import StateFile

FILE = "consumer.json"


@dataclass(frozen=True)
class Consumption:
    """What was taken from the broker, and how the consumer is.

    Parameters
    ----------
    at
        Epoch seconds of the last word; 0 when there was never a consumer.
    connected, stopped
        Whether it has its broker; whether it was told to end.
    error
        Why it does not get on; empty while it does.
    taken, known, refused, without_item, dead
        Events on disk; those that had been before, and were delivered again; of people who do not want it; searches
        that led to no item; messages put aside with their reason.
    """

    at: float = 0.0
    connected: bool = False
    stopped: bool = False
    error: str = ""
    taken: int = 0
    known: int = 0
    refused: int = 0
    without_item: int = 0
    dead: int = 0

    def counts(self) -> dict[str, int]:
        """What became of what was delivered."""
        return {name: getattr(self, name) for name in ("taken", "known", "refused", "without_item", "dead")}

    def after(self, before: Consumption) -> Consumption:
        """With the counts of earlier consumers added."""
        earlier = before.counts()
        sums: dict[str, Any] = {name: count + earlier[name] for name, count in self.counts().items()}
        return replace(self, **sums)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def file(root: Path) -> StateFile[Consumption]:
    """Where it is kept."""
    return StateFile(root / FILE, Consumption, Consumption, "It is written again by recsys consume.")
