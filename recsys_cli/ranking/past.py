"""Candidates at past moments, with their features of then, labelled by what was bought next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..features import ItemTable, People, matrix
from ..features.customer_groups import told_of
from ..schema import PURCHASE, Float32, Histories, Int32, Int64
from ..splitting.holdout import Split
from ..splitting.interactions import by_item, sorted_rows
from .dlrm import ITEM, LAST
from .opinions import LEARNED, Depth, Opinions
from .proposals import FirstStage, Proposals

NEGATIVES = 75  # rows kept of what each customer did not buy, drawn evenly: the hardest would teach the wrong order
_CELLS = 4_000_000  # scores of one source held at a time


@dataclass(frozen=True)
class Lesson:
    """Rows of one past moment, customer after customer.

    Parameters
    ----------
    values
        float32, shape (rows, features).
    label
        float32: 1 for what was bought in the window after the moment.
    groups
        int64: rows of each customer.
    """

    values: Float32
    label: Float32
    groups: Int64

    @staticmethod
    def joined(lessons: Sequence[Lesson]) -> Lesson:
        """All rows of several moments."""
        return Lesson(*(np.concatenate([getattr(x, part) for x in lessons]) for part in ("values", "label", "groups")))


@dataclass(frozen=True)
class Weighed:
    """Rows of which some count for more; `weight`, float32, is parallel to them."""

    rows: Lesson
    weight: Float32


@dataclass(frozen=True)
class Block:
    """Candidates of some customers.

    Parameters
    ----------
    row, item
        The pairs, by row and code.
    own
        Which of them the customer has bought.
    first
        The first stage's score of each.
    given
        Columns of the sources; see `columns.matrix`.
    people
        The customers' histories.
    """

    row: Int64
    item: Int32
    own: NDArray[np.bool_]
    first: Float32
    given: dict[str, Float32]
    people: People

    def again(self) -> Block:
        """The same, without what features have worked out of the histories so far."""
        people = self.people
        return replace(self, people=People(people.histories, people.table, people.now, people.groups))

    def fresh(self) -> Block:
        """Only what the customers do not own."""
        return self.only(~self.own)

    def only(self, keep: NDArray[np.bool_]) -> Block:
        """Some of the pairs."""
        given = {name: column[keep] for name, column in self.given.items()}
        return Block(self.row[keep], self.item[keep], self.own[keep], self.first[keep], given, self.people)

    def values(self, names: Sequence[str], keep: NDArray[np.bool_] | None = None) -> Float32:
        """Features of the pairs, or of those that `keep` marks."""
        if keep is None:
            return matrix(self.people, self.row, self.item, names, self.given)
        given = {name: column[keep] for name, column in self.given.items()}
        return matrix(self.people, self.row[keep], self.item[keep], names, given)


def owned_by(histories: Histories, table: ItemTable) -> sp.csr_matrix:
    """What each history has bought (in a shop that knows no purchases, what it has touched): binary, CSR."""
    bought = histories.is_kind(PURCHASE)
    only = histories if not table.purchases or bought.all() else histories.where(bought)
    pairs = by_item(only)
    return sorted_rows(np.ones(len(pairs.item), np.float32), pairs.row, pairs.item, (len(only), len(table)))


def block_of(
    first: FirstStage,
    people: People,
    allowed: NDArray[np.bool_] | None = None,
    now: int | None = None,
    depth: Depth = LEARNED,
) -> Block:
    """The candidates of some histories.

    Parameters
    ----------
    allowed
        Shape (n_items,): items that may be shown at all.
    now
        What the first stage is told the time is; default is the moment of the features.
    depth
        How many candidates.
    """
    owned = owned_by(people.histories, people.table)
    return best_of(first.look(people.histories, owned, people.now if now is None else now), people, allowed, depth)


def best_of(
    found: Opinions | Proposals, people: People, allowed: NDArray[np.bool_] | None = None, depth: Depth = LEARNED
) -> Block:
    """As `block_of`, by what the first stage and its sources have said."""
    return of_pairs(found, people, *found.candidates(allowed, depth))


def of_pairs(found: Opinions | Proposals, people: People, row: Int64, item: Int32) -> Block:
    """These pairs as candidates."""
    told = found.pairs(row, item)
    given = told.columns | {ITEM: item.astype(np.float32), LAST: _newest(people.histories)[row]}
    return Block(row, item, told.own, told.total, given, people)


def _newest(histories: Histories) -> Float32:
    """The item of each history's newest event; -1 for an empty one."""
    out = np.full(len(histories), -1, np.float32)
    some = np.diff(histories.indptr) > 0
    out[some] = histories.item[histories.indptr[1:][some] - 1]
    return out


