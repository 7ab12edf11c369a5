"""What tuning chose, kept in the artifacts directory for `train` to use."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..durable_files import private_dir
from ..state_file import StateFile

FOLDER = "tuning"
FILE = "choice.json"


@dataclass(frozen=True)
class Choice:
    """The winner of a tuning.

    Parameters
    ----------
    name, config
        Model and hyperparameters.
    metric
        What was maximised, as "ndcg@10".
    score
        Its mean over the windows the choice was made on.
    confirmed
        model -> {"value", "low", "high"} of the metric on the later window that no trial saw.
    trials, seconds
        How much was tried, in this and earlier runs of the same study.
    importance
        Hyperparameter of the winner -> share of the variation it explains.
    chosen_at
        Epoch seconds.
    """

    name: str
    config: dict[str, Any]
    metric: str = ""
    score: float = 0.0
    confirmed: dict[str, dict[str, float]] = field(default_factory=dict)
    trials: int = 0
    seconds: float = 0.0
    importance: dict[str, float] = field(default_factory=dict)
    chosen_at: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def save_choice(root: Path, choice: Choice) -> None:
    """Keep `choice` under the artifacts directory `root`."""
    private_dir(root)
    _file(root).write(choice)


def load_choice(root: Path) -> Choice | None:
    """What the last tuning under the artifacts directory `root` chose; None when there was none.

    Raises
    ------
    DamagedState
    """
    return _file(root).read()


def _file(root: Path) -> StateFile[Choice | None]:
    lost = "Without it recsys train takes the model of the settings until recsys tune is run again."
    return StateFile(root / FOLDER / FILE, Choice, lambda: None, lost)
