"""How the update worker is: one small file that the status command and the server read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..state_file import StateFile

FILE = "worker.json"


@dataclass(frozen=True)
class Health:
    """The last pass, and how many before it failed.

    Parameters
    ----------
    started_at, ended_at
        Epoch seconds of the last pass.
    outcome
        "published", "nothing new", "drained" (taken, but there is no model yet) or "failed".
    version
        The current version after the pass; None before the first one.
    training
        The last training that a pass did: its reason, version, whether it is served, and the gate's verdict.
    message
        What went wrong, when it failed.
    failures
        Passes failed in a row.
    last_success_at
        End of the last pass that did not fail; None when none has.
    lag_seconds
        Age of the oldest event that was waiting when the pass began; 0 when none was.
    backlog_bytes
        What the pass left in the spool.
    passes, published
        Since this file was made.
    links
        Links in the watched folder, which are not followed.
    seen
        Files of the watched folder that were dealt with: name to size, time and inode.
    """

    started_at: float = 0.0
    ended_at: float = 0.0
    outcome: str = ""
    version: str | None = None
    training: dict[str, Any] | None = None
    message: str = ""
    failures: int = 0
    last_success_at: float | None = None
    lag_seconds: float = 0.0
    backlog_bytes: int = 0
    passes: int = 0
    published: int = 0
    links: list[str] = field(default_factory=list)
    seen: dict[str, list[int]] = field(default_factory=dict)

    def succeeded(self, **values: Any) -> Health:
        """The health after a pass that went well."""
        fresh = replace(self, **{"message": "", "failures": 0, **values})
        more = int(fresh.outcome == "published")
        return replace(fresh, last_success_at=fresh.ended_at, passes=self.passes + 1, published=self.published + more)

    def failed(self, **values: Any) -> Health:
        """The health after a pass that did not."""
        fresh = replace(self, **{"outcome": "failed", **values})
        return replace(fresh, failures=self.failures + 1, passes=self.passes + 1)


def file(root: Path) -> StateFile[Health]:
    """Where the health of the worker of one artifacts directory is kept."""
    return StateFile(root / FILE, Health, Health, "The next pass writes it again.")


def read(root: Path) -> Health:
    """The health of the worker; all empty when it has never run.

    A damaged file counts as none: the worker writes another with its next pass, and files of the watched folder that
    it looks at again are known by their content.
    """
    return file(root).read_or_empty()


def write(root: Path, health: Health) -> None:
    """Replace the file."""
    file(root).write(health)
