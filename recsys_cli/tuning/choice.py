"""What tuning chose, kept in the artifacts directory for `train` to use."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..durable_files import explain_os, private_dir, write_atomic
from ..errors import CorruptArtifact

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
    metric: str
    score: float
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
    private_dir(root / FOLDER)
    write_atomic(root / FOLDER / FILE, json.dumps(choice.as_dict(), indent=1, sort_keys=True).encode())


def load_choice(root: Path) -> dict[str, Any] | None:
    """What the last tuning under the artifacts directory `root` chose (see `Choice`), or None.

    Raises
    ------
    CorruptArtifact
    """
    path = root / FOLDER / FILE
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise CorruptArtifact(f"{path} is no JSON.", "Run recsys tune again, or remove the file.") from None
    except OSError as e:
        raise explain_os(e, path) from None
    if not isinstance(document, dict) or not {"name", "config"} <= document.keys():
        raise CorruptArtifact(f"{path} names no model.", "Run recsys tune again, or remove the file.")
    return document
