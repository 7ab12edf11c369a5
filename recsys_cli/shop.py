"""A shop from Python: the same steps as on the command line, without one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import RecsysError
from .progress import SILENT, Progress
from .settings import Settings
from .settings_sources import load

if TYPE_CHECKING:
    from .ingest import Report
    from .publishing.train import Trained
    from .serving.engine import Engine


@dataclass(frozen=True)
class Shop:
    """One shop: its database, its versions and its settings.

    Parameters
    ----------
    settings
        As `recsys_cli.settings_sources.load` gives them; see `Shop.open`.
    progress
        Told of long work; silent unless given.

    Examples
    --------
    >>> shop = Shop.open("recsys.duckdb")
    >>> shop.ingest("orders.csv", "products.csv")
    >>> shop.train()
    >>> shop.recommend("13085", k=5)
    """

    settings: Settings
    progress: Progress = SILENT

    @staticmethod
    def open(
        db: str | Path | None = None,
        artifacts: str | Path | None = None,
        config: str | Path | None = None,
        *,
        progress: Progress = SILENT,
    ) -> Shop:
        """The shop whose state is named; what is left out has the command line's defaults.

        Raises
        ------
        UsageError
            A setting is wrong.
        """
        named = {"db": Path(db) if db else None, "artifacts": Path(artifacts) if artifacts else None}
        return Shop(load(named, config=Path(config) if config else None), progress)

    def ingest(self, *files: str | Path, **request: Any) -> Report:
        """Take files in, each row once.

        Parameters
        ----------
        request
            Fields of `recsys_cli.ingest.Request`, as `mapping` or `timezone`.

        Raises
        ------
        InputError, StoreBusy
            A file cannot be read; another command holds the database for longer than `store.lock_timeout`.
        """
        from .ingest import Request, ingest

        return ingest(self.settings, [Path(f) for f in files], Request(**request), progress=self.progress)

    def train(self, model: str | None = None, **hyperparameters: Any) -> Trained:
        """Fit a model, judge it by the last part of time, and publish it.

        Raises
        ------
        UsageError, NotEnoughData, StoreMissing
        """
        from .artifacts import Artifacts
        from .publishing.train import choose, train
        from .store import Store

        recipe = choose(self.settings, model, hyperparameters)
        store = Store(self.settings.db, self.settings.store)
        return train(store, Artifacts(self.settings.artifacts), self.settings, recipe, self.progress)

    def recommend(self, user_id: str, k: int = 10, *, repeat: bool = False) -> list[dict[str, Any]]:
        """Items for one customer, best first: item_id, title, category, price, score, source and fallback of each.

        Parameters
        ----------
        repeat
            Include what the customer already bought.

        Raises
        ------
        NoModel
            Nothing was trained yet.
        """
        from .serving.request import Request

        engine = open_engine(self.settings)
        return engine.describe(engine.recommend(Request(user_id=user_id, k=k, repeat=repeat)))

    def similar(self, item_id: str, k: int = 10) -> list[dict[str, Any]]:
        """Items most like one, best first.

        Raises
        ------
        NoModel, NotFound
        """
        engine = open_engine(self.settings)
        return engine.describe(engine.similar(item_id, k))


def open_engine(settings: Settings, damaged: Callable[[RecsysError], None] | None = None, version: str = "") -> Engine:
    """The engine on the current version; it leaves out what was shown in vain, as the server does.

    Parameters
    ----------
    damaged
        Called with what is wrong with a version that was passed over.
    version
        Another version than the current one.

    Raises
    ------
    NoModel, CorruptArtifact
    """
    from .artifacts import Artifacts, Spool
    from .artifacts.choices import Choices
    from .identity import load_secret
    from .serving.engine import Engine
    from .serving.live_events import Overlay
    from .serving.rules import Rules

    versions = Artifacts(settings.artifacts)
    opened = versions.open(version) if version else versions.current(damaged=damaged or (lambda e: None))
    secret = load_secret(settings.db)  # after the version: where nothing was trained no key is missing yet
    choices = Choices(settings.artifacts, secret)
    choices.refresh()
    shown = None
    if settings.rules.shown_limit:  # else the log need not be read
        shown = Overlay.of_what_was_shown(Spool(versions.spool_dir), secret, settings.rules.shown_days)
    # A command's first list takes longer than a server's, and must come out the same.
    rules, patient = Rules.of(settings.rules), math.inf
    engine = Engine.open(opened, secret, shown, rules=rules, choices=choices, budget=patient)
    for _ in engine.catch_up():
        pass
    return engine
