"""Two ways of making a list side by side: by visitor (a split), or both in one list (team-draft interleaving)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..artifacts import running
from ..artifacts.running import HOLDOUT, INTERLEAVED, Experiment
from ..errors import NotFound, UsageError
from ..settings_table import table
from ..typed_values import typed
from .engine import Engine
from .placements import Placement, Placements, fill
from .request import Answer, Request

SERVED, POPULAR, VERSION, RULES = "served", "popular", "version", "rules"
MODEL, RANKER, PLACEMENT = "model", "ranker", "placement"
NO_RANKER = f"{RANKER}:off"
_RULES = {row.name.removeprefix("rules."): row for row in table() if row.name.startswith("rules.")}
WAYS = "served, popular, version:v000012, model:als, ranker:off, placement:home, rules:diversity=0.5,max_per_brand=2"
_KNOWN = f"Known: {WAYS}."


@dataclass(frozen=True)
class Arm:
    """One way of making a list.

    Parameters
    ----------
    kind
        served: as everybody gets it. popular: what sells. version: another published version. model: another model.
        ranker:off: the served version in the order of its first stage. placement: a list as that place
        has it. rules: other values for some rules.
    value
        Name of the version, the model or the placement.
    rules
        The changed rules.
    """

    kind: str
    value: str = ""
    rules: tuple[tuple[str, Any], ...] = ()

    @staticmethod
    def parse(text: str) -> Arm:
        """Read what an owner wrote.

        Raises
        ------
        UsageError
        """
        kind, _, value = text.partition(":")
        if kind in (SERVED, POPULAR) and not value:
            return Arm(kind)
        if kind in (VERSION, MODEL, PLACEMENT) and value:
            return Arm(kind, value)
        if text == NO_RANKER:
            return Arm(NO_RANKER)
        if kind == RULES and value:
            return Arm(kind, "", tuple(_rule(pair) for pair in value.split(",")))
        raise UsageError(f"'{text}' is not a way to make a list.", _KNOWN)


def _rule(pair: str) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    row = _RULES.get(name)
    if row is None or not equals or row.type not in (bool, int, float):
        known = ", ".join(n for n, r in _RULES.items() if r.type in (bool, int, float))
        raise UsageError(f"'{pair}' is not a rule that an experiment can change.", f"Known: {known}.")
    try:
        return name, typed(row.type, text, row.bounds)
    except ValueError as e:
        raise UsageError(f"{name} {e}.", row.help) from None


@dataclass(slots=True)
class Shown:
    """An answer with what the log has to say of it."""

    answer: Answer
    experiment: str = ""
    arm: str = ""
    teams: str = ""
    swap: int = 0


class Comparison:
    """The experiments that run, as one server process answers them; not for several threads at a time.

    Parameters
    ----------
    engine_of
        The engine of another version, or None when it cannot be had (it was removed, say).
    holdout
        Share of visitors who always get popular items.
    swap_share
        Share of lists outside of experiments in which a place is drawn, to see how likely places are looked at.
    placements
        As the settings have them when a list is made.
    """

    def __init__(
        self,
        active: Sequence[Experiment],
        engine_of: Callable[[str], Engine | None],
        holdout: float,
        swap_share: float = 0.0,
        placements: Callable[[], Placements] = dict,
    ) -> None:
        self._placements = placements
        self._holdout = holdout
        self._swap_share = swap_share
        self._engine_of = engine_of
        self._active = [(one, tuple(Arm.parse(text) for text in one.arms)) for one in active]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to compare, so that answers go the short way."""
        return not self._active and not self._holdout and not self._swap_share

    def recommend(self, engine: Engine, request: Request, request_id: str) -> Shown:
        """The visitor's list, by the experiment that they are part of.

        Parameters
        ----------
        request_id
            Of the answer: what is drawn by chance for it, is drawn from this.
        """
        keys = engine.people.keys_of(request)
        if self._holdout and keys and running.uniform(HOLDOUT, keys[0]) < self._holdout:
            return Shown(engine.popular(request), HOLDOUT, "popular")
        for one, arms in self._active:
            if one.kind == INTERLEAVED:
                lists = [self._of_arm(engine, request, arm) for arm in arms]
                if lists[0] is not None and lists[1] is not None:
                    answer, teams = team_draft(lists[0], lists[1], request.k, request_id + one.salt)
                    return Shown(answer, one.name, "", teams)
            elif keys and (number := running.arm_of(one, keys[0])) is not None:
                mine = self._of_arm(engine, request, arms[number])
                if mine is not None:
                    return Shown(mine, one.name, "ab"[number])
        answer, swap = swapped(engine.recommend(request), self._swap_share, request_id)
        if self._holdout and keys:
            return Shown(answer, HOLDOUT, "lists", swap=swap)
        return Shown(answer, swap=swap)

    def _of_arm(self, engine: Engine, request: Request, arm: Arm) -> Answer | None:
        if arm.kind == POPULAR:
            return engine.popular(request)
        if arm.kind == VERSION and arm.value != engine.version:
            other = self._engine_of(arm.value)
            return None if other is None else _in_codes_of(engine, other.recommend(request))
        if arm.kind == PLACEMENT:
            return self._of_placement(engine, request, arm.value)
        if arm.kind == NO_RANKER:
            return engine.recommend(replace(request, ranked=False))
        if arm.kind == RULES:
            return engine.recommend(replace(request, rules={**(request.rules or {}), **dict(arm.rules)}))
        return engine.recommend(request)

    def _of_placement(self, engine: Engine, request: Request, name: str) -> Answer | None:
        """A list as a placement has it; None where it is gone, or needs what the request has not."""
        place = self._placements().get(name)
        if place is None or not place.kind.has_what_it_needs(request):
            return None
        other = engine if place.version in ("", engine.version) else self._engine_of(place.version)
        if other is None:
            return None
        try:
            return _in_codes_of(engine, fill(other, place, place.request(request, dict(request.filters.user))))
        except UsageError:  # its filter asks for something of the customer that this page does not send
            return None


