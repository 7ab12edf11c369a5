"""Several models, each saying as much as earlier months show it should."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..errors import NotEnoughData, UsageError
from ..progress import SILENT, Progress
from ..schema import Dataset, Float32, Histories, Int32
from ..splitting.holdout import FEW_USERS, Split, rolling
from ..splitting.usable_time import usable_time
from .als import ALS
from .base import Capabilities, Model, ModelConfig, State, hyper
from .content import Content
from .ease import EASE
from .gru4rec import GRU4Rec
from .item_knn import ItemKNN
from .next_item import NextItem
from .next_ridge import NextRidge
from .popular import Popular
from .rp3beta import RP3beta
from .sasrec import SASRec
from .session_knn import SessionKNN, clicks
from .spectral import Spectral
from .support import blend_search
from .support.blend_sum import Alike, blended
from .support.blend_weights import OWN, Problem, learn, learn_own, own_features, problem
from .support.item_matrix import sparse_top_k
from .two_tower import TwoTower

_KINDS: dict[str, type[Model]] = {
    cls.name: cls
    for cls in (
        Popular,
        ItemKNN,
        NextItem,
        NextRidge,
        SessionKNN,
        RP3beta,
        ALS,
        EASE,
        Spectral,
        Content,
        SASRec,
        GRU4Rec,
        TwoTower,
    )
}
_WINDOWS_OF_POPULARITY = (3.0, 10.0, 40.0, 0.0)  # days; 0 is all time
_FOOTING = 0.02  # least share of popularity
_LEAST = 0.01  # share of the weights below which a member is not worth its time
_FULL_ITEMS = 5_000  # up to here blending all of them is as fast as finding out which may come first
_SEARCHERS = 2  # blocks searched at a time: most of it is arithmetic outside Python
_SEARCHED = 4_000_000  # scores of a member held at a time in a search: 16 MB


@dataclass(frozen=True)
class BlendConfig(ModelConfig):
    """Hyperparameters of `Blend`."""

    tau_days: float = hyper(0.0, "Not used: every member ages histories in its own way.", high=36_500)
    order_power: float = hyper(0.0, "Not used, as `tau_days`.", high=5)
    members: dict[str, Any] = hyper(
        {}, 'Label to {"model", "config", "weight"}; empty takes what the data allows; missing weights are learned.'
    )
    own: dict[str, Any] = hyper(
        {}, "Added to the scores of what the history has already, see `blending.OWN`; learned with the weights."
    )
    windows: int = hyper(2, "Earlier stretches of time that weights are learned on.", low=1, high=20)
    users: int = hyper(3000, "Customers asked in each of them.", low=1, high=1_000_000)


class Blend(Model):
    """A weighted sum of the members' standardised scores.

    Members that get no weight are left out of the fitted model.
    """

    name: ClassVar[str] = "blend"
    Config: ClassVar[type[ModelConfig]] = BlendConfig
    capabilities: ClassVar[Capabilities] = Capabilities(cold_items=True, explains=True, strangers=True)
    config: BlendConfig

    def __init__(self, config: BlendConfig, n_items: int, members: Mapping[str, Model]) -> None:
        super().__init__(config, n_items)
        self.members = dict(members)

    @property
    def shares(self) -> dict[str, float]:
        """Label to weight, summing to 1."""
        return {label: float(self.config.members[label]["weight"]) for label in self.members}

    @classmethod
    def fit(
        cls, data: Dataset, config: BlendConfig, *, seed: int = 42, threads: int = 0, progress: Progress = SILENT
    ) -> Self:
        chosen = config.members or default_members(data)
        if any("weight" not in member for member in chosen.values()):
            with progress.stage("Learning weights of the blend", config.windows) as advance:
                learned = learn_weights(data, chosen, config, seed, threads, advance)
            chosen, config = weighed(chosen, learned.shares), replace(config, own=learned.own)
        return cls.of_fitted(data, chosen, {}, config=config, seed=seed, threads=threads, progress=progress)

    @classmethod
    def refit(
        cls, data: Dataset, config: BlendConfig, past: Model, *, seed: int = 42, threads: int = 0,
        progress: Progress = SILENT,
    ) -> Self:  # fmt: skip
        """As `Model.refit`, member by member; weights that are to be learned are learned as by `fit`."""
        if not config.members or any("weight" not in member for member in config.members.values()):
            return cls.fit(data, config, seed=seed, threads=threads, progress=progress)
        fitted: dict[str, Model] = {}
        for label, member in config.members.items():
            kind, settings = recipe(member)
            if isinstance(old := past.members.get(label), kind):
                fitted[label] = kind.refit(data, settings, old, seed=seed, threads=threads, progress=progress)
        return cls.of_fitted(
            data, config.members, fitted, config=config, seed=seed, threads=threads, progress=progress
        )  # fmt: skip

    @classmethod
    def of_fitted(
        cls,
        data: Dataset,
        members: Mapping[str, Any],
        fitted: Mapping[str, Model],
        *,
        config: BlendConfig | None = None,
        seed: int = 42,
        threads: int = 0,
        progress: Progress = SILENT,
    ) -> Self:
        """The blend of weighed members; those that `fitted` has by their label are not fitted again."""
        total = sum(member["weight"] for member in members.values())
        if total <= 0:
            raise UsageError("No member of the blend has a weight above 0.", "Leave the weights out to learn them.")
        kept = {
            label: {**member, "weight": member["weight"] / total}
            for label, member in members.items()
            if member["weight"] > _LEAST * total
        }
        missing = {label: member for label, member in kept.items() if label not in fitted}
        have = {**fitted, **fit_members(data, missing, seed, threads, progress)}
        # As fitting settled them, so that the version says what it was made with.
        settled = {label: {**kept[label], "config": have[label].config.as_dict()} for label in kept}
        base = config or BlendConfig()
        return cls(replace(base, members=settled), data.interactions.n_items, {label: have[label] for label in kept})

    def state(self) -> State:
        arrays: dict[str, NDArray[Any]] = {}
        meta: dict[str, Any] = {}
        for number, (label, member) in enumerate(self.members.items()):
            held = member.state()
            arrays |= {f"{number}-{name}": array for name, array in held.arrays.items()}
            meta[label] = held.meta
        return State(arrays, {"members": list(self.members), "meta": meta})

    @classmethod
    def from_state(cls, config: BlendConfig, n_items: int, state: State) -> Self:
        members = {}
        for number, label in enumerate(state.meta["members"]):
            begin = f"{number}-"
            arrays = {n.removeprefix(begin): a for n, a in state.arrays.items() if n.startswith(begin)}
            kind, settings = recipe(config.members[label])
            members[label] = kind.from_state(settings, n_items, State(arrays, state.meta["meta"][label]))
        return cls(config, n_items, members)

    def bound(self, histories: Histories) -> Self:
        """As `Model.bound`, with all members."""
        members = {label: member.bound(histories) for label, member in self.members.items()}
        return type(self)(self.config, self.n_items, members)

    def grow(self, data: Dataset, now: int) -> Self:
        grown = {label: member.grow(data, now) for label, member in self.members.items()}
        return type(self)(self.config, data.interactions.n_items, grown)

    def score(self, histories: Histories, now: int) -> Float32:
        """As `Model.score`: every member ages and weighs histories in its own way."""
        return self.score_with_members(histories, now)[0]

    def score_with_members(
        self, histories: Histories, now: int, *, keep: bool = False
    ) -> tuple[Float32, dict[str, Float32]]:
        """As `score`; with `keep` each member's standardised scores, of one row where they are the same for all."""
        kept: dict[str, Float32] | None = {} if keep else None
        total, known = blended(self.members, self.shares, histories, now, kept, self._alike)
        own = self.own(histories)
        if own is not None:
            row = np.repeat(np.arange(len(histories)), np.diff(own.items.indptr))
            total[row, own.items.indices] += own.worth
            known[row, own.items.indices] = True
        # 0 says that nobody has an opinion; a sum that happens to be 0 must not say so.
        total[known & (total == 0)] = np.float32(1e-9)
        total[~known] = 0
        return total, kept or {}

    def own(self, histories: Histories) -> blend_search.Own | None:
        """What items of histories are worth besides; None where that was not learned."""
        if not self.config.own:
            return None
        owned, features = own_features(histories, self.n_items)
        worth = np.array([self.config.own.get(name, 0.0) for name in OWN], dtype=np.float32)
        return blend_search.Own(owned, worth @ features)

    def _score(self, weights: sp.csr_matrix, histories: Histories, now: int) -> Float32:
        return self.score(histories, now)

    def recommend(
        self,
        histories: Histories,
        k: int,
        now: int,
        *,
        exclude: sp.csr_matrix | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Int32, Float32]:
        """As `Model.recommend`; of large catalogues only what some member proposes is blended, see `blend_search`."""
        if not self.proposes(k):
            return super().recommend(histories, k, now, exclude=exclude, allowed=allowed)
        items = np.full((len(histories), k), -1, dtype=np.int32)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        step = max(_SEARCHED // self.n_items, 16)
        search = self.search(allowed, now, step)

        def look(start: int) -> None:
            block = np.arange(start, min(start + step, len(histories)))
            some, taken = histories.rows(block), None if exclude is None else exclude[block]
            items[block], scores[block] = search.best(self.own(some), some, k, taken)

        with ThreadPoolExecutor(_SEARCHERS) as pool:
            for _ in pool.map(look, range(0, len(histories), step)):
                pass
        short = np.flatnonzero((items < 0).any(axis=1))
        if len(short):
            taken = None if exclude is None else exclude[short]
            items[short], scores[short] = super().recommend(
                histories.rows(short), k, now, exclude=taken, allowed=allowed
            )
        return items, scores

    def search(
        self, allowed: NDArray[np.bool_] | None = None, now: int = 0, rows: int = 1
    ) -> blend_search.Search:  # fmt: skip
        """Finds the best of a blend without blending every item, for `rows` histories at a time; see `blend_search`."""
        shown = np.ones(self.n_items, dtype=np.bool_) if allowed is None else allowed
        return blend_search.Search(self.members, self.shares, self._indices, shown, now, rows)

    @cached_property
    def _alike(self) -> dict[str, Alike]:
        """Of the members that tell all the same: worked out once, and not for each of those who ask."""
        alike = {label: member for label, member in self.members.items() if not member.capabilities.personal}
        return {label: Alike.of(member, self.shares[label]) for label, member in alike.items()}

    @cached_property
    def _indices(self) -> Mapping[str, blend_search.VectorIndex]:
        return blend_search.indices_of(self.members)

    def proposes(self, k: int) -> bool:
        """Whether lists of k items are blended of what members propose alone."""
        return self.n_items > _FULL_ITEMS and 2 * k <= blend_search.PROPOSED

    def similar(self, items: Int32, k: int) -> tuple[Int32, Float32]:
        """Items by the members' weighted votes, each member's scores over its own best."""
        shape = (len(items), self.n_items)
        votes = sp.csr_matrix(shape, dtype=np.float32)
        for label, member in self.members.items():
            codes, scores = member.similar(items, max(3 * k, 50))
            real = (codes >= 0) & (scores > 0)
            best = np.where(real, scores, 0).max(axis=1, keepdims=True, initial=0)
            share = np.where(real, scores / np.where(best > 0, best, 1), 0) * np.float32(self.shares[label])
            rows = np.broadcast_to(np.arange(len(items))[:, None], codes.shape)[real]
            votes = votes + sp.csr_matrix((share[real].astype(np.float32), (rows, codes[real])), shape=shape)
        return sparse_top_k(votes.tocsr(), k)

    def explain(self, history: Histories, item: int, now: int) -> list[tuple[int, float]]:
        """By the weightiest member that explains; nothing when none does."""
        for label in sorted(self.members, key=lambda name: -self.shares[name]):
            if self.members[label].capabilities.explains:
                return self.members[label].explain(history, item, now)
        return []


def recipe(member: Mapping[str, Any]) -> tuple[type[Model], ModelConfig]:
    """Model class and config of one member.

    Raises
    ------
    UsageError
        A model that cannot be a member, or a hyperparameter it does not have.
    """
    kind = _KINDS.get(member.get("model", ""))
    if kind is None:
        raise UsageError(
            f"A blend cannot have the member '{member.get('model', '')}'.", f"It can have: {', '.join(_KINDS)}."
        )
    return kind, kind.Config.from_values(member.get("config", {}))


def member_names() -> tuple[str, ...]:
    """Names of the models that can be members."""
    return tuple(_KINDS)


def default_members(data: Dataset) -> dict[str, Any]:
    """Personal models that this data allows, and popularity over several stretches of time."""
    large = data.interactions.histories.n_events > 3_000_000
    wide = [EASE.name, ALS.name, Spectral.name, RP3beta.name, ItemKNN.name, NextItem.name]
    names = [ALS.name, RP3beta.name, NextItem.name] if large else wide
    if clicks(data):
        names.append(SessionKNN.name)
    if not large and Content.affordable(data):
        names.append(Content.name)
    return {name: {"model": name, "config": {}} for name in names} | popularities(
        usable_time(data.interactions.histories)
    )


def popularities(timed: bool = True) -> dict[str, Any]:
    """Members that are popularity over different stretches of time: which one matters differs from shop to shop.

    Where times cannot be believed they would all be the same: without `timed`, the one of all time.
    """
    return {
        f"popular-{days:g}d" if days else "popular-ever": {"model": Popular.name, "config": {"tau_days": days}}
        for days in _WINDOWS_OF_POPULARITY
        if timed or not days
    }


def fit_members(
    data: Dataset, members: Mapping[str, Any], seed: int, threads: int, progress: Progress = SILENT
) -> dict[str, Model]:
    """All members, fitted."""
    fitted = {}
    for label, member in members.items():
        kind, config = recipe(member)
        fitted[label] = kind.fit(data, config, seed=seed, threads=threads, progress=progress)
    return fitted


@dataclass(frozen=True)
class Learned:
    """Weights of members, what own items are worth (see `learn_own`), and the problems they were learned from."""

    shares: dict[str, float]
    own: dict[str, float]
    problems: list[Problem]


def learn_weights(
    data: Dataset,
    members: Mapping[str, Any],
    config: BlendConfig,
    seed: int,
    threads: int,
    advance: Any,
    *,
    own: bool = True,
) -> Learned:
    """Weights from the last windows of `data`, and from the very last, with `own`, what own items are worth.

    Raises
    ------
    NotEnoughData
        Nobody came back in any window.
    """
    problems: list[Problem] = []
    newest: tuple[Split, dict[str, Model]] | None = None
    for split in rolling(data, config.windows):
        fitted = fit_members(split.train, members, seed, threads)
        problems.append(problem(fitted, split, config.users, seed))
        newest = newest or (split, fitted)
        advance(1)
    if newest is None:
        raise NotEnoughData(
            "A blend learns its weights from customers who came back, and there are too few.",
            "Ingest a longer stretch of time, or train another model.",
        )
    return _learned(problems, *newest, members, seed, own=own)


def learn_newer(
    known: Learned,
    split: Split,
    fitted: Mapping[str, Model],
    members: Mapping[str, Any],
    config: BlendConfig,
    seed: int,
) -> Learned:
    """As `learn_weights` on all that `split` is of, when `known` was learned on its past: nothing is fitted again.

    `fitted` are all members, fitted on that past.
    """
    older = [problem for problem in known.problems if len(problem.relevant) >= FEW_USERS]
    problems = [problem(fitted, split, config.users, seed), *older][: config.windows]
    return _learned(problems, split, fitted, members, seed)


def _learned(
    problems: list[Problem],
    newest: Split,
    fitted: Mapping[str, Model],
    members: Mapping[str, Any],
    seed: int,
    *,
    own: bool = True,
) -> Learned:
    shares = _footed(dict(zip(members, learn(problems, len(members))[0].tolist(), strict=True)), members)
    telling = {label: model for label, model in fitted.items() if shares[label] > _LEAST * sum(shares.values())}
    worth = learn_own(lambda histories, now: blended(telling, shares, histories, now)[0], newest, seed) if own else {}
    return Learned(shares, worth, problems)


def _footed(shares: dict[str, float], members: Mapping[str, Any]) -> dict[str, float]:
    """Who has no history yet, and ties among what no member likes, are left to popularity: it gets a little always."""
    impersonal = [label for label, member in members.items() if not recipe(member)[0].capabilities.personal]
    if impersonal and max(shares[label] for label in impersonal) < _FOOTING:
        return shares | {max(impersonal, key=lambda label: shares[label]): _FOOTING}
    return shares


def weighed(members: Mapping[str, Any], shares: Mapping[str, float]) -> dict[str, Any]:
    """The members with these weights."""
    return {label: {**member, "weight": shares[label]} for label, member in members.items()}
