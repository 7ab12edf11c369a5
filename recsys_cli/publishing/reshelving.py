"""Shelves and counts of versions that are there, made again from what the store holds now: after an erasure no count,
pair or trend of any version tells what the person did, whichever version is served later."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..artifacts.bundle import Bundle, write_shelves
from ..errors import NotEnoughData
from ..features import ItemTable
from ..features.item_table import ITEM_TABLE
from ..identity import load_secret
from ..models import registry
from ..schema import Dataset, Histories, IdMap, Interactions
from ..settings import Settings
from ..store import Snapshot, Store
from .segment_popularity import made_again
from .shelves import build_shelves
from .train import leave_out, shared_by, with_own


@dataclass
class Reshelving:
    """Writes the folders `folders` of a version into a draft of it; the store is read once, for the first of them."""

    store: Store
    settings: Settings
    folders: tuple[str, ...] = ("shelves", ITEM_TABLE)
    _held: Snapshot | None = field(default=None, init=False)
    _read: bool = field(default=False, init=False)

    def __call__(self, bundle: Bundle, draft: Path) -> None:
        interactions, held = self._interactions(bundle), self._held
        data = Dataset(interactions, bundle.catalogue, held.data.profiles if held is not None else None)
        least = self.settings.privacy.min_customers
        shelves = build_shelves(data, registry.load(bundle), least=least)
        profiles = held.profiles if held is not None else None
        segments = made_again(data.interactions, profiles, bundle.shelves, shelves["popular"], least)
        write_shelves(draft, {**shelves, **segments})
        ItemTable.of(data).save(draft / ITEM_TABLE)

    def _interactions(self, bundle: Bundle) -> Interactions:
        """Events of the store up to the version's newest, under the version's item codes."""
        items, snapshot = bundle.items(), self._from_store()
        if snapshot is None:
            nobody = Histories.of([], kinds=bundle.histories.kinds, kind_weight=bundle.histories.kind_weight)
            return Interactions(nobody, IdMap(items.ids[:0]), items, np.zeros(0, np.int32), bundle.now)
        held = snapshot.data.interactions
        codes = items.codes(held.items.ids)[held.histories.item]
        newest = int(bundle.histories.ts.max()) if bundle.histories.n_events else bundle.now
        keep = (codes >= 0) & (held.histories.ts <= newest)
        kept = replace(held.histories.where(keep), item=codes[keep])
        return Interactions(kept, held.users, items, held.basket[keep], bundle.now)

    def _from_store(self) -> Snapshot | None:
        if not self._read and self.store.exists():
            secret = load_secret(self.settings.db)
            try:
                with self.store.reading() as con:
                    snapshot = Snapshot.read(
                        con,
                        secret,
                        self.settings.events.weights,
                        view_seconds=self.settings.events.view_seconds,
                        shared_by=shared_by(self.settings),
                    )
                self._held = with_own(leave_out(snapshot, self.settings.artifacts, secret), self.settings)
            except NotEnoughData:
                self._held = None  # nobody is left
        self._read = True
        return self._held
