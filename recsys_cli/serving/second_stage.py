"""Features, and the order that a ranker makes of candidates, for the visitor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..artifacts import Version
from ..artifacts.bundle import Bundle
from ..errors import CorruptArtifact, MissingLibrary, NotFound
from ..features import FeatureStore, ItemTable
from ..features.customer_groups import Groups, as_codes, groups_of
from ..features.item_table import ITEM_TABLE
from ..features.own_attributes import is_own
from ..features.people import People as PeopleView
from ..models.base import Model
from ..ranking.dlrm import CODES
from ..ranking.opinions import Depth, names_of
from ..ranking.outcome import NEW, RANKER, REPEAT
from ..ranking.past import Block, block_of, of_pairs, owned_by
from ..ranking.proposals import FirstStage
from ..ranking.ranker import Items, Ranker, words_of
from ..schema import Float32, Histories, Int32, Int64
from .catalogue import Allowed, Catalogue
from .request import Answer, Request
from .retrieval import Scored
from .stopwatch import Stopwatch
from .visitor import People, Person

_ROWS = 256  # customers ordered at a time
_CELLS = 4_000_000  # scores of one source held at a time
_TIMES = 1000  # of lists whose time is remembered until it is asked for
_STRANGER = "Nothing that this visitor did is known."
_Pairs = tuple[Int64, Int32, Float32]  # rows, items and what they are worth, row after row, best first


@dataclass(frozen=True)
class Decision:
    """Whether a list was put in the ranker's order, the seconds that took, and why or why not, in a sentence."""

    ordered: bool
    seconds: float
    why: str


_NOT_ASKED = Decision(False, 0.0, "The list was full without the models.")


