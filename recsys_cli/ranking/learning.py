"""A ranker from orders and from what was seen: learned at past moments, judged on the newest days, learned again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..features import ItemTable, learned
from ..models.base import Model, Size
from ..progress import SILENT, Progress
from ..schema import DAY, Dataset
from ..settings import RankingSettings
from ..splitting.holdout import Split, time_split
from . import dlrm_learning, heads, trees
from .dlrm import CODES
from .judging import Verdict, judge
from .judging_seen import judge_seen
from .opinions import names_of
from .outcome import DLRM, LEAST_CLICKS, LIGHTGBM, NEW, REPEAT, Outcome, off
from .past import Candidates, Lesson, Weighed, lesson
from .propensities import Propensities, effective, propensities
from .proposals import WHOLE_ITEMS, FirstStage
from .ranker import Ranker
from .seen import Looked, Seen, lesson_of, looked_at

MOMENTS = 3  # past moments learned from; one alone loses half of the gain, six overlapping ones add nothing
# Customers who bought after the newest moment. In shops cut from a large one the gate was sure from 150 on; twice as
# many for shops with less to learn. See bench_ranker_curve and the README.
LEAST_BUYERS = 300
_TRIED = 2 / 3  # of the clicks, where all are of the newest days: to learn from, before the others judge
_USERS = 4000  # at each moment
_USERS_OF_MANY = 2000  # where the catalogue is large: looking for the candidates of one takes some milliseconds
# Of a large catalogue. From 10 million events the order learned was worse than none (NDCG@10 .0677 against .0730), and
# learning it took 5.3 GB where a shop has 4.
MOST_EVENTS = 3_000_000
_LISTS = 4000  # seen lists at each moment
_SCORES = 60_000_000  # items times customers at each moment, where all items are scored
_REFITS = 200.0  # CPU seconds that fitting the first stage again at older moments is to take, where it can be less
_AS_IT_IS = RankingSettings()
Grow = Callable[[heads.Lessons, Mapping[str, float], int], Ranker]


def learn(
    split: Split,
    model: Model,
    served: Model,
    *,
    seen: Seen | None = None,
    ranking: RankingSettings = _AS_IT_IS,
    seed: int = 42,
    threads: int = 0,
    progress: Progress = SILENT,
) -> Outcome:
    """A ranker for a first stage.

    Learned at up to two moments before the newest days, judged on these, and then learned at all three; from orders,
    and from what was seen and clicked where that is enough.

    Parameters
    ----------
    split
        The newest days, hidden; by time.
    model
        The first stage, fitted on the split's past; it is fitted again, as it is, at the moments before.
    served
        The first stage as it will be served: of its sources, those are used that the other has as well.
    seen
        What was seen of lists, where that is known.
    ranking
        The mix of heads, and whether clicks are weighed by one over the chance that their place is looked at.

    Returns
    -------
    The ranker, where the gate lets it order any lists; and why not, where it does not.
    """
    started, cpu = time.monotonic(), time.process_time()
    if seen is not None and seen.clicked_lists() < LEAST_CLICKS:
        seen = None
    why_not = _hindrance(split, model, seen, ranking.model) or _no_mix(ranking)
    if why_not:
        return off(why_not)
    whole = split.train.interactions.n_items <= WHOLE_ITEMS
    most = int(np.clip(_SCORES // split.train.interactions.n_items, 500, _USERS)) if whole else _USERS_OF_MANY
    names = (*(name for name in names_of(model) if name in names_of(served)), *learned())
    names += ItemTable.of(split.train).own
    names += CODES if ranking.model == DLRM else ()
    with progress.stage("Training the ranker", 2 * MOMENTS) as advance:
        older, fitting, fitting_cpu = [], 0.0, 0.0
        for number, past in enumerate(_affordable(_before(split), model), 1):
            begin = time.monotonic(), time.process_time()
            then = type(model).fit(past.train, model.config, seed=seed, threads=threads)
            fitting, fitting_cpu = fitting + time.monotonic() - begin[0], fitting_cpu + time.process_time() - begin[1]
            advance(1)
            first = FirstStage(then, whole=whole)
            older.append(_moment(first, past, seen, names, most=most, seed=seed + number)[0])
            advance(1)
        if not older:
            return off("There is no second window of time to learn from.")
        newest, asked = _moment(FirstStage(model, whole=whole), split, seen, names, most=most, seed=seed)
        moments = (newest, *older)
        found = _better(asked, names, moments, Clicks.of(seen, moments, names, ranking.ipw, seed), ranking, seed)
        advance(1)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    if found.ranker is not None:
        found = replace(found, ranker=replace(found.ranker, whole=whole))
    return replace(found, seconds=seconds, fitting=fitting, cpu=cpu, fitting_cpu=fitting_cpu)


@dataclass(frozen=True)
class _Moment:
    """What is learned at one moment: from orders, and from lists seen in the days after it."""

    orders: Lesson
    looked: Looked | None


def _moment(
    first: FirstStage, split: Split, seen: Seen | None, names: Sequence[str], *, most: int, seed: int
) -> tuple[_Moment, Candidates]:
    """What is learned at a moment, and the candidates that it was learned from."""
    table = ItemTable.of(split.train)
    asked = Candidates.of(first, split, max_users=most, seed=seed, table=table)
    orders = lesson(asked, names, seed)
    if seen is None:
        return _Moment(orders, None), asked
    end = int(split.future.ts.max(initial=split.cut)) + 1
    shown, profiles = seen.between(split.cut, end), split.train.profiles
    looked = looked_at(first, table, shown, names, most=_LISTS, seed=seed, profiles=profiles)
    return _Moment(orders, looked), asked


@dataclass(frozen=True)
class Clicks:
    """Cards seen after each moment, the newest first, and what their places are worth."""

    looked: tuple[Looked, ...]
    chances: Propensities

    @staticmethod
    def of(seen: Seen | None, moments: Sequence[_Moment], names: Sequence[str], ipw: bool, seed: int) -> Clicks | None:
        """None where there is not enough."""
        looked = tuple(one.looked for one in moments if one.looked is not None)
        if seen is None or sum(one.seen.clicked_lists() for one in looked) < LEAST_CLICKS:
            return None
        every = Looked.joined([one for one in looked if len(one.seen)])
        return Clicks(looked, propensities(seen, every, tuple(names), seed) if ipw else Propensities())

    def apart(self) -> tuple[Clicks, Clicks, bool] | None:
        """Clicks to try a ranker with, and later lists to judge it by; None where either lacks clicks.

        Lists of the newest days judge. In a shop whose log begins in these, their last part does; the third value says
        so, because orders of the same days then tell nothing new of that ranker.
        """
        older, newest = replace(self, looked=self.looked[1:]), self.looked[0]
        if older.lesson() is not None:
            return older, replace(self, looked=(newest,)), False
        if not newest.seen.clicked.any():
            return None
        begun = newest.begun()
        early = begun < np.quantile(begun[newest.seen.clicked], _TRIED)
        parts = [replace(self, looked=(newest.where(part),)) for part in (early, ~early)]
        return None if any(part.lesson() is None for part in parts) else (parts[0], parts[1], True)

    def lesson(self) -> Weighed | None:
        """Rows to learn from; None where nothing was clicked."""
        looked = [one for one in self.looked if one.seen.clicked.any()]
        if not looked:
            return None
        every = Looked.joined(looked)
        found = lesson_of(every, self.chances.weights(every.seen))
        return found if len(found.rows.groups) else None

    def cards(self) -> heads.Cards | None:
        """Card by card; None where nothing was seen."""
        looked = [one for one in self.looked if len(one.seen)]
        if not looked:
            return None
        every = Looked.joined(looked)
        weight = np.where(every.seen.clicked, self.chances.weights(every.seen), 1.0).astype(np.float32)
        return heads.Cards(every.values, every.seen.clicked, weight)

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        weight = np.concatenate([self.chances.weights(one.seen)[one.seen.clicked] for one in self.looked])
        return {
            "lists": int(sum(len(np.unique(one.seen.listed)) for one in self.looked)),
            "clicks": len(weight),
            "effective_clicks": round(effective(weight), 1),
            "propensities": self.chances.as_dict(),
        }


def _better(
    asked: Candidates,
    names: Sequence[str],
    moments: Sequence[_Moment],
    clicks: Clicks | None,
    ranking: RankingSettings,
    seed: int,
) -> Outcome:
    """What `ranking.model` names; a network gives way to trees that order the newest days better."""
    grow: Grow = heads.grow
    if ranking.model == DLRM:
        grow = partial(dlrm_learning.grow, table=ItemTable.of(asked.split.train))
    found = _decided(asked, names, moments, clicks, ranking, seed, grow)
    if ranking.model != DLRM or not trees.available():
        return found
    rival = _decided(asked, names, moments, clicks, ranking, seed, heads.grow)
    mine, theirs = _worth(found), _worth(rival)
    won = found if found.ranker is not None and mine >= theirs else rival
    return replace(won, rivals={DLRM: mine, LIGHTGBM: theirs})


def _worth(outcome: Outcome) -> float:
    """Mean gain over the kinds of lists; what the gate keeps off gains nothing."""
    gains = [verdict.gain if verdict.on else 0.0 for verdict in outcome.verdicts.values()]
    return float(np.mean(gains)) if gains else 0.0


def _decided(
    asked: Candidates,
    names: Sequence[str],
    moments: Sequence[_Moment],
    clicks: Clicks | None,
    ranking: RankingSettings,
    seed: int,
    grow: Grow,
) -> Outcome:
    """Learn, judge, and learn again on everything; without clicks where with them it is not good enough."""
    mix = {name: float(getattr(ranking, name)) for name in heads.HEADS}
    few = bool(_few(asked.split))
    outcome = off("")
    for used in (clicks, None) if clicks is not None else (None,):
        parts = used.apart() if used else None
        if used is not None and parts is None:
            continue
        if used is None and outcome.reason and few:
            break  # orders alone are too few to go by
        told, judges, same_days = parts or (None, None, False)
        older = Lesson.joined([one.orders for one in moments[1:]])
        tried = grow(_lessons(names, older, told), mix, seed)
        by_orders = grow(_lessons(names, older, None), mix, seed) if same_days else tried
        verdicts = judge(by_orders, asked, seed)
        by_clicks = None
        if used is not None and judges is not None:
            seen = judges.looked[0]
            newest = replace(seen, values=_columns(seen.values, names, tried.names))
            by_clicks = judge_seen(tried, newest, used.chances.weights(newest.seen), seed=seed)
            verdicts = _both(verdicts, by_clicks, few=few)
        on = [kind for kind, verdict in verdicts.items() if verdict.on]
        reason = verdicts[NEW if NEW in on or not on else REPEAT].reason
        ranker = None
        if on:
            ranker = grow(_lessons(names, Lesson.joined([one.orders for one in moments]), used), mix, seed)
            ranker = replace(ranker, verdicts={kind: verdict.as_dict() for kind, verdict in verdicts.items()})
        facts = used.as_dict() | {"verdict": by_clicks.as_dict()} if used and by_clicks else {}
        newest_rows = heads.Lessons(names, moments[0].orders, cards=judges.cards() if judges else None)
        told_by = heads.quality(tried, newest_rows)
        outcome = Outcome(ranker, reason, verdicts, clicks=facts or outcome.clicks, heads=told_by)
        if on:
            break
    return outcome


def _lessons(names: Sequence[str], orders: Lesson, clicks: Clicks | None) -> heads.Lessons:
    """What was ordered, and clicked."""
    if clicks is None:
        return heads.Lessons(names, orders)
    return heads.Lessons(names, orders, clicks.lesson(), clicks.cards())


def _columns(values: Any, names: Sequence[str], wanted: Sequence[str]) -> Any:
    at = {name: number for number, name in enumerate(names)}
    return values[:, [at[name] for name in wanted]]


def _both(verdicts: Mapping[str, Verdict], clicks: Verdict, *, few: bool) -> dict[str, Verdict]:
    """The word of orders and that of clicks: one must be for it, and neither surely against it."""
    found: dict[str, Verdict] = {}
    for kind, orders in verdicts.items():
        against = (orders.users > 0 and orders.high < 0) or clicks.high < 0
        surely = clicks.on and clicks.low > 0
        on = not against and (clicks.on if few else orders.on or surely)
        reason = orders.reason if orders.on and not few else clicks.reason
        found[kind] = replace(orders, on=on, reason=reason)
    return found


def _few(split: Split) -> str:
    """Why orders alone do not tell enough; empty when they do."""
    buyers = len(split.judged(split.wanted(repeat=True), LEAST_BUYERS, 0))
    if buyers >= LEAST_BUYERS:
        return ""
    return (
        f"{buyers} customers came back in the newest days; a ranker needs {LEAST_BUYERS} to learn from. "
        "In shops cut from a large one, the gain could not be told from chance with 80, and could with 150."
    )


def _no_mix(ranking: RankingSettings) -> str:
    """Why nothing orders candidates; empty when something does."""
    if any(getattr(ranking, name) > 0 for name in heads.HEADS):
        return ""
    return "All heads have the weight 0; set ranking.order or another one above 0."


def _hindrance(split: Split, model: Model, seen: Seen | None, kind: str) -> str:
    """Why no ranker can be learned; empty when one can."""
    if kind == LIGHTGBM and not trees.available():
        return f"LightGBM is not installed. {trees.INSTALL}"
    if split.by != "time":
        return "The times are not reliable, so there is no past moment to learn from."
    if not model.capabilities.personal:
        return f"The model {model.name} has the same list for everybody."
    events, items = len(split.train.interactions.histories.ts), split.train.interactions.n_items
    if events > MOST_EVENTS and items > WHOLE_ITEMS:
        most = f"in a catalogue of more than {WHOLE_ITEMS:,} a ranker is learned from up to {MOST_EVENTS:,} events"
        return f"There are {events:,} events of {items:,} items; {most}."
    return "" if seen is not None else _few(split)


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


def _affordable(older: list[Split], model: Model) -> list[Split]:
    """As many of these moments as fitting the first stage again at them is worth, but one at least."""
    if not older:
        return older
    size = Size.of(older[0].train)
    cost = sum(type(one).cpu_seconds(size) for one in model.members.values() or [model])
    return older[: max(1, int(_REFITS // max(cost, 1.0)))]


def _reaches(data: Dataset, days: float) -> bool:
    """Whether the data goes back that many days."""
    ts = data.interactions.histories.ts
    return bool(len(ts) and data.interactions.end - int(ts.min()) >= days * DAY)
