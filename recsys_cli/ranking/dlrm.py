"""A network as second stage: numbers through layers, words as vectors, and how each two of these agree.

DLRM (Naumov et al. 2019) with a head for each of what the trees learn as well. It is small enough for NumPy, which
trains it and asks it: some hundred candidates take about a millisecond.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..features import ItemTable
from ..models.support.gradients import Tracked, relu, rows
from ..schema import Float32, Int32, Int64

ITEM, LAST = CODES = "code:item", "code:last"  # columns that are codes of items: the candidate, and the newest event
_DOCUMENT, _FOLDER = "dlrm.json", "dlrm"
CLIPPED = np.float32(6)  # standard deviations
_AT_A_TIME = 4096  # rows
Float64 = NDArray[np.float64]
Words = dict[str, Int64]  # of each kind of word the row of its vectors


@dataclass(frozen=True)
class Inputs:
    """How features become what the network takes.

    Parameters
    ----------
    names
        Of the columns of `values`; those in `CODES` are codes of items.
    dense
        Columns that are numbers.
    unknown
        Those of `dense` of which it is told as well whether they are known.
    centre, scale
        float32, shape (len(dense),): mean and standard deviation.
    tables
        Kind of word -> int32, shape (n_items,): which vector an item has, 0 where none of its own. Kinds end in the
        column of `CODES` that is looked up.
    """

    names: tuple[str, ...]
    dense: Int64
    unknown: Int64
    centre: Float32
    scale: Float32
    tables: Mapping[str, Int32]

    @classmethod
    def of(cls, names: Sequence[str], values: Float32, table: ItemTable, bought: Int64) -> Inputs:
        """From rows to learn from.

        Parameters
        ----------
        bought
            How often each item was bought in them, shape (n_items,): with fewer than five it has no vector of its own.
        """
        dense = np.array([at for at, name in enumerate(names) if name not in CODES], dtype=np.int64)
        numbers = values[:, dense]
        gaps = np.isnan(numbers).mean(axis=0)
        centre, scale = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0)
        often = np.flatnonzero(bought >= 5)
        own = np.zeros(len(table), np.int32)
        own[often] = np.arange(1, len(often) + 1)
        kinds = {"item": own, "category": table.category + 1, "brand": table.brand + 1}
        kinds |= {f"own {name}": code + 1 for name, code in table.groups.items()}
        kinds = {kind: np.asarray(row, np.int32) for kind, row in kinds.items() if row.max(initial=0) > 1}
        tables = {f"{kind} {ITEM}": row for kind, row in kinds.items() if ITEM in names}
        tables |= {f"{kind} {LAST}": kinds[kind] for kind in ("item", "category") if kind in kinds and LAST in names}
        scale = np.where(scale > 1e-6, scale, 1)
        unknown = np.flatnonzero((gaps > 0.001) & (gaps < 0.999))
        return cls(tuple(names), dense, unknown, centre.astype(np.float32), scale.astype(np.float32), tables)

    def numbers(self, values: Float32) -> Float32:
        """Shape (rows, len(dense) + len(unknown)): standardised, 0 where not known."""
        held = (values[:, self.dense] - self.centre) / self.scale
        missing = np.isnan(held)
        np.clip(held, -CLIPPED, CLIPPED, out=held)
        held[missing] = 0
        return np.concatenate([held, missing[:, self.unknown].astype(np.float32)], axis=1, dtype=np.float32)

    def words(self, values: Float32) -> Words:
        """Which vector each row has, by kind."""
        found: Words = {}
        for name in CODES:
            if name not in self.names:
                continue
            code = np.nan_to_num(values[:, self.names.index(name)], nan=-1).astype(np.int64)
            for kind, table in self.tables.items():
                if kind.endswith(name):
                    there = (code >= 0) & (code < len(table))
                    found[kind] = np.where(there, table[np.where(there, code, 0)], 0).astype(np.int64)
        return found


@dataclass(frozen=True)
class Network:
    """A trained network.

    Parameters
    ----------
    inputs
        See `Inputs`.
    heads
        Names of the outputs.
    weights
        Name -> float32: layers, and "vectors KIND" for each kind of word.
    """

    inputs: Inputs
    heads: tuple[str, ...]
    weights: Mapping[str, Float32]

    @property
    def width(self) -> int:
        return len(self.inputs.names)

    def predict(self, values: Float32) -> Float64:
        """Raw scores of each head, shape (rows, heads), of features of shape (rows, width)."""
        out = np.empty((len(values), len(self.heads)))
        for start in range(0, len(values), _AT_A_TIME):
            part = np.asarray(values[start : start + _AT_A_TIME], np.float32)
            out[start : start + _AT_A_TIME] = forward(
                self.weights, self.inputs.numbers(part), self.inputs.words(part), lambda layer: layer
            )
        return out

    def contributions(self, values: Float32, weights: Float64) -> Float64:
        """What each feature adds to the weighted sum of the heads: by how much it falls when the feature is the mean,
        or unknown where it is a code. Shape (rows, width + 1); rows sum to the scores by way of the last column."""
        plain = np.array(values, np.float32)
        usual = np.full(self.width, -1, np.float32)
        usual[self.inputs.dense] = self.inputs.centre
        without = np.repeat(plain[:, None], self.width, axis=1)
        at = np.arange(self.width)
        without[:, at, at] = usual
        score = self.predict(plain) @ weights
        parts = score[:, None] - (self.predict(without.reshape(-1, self.width)) @ weights).reshape(-1, self.width)
        return np.column_stack([parts, score - parts.sum(axis=1)])

    def save(self, path: Path) -> None:
        """Write it into `path`, a directory."""
        arrays = {
            "dense": self.inputs.dense, "unknown": self.inputs.unknown,
            "centre": self.inputs.centre, "scale": self.inputs.scale,
        }  # fmt: skip
        arrays |= {f"table {kind}": table for kind, table in self.inputs.tables.items()}
        arrays |= {f"weight {name}": weight for name, weight in self.weights.items()}
        (path / _FOLDER).mkdir(mode=0o700)
        for number, array in enumerate(arrays.values()):
            np.save(path / _FOLDER / f"{number}.npy", np.ascontiguousarray(array), allow_pickle=False)
        document = {"names": list(self.inputs.names), "heads": list(self.heads), "arrays": list(arrays)}
        (path / _DOCUMENT).write_text(json.dumps(document), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Network:
        """What `save` wrote.

        Raises
        ------
        OSError, ValueError, LookupError, TypeError
            It is damaged.
        """
        document = json.loads((path / _DOCUMENT).read_bytes())
        held = {
            name: np.load(path / _FOLDER / f"{number}.npy", allow_pickle=False)
            for number, name in enumerate(document["arrays"])
        }

        def named(prefix: str) -> dict[str, Any]:
            return {name.removeprefix(prefix): a for name, a in held.items() if name.startswith(prefix)}

        dense, unknown, centre, scale = (held[name] for name in ("dense", "unknown", "centre", "scale"))
        inputs = Inputs(tuple(document["names"]), dense, unknown, centre, scale, named("table "))
        found = cls(inputs, tuple(document["heads"]), named("weight "))
        found.predict(np.zeros((1, found.width), np.float32))  # shapes that do not fit are found before anybody asks
        return found


@dataclass(frozen=True)
class Output:
    """One head of a network, as `Trees`."""

    network: Network
    column: int

    @property
    def width(self) -> int:
        return self.network.width

    def predict(self, values: Float32) -> Float64:
        """Raw scores, shape (rows,)."""
        return self.network.predict(values)[:, self.column]

    def contributions(self, values: Float32) -> Float64:
        """As `Network.contributions`, of this head alone."""
        return self.network.contributions(values, np.eye(len(self.network.heads))[self.column])


@dataclass(frozen=True)
class Mix:
    """A weighted sum of heads, as `Forest`; nothing is known beforehand of items or customers."""

    network: Network
    weights: Float64

    @property
    def size(self) -> int:
        return len(self.network.heads)

    def predict(self, values: Float32, columns: Sequence[int] | None = None, begun: Sequence[Any] = ()) -> Float64:
        """Scores of rows, shape (rows,)."""
        return np.asarray(self.network.predict(values) @ self.weights)


def forward(weights: Mapping[str, Any], numbers: Any, words: Words, drop: Any) -> Any:
    """Raw scores, shape (rows, heads): over tracked weights to learn them, over plain ones to ask them."""
    hidden = drop(relu(numbers @ weights["in"] + weights["in bias"]))
    whole = relu(hidden @ weights["bottom"] + weights["bottom bias"])
    agreed = agreement([whole, *(rows(weights[f"vectors {kind}"], row) for kind, row in sorted(words.items()))])
    top = drop(relu(hidden @ weights["wide"] + agreed @ weights["top"] + weights["top bias"]))
    return top @ weights["out"] + weights["out bias"]


def agreement(vectors: Sequence[Any]) -> Any:
    """The first vector of each row, and the inner products of each two; shape (rows, d + pairs)."""
    held = [one.value if isinstance(one, Tracked) else one for one in vectors]
    first, second = pairs(len(held))
    d = held[0].shape[1]
    products = [(held[i] * held[j]).sum(axis=1) for i, j in zip(first, second, strict=True)]
    made = np.column_stack([held[0], *products]).astype(np.float32, copy=False)
    if not any(isinstance(one, Tracked) for one in vectors):
        return made

    def pull(at: int) -> Any:
        def to(gradient: Float32) -> Float32:
            total = gradient[:, :d].copy() if at == 0 else np.zeros_like(held[at])
            for number, (i, j) in enumerate(zip(first, second, strict=True)):
                if at in (i, j):
                    total += gradient[:, d + number, None] * held[j if at == i else i]
            return total

        return to

    return Tracked(made, *((one, pull(at)) for at, one in enumerate(vectors)))


def pairs(n: int) -> tuple[list[int], list[int]]:
    """Each two of n, once."""
    first, second = np.triu_indices(n, 1)
    return first.tolist(), second.tolist()