def blocks(
    first: FirstStage,
    split: Split,
    users: Int64,
    table: ItemTable,
    each: Callable[[Block, Int64, NDArray[np.bool_]], None],
) -> None:
    """Hand over the candidates of many customers at the moment of a split, some customers at a time.

    Parameters
    ----------
    first
        The first stage, fitted on `split.train`.
    users
        Customers' codes.
    table
        Of the same moment.
    each
        Called with the candidates and the users of a block, and which of the candidates are as many as are served.
    """
    histories, n_items = split.train.interactions.histories, split.train.interactions.n_items
    step = int(np.clip(_CELLS // max(n_items, 1), 8, 512))
    for start in range(0, len(users), step):
        some = users[start : start + step]
        people = People(histories.rows(some), table, split.now, told_of(split.train.profiles, some))
        found = first.look(people.histories, owned_by(people.histories, table), people.now)
        block = best_of(found, people)
        row, item = found.candidates(None, first.depth) if first.depth != LEARNED else (block.row, block.item)
        each(block, some, np.isin(block.row * n_items + block.item, row * n_items + item))


@dataclass(frozen=True)
class Candidates:
    """Candidates of the customers who are asked at the moment of a split.

    Parameters
    ----------
    wanted
        What each customer bought in the window, bought before or not; shape (n_users, n_items).
    users
        Those who are asked: customers' codes.
    blocks
        Their candidates, some customers at a time, and which of these are as many as are served.
    """

    split: Split
    wanted: sp.csr_matrix
    users: Int64
    blocks: Sequence[tuple[Block, Int64, NDArray[np.bool_]]]

    @staticmethod
    def of(first: FirstStage, split: Split, *, max_users: int, seed: int, table: ItemTable | None = None) -> Candidates:
        """Up to `max_users` of those who bought something in the window, by a model fitted on what was before it."""
        wanted = split.wanted(repeat=True)
        users = split.judged(wanted, max_users, seed)
        held: list[tuple[Block, Int64, NDArray[np.bool_]]] = []
        blocks(first, split, users, table or ItemTable.of(split.train), lambda *block: held.append(block))
        return Candidates(split, wanted, users, held)

    def each(self, *, served: bool = False) -> Iterator[tuple[Block, Int64]]:
        """One block after the other; of `served` no more candidates than answers are made of."""
        for block, some, few in self.blocks:
            # Again, because what features work out takes much more memory than the candidates.
            yield (block.only(few) if served else block).again(), some


def lesson(asked: Candidates, names: Sequence[str], seed: int) -> Lesson:
    """Rows to learn from at the moment of a split: all that was bought, and some of what was not."""
    wanted = asked.wanted
    rng = np.random.default_rng(seed)
    parts: list[Lesson] = []
    for block, some in asked.each():
        bought = np.asarray(wanted[some].toarray()[block.row, block.item] > 0)
        keep = bought | _evenly(block.row, bought, len(some), rng)
        # A customer who bought none of the candidates says nothing about their order.
        keep &= (np.bincount(block.row[bought], minlength=len(some)) > 0)[block.row]
        count = np.bincount(block.row[keep], minlength=len(some))
        parts.append(
            Lesson(block.values(names, keep), bought[keep].astype(np.float32), count[count > 0].astype(np.int64))
        )
    if not parts:
        return Lesson(np.zeros((0, len(names)), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    return Lesson.joined(parts)


def _evenly(row: Int64, bought: NDArray[np.bool_], rows: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Up to NEGATIVES of what each row did not buy, any as likely as another."""
    chance = rng.random(len(row))
    chance[bought] = 2.0
    order = np.lexsort((chance, row))
    count = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    keep = np.zeros(len(row), np.bool_)
    keep[order[place < NEGATIVES]] = True
    return keep & ~bought
