"""What visitors saw of lists, and clicked and bought of it, with the features of the moment at which they saw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..features import ItemTable, People
from ..features.customer_groups import told_of
from ..schema import DAY, Dataset, Float32, Histories, Int32, Int64, Profiles
from .past import Lesson, Weighed, of_pairs, owned_by
from .proposals import FirstStage

RETURNED, SEEN, CLICKED, CART, BOUGHT = -1, 0, 1, 2, 3  # what a card led to
WORTH = np.array([0.0, 1.0, 2.0, 5.0])  # of the last four; what was sent back is worth no more than what was only seen
_CELLS = 4_000_000  # scores of one source held at a time


@dataclass(frozen=True)
class Seen:
    """Cards that were really seen, list by list and from the top; parallel.

    Parameters
    ----------
    visitor
        int64: number of the visitor who saw it.
    user
        int32: their code in `histories`, -1 for those without a history.
    listed
        int64, ascending: number of the list.
    item
        int32 code, -1 for items not known.
    ts
        int64 epoch seconds.
    place
        int32 from 1; 0 where nobody said.
    placement
        int32, index into `placements`.
    swap
        int32, see `schema.SERVED_COLUMNS`.
    clicked
        bool, whatever came of it.
    outcome
        int8: RETURNED to BOUGHT.
    placements
        Names of the places of the shop.
    histories
        What all customers did, also after they saw the lists: `looked_at` cuts it off.
    """

    visitor: Int64
    user: Int32
    listed: Int64
    item: Int32
    ts: Int64
    place: Int32
    placement: Int32
    swap: Int32
    clicked: NDArray[np.bool_]
    outcome: NDArray[np.int8]
    placements: tuple[str, ...]
    histories: Histories

    def __len__(self) -> int:
        return len(self.item)

    @staticmethod
    def of(table: pa.Table, data: Dataset) -> Seen:
        """From what `store.seen_lists` gives, in the codes of a data set."""
        seen, n = data.interactions, table.num_rows
        where = table["placement"].combine_chunks().dictionary_encode()

        def column(name: str, kind: type) -> NDArray[Any]:
            return table[name].fill_null(0).to_numpy().astype(kind, copy=False) if n else np.zeros(0, kind)

        return Seen(
            visitor=column("visitor", np.int64),
            user=seen.users.codes(table["owner"].combine_chunks()),
            listed=column("listed", np.int64),
            item=seen.items.codes(table["item_id"].combine_chunks()),
            ts=column("ts", np.int64),
            place=np.maximum(column("place", np.int32), 0),
            placement=where.indices.to_numpy(zero_copy_only=False).astype(np.int32),
            swap=column("swap", np.int32),
            clicked=table["clicked"].to_numpy().astype(np.bool_),
            outcome=column("outcome", np.int8),
            placements=tuple(map(str, where.dictionary.to_pylist())),
            histories=seen.histories,
        )  # fmt: skip

    def where(self, keep: NDArray[np.bool_] | Int64) -> Seen:
        """Only these cards."""
        names = ("visitor", "user", "listed", "item", "ts", "place", "placement", "swap", "clicked", "outcome")
        return replace(self, **{name: getattr(self, name)[keep] for name in names})

    def between(self, begin: int, end: int) -> Seen:
        """What was seen from `begin` to before `end` (epoch seconds)."""
        return self.where((self.ts >= begin) & (self.ts < end))

    def clicked_lists(self) -> int:
        """Lists of which something was clicked."""
        return len(np.unique(self.listed[self.clicked]))


@dataclass(frozen=True)
class Looked:
    """Cards with their features.

    Parameters
    ----------
    seen
        The cards.
    values
        float32, shape (len(seen), features).
    first
        float32: the first stage's scores.
    """

    seen: Seen
    values: Float32
    first: Float32

    def where(self, keep: NDArray[np.bool_]) -> Looked:
        """Only these cards."""
        return Looked(self.seen.where(keep), self.values[keep], self.first[keep])

    def begun(self) -> Int64:
        """Of each card, when the first of its list was seen."""
        begin = np.flatnonzero(np.diff(self.seen.listed, prepend=-1))
        size = np.diff(np.append(begin, len(self.seen)))
        return np.repeat(np.minimum.reduceat(self.seen.ts, begin), size) if len(begin) else self.seen.ts

    @staticmethod
    def joined(parts: Sequence[Looked]) -> Looked:
        """The cards of several stretches of time; lists keep apart."""
        start, seen = 0, []
        for part in parts:
            seen.append(replace(part.seen, listed=part.seen.listed + start))
            start += int(part.seen.listed.max(initial=-1)) + 1
        names = ("visitor", "user", "listed", "item", "ts", "place", "placement", "swap", "clicked", "outcome")
        held: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in seen]) for name in names}
        values, first = (np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "first"))
        return Looked(replace(seen[0], **held), values, first)


def looked_at(
    first_stage: FirstStage,
    table: ItemTable,
    seen: Seen,
    names: Sequence[str],
    *,
    most: int,
    seed: int,
    profiles: Profiles | None = None,
) -> Looked:
    """Features of cards as they were when they were seen.

    Parameters
    ----------
    first_stage, table
        The first stage and the items of a moment before anything in `seen`.
    names
        Features.
    most
        Lists looked at; a sample of more.
    profiles
        Of the customers.

    Returns
    -------
    The cards of lists that somebody with a history saw. What a visitor did after they saw a list is left out, and so
    are lists of which one card is left.
    """
    known = seen.where((seen.user >= 0) & (seen.item >= 0))
    size = np.bincount(known.listed) if len(known) else np.zeros(1, np.int64)
    lists = np.flatnonzero(size > 1)
    if len(lists) > most:
        lists = np.sort(np.random.default_rng(seed).choice(lists, most, replace=False))
    known = known.where(np.isin(known.listed, lists))
    begin = np.flatnonzero(np.diff(known.listed, prepend=-1))
    histories = before(seen.histories, known.user[begin], np.minimum.reduceat(known.ts, begin) if len(begin) else begin)
    row_of_card = np.repeat(np.arange(len(begin)), np.diff(np.append(begin, len(known))))
    values = np.full((len(known), len(names)), np.nan, np.float32)
    first = np.zeros(len(known), np.float32)
    day = known.ts[begin] // DAY
    step = int(np.clip(_CELLS // max(len(table), 1), 8, 512))
    some = np.diff(histories.indptr) > 0
    for one in np.unique(day):
        rows = np.flatnonzero((day == one) & some)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            cards = np.flatnonzero(np.isin(row_of_card, part))
            row = np.searchsorted(part, row_of_card[cards])
            theirs = histories.rows(part)
            now = int(known.ts[begin[part]].max())
            found = first_stage.look(theirs, owned_by(theirs, table), now)
            people = People(theirs, table, now, told_of(profiles, known.user[begin[part]]))
            block = of_pairs(found, people, row.astype(np.int64), known.item[cards])
            values[cards], first[cards] = block.values(names), block.first
    keep = some[row_of_card]
    return Looked(known.where(keep), values[keep], first[keep])


def before(histories: Histories, users: Int32, ts: Int64) -> Histories:
    """For each of these customers and moments, what they did before it."""
    key = histories.row_of_event.astype(np.int64) << 34 | histories.ts
    stop = np.searchsorted(key, users.astype(np.int64) << 34 | ts)
    begin = histories.indptr[users]
    length = stop - begin
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(length)])
    take = np.arange(indptr[-1]) + np.repeat(begin - indptr[:-1], length)
    return Histories(
        indptr, histories.item[take], histories.ts[take], histories.kind[take], histories.qty[take],
        histories.kinds, histories.kind_weight,
    )  # fmt: skip


def lesson_of(looked: Looked, weight: NDArray[np.float64]) -> Weighed:
    """Rows that teach which of the cards of a list are worth more.

    Each card that came to something is a group of its own with the cards of its list that came to less, as counted once
    for each time that it would have been clicked in the first place (Joachims et al., WSDM 2017; Agarwal et al., WSDM
    2019).

    Parameters
    ----------
    weight
        Of each card: one over the chance that it is looked at.
    """
    seen = looked.seen
    begin = np.flatnonzero(np.diff(seen.listed, prepend=-1))
    size = np.diff(np.append(begin, len(seen)))
    of_card = np.repeat(np.arange(len(begin)), size)
    came = np.flatnonzero(seen.outcome >= CLICKED)
    length = size[of_card[came]]
    group = np.repeat(np.arange(len(came)), length)
    start = np.cumsum(length) - length
    card = np.arange(int(length.sum())) - np.repeat(start, length) + np.repeat(begin[of_card[came]], length)
    best = card == came[group]
    keep = best | (seen.outcome[card] < seen.outcome[came][group])
    keep &= (np.bincount(group[keep], minlength=len(came)) > 1)[group]
    card, group, best = card[keep], group[keep], best[keep]
    count = np.bincount(group, minlength=len(came))
    worth = weight[came] * WORTH[seen.outcome[came]]
    told = count > 0
    mean = float(worth[told].mean()) if told.any() else 1.0
    rows = Lesson(looked.values[card], best.astype(np.float32), count[told].astype(np.int64))
    return Weighed(rows, (worth[group] / mean).astype(np.float32))
