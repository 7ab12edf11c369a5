"""A list for every customer into one file: `recsys recommend --all`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from .csv_cells import marked_column
from .durable_files import explain_os, fsync_file
from .errors import UsageError
from .identity import HASHED_EMAIL, UserKeys
from .progress import SILENT, Progress
from .schema import OF_A_VARIANT, IdMap
from .serving.batch import Everybody, agreement, find_rows
from .serving.engine import Engine
from .serving.request import NO_FILTERS, Request
from .serving.variants import VariantTable
from .store import Store
from .store.reading import user_ids

BLOCK = 8192  # customers at a time
_AGREED = 200  # customers for whom everything is blended, to see what proposals alone miss
SHOWN_OF_ITEM = ("title", "url", "img_url")
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("source", pa.string()),
    ]
)
WITH_ITEMS = pa.unify_schemas(
    [SCHEMA, pa.schema([*((name, pa.string()) for name in SHOWN_OF_ITEM), ("price", pa.float64())])]
)


def recommend_all(
    store: Store,
    engine: Engine,
    secret: str,
    out: Path,
    asked: Request,
    *,
    with_items: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write a list for every customer in the store: user_id, item_id, rank (1 is best), score, source.

    The ids are the shop's own, as they are in the store: what a version holds of customers are hashes.

    Parameters
    ----------
    out
        Ends in `.parquet` or `.csv`; replaced whole, or not at all. In CSV, ids that a spreadsheet would run are
        marked; see `csv_cells`.
    asked
        How many items each is to have, whether what they bought may be among them, and whether the ranker orders them.
    with_items
        Write each item's title, url, img_url and price, too, as answers tell them.
    """
    started = time.monotonic()
    csv = _writer_of(out) is pacsv.CSVWriter
    with store.reading() as con:
        users, keys = user_ids(con, secret)
    variants = VariantTable.of(engine.bundle.catalogue)
    items = pa.array(engine.catalogue.named, pa.string())
    if variants is not None:  # after the products, for customers who know them
        items = pa.concat_arrays([items, variants.told.field("item_id")])
    if csv:
        users, items = marked_column(users), marked_column(items)
    named = IdMap(items)
    schema = WITH_ITEMS if with_items else SCHEMA
    shown = _shown(engine, variants) if with_items else None
    if shown is not None and csv:
        texts = (marked_column(c) if pa.types.is_string(c.type) else c for c in shown.combine_chunks().columns)
        shown = pa.table(list(texts), names=shown.schema.names)
    rows = 0
    with table_writer(out, schema) as writer, progress.stage("Recommending", len(users)) as advance:
        for start in range(0, len(users), BLOCK):
            block = slice(start, start + BLOCK)
            codes, scores, sources = _lists(engine, keys[block], asked)
            if variants is not None:
                codes = _by_known_variants(engine, variants, keys[block], codes)
            table = _table(users.slice(start, BLOCK), named, codes, scores, sources)
            if shown is not None:
                told = shown.take(pa.array(codes[codes >= 0]))
                table = pa.table([*table.columns, *told.columns], schema=schema)
            writer.write_table(table)
            rows += len(table)
            advance(len(codes))
    return {
        "file": str(out),
        "users": len(users),
        "agreement": _agreement(engine, keys, asked),
        "hashed_emails": pc.sum(pc.match_substring_regex(users, HASHED_EMAIL)).as_py() or 0,
        "rows": rows,
        "seconds": round(time.monotonic() - started, 2),
    }


def _agreement(engine: Engine, keys: UserKeys, asked: Request) -> float | None:
    """See `batch.agreement`, of some customers spread evenly."""
    if (asked.ranked and engine.second.on(asked.repeat)) or engine.orders_lists or not len(keys):
        return None
    some = keys[np.unique(np.linspace(0, len(keys) - 1, _AGREED).astype(np.int64))]
    every = Everybody(engine.bundle, some, engine.people.distaste)
    shown = engine.catalogue.allowed(NO_FILTERS).mask
    return agreement(every, engine.model, shown, asked.k, repeat=asked.repeat)


