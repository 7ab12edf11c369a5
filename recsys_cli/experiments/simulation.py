"""Past orders replayed: what lists made at a past moment would have shown to those who bought afterwards.

Every way of making lists is set up as it would have been then: its model fitted on what had happened by that moment,
its ranker learned on it, and the engine that serves visitors put on top, with the shop's rules. What sold out or left
the catalogue later was there then, so availability of today decides nothing; how many places such items would have
taken is told instead.

A replay tells how well lists agree with what was bought without them. It does not tell what they would have sold:
nobody saw them. What a log of seen lists adds to that is in `off_policy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from numpy.typing import NDArray

from ..artifacts import Artifacts
from ..errors import NotEnoughData, UsageError
from ..evaluation import Interval, Split, holdout
from ..evaluation import metrics as m
from ..evaluation.bench import Recipe, fitted
from ..evaluation.report import Bootstrap
from ..features import ItemTable
from ..identity import load_secret
from ..models.base import Model
from ..models.support.top_n import contains
from ..progress import SILENT, Progress
from ..publishing.train import choose, read_snapshot
from ..publishing.version import make_bundle
from ..ranking.learning import learn
from ..ranking.outcome import RANKER, Outcome
from ..schema import DAY, GUEST, Int32, Int64
from ..serving import Engine, Request
from ..serving.arms import MODEL, NO_RANKER, PLACEMENT, POPULAR, RULES, SERVED, VERSION, Arm, placement_of
from ..serving.loaded_version import LoadedVersion
from ..serving.placements import fill, read_placements
from ..serving.rules import Rules
from ..serving.second_stage import SecondStage
from ..settings import Settings
from ..splitting.holdout import without
from ..splitting.usable_time import usable_time
from ..store import Snapshot, Store
from ..store.sales import bought_between
from .off_policy import read_log

_FILLERS = ("popular", "catalogue", "category")  # sources of what is there because nothing better is known
_NOTHING_RETURNS = {"bought_days": 0.0, "consumables": False}  # rules by which what was bought is never shown again


@dataclass(frozen=True)
class Question:
    """What is replayed.

    Parameters
    ----------
    days
        Before the newest event; 0 chooses from the data.
    k
        Items in a list.
    customers
        Replayed at most; a sample of more.
    repeat
        Count what a customer already had, too, and let lists contain it.
    """

    days: float = 0.0
    k: int = 10
    customers: int = 5_000
    repeat: bool = False


@dataclass(frozen=True)
class Lists:
    """What one way showed to the customers of a replay: item codes (customers, k), -1 where a list is short."""

    codes: Int32
    fallback: float


@dataclass
class Replay:
    """The moment that is gone back to, with what was bought after it.

    Parameters
    ----------
    snapshot
        Of today, in whose codes everything is.
    split
        What was known then, and what came after it.
    users
        Codes of the customers who were known then and bought afterwards.
    money, units
        What each of them spent on, and bought of, each item afterwards: CSR of shape (customers, items).
    """

    snapshot: Snapshot
    split: Split
    users: Int64
    money: sp.csr_matrix
    units: sp.csr_matrix
    settings: Settings
    artifacts: Artifacts
    progress: Progress = SILENT
    _models: dict[str, Model] = field(default_factory=dict)
    _orders: dict[str, SecondStage] = field(default_factory=dict)

    @staticmethod
    def back(
        store: Store, artifacts: Artifacts, settings: Settings, asked: Question, progress: Progress = SILENT
    ) -> Replay:
        """Go back.

        Raises
        ------
        NotEnoughData
            The times cannot be believed, or nobody who was known then bought anything afterwards.
        """
        snapshot = read_snapshot(store, settings, progress)
        if not usable_time(snapshot.data.interactions.histories):
            raise NotEnoughData("The times of the events are not reliable, so that orders cannot be replayed.",
                                "Ingest events with the time at which each happened.")  # fmt: skip
        split = holdout(snapshot.data, asked.days or settings.evaluation.window_days, by="time")
        users = np.zeros(0, np.int64)
        if split is not None and split.train.interactions.histories.n_events:
            users = split.judged(split.wanted(repeat=asked.repeat), asked.customers, settings.train.seed)
        if split is None or not len(users):
            raise NotEnoughData(
                "No customer who was known before the replayed days bought anything new to them in these days.",
                "Give more days with --days, or ingest a longer period.",
            )
        seen = snapshot.data.interactions
        with store.reading() as con:
            table = bought_between(con, split.cut, seen.items.ids)
        row = np.full(seen.n_users, -1, dtype=np.int64)
        row[users] = np.arange(len(users))
        owner = seen.users.codes(table["owner"].combine_chunks())
        who = np.where(owner >= 0, row[np.maximum(owner, 0)], -1)
        some, shape = who >= 0, (len(users), seen.n_items)
        where = who[some], table["code"].to_numpy()[some]
        money, units = (
            sp.csr_matrix((table[name].to_numpy()[some].astype(np.float64), where), shape=shape)
            for name in ("amount", "units")
        )
        if not asked.repeat:
            had = split.seen()[users]
            money, units = without(money, had), without(units, had)
        return Replay(snapshot, _as_it_was(split), users, money, units, settings, artifacts, progress)

    def engine(self, arm: Arm) -> tuple[Engine, str]:
        """The engine that would have answered then, and what it was made of."""
        recipe, version = self._recipe(arm)
        model = self._model(recipe)
        second = SecondStage(ItemTable.of(self.split.train), None, "It is not replayed.", np.inf)
        note = recipe.name
        if arm.kind != NO_RANKER and self._had_ranker(version):
            second = self._ranker(recipe, model)
            note += " and a ranker" if second.ranker is not None else "; its ranker would have been off"
        then = replace(self.snapshot, data=self.split.train)
        bundle = make_bundle(then, model, self.settings.privacy.min_customers)
        rules = Rules.of(self.settings.rules)
        if arm.kind == RULES:
            rules = rules.with_changes(**dict(arm.rules))
        loaded = LoadedVersion("replay", bundle, model, None, {}, second)
        return Engine(loaded, load_secret(self.settings.db), rules=rules), note

    def lists(
        self, engine: Engine, arm: Arm, users: Int64, asked: Question, changes: Mapping[str, Any] | None = None
    ) -> Lists:
        """What these customers would have been shown; -1 stands for somebody of whom nothing is known.

        Parameters
        ----------
        changes
            Of the rules.
        """
        k = asked.k
        if arm.kind == POPULAR:
            codes = np.array(engine.popular(Request(k=k)).codes, dtype=np.int32)
            row = np.full(k, -1, dtype=np.int32)
            row[: len(codes)] = codes
            return Lists(np.tile(row, (len(users), 1)), 0.0)
        if arm.kind == PLACEMENT:
            return self._placed(engine, arm.value, users, asked, changes)
        out = np.full((len(users), k), -1, dtype=np.int32)
        filled = np.zeros((len(users), k), dtype=np.bool_)
        known = np.flatnonzero(users >= 0)
        if len(known):
            rules = engine.rules.settings  # which, where they let repeats in, also say when
            repeat = asked.repeat and not (rules.consumables or rules.bought_days)
            batch = engine.recommend_batch(self.snapshot.keys[users[known]], Request(k=k, repeat=repeat, rules=changes))
            out[known] = batch.codes
            names = [name in _FILLERS and name != engine.model.name for name in batch.source_names]
            filled[known] = np.array(names)[batch.source] & (batch.codes >= 0)
        if len(known) < len(users):
            answer = engine.recommend(Request(k=k))
            out[users < 0, : len(answer.codes)] = answer.codes
            filled[users < 0, : len(answer.codes)] = answer.fallbacks
        return Lists(out, float(filled.sum() / max((out >= 0).sum(), 1)))

    def _placed(
        self, engine: Engine, name: str, users: Int64, asked: Question, changes: Mapping[str, Any] | None
    ) -> Lists:
        """Lists as a placement has them, one by one: its filter and what fills it up are the visitor's."""
        place = placement_of(name, read_placements(self.settings.placements))
        out = np.full((len(users), asked.k), -1, dtype=np.int32)
        filled, ids = 0, self.snapshot.data.interactions.users.ids
        for row, user in enumerate(users.tolist()):
            who = ids[user].as_py() if user >= 0 else None
            guest = who is not None and who.startswith(GUEST)
            request = Request(session_id=who[1:]) if who and guest else Request(user_id=who)
            request = place.request(replace(request, k=asked.k, repeat=asked.repeat, rules=changes), {})
            answer = fill(engine, place, request)
            out[row, : len(answer.codes)] = answer.codes
            filled += sum(answer.fallbacks)
        return Lists(out, filled / max(int((out >= 0).sum()), 1))

    def _recipe(self, arm: Arm) -> tuple[Recipe, str]:
        """What an arm's model is fitted by, and the version whose it is; empty for one that was never published."""
        if arm.kind == MODEL:
            return choose(self.settings, arm.value, {}), ""
        named = arm.value if arm.kind == VERSION else ""
        if arm.kind == PLACEMENT:
            named = placement_of(arm.value, read_placements(self.settings.placements)).version
        version = self.artifacts.open(named) if named else self.artifacts.current()
        asked = fitted(version)["recipe"]
        return Recipe.of(asked["name"], asked["config"]), version.name

    def _model(self, recipe: Recipe) -> Model:
        key = repr(recipe.as_dict())
        if key not in self._models:
            with self.progress.stage(f"Fitting {recipe.name} on what was known then"):
                self._models[key] = recipe.fit_past(self.split.train, self.settings, self.progress)
        return self._models[key]

    def _had_ranker(self, version: str) -> bool:
        """Whether the version orders any lists by a ranker; a model alone has none."""
        told = self.artifacts.open(version, verify=False).manifest.get(RANKER) if version else None
        return bool((told or {}).get("on"))

    def _ranker(self, recipe: Recipe, model: Model) -> SecondStage:
        """The ranker that would have been learned then, from orders."""
        key = repr(recipe.as_dict())
        if key not in self._orders:
            found: Outcome | None = None
            inner = holdout(self.split.train, self.settings.evaluation.window_days, by="time")
            if inner is not None:
                train, ranking = self.settings.train, self.settings.ranking
                past = recipe.fit_past(inner.train, self.settings, self.progress)
                found = learn(
                    inner, past, model, ranking=ranking, seed=train.seed, threads=train.threads, progress=self.progress
                )
            reason = found.reason if found else "There was nothing to learn an order from."
            ranker = found.ranker if found else None
            self._orders[key] = SecondStage(ItemTable.of(self.split.train), ranker, reason, np.inf)
        return self._orders[key]


