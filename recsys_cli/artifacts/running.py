"""Which experiments run: one small file beside the versions, read by every server within a second. It names nobody."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import DamagedState, NotFound, UsageError
from ..state_file import StateFile

FILE = "experiments.json"
INTERLEAVED, SPLIT = "interleaved", "split"
RUNNING, STOPPED = "running", "stopped"
HOLDOUT = "holdout"  # the name of the permanent one
RAMP = (0.05, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Experiment:
    """Two ways of making a list, compared on live visitors.

    Parameters
    ----------
    name
        Given by the owner.
    kind
        interleaved: both in one list. split: each visitor always gets the same one.
    arms
        What each is, as it was written; see `serving.arms`.
    salt
        Makes who is in which arm independent of other experiments.
    share
        Of visitors that take part, for kind split; half of them see each arm.
    ramp
        Whether the share grows by itself: see RAMP.
    started_at, ended_at
        Epoch seconds; 0 while it runs.
    state
        running, stopped or promoted.
    reason
        Why it ended, in a sentence.
    history
        What the worker found each day: see `experiments.verdicts`.
    """

    name: str
    kind: str
    arms: tuple[str, str]
    salt: str
    share: float = 1.0
    ramp: bool = False
    started_at: int = 0
    ended_at: int = 0
    state: str = RUNNING
    reason: str = ""
    history: tuple[dict[str, Any], ...] = ()

    def ended(self, state: str, reason: str) -> Experiment:
        return replace(self, state=state, reason=reason, ended_at=int(time.time()))


@dataclass(frozen=True)
class Running:
    """All experiments of a shop by name, ended ones too."""

    experiments: dict[str, Experiment] = field(default_factory=dict)

    def active(self) -> list[Experiment]:
        """Those that run, oldest first."""
        return sorted((e for e in self.experiments.values() if e.state == RUNNING), key=lambda e: e.started_at)

    def get(self, name: str) -> Experiment:
        """One by name.

        Raises
        ------
        NotFound
        """
        if name not in self.experiments:
            known = ", ".join(sorted(self.experiments)) or "none yet"
            raise NotFound(f"There is no experiment '{name}'.", f"Known: {known}.")
        return self.experiments[name]

    def with_one(self, one: Experiment) -> Running:
        return replace(self, experiments={**self.experiments, one.name: one})


def _file(root: Path) -> StateFile[Running]:
    return StateFile(root / FILE, Running, Running, "The experiments that ran are forgotten.")


def read(root: Path) -> Running:
    """What runs, and what ran.

    Raises
    ------
    DamagedState
    """
    return _file(root).read()


def stamp(path: Path) -> tuple[int, int]:
    """Changes whenever the file does; zeros while the file is missing."""
    try:
        now = path.stat()
    except OSError:
        return 0, 0
    return now.st_ino, now.st_mtime_ns


def write(root: Path, running: Running) -> None:
    """Replace the file. Inside `Artifacts.exclusive`."""
    _file(root).write(running)


def compared(root: Path) -> set[str]:
    """Names of the versions that running experiments compare."""
    try:
        arms = [arm for one in read(root).active() for arm in one.arms]
    except DamagedState:  # which must not keep versions from being published; recsys experiment status tells of it
        return set()
    return {arm.removeprefix("version:") for arm in arms if arm.startswith("version:")}


def report_file(root: Path) -> StateFile[dict[str, Any]]:
    """The figures of the owner's dashboard, as the update worker made them last; see `experiments.sales_report`."""
    return StateFile(root / "report.json", dict[str, Any], dict, "The next pass of the update worker makes it again.")


def uniform(salt: str, key: tuple[int, int]) -> float:
    """A number from 0 to below 1 that is a visitor's for good, as random as the hash; the same in SQL: `UNIFORM`.

    Parameters
    ----------
    salt
        Of the experiment and the question asked.
    key
        See `identity.user_key`.
    """
    digest = hashlib.sha256(f"{salt}:{key[0]:016x}{key[1]:016x}".encode()).hexdigest()
    return int(digest[:13], 16) / 16**13


# SQL of the same, of a salt and of the 32 hex digits of a key.
UNIFORM = "(('0x' || left(sha256({salt} || ':' || {key}), 13))::UBIGINT / 4503599627370496.0)"


def arm_of(one: Experiment, key: tuple[int, int]) -> int | None:
    """0 or 1, or None for who does not take part; a visitor keeps the arm while the share grows."""
    if uniform(one.salt + "in", key) >= one.share:
        return None
    return int(uniform(one.salt + "arm", key) >= 0.5)


def check_name(name: str, others: Mapping[str, Experiment]) -> None:
    """Refuse names that cannot be a label, or are taken.

    Raises
    ------
    UsageError
    """
    if not (1 <= len(name) <= 40 and all(c.isalnum() or c in "-_." for c in name)) or name == HOLDOUT:
        raise UsageError(f"'{name}' cannot be the name of an experiment.", "Use up to 40 letters, digits, - _ and .")
    if name in others:
        raise UsageError(f"There was an experiment '{name}' before.", "Choose another name.")