def _writer_of(out: Path) -> Any:
    found = {".parquet": pq.ParquetWriter, ".csv": pacsv.CSVWriter}.get(out.suffix.lower())
    if found is None:
        raise UsageError(f"{out} is neither Parquet nor CSV by its name.", "End it in .parquet or .csv.")
    return found


@contextmanager
def table_writer(out: Path, schema: pa.Schema) -> Iterator[Any]:
    """Takes tables for a file that is replaced whole at the end, or not at all.

    Raises
    ------
    UsageError
        The name ends neither in .parquet nor in .csv.
    RecsysError
        The file cannot be written.
    """
    writer_of, draft = _writer_of(out), out.with_name(f".{out.name}.tmp")
    try:
        with writer_of(str(draft), schema) as writer:
            yield writer
        fsync_file(draft)
        draft.replace(out)
    except OSError as e:
        draft.unlink(missing_ok=True)
        raise explain_os(e, out) from None
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _shown(engine: Engine, variants: VariantTable | None) -> pa.Table:
    """What answers tell of each item, by code, and then of each variant; null where nothing is known."""
    told = [engine.catalogue.describe(code) for code in range(len(engine.catalogue))]
    shown = pa.table(
        [
            pa.array([item.get(name) for item in told], WITH_ITEMS.field(name).type)
            for name in (*SHOWN_OF_ITEM, "price")
        ],
        names=[*SHOWN_OF_ITEM, "price"],
    )
    if variants is None:
        return shown
    each, says = shown.take(pa.array(variants.product)), [f.name for f in variants.told.type]
    for place, name in enumerate(each.column_names):
        if name in OF_A_VARIANT and name in says:
            own = variants.told.field(name).cast(each.schema.field(name).type)
            each = each.set_column(place, name, pc.coalesce(own, each[name]))
        elif name == "title" and name in says:  # only where the product has none but a variant's
            own = variants.told.field(name)
            same = pc.fill_null(pc.equal(own, each[name].combine_chunks()), False).to_numpy(zero_copy_only=False)
            from_a_variant = np.bincount(variants.product[same], minlength=len(shown))[variants.product] > 0
            each = each.set_column(
                place, name, pc.if_else(pa.array(from_a_variant), pc.coalesce(own, each[name]), each[name])
            )
    return pa.concat_tables([shown, each])


def _by_known_variants(engine: Engine, variants: VariantTable, keys: UserKeys, codes: Any) -> Any:
    """The codes, and after the last of them the variants that the customers know."""
    every = Everybody(engine.bundle, keys, engine.people.distaste)
    place = variants.known_to(every.histories, every.distaste, codes)
    return np.where(place >= 0, len(engine.catalogue) + place, codes)


def _lists(engine: Engine, keys: UserKeys, asked: Request) -> tuple[Any, Any, Any]:
    """Codes, scores and sources, each of shape (customers, k), without what was shown to them too often."""
    codes, scores, sources = engine.recommend_batch(keys, asked)
    shown, limit = engine.overlay.shown if engine.overlay else {}, engine.rules.settings.shown_limit
    if not (shown and limit):
        return codes, scores, sources
    seen = np.array(sorted(shown), dtype=np.uint64)
    for row in np.flatnonzero(find_rows(seen, keys) >= 0):
        skip = engine.people.shown_often(engine.people.of_customer(keys[row]), limit)
        if np.isin(codes[row], skip).any():
            # As many more as may have to go: what is left is the list that leaves them out from the beginning.
            more = engine.recommend_batch(keys[row : row + 1], replace(asked, k=asked.k + len(skip)))
            left = np.flatnonzero(~np.isin(more.codes[0], skip))[: asked.k]
            codes[row], scores[row], sources[row] = (part[0][left] for part in more)
    return codes, scores, sources


def _table(users: pa.Array, items: Any, codes: Any, scores: Any, sources: Any) -> pa.Table:
    """Lists of shape (users, k), padded with -1, as rows."""
    row, column = np.nonzero(codes >= 0)
    return pa.table(
        [
            users.take(pa.array(row)),
            items.take(codes[row, column]),
            pa.array((column + 1).astype(np.int32)),
            pa.array(scores[row, column]),
            pa.array(sources[row, column]),
        ],
        schema=SCHEMA,
    )
