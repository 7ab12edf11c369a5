"""A ranker from orders alone: learned at past moments, judged on the newest days, then learned on those too."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..features import learned
from ..models.base import Model
from ..progress import SILENT, Progress
from ..schema import DAY, Dataset
from ..splitting.holdout import Split, time_split
from . import trees
from .judging import judge
from .opinions import names_of
from .outcome import NEW, REPEAT, Outcome, off
from .past import Lesson, lesson
from .ranker import Head, Ranker
from .trees import Trees

MOMENTS = 3  # past moments learned from; one alone loses half of the gain, six overlapping ones add nothing
LEAST_BUYERS = 300  # customers who bought after the newest moment; with fewer it was no better than the first stage
MOST_ITEMS = 20_000  # beyond, looking at every source's score of every item takes too long for an answer
_USERS = 4000  # at each moment
_SCORES = 60_000_000  # items times customers at each moment
# Measured on Online Retail; see RECIPES in the README's chapter. One thread, because two come out differently.
_PARAMS: Mapping[str, Any] = {
    "learning_rate": 0.1,
    "num_leaves": 31,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.6,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
}
_HEADS: Mapping[str, Mapping[str, Any]] = {
    "order": {"objective": "lambdarank", "rounds": 75},
    "purchase": {"objective": "binary", "rounds": 50},
}
_LEAF = 200  # rows in a leaf at least, with rows enough


def learn(
    split: Split,
    model: Model,
    served: Model,
    *,
    seed: int = 42,
    threads: int = 0,
    progress: Progress = SILENT,
) -> Outcome:
    """A ranker for a first stage.

    Learned at up to two moments before the newest days, judged on these, and then learned at all three.

    Parameters
    ----------
    split
        The newest days, hidden; by time.
    model
        The first stage, fitted on the split's past; it is fitted again, as it is, at the moments before.
    served
        The first stage as it will be served: of its sources, those are used that the other has as well.

    Returns
    -------
    The ranker, where the gate lets it order any lists; and why not, where it does not.
    """
    started = time.monotonic()
    why_not = _hindrance(split, model)
    if why_not:
        return off(why_not)
    n_items = split.train.interactions.n_items
    most = int(np.clip(_SCORES // n_items, 500, _USERS))
    names = (*(name for name in names_of(model) if name in names_of(served)), *learned())
    with progress.stage("Training the ranker", 2 * MOMENTS) as advance:
        older, fitting = [], 0.0
        for number, past in enumerate(_before(split), 1):
            begin = time.monotonic()
            then = type(model).fit(past.train, model.config, seed=seed, threads=threads)
            fitting += time.monotonic() - begin
            advance(1)
            older.append(lesson(then, past, names, max_users=most, seed=seed + number))
            advance(1)
        if not older:
            return off("There is no second window of time to learn from.")
        verdicts = judge(_grown(names, older, seed), model, split, max_users=most, seed=seed)
        on = [kind for kind, verdict in verdicts.items() if verdict.on]
        ranker = None
        if on:
            newest = lesson(model, split, names, max_users=most, seed=seed)
            found = {kind: verdict.as_dict() for kind, verdict in verdicts.items()}
            ranker = replace(_grown(names, [newest, *older], seed), verdicts=found)
        advance(1)
    reason = verdicts[NEW if NEW in on else REPEAT].reason if on else verdicts[NEW].reason
    return Outcome(ranker, reason, verdicts, time.monotonic() - started, fitting)


def _hindrance(split: Split, model: Model) -> str:
    """Why no ranker can be learned; empty when one can."""
    if not trees.available():
        return f"LightGBM is not installed. {trees.INSTALL}"
    if split.by != "time":
        return "The times are not reliable, so there is no past moment to learn from."
    if not model.capabilities.personal:
        return f"The model {model.name} has the same list for everybody."
    n_items = split.train.interactions.n_items
    if n_items > MOST_ITEMS:
        return f"The catalogue has {n_items} items; a ranker is learned for up to {MOST_ITEMS}."
    buyers = len(split.judged(split.wanted(repeat=True), LEAST_BUYERS, 0))
    if buyers < LEAST_BUYERS:
        return f"{buyers} customers came back in the newest days; a ranker needs {LEAST_BUYERS} to learn from."
    return ""


def _before(split: Split) -> list[Split]:
    """The windows of the same length in front of the split's."""
    days = (int(split.future.ts.max()) + 1 - split.cut) / DAY
    found: list[Split] = []
    newest = split
    for _ in range(MOMENTS - 1):
        if not _reaches(newest.train, 2 * days):
            break
        newest = time_split(newest.train, days)
        found.append(newest)
    return found


def _reaches(data: Dataset, days: float) -> bool:
    """Whether the data goes back that many days."""
    ts = data.interactions.histories.ts
    return bool(len(ts) and data.interactions.end - int(ts.min()) >= days * DAY)


def _grown(names: Sequence[str], lessons: Sequence[Lesson], seed: int) -> Ranker:
    """Both heads on the rows of some moments; features that say the same of all rows are left out."""
    rows = Lesson.joined(lessons)
    telling = [column for column in range(len(names)) if _tells(rows.values[:, column])]
    values = np.ascontiguousarray(rows.values[:, telling])
    kept = tuple(names[column] for column in telling)
    leaf = int(np.clip(len(values) // 500, 20, _LEAF))
    heads: dict[str, Head] = {}
    for name, own in _HEADS.items():
        params = {**_PARAMS, "objective": own["objective"], "seed": seed, "min_data_in_leaf": leaf, "num_threads": 1}
        groups = rows.groups if own["objective"] == "lambdarank" else None
        text = trees.grow(values, rows.label, params, rounds=own["rounds"], groups=groups)
        grown = Trees(text)
        spread = float(grown.predict(values).std())
        if spread > 0:
            heads[name] = Head(grown, spread)
    notes = {"rows": len(values), "customers": len(rows.groups), "moments": len(lessons)}
    return Ranker(kept, heads, notes=notes)


def _tells(column: Any) -> bool:
    known = column[~np.isnan(column)]
    return bool(len(known) and (len(known) < len(column) or known.min() < known.max()))
