"""The second stage: trees or a network with several heads over one set of features, and when it may be used."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptArtifact
from ..features import FEATURES, ItemTable
from ..features.own_attributes import described, is_own
from ..schema import Float32
from .dlrm import CODES, ITEM, Mix, Network, Output
from .forest import Begun, Forest, Masks
from .opinions import FIRST
from .outcome import DLRM, LIGHTGBM
from .past import Block
from .trees import Trees

_DOCUMENT = "ranker.json"
Part = tuple[tuple[int, ...], tuple[str, ...]]  # numbers and names of some features


@dataclass(frozen=True)
class Head:
    """What was learned with one objective.

    Parameters
    ----------
    trees
        The trees, or the output of a network.
    spread
        Standard deviation of their scores over what they were learned from, by which they are divided.
    weight
        What they count in the mix.
    """

    trees: Trees | Output
    spread: float
    weight: float = 1.0


@dataclass(frozen=True)
class Asked:
    """What the trees are asked of candidates: see `Forest.predict`."""

    values: Float32
    columns: tuple[int, ...]
    begun: tuple[Begun, ...]


@dataclass(frozen=True)
class Items:
    """What the trees make of a version's items.

    Parameters
    ----------
    table
        The items.
    told
        The features that are of items alone.
    rest
        Those that are neither of items nor of customers alone and that a tree looks at.
    masks
        See `Forest.masks`; a row for each item.
    """

    table: ItemTable
    told: Part
    rest: Part
    masks: Masks

    @classmethod
    def of(cls, ranker: Ranker, table: ItemTable) -> Items | None:
        """So that no list asks the trees for them again; None for a network."""
        if not isinstance(ranker.forest, Forest):
            return None
        told = _part(ranker.names, table.column.__contains__)
        others = _part(ranker.names, lambda name: name not in table.column and not _of_customers(name))
        rest = _tested(ranker.forest, others)
        items = cls(table, told, rest, np.empty((len(table), ranker.forest.size), np.uint32))
        items.take(ranker, slice(None))
        return items

    def take(self, ranker: Ranker, codes: slice) -> None:
        """The values that the table has of these items now."""
        assert isinstance(ranker.forest, Forest)
        columns, names = self.told
        held = [self.table.column[name] for name in names]
        self.masks[codes] = ranker.forest.masks(self.table.values[codes][:, held], columns)


@dataclass(frozen=True)
class Ranker:
    """A learned order of candidates. Not for several threads at a time.

    Parameters
    ----------
    names
        Features, in the order of the trees' columns.
    heads
        By name, see `heads`; their scores are added, each over its spread and times its weight.
    verdicts
        NEW and REPEAT to what the gate found, see `judging.Verdict`.
    notes
        What it was learned from, for the manifest and for people.
    whole
        Whether the first stage scored all items for it, see `FirstStage`.
    """

    names: tuple[str, ...]
    heads: Mapping[str, Head]
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = True

    @cached_property
    def forest(self) -> Forest | Mix:
        """All heads, as they are asked."""
        if network := self.network:
            weights = np.zeros(len(network.heads))
            for name, head in self.heads.items():
                weights[network.heads.index(name)] = head.weight / head.spread
            return Mix(network, weights)
        trees = [(head.trees, head.weight / head.spread) for head in self.heads.values()]
        return Forest([(one.text, weight) for one, weight in trees if isinstance(one, Trees)])

    @property
    def network(self) -> Network | None:
        """What the heads are outputs of, where they are not trees."""
        one = next(iter(self.heads.values()), None)
        return one.trees.network if one is not None and isinstance(one.trees, Output) else None

    @property
    def kind(self) -> str:
        """As the setting `ranking.model`."""
        return LIGHTGBM if self.network is None else DLRM

    def on(self, kind: str) -> bool:
        """Whether the gate lets it order lists of this kind."""
        return bool(self.verdicts.get(kind, {}).get("on"))

    def scores(self, values: Float32) -> NDArray[np.float64]:
        """Scores of candidates, higher is better, of features of shape (candidates, len(names))."""
        return self.forest.predict(values)

    def asked(self, block: Block, items: Items | None = None) -> Asked:
        """What the trees are asked of candidates; the same, bit for bit, with and without `items`."""
        forest = self.forest
        if items is None or not items.table.fresh(block.people.now) or not isinstance(forest, Forest):
            return Asked(block.values(self.names), tuple(range(len(self.names))), ())
        of_people = forest.masks(block.people.values(self.people[1]), self.people[0])
        columns, names = items.rest
        return Asked(block.values(names), columns, ((items.masks, block.item), (of_people, block.row)))

    @cached_property
    def people(self) -> Part:
        """The features of customers; where there are trees, those that they look at."""
        found = _part(self.names, _of_customers)
        return _tested(self.forest, found) if isinstance(self.forest, Forest) else found

    def order(self, block: Block, asked: Asked | None = None) -> tuple[NDArray[np.intp], Float32]:
        """The candidates of each customer, best first.

        Returns
        -------
        Positions in the block, customer after customer, and a score for each place: the customer's first-stage scores
        of the same candidates, largest first. So lists keep the scale that rules, other sources and explanations
        reckon with, and only the order is new.
        """
        asked = asked or self.asked(block)
        score = self.forest.predict(asked.values, asked.columns, asked.begun)
        best = np.lexsort((block.item, -score, block.row))
        worth = np.lexsort((-block.first, block.row))
        return best, block.first[worth]

    def contributions(self, values: Float32) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """What each feature adds to each candidate's score: names, and shape (candidates, len(names))."""
        if isinstance(self.forest, Mix):
            return self.names, self.forest.network.contributions(values, self.forest.weights)[:, :-1]
        total = np.zeros((len(values), len(self.names)))
        for head in self.heads.values():
            total += head.weight * head.trees.contributions(values)[:, :-1] / head.spread
        return self.names, total

    def save(self, path: Path) -> None:
        """Write it into `path`, which is made."""
        path.mkdir(mode=0o700)
        for name, head in self.heads.items():
            if isinstance(head.trees, Trees):
                (path / f"{name}.txt").write_text(head.trees.text, encoding="utf-8")
        if self.network is not None:
            self.network.save(path)
        document = {
            "kind": self.kind,
            "names": list(self.names),
            "heads": {name: head.spread for name, head in self.heads.items()},
            "mix": {name: head.weight for name, head in self.heads.items()},
            "verdicts": self.verdicts,
            "notes": self.notes,
            "whole": self.whole,
        }
        (path / _DOCUMENT).write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Ranker:
        """The ranker that `save` wrote.

        Raises
        ------
        CorruptArtifact
            It cannot be read, or needs a feature that this program does not have.
        MissingLibrary
            LightGBM is not installed.
        """
        try:
            document = json.loads((path / _DOCUMENT).read_bytes())
            names = tuple(document["names"])
            mix = document.get("mix", {})
            network = Network.load(path) if document.get("kind") == DLRM else None
            heads = {
                name: Head(
                    Trees(_text(path, name)) if network is None else Output(network, network.heads.index(name)),
                    float(spread),
                    float(mix.get(name, 1.0)),
                )
                for name, spread in document["heads"].items()
            }
            unknown = [name for name in names if ":" not in name and name not in FEATURES]
            if unknown or any(head.trees.width != len(names) or head.spread <= 0 for head in heads.values()):
                raise ValueError("the trees do not fit the features")
            ranker = cls(
                names, heads, dict(document["verdicts"]), dict(document["notes"]), bool(document.get("whole", True))
            )
            if ranker.forest.size:  # made now, for a fault in the trees to be found before anybody is answered
                return ranker
            raise ValueError("there are no trees")
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as e:
            raise CorruptArtifact(f"The ranker {path} cannot be read.", "Run recsys train --ranker.") from e


def _part(names: Sequence[str], wanted: Callable[[str], bool]) -> Part:
    columns = tuple(at for at, name in enumerate(names) if wanted(name))
    return columns, tuple(names[at] for at in columns)


def _of_customers(name: str) -> bool:
    return name in FEATURES and FEATURES[name].group == "customer"


def _tested(forest: Forest, part: Part) -> Part:
    """Without the features that no tree looks at: of those that rankers may learn from, trees leave many."""
    columns = tuple(column for column in part[0] if forest.tests(column))
    return columns, tuple(name for column, name in zip(*part, strict=True) if column in columns)


def _text(path: Path, name: str) -> str:
    return (path / f"{name}.txt").read_text(encoding="utf-8")


def words_of(name: str) -> str:
    """What a feature or source is, for people."""
    if name in CODES:
        return "the item itself" if name == ITEM else "what was wanted last"
    if name == f"score:{FIRST}":
        return "the model's score"
    if name == f"rank:{FIRST}":
        return "its place in the model's list"
    if name.startswith("score:"):
        return f"the score of {name.removeprefix('score:')}"
    told = str(described(name)["help"]) if is_own(name) else FEATURES[name].help
    return told.rstrip(".").split(", log")[0].split(";")[0]
