"""Who would buy an item, or something of a category: `recsys audience`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .artifacts.choices import Choices
from .csv_cells import marked_column
from .errors import NotFound, UsageError
from .identity import HASHED_EMAIL, UserKeys
from .list_export import table_writer
from .progress import SILENT, Progress
from .schema import Int32, Int64
from .serving.batch import Everybody
from .serving.engine import Engine
from .store import Store
from .store.reading import user_ids

_CELLS = 25_000_000  # scores worked out at a time: 100 MB
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("rank", pa.int32()),
        ("place", pa.int32()),
        ("share", pa.float32()),
    ]
)


@dataclass(frozen=True)
class Audience:
    """The customers, the likeliest first.

    Parameters
    ----------
    table
        `SCHEMA`: `place` is where the item stands among all items that this customer has not bought, from 1, and
        `share` its score as a share of the best one's.
    considered
        Customers with a history.
    barred
        Those among the likeliest who were left out: their consent, objection or restriction forbids it.
    """

    table: pa.Table
    considered: int
    barred: int

    @property
    def hashed_emails(self) -> int:
        """Customers who are known by the keyed hash of their address."""
        return pc.sum(pc.match_substring_regex(self.table["user_id"], HASHED_EMAIL)).as_py() or 0

    def write(self, out: Path) -> None:
        """As Parquet or CSV; in CSV, ids that a spreadsheet would run are marked."""
        table = self.table.combine_chunks()
        if out.suffix.lower() == ".csv":
            for place, name in enumerate(("user_id", "item_id")):
                table = table.set_column(place, name, marked_column(table[name]))
        with table_writer(out, SCHEMA) as writer:
            writer.write_table(table)


def audience(
    store: Store,
    engine: Engine,
    choices: Choices,
    secret: str,
    targets: Int32,
    n: int,
    *,
    repeat: bool = False,
    progress: Progress = SILENT,
) -> Audience:
    """The `n` customers who would buy one of these items soonest.

    A model's scores cannot be compared between customers, so they are ordered by the place that the item has in
    each one's own list, then by its score as a share of the best; of those, the last to visit first.

    Parameters
    ----------
    targets
        Item codes; see `of_item` and `of_category`.
    repeat
        Keep those who bought one before.

    Raises
    ------
    UsageError
        The served model is the same for everybody.
    """
    if not engine.model.capabilities.personal:
        raise UsageError(
            f"The served model, {engine.model.name}, has the same list for everybody.", "Train a personal one."
        )
    with store.reading() as con:
        users, keys = user_ids(con, secret)
    place, share, item, last = _all(engine, keys, targets, repeat, progress)
    order = np.flatnonzero(place > 0)
    order = order[np.lexsort((order, -last[order], -share[order], place[order]))]
    choices.refresh()
    rows: list[int] = []
    barred = 0
    for row in order.tolist():  # as far as `n` are found
        if len(rows) == n:
            break
        if choices.of((int(keys[row, 0]), int(keys[row, 1]))).profile:
            rows.append(row)
        else:
            barred += 1
    picked = np.array(rows, dtype=np.int64)
    names = pa.array(engine.catalogue.named, pa.string())
    columns = [
        users.take(pa.array(picked)),
        names.take(pa.array(item[picked])),
        pa.array(np.arange(1, len(picked) + 1, dtype=np.int32)),
        pa.array(place[picked]),
        pa.array(share[picked]),
    ]
    return Audience(pa.table(columns, schema=SCHEMA), int(np.count_nonzero(place >= 0)), barred)


def _all(
    engine: Engine, keys: UserKeys, targets: Int32, repeat: bool, progress: Progress
) -> tuple[Int32, NDArray[np.float32], Int32, Int64]:
    """For every customer the best place of a target (0: none fits, -1: no history), its share, the target, and when
    the customer last did something."""
    place, item = np.full(len(keys), -1, dtype=np.int32), np.zeros(len(keys), dtype=np.int32)
    share, last = np.zeros(len(keys), dtype=np.float32), np.zeros(len(keys), dtype=np.int64)
    block = max(1, _CELLS // max(len(engine.catalogue), 1))
    with progress.stage("Scoring customers", len(keys)) as advance:
        for start in range(0, len(keys), block):
            part = slice(start, start + block)
            every = Everybody(engine.bundle, keys[part], engine.people.distaste)
            some = np.flatnonzero(np.diff(every.histories.indptr) > 0)
            if len(some):
                scores = engine.model.score(every.histories.rows(some), engine.people.now)
                again = every.not_again(repeat)[some]
                scores[again.nonzero()] = 0  # nobody's next purchase: neither a target nor in its way
                last[start + some] = every.histories.ts[every.histories.indptr[1:][some] - 1]
                place[start + some], share[start + some], item[start + some] = _best(scores, targets)
            advance(len(keys[part]))
    return place, share, item, last


def _best(scores: NDArray[np.float32], targets: Int32) -> tuple[Int32, NDArray[np.float32], Int32]:
    row = np.arange(len(scores))
    best = targets[scores[:, targets].argmax(axis=1)]
    mine = scores[row, best]
    ahead = np.count_nonzero(scores > mine[:, None], axis=1)
    top = scores.max(axis=1)
    share = np.where(top > 0, mine / np.maximum(top, 1e-12), 0).astype(np.float32)
    return np.where(mine > 0, ahead + 1, 0).astype(np.int32), share, best.astype(np.int32)


def of_item(engine: Engine, item_id: str) -> Int32:
    """The item.

    Raises
    ------
    NotFound
    """
    return np.array([engine.code(item_id)], dtype=np.int32)


def of_category(engine: Engine, category: str) -> Int32:
    """Items of a category that can be shown.

    Raises
    ------
    NotFound
        There is none.
    """
    column, mask = engine.catalogue.words["category"], engine.catalogue.allowed_by_default().mask
    if category not in column.code_of:
        raise NotFound(f"There is no category '{category}'.", _near(category, column.words))
    codes = np.flatnonzero(column.any_of((category,)) & mask).astype(np.int32)
    if not len(codes):
        raise NotFound(
            f"No item of the category '{category}' can be shown.", "All are sold out, retired or left out by rules."
        )
    return codes


def _near(word: str, known: Sequence[str]) -> str:
    folded: dict[str, Any] = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f"Did you mean '{folded[near[0]]}'?" if near else "recsys status shows the catalogue's figures."