def _as_it_was(split: Split) -> Split:
    """The split with the catalogue of then: what has sold out or gone since is there, what came since is not."""
    table = split.train.catalogue
    gone = table["retired_at"].combine_chunks()
    came = (
        pc.coalesce(table["created_at"], table["arrived"]) if "arrived" in table.column_names else table["created_at"]
    )
    later = pc.fill_null(pc.greater(came.combine_chunks(), split.cut), False)
    since = pc.fill_null(pc.greater(gone, split.cut), False)
    gone = pc.if_else(later, pa.scalar(0, gone.type), pc.if_else(since, pa.scalar(None, gone.type), gone))
    table = table.set_column(table.column_names.index("retired_at"), "retired_at", gone)
    place = table.column_names.index("availability")
    table = table.set_column(place, "availability", pa.nulls(len(table), table.schema.field(place).type))
    return replace(split, train=replace(split.train, catalogue=table))


def simulate(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    proposals: Sequence[str] = (),
    asked: Question | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Replay past orders under the served lists, popular items, and other ways of making lists.

    Parameters
    ----------
    proposals
        As `serving.arms.Arm.parse` reads them.

    Returns
    -------
    dict
        JSON values: `ways`, one for each way of making lists, the served one first; `log`, what the log of seen lists
        could say about them; `causal`, whether that says what the lists would have led to.

    Raises
    ------
    NoModel, StoreMissing, NotEnoughData, NotFound, UsageError
    """
    arms = {text: Arm.parse(text) for text in dict.fromkeys((SERVED, POPULAR, *proposals))}
    asked = asked or Question()
    for text, arm in arms.items():
        if arm.kind == VERSION:
            artifacts.open(arm.value, verify=False)
        if not asked.repeat and _NOTHING_RETURNS.keys() & dict(arm.rules).keys():
            raise UsageError(f"'{text}' is about what customers bought before.", "Add --repeat, which counts it.")
    back = Replay.back(store, artifacts, settings, asked, progress)
    log = read_log(store, settings, back.snapshot, back.split.cut, asked.customers, progress)
    figures = _Figures(back, asked.k)
    ways = []
    with progress.stage("Replaying", len(arms)) as advance:
        for text, arm in arms.items():
            engine, note = back.engine(arm)
            # Else lists of what they had would be judged by what was new to them; those in the log were as they were.
            lists = back.lists(engine, arm, back.users, asked, None if asked.repeat else _NOTHING_RETURNS)
            logged = back.lists(engine, arm, log.users, asked).codes if log.lists else None
            way = {"name": text, "made_of": note if arm.kind != POPULAR else "what sells"}
            ways.append(way | figures.of(text, lists) | {"estimates": log.estimates(logged)})
            advance(1)
    cut = back.split.cut
    return {
        "since": cut,
        "days": round((back.snapshot.data.interactions.end + 1 - cut) / DAY, 2),
        "customers": len(back.users),
        "k": asked.k,
        "repeat": asked.repeat,
        "returns": bool(settings.rules.bought_days or settings.rules.consumables),
        "revenue": round(float(back.money.sum()), 2),
        "ways": ways,
        "bought": figures.bought(),
        "log": log.as_dict(),
        "causal": log.causal,
    }


class _Figures:
    """What lists come to beside what was bought."""

    def __init__(self, back: Replay, k: int) -> None:
        self._back, self._k = back, k
        self._boot = Bootstrap(len(back.users), back.settings.train.seed)
        self._base: dict[str, NDArray[np.float64]] = {}
        table = back.snapshot.data.catalogue
        self._categories = table["category"].combine_chunks().dictionary_encode()
        # What has gone since: those that were variants' own codes never were for sale.
        gone = pc.and_(pc.is_valid(table["retired_at"]), pc.not_equal(table["retired_at"], 0))
        sold_out = pc.equal(table["availability"], False)
        self._gone = pc.fill_null(pc.or_kleene(gone, sold_out), False).combine_chunks().to_numpy(zero_copy_only=False)
        retired = back.split.train.catalogue["retired_at"]
        self._for_sale = int(pc.sum(pc.is_null(retired)).as_py() or 0)

    def of(self, name: str, lists: Lists) -> dict[str, Any]:
        """One way's figures; those of the first are what the others are compared with."""
        codes, wanted = lists.codes, self._back.units > 0
        hits = contains(wanted, codes)
        relevant = np.diff(wanted.indptr).astype(np.int64)
        row = np.repeat(np.arange(len(codes)), codes.shape[1])
        paid = np.asarray(self._back.money[row, np.maximum(codes, 0).ravel()]).reshape(codes.shape)
        values = {
            "hit_rate": m.hit_rate(hits, self._k),
            "ndcg": m.ndcg(hits, relevant, self._k),
            "revenue": np.where(hits, paid, 0.0).sum(axis=1),
        }
        self._base = self._base or values
        shown = codes[codes >= 0]
        total = float(self._back.money.sum())
        counts = np.sort(np.bincount(shown, minlength=len(self._gone)))[::-1]
        tenth = max(int(self._for_sale * 0.1), 1)
        money = float(values["revenue"].sum())
        return {
            **{key: self._interval(found) for key, found in values.items()},
            "against_served": {key: self._interval(found - self._base[key]) for key, found in values.items()},
            "revenue_touched": round(money, 2),
            "revenue_share": round(money / total, 6) if total > 0 else None,
            "coverage": round(float((counts > 0).sum() / max(self._for_sale, 1)), 6),
            "top_tenth_share": round(float(counts[:tenth].sum() / max(len(shown), 1)), 6),
            "categories": self._by_category(shown, np.ones(len(shown))),
            "sold_out_share": round(float(self._gone[shown].mean()), 6) if len(shown) else None,
            "fallback_share": round(lists.fallback, 6),
        }

    def bought(self) -> dict[str, float]:
        """Share of each category in what was bought, largest first."""
        units = self._back.units.tocoo()
        return self._by_category(units.col, units.data)

    def _by_category(self, items: NDArray[Any], weight: NDArray[Any]) -> dict[str, float]:
        names = self._categories.dictionary.to_pylist()
        code = self._categories.indices.fill_null(len(names)).to_numpy()[items]
        sums = np.bincount(code, weights=weight, minlength=len(names) + 1)
        whole = max(float(sums.sum()), 1e-12)
        best = np.argsort(-sums, kind="stable")
        return {([*names, ""])[n]: round(float(sums[n] / whole), 6) for n in best if sums[n] > 0}

    def _interval(self, values: NDArray[np.float64]) -> dict[str, float]:
        found: Interval = self._boot.interval(values)
        return found.as_dict()