def swapped(answer: Answer, share: float, seed: str) -> tuple[Answer, int]:
    """The answer, in a share of cases with a place drawn by chance and, by a coin, exchanged with the first.

    What is clicked in both places, with and without the exchange, tells how likely they are looked at (Joachims et al.,
    WSDM 2017).

    Returns
    -------
    The answer, and the place as the log has it: negative where the coin left it as it was, 0 where none was drawn. What
    is pinned stays where it is.
    """
    coin = random.Random(f"swap {seed}")
    if not share or len(answer.codes) < 2 or coin.random() >= share:
        return answer, 0
    at = coin.randrange(1, len(answer.codes))
    if "pinned" in (answer.sources[0], answer.sources[at]):
        return answer, 0
    if coin.random() < 0.5:
        return answer, -(at + 1)
    order = list(range(len(answer.codes)))
    order[0], order[at] = at, 0
    return _mixed(answer, [(answer, n) for n in order]), at + 1


def team_draft(a: Answer, b: Answer, k: int, seed: str) -> tuple[Answer, str]:
    """Both lists in one, and a letter for each position: whose pick it was (Radlinski et al., CIKM 2008).

    In each round a coin says who picks first; each picks its best item that is not in the list yet. An item that both
    have at the same place belongs to the arm that picked it, by the same coin, so that neither gains by it.
    """
    coin = random.Random(seed)
    picked: list[tuple[Answer, int]] = []
    teams, seen, at = [], set[str](), [0, 0]
    lists = (a, b)
    while len(picked) < k:
        first = coin.randrange(2)
        before = len(picked)
        for team in (first, 1 - first):
            answer = lists[team]
            while at[team] < len(answer.item_ids) and answer.item_ids[at[team]] in seen:
                at[team] += 1
            if at[team] < len(answer.item_ids) and len(picked) < k:
                seen.add(answer.item_ids[at[team]])
                picked.append((answer, at[team]))
                teams.append("ab"[team])
        if len(picked) == before:
            break
    return _mixed(a, picked), "".join(teams)


def _mixed(base: Answer, picked: Sequence[tuple[Answer, int]]) -> Answer:
    # Scores of two models have no common measure; what is shown is the order.
    whole = all(len(answer.reasons) == len(answer.codes) for answer, _ in picked)
    return Answer(
        codes=[answer.codes[n] for answer, n in picked],
        scores=[answer.scores[n] for answer, n in picked],
        sources=[answer.sources[n] for answer, n in picked],
        fallbacks=[answer.fallbacks[n] for answer, n in picked],
        known=base.known,
        version=base.version,
        item_ids=[answer.item_ids[n] for answer, n in picked],
        reasons=[answer.reasons[n] for answer, n in picked] if whole else [],
        stages=base.stages,
    )


def _in_codes_of(engine: Engine, answer: Answer) -> Answer:
    """Another version's answer in the codes of `engine`, without items that it does not have."""
    code_of = engine.catalogue.code_of
    kept = [(answer, n) for n, item_id in enumerate(answer.item_ids) if item_id in code_of]
    mixed = _mixed(answer, kept)
    mixed.codes = [code_of[item_id] for item_id in mixed.item_ids]
    return mixed


def placement_of(name: str, placements: Placements) -> Placement:
    """A placement of the settings.

    Raises
    ------
    NotFound
    """
    if name not in placements:
        known = ", ".join(sorted(placements)) or "none yet; see Placements in the README"
        raise NotFound(f"There is no placement '{name}' in recsys.toml.", f"Known: {known}.")
    return placements[name]


def checked_arms(
    texts: Sequence[str], models: Mapping[str, str], served: str, placements: Placements | None = None
) -> tuple[str, ...]:
    """Arms as they are answered, a model as the newest version that has it; refuses what cannot be, and equal ones.

    Parameters
    ----------
    models
        Names of the published versions, oldest first, with the model of each.
    served
        Name of the served version.

    Raises
    ------
    UsageError, NotFound
    """
    found: list[str] = []
    for text in texts:
        arm = Arm.parse(text)
        if arm.kind == MODEL:
            having = [name for name, model in models.items() if model == arm.value]
            if not having:
                raise NotFound(
                    f"There is no version with the model '{arm.value}'.",
                    f"Run recsys train --model {arm.value}; the gate may keep it back, which does not matter here.",
                )
            text = SERVED if served in having else f"{VERSION}:{having[-1]}"
        elif arm.kind == VERSION and arm.value not in models:
            raise NotFound(f"There is no version '{arm.value}'.", "recsys models list shows them.")
        elif arm.kind == PLACEMENT:
            placement_of(arm.value, placements or {})
        found.append(text)
    if Arm.parse(found[0]) == Arm.parse(found[1]):
        raise UsageError("Both arms are the same.", _KNOWN)
    return tuple(found)
