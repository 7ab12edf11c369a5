"""Whether to train again, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..artifacts import Version
from ..evaluation.bench import fitted
from ..schema import DAY
from ..settings import UpdateSettings
from .drift import Watch

_MOVED = ("the distribution of ", "the lead over popularity ")  # how reasons begin that a look at the newest days gives
_LONGEST = 6  # times that a pause is doubled at most
FIRST_EVENTS = 1000  # with fewer, the first training is left to the owner


@dataclass(frozen=True)
class Attempt:
    """The last training that a worker did, whether or not its model came to be served.

    Parameters
    ----------
    last_ts, events, items
        The newest event (epoch seconds), events and items it knew.
    reason
        Why it was done.
    version
        What it published.
    promoted
        Whether that is served.
    verdict
        The gate's sentence.
    uncured
        Trainings one after the other for what the newest days looked like, which they did not change.
    """

    last_ts: int
    events: int
    items: int
    reason: str
    version: str
    promoted: bool
    verdict: str
    uncured: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def reason(version: Version, watch: Watch | None, last: Attempt | None, settings: UpdateSettings) -> str:
    """Why the model of a version should be trained again; empty when it need not be.

    Growth is counted from the last training, served or kept back: what has just been refused need not be made again
    from the same data.
    """
    now, then = version.manifest["data"], fitted(version)["data"]
    # By events as well: late ones are no newer, and what was made of them in vain is made again in every pass.
    since = asdict(last) if last and (last.last_ts, last.events) > (then["last_ts"], then["events"]) else then
    days = (now["last_ts"] - since["last_ts"]) / DAY
    growth = {name: round(now[name] / max(since[name], 1) - 1, 6) for name in ("events", "items")}
    if 0 < settings.retrain_days <= days:
        # By the shop's clock, which no single event moves.
        return f"the newest events but a few are {days:.1f} days newer than at the last training"
    if 0 < settings.retrain_share <= growth["events"]:
        return f"there are {growth['events']:.0%} more events than at the last training"
    if 0 < settings.retrain_items <= growth["items"]:
        return f"there are {growth['items']:.0%} more items than at the last training"
    # What the last training did not cure the next one will not either: a noisy shop would train every day.
    pause = settings.check_days * 2 ** min(last.uncured if last else 0, _LONGEST)
    if watch is None or days < pause:
        return ""
    return _moved(watch, version, settings)


def uncured(why: str, last: Attempt | None) -> int:
    """`Attempt.uncured` of a training for this reason, done after `last`; forgotten one by one with other reasons."""
    before = last.uncured if last else 0
    return before + 1 if why.startswith(_MOVED) else max(before - 1, 0)


def _moved(watch: Watch, version: Version, settings: UpdateSettings) -> str:
    """What the look at the newest days says."""
    worst = max(watch.psi, key=lambda name: watch.psi[name], default="")
    if worst and 0 < settings.retrain_drift <= watch.psi[worst]:
        return f"the distribution of {worst} has drifted (PSI {watch.psi[worst]:.2f})"
    before = lead_at_training(version)
    if watch.lead is None or before is None or not settings.retrain_quality:
        return ""
    if watch.lead < (1 - settings.retrain_quality) * before:
        return f"the lead over popularity has fallen from {before:.2f} to at most {watch.lead:.2f} times"
    return ""


def lead_at_training(version: Version) -> float | None:
    """NDCG@10 of the version's model over that of popularity when it was judged; None when it was not."""
    found = version.manifest["metrics"].get("metrics", {})
    name = version.manifest["model"]["name"]
    if name not in found or "popular" not in found or name == "popular":
        return None
    floor = found["popular"]["ndcg@10"]["value"]
    return found[name]["ndcg@10"]["value"] / floor if floor > 0 else None
