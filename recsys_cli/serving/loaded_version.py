"""A published version in memory: what an engine answers from, without what was heard since."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from ..artifacts import Version
from ..artifacts.bundle import Bundle, read_bundle
from ..models import registry
from ..models.base import Model
from .item_index import INDEX_FILE, ItemIndex
from .second_stage import SecondStage


@dataclass(frozen=True)
class LoadedVersion:
    """A version's content.

    Parameters
    ----------
    name
        The version's.
    bundle
        Catalogue, shelves and histories.
    model
        Its model.
    index
        Over the model's item vectors, when it has any.
    manifest
        The version's; without it nothing counts as new.
    second
        Features of the version's items, and the ranker.
    """

    name: str
    bundle: Bundle
    model: Model
    index: ItemIndex | None
    manifest: dict[str, Any]
    second: SecondStage = field(default_factory=SecondStage)

    @classmethod
    def open(cls, version: Version, budget: float) -> Self:
        """Read a published version; `budget` is the milliseconds that the ranker may take for a list.

        Raises
        ------
        CorruptArtifact
            The version cannot be read.
        """
        bundle = read_bundle(version.path)
        model = registry.load(bundle)
        path = version.file(INDEX_FILE)
        index = ItemIndex.load(path) if path.exists() and model.capabilities.vectors else None
        return cls(version.name, bundle, model, index, version.manifest, SecondStage.open(version, model, budget))

    @property
    def trained(self) -> str:
        """Each update is a version of its own; what was learned is told by the training it goes back to."""
        return (self.manifest.get("trained") or {}).get("version") or self.name

    @property
    def currency(self) -> str:
        """Of the shop's sales; empty where none names it, in versions made before it was noted, and in a replay."""
        return str(self.manifest.get("data", {}).get("currency", ""))
