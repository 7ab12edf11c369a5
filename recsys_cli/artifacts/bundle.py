"""What is inside a version, besides the search index: read back memory-mapped, nothing in it can execute.

model.json           name, config and JSON state of the model
model/*.npy          its arrays
catalogue.arrow      one row per item code
histories/*.npy      customers by keyed hash, sorted, and what each did (see `Histories`)
shelves/*.npy        arrays by name, made at publishing: popularity and the like
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..durable_files import explain_os, is_damage
from ..errors import CorruptArtifact
from ..identity import UserKeys
from ..schema import Histories, IdMap

_HISTORY_ARRAYS = ("indptr", "item", "ts", "kind", "qty")


@dataclass(frozen=True)
class Bundle:
    """One version's content.

    Parameters
    ----------
    model_name, model_config, model_arrays, model_meta
        What `models.registry.load` makes the model from.
    catalogue
        See `Dataset.catalogue`.
    keys
        Keyed hashes of the customers, sorted by both halves; row r of `histories` is the customer of row r here.
    histories
        See `Histories`.
    now
        Epoch seconds of the newest event included: what ages are counted from.
    shelves
        Arrays by name, for the engine.
    view_seconds
        What durations of views were weighed by, see `view_durations`; 0 in versions from before there were any.
    """

    model_name: str
    model_config: dict[str, Any]
    model_arrays: dict[str, NDArray[Any]]
    model_meta: dict[str, Any]
    catalogue: pa.Table
    keys: UserKeys
    histories: Histories
    now: int
    shelves: dict[str, NDArray[Any]] = field(default_factory=dict)
    view_seconds: float = 0.0

    def items(self) -> IdMap:
        """Item ids in the order of their codes."""
        return IdMap(self.catalogue["item_id"].combine_chunks())


def sort_by_key(keys: UserKeys, histories: Histories) -> tuple[UserKeys, Histories]:
    """Customers in the order that `identity.find_key` searches."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    return keys[order], histories.rows(order)


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Write all files under `path`, an empty draft directory."""
    document = {
        "name": bundle.model_name,
        "config": bundle.model_config,
        "meta": bundle.model_meta,
        "arrays": sorted(bundle.model_arrays),
        "kinds": list(bundle.histories.kinds),
        "kind_weight": [float(w) for w in bundle.histories.kind_weight],
        "now": bundle.now,
        "view_seconds": bundle.view_seconds,
    }
    (path / "model.json").write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
    _save_arrays(path / "model", bundle.model_arrays)
    write_shelves(path, bundle.shelves)
    write_histories(path, bundle.keys, bundle.histories)
    with pa.OSFile(str(path / "catalogue.arrow"), "wb") as sink, pa.ipc.new_file(sink, bundle.catalogue.schema) as w:
        w.write_table(_without_stale_memory(bundle.catalogue))


def _without_stale_memory(table: pa.Table) -> pa.Table:
    """The same table with zeros below its nulls.

    The writer left there whatever stood in its memory, which may be a piece of somebody's id; and no two files
    would be the same.
    """
    columns = [column.combine_chunks() for column in table.combine_chunks().columns]
    return pa.table([_zero_below_nulls(column) for column in columns], schema=table.schema)


def _zero_below_nulls(column: pa.Array) -> pa.Array:
    if not column.null_count or not pa.types.is_primitive(column.type):
        return column
    zero = pa.scalar(False if pa.types.is_boolean(column.type) else 0).cast(column.type)
    valid, values = pc.is_valid(column), pc.fill_null(column, zero)
    return pa.Array.from_buffers(column.type, len(column), [valid.buffers()[1], values.buffers()[1]])


def write_histories(path: Path, keys: UserKeys, histories: Histories) -> None:
    """Write `histories/` under `path`, where there must be none: everything a version holds of people."""
    held = {name: getattr(histories, name) for name in _HISTORY_ARRAYS}
    if histories.variant is not None:
        held["variant"] = histories.variant
    _save_arrays(path / "histories", held | {"keys": keys})


def write_shelves(path: Path, shelves: Mapping[str, NDArray[Any]]) -> None:
    """Write `shelves/` under `path`, where there must be none."""
    _save_arrays(path / "shelves", shelves)


def read_bundle(path: Path) -> Bundle:
    """The content of a version's directory, memory-mapped.

    Raises
    ------
    CorruptArtifact
        When a file is missing or is not what it should be.
    """
    try:
        document = json.loads((path / "model.json").read_bytes())
        held = _load_arrays(path / "histories")
        with pa.memory_map(str(path / "catalogue.arrow")) as source:
            catalogue = pa.ipc.open_file(source).read_all()
        return Bundle(
            model_name=document["name"],
            model_config=document["config"],
            model_meta=document["meta"],
            model_arrays=_load_arrays(path / "model"),
            catalogue=catalogue,
            keys=held.pop("keys"),
            histories=Histories(
                **held,
                kinds=tuple(document["kinds"]),
                kind_weight=np.array(document["kind_weight"], dtype=np.float32),
            ),
            now=document["now"],
            shelves=_load_arrays(path / "shelves"),
            view_seconds=float(document.get("view_seconds", 0.0)),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, pa.ArrowInvalid) as e:
        if isinstance(e, OSError) and not is_damage(e):
            raise explain_os(e, path) from e
        raise CorruptArtifact(f"{path} cannot be read.", "Run recsys train.") from e


def _save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    path.mkdir(mode=0o700)
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", np.asarray(array, order="C"), allow_pickle=False)


def _load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a directory; memory-mapped ones share their pages between processes."""
    # As plain arrays over the mapping: slicing a np.memmap costs ten times what slicing an array does.
    return {p.stem: np.asarray(np.load(p, mmap_mode=_mode(p), allow_pickle=False)) for p in sorted(path.glob("*.npy"))}


def _mode(path: Path) -> Any:
    # An empty array has no bytes to map, and mmap refuses a length of zero.
    return "r" if path.stat().st_size > 4096 else None