@dataclass
class SecondStage:
    """The ranker of one version, where it has one that can be used. Not for several threads at a time.

    Parameters
    ----------
    table
        Features of the version's items; None for a version older than features.
    ranker
        None where there is none, or none that can be used.
    reason
        Why it is off, or what the gate found, in a sentence.
    budget
        Milliseconds that ordering one list may take, beyond what the first stage takes for its scores.
    first
        The model, as the ranker asks it; None without a ranker that is on for some lists.
    items
        What the trees make of the items; None asks them for every list.
    ordered, late
        Lists that it has ordered, and those that were served in the first stage's order because time was up.
    last
        What was decided of the last list.
    watch
        Of the engine that it belongs to.
    """

    table: ItemTable | None = None
    ranker: Ranker | None = None
    reason: str = "The served version has no ranker."
    budget: float = 10.0
    first: FirstStage | None = None
    items: Items | None = None
    ordered: int = 0
    late: int = 0
    last: Decision = _NOT_ASKED
    watch: Stopwatch = field(default_factory=Stopwatch)
    _times: list[float] = field(default_factory=list)

    @classmethod
    def open(cls, version: Version, model: Model, budget: float = 10.0) -> Self:
        """What a version holds; a ranker that is damaged or cannot be used is left out, and the reason is told.

        Raises
        ------
        CorruptArtifact
            The features cannot be read.
        """
        path = version.path / ITEM_TABLE
        table = ItemTable.load(path) if path.is_dir() else None
        told = version.manifest.get(RANKER) or {}
        reason = str(told.get("reason") or cls.reason)
        if table is None or not any(name.startswith(f"{RANKER}/") for name in version.manifest["files"]):
            return cls(table, None, reason, budget)
        try:
            if not version.intact(RANKER):
                raise CorruptArtifact("The ranker's files are not as published.", "Run recsys train --ranker.")
            ranker = Ranker.load(version.file(RANKER))
        except (CorruptArtifact, MissingLibrary) as e:
            return cls(table, None, f"{e.message} {e.hint}", budget)
        given = {*names_of(model), *CODES}
        missing = [name for name in ranker.names if ":" in name and not is_own(name) and name not in given]
        if missing:
            return cls(table, None, f"The model has no source {missing[0].partition(':')[2]}.", budget)
        # Of a large catalogue it takes seconds to prepare: not for a ranker that orders no list.
        first = FirstStage(model, whole=ranker.whole) if ranker.on(NEW) or ranker.on(REPEAT) else None
        return cls(table, ranker, reason, budget, first, Items.of(ranker, table))

    def change(self, catalogue: Catalogue, item_id: str) -> None:
        """Take a change of an item that the catalogue has heard of."""
        code = catalogue.code_of.get(item_id)
        if self.table is not None and code is not None:
            self.table.change(code, float(catalogue.price[code]), bool(catalogue.available[code]))
            if self.items is not None and self.ranker is not None:
                self.items.take(self.ranker, slice(code, code + 1))

    def groups(self, user: Mapping[str, str]) -> Groups:
        """What the ranker makes use of in what a request says of the visitor."""
        if self.ranker is None or self.table is None or not user:
            return ()
        return groups_of(self.table.lifts, user)

    def kind(self, repeat: bool) -> str:
        """What lists with or without repeats are: without purchases nothing is ever left out as bought."""
        return REPEAT if repeat or (self.table is not None and not self.table.purchases) else NEW

    def on(self, repeat: bool) -> bool:
        """Whether it orders lists with or without repeats."""
        return self.ranker is not None and self.ranker.on(self.kind(repeat))

    def start(self) -> None:
        """Begin with a list."""
        self.watch.start()
        self.last = _NOT_ASKED

    def _unordered(self, why: str, seconds: float = 0.0) -> None:
        self.last = Decision(False, seconds, why)

    def _verdict(self, kind: str) -> str:
        """What the gate said of lists of a kind."""
        return str((self.ranker.verdicts.get(kind) or {}).get("reason") or self.reason) if self.ranker else self.reason

    # -- one list -----------------------------------------------------------------------------------------------------

    def order(
        self,
        person: Person,
        allowed: Allowed,
        bundle: Bundle,
        now: int,
        skip: set[int],
        groups: Groups = (),
    ) -> Scored | None:
        """The candidates for somebody, best first; None where the first stage's order is to be served.

        Parameters
        ----------
        now
            By the shop's clock.
        skip
            Items that will not be shown. A list without anything that was bought is one of new items.
        groups
            See `groups`.
        """
        if self.ranker is None or self.table is None:
            self._unordered(self.reason)
            return None
        if not len(person.past):
            self._unordered(_STRANGER)
            return None
        histories = person.past.as_histories(bundle.histories)
        owned = owned_by(histories, self.table)
        kind = NEW if skip.issuperset(owned.indices.tolist()) else REPEAT
        if self.first is None or not self.ranker.on(kind):
            self._unordered(self._verdict(kind))
            return None
        kept, asked_with = person.ranked, (allowed.number, kind, now // 3600, groups)
        if kept is not None and kept[0] == asked_with:
            self.last = Decision(True, 0.0, self._verdict(kind))
            return kept[1], kept[2]
        self.watch.lap("filters")
        moment = max(bundle.now, int(person.past.ts.max()))
        mask = allowed.mask.copy()
        if kind == NEW:
            mask[owned.indices] = False
        found = self.first.look(histories, owned, moment)
        pairs, view = found.candidates(mask, self.first.depth), PeopleView(histories, self.table, now, as_codes(groups))
        self.watch.lap("candidates")  # without a ranker the first stage would have scored as well
        block = of_pairs(found, view, *pairs)
        asked = self.ranker.asked(block, self.items)
        spent = self.watch.lap("features")
        if spent * 1000 > self.budget:
            self.late += 1
            self._unordered(f"The features took more than the {self.budget:g} ms of serve.ranker_ms.", spent)
            return None
        best, scores = self.ranker.order(block, asked)
        codes = block.item[best]
        person.ranked = (asked_with, codes, scores)
        self.ordered += 1
        self.last = Decision(True, spent + self.watch.lap("trees"), self._verdict(kind))
        if len(self._times) < _TIMES:
            self._times.append(self.last.seconds)
        return codes, scores

    def take_counts(self) -> tuple[list[float], int]:
        """Since the last time: seconds that ordering took, for some of the lists, and for how many time was up."""
        counts = self._times, self.late
        self._times, self.late = [], 0
        return counts

    def scores_of(self, person: Person, codes: Int32, bundle: Bundle, now: int, groups: Groups = ()) -> Float32 | None:
        """Scores of given items, such that sorting by them is the ranker's order; None where it is off for them.

        Items that the first stage has no opinion of have 0, the others keep its scores in the ranker's order.
        """
        if self.ranker is None or self.table is None or not len(codes):
            self._unordered(self.reason)
            return None
        if not len(person.past):
            self._unordered(_STRANGER)
            return None
        owned = owned_by(person.past.as_histories(bundle.histories), self.table)
        kind = REPEAT if np.isin(codes, owned.indices).any() else NEW
        if self.first is None or not self.ranker.on(kind):
            self._unordered(self._verdict(kind))
            return None
        block = self.block(person, codes, bundle, now, groups)
        self.watch.lap("candidates")
        known = block.first != 0
        asked = self.ranker.asked(block, self.items)
        spent = self.watch.lap("features")
        best, worth = self.ranker.order(block, asked)
        self.last = Decision(True, spent + self.watch.lap("trees"), self._verdict(kind))
        best = best[known[best]]
        out = np.zeros(len(codes), np.float32)
        out[best] = worth[worth != 0]
        self.ordered += 1
        return out

    def block(self, person: Person, codes: Int32, bundle: Bundle, now: int, groups: Groups = ()) -> Block:
        """Given items as candidates for somebody."""
        assert self.table is not None
        assert self.first is not None
        histories = person.past.as_histories(bundle.histories)
        owned = owned_by(histories, self.table)
        found = self.first.look(histories, owned, max(bundle.now, int(person.past.ts.max())))
        view = PeopleView(histories, self.table, now, as_codes(groups))
        return of_pairs(found, view, np.zeros(len(codes), np.int64), codes)

    def why(
        self, person: Person, codes: Int32, bundle: Bundle, now: int, groups: Groups = ()
    ) -> list[list[dict[str, object]]]:
        """For each item what moved it up or down most, strongest first: feature, in words, value and contribution."""
        if self.ranker is None or not len(person.past) or not len(codes):
            return [[] for _ in codes]
        values = self.block(person, codes, bundle, now, groups).values(self.ranker.names)
        names, parts = self.ranker.contributions(values)
        # What is the same for all of a list does not order it.
        parts = parts - parts.mean(axis=0)
        told: list[list[dict[str, object]]] = []
        for row, part in zip(values, parts, strict=True):
            strongest = np.argsort(-np.abs(part), kind="stable")[:3]
            told.append(
                [
                    {
                        "feature": names[place],
                        "words": words_of(names[place]),
                        "value": None if np.isnan(row[place]) else round(float(row[place]), 4),
                        "contribution": round(float(part[place]), 4),
                    }
                    for place in strongest
                    if part[place]
                ]
            )
        return told

    def tell(self, answer: Answer, person: Person, bundle: Bundle, model: Model, now: int, groups: Groups = ()) -> None:
        """Say in an answer's reasons what moved each item, and in its stages whether and how fast it was ordered."""
        last = self.last
        stage = {"stage": "ranker", "ordered": last.ordered, "ms": round(last.seconds * 1000, 2), "why": last.why}
        answer.stages.append(stage)
        if not last.ordered:
            return
        told = self.why(person, np.array(answer.codes, dtype=np.int32), bundle, now, groups)
        for place, (source, parts) in enumerate(zip(answer.sources, told, strict=True)):
            if source == model.name and parts:
                up = float(str(parts[0]["contribution"])) > 0
                answer.reasons[place] += f" Moved {'up' if up else 'down'} most by: {parts[0]['words']}."

    # -- lists for many -----------------------------------------------------------------------------------------------

    def lists(
        self,
        histories: Histories,
        k: int,
        now: int,
        *,
        repeat: bool,
        exclude: sp.csr_matrix,
        allowed: np.ndarray[tuple[int], np.dtype[np.bool_]],
    ) -> tuple[Int32, Float32]:
        """As `Model.recommend`, in the ranker's order; with `repeat` of lists with what was bought before."""
        assert self.ranker is not None
        assert self.table is not None
        assert self.first is not None
        rows = len(histories)
        codes = np.full((rows, k), -1, dtype=np.int32)
        scores = np.full((rows, k), -np.inf, dtype=np.float32)
        step = int(np.clip(_CELLS // len(self.table), 8, _ROWS))
        for start in range(0, rows, step):
            some = np.arange(start, min(start + step, rows))
            view = PeopleView(histories.rows(some), self.table, now)
            block = block_of(self.first, view, allowed, depth=self.first.depth)
            if self.kind(repeat) == NEW:
                block = block.fresh()
            best, worth = self.ranker.order(block, self.ranker.asked(block, self.items))
            row, item = block.row, block.item[best]
            open_to = ~contained(exclude[some], row, item)
            row, item, worth = row[open_to], item[open_to], worth[open_to]
            if k > self.first.depth.first:
                row, item, worth = self._continued(view, allowed, exclude[some], k, (row, item, worth), repeat=repeat)
            count = np.bincount(row, minlength=len(some))
            place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
            keep = place < k
            codes[some[row[keep]], place[keep]] = item[keep]
            scores[some[row[keep]], place[keep]] = worth[keep]
        return codes, scores

    def _continued(
        self, view: PeopleView, allowed: NDArray[np.bool_], exclude: sp.csr_matrix, k: int, ranked: _Pairs, *,
        repeat: bool,
    ) -> _Pairs:  # fmt: skip
        """The ranked pairs of each row and, below them, what else the first stage has; as `followed_by`."""
        assert self.first is not None
        most = k + int(np.diff(exclude.indptr).max(initial=0))
        rest = block_of(self.first, view, allowed, depth=Depth(most, self.first.depth.other))
        if self.kind(repeat) == NEW:
            rest = rest.fresh()
        width, (row, item, worth) = np.int64(exclude.shape[1]), ranked
        below = ~contained(exclude, rest.row, rest.item) & ~np.isin(rest.row * width + rest.item, row * width + item)
        order = np.lexsort((rest.item, -rest.first, rest.row))
        order = order[below[order]]
        least = np.full(len(view.histories), np.inf, dtype=np.float32)
        np.minimum.at(least, row, worth)
        rows = np.concatenate([row, rest.row[order]])
        items = np.concatenate([item, rest.item[order]])
        values = np.concatenate([worth, np.minimum(rest.first[order], least[rest.row[order]])])
        by_row = np.argsort(rows, kind="stable")
        return rows[by_row], items[by_row], values[by_row].astype(np.float32)


def contained(matrix: sp.csr_matrix, row: Int64, item: Int32) -> NDArray[np.bool_]:
    """Which of these places of a matrix have an entry."""
    width = np.int64(matrix.shape[1])
    held = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr)) * width + matrix.indices
    return np.isin(row * width + item, held)


def followed_by(ranked: Scored, rest: Scored) -> Scored:
    """The ranked candidates and, below them, what else the first stage has."""
    codes, scores = rest
    fresh = ~np.isin(codes, ranked[0])
    least = ranked[1].min(initial=np.inf)
    below = np.minimum(scores[fresh], least) if len(ranked[1]) else scores[fresh]
    return np.concatenate([ranked[0], codes[fresh]]), np.concatenate([ranked[1], below]).astype(np.float32)


def feature_store(table: ItemTable | None, catalogue: Catalogue, people: People, histories: Histories) -> FeatureStore:
    """Features by id, from a version and what was heard since.

    Raises
    ------
    NotFound
        The version has none.
    """
    if table is None:
        raise NotFound("The served version has no features.", "Run recsys train, which publishes one that has.")

    def codes(item_ids: Sequence[str]) -> Int32:
        return np.array([catalogue.code_of.get(item_id, -1) for item_id in item_ids], dtype=np.int32)

    def people_of(user_id: str) -> PeopleView:
        past = people.find(Request(user_id=user_id)).past
        return PeopleView(past.as_histories(histories), table, people.now)

    return FeatureStore(table, codes, people_of, lambda: people.now)
