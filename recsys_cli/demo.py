"""The sample shop from files to recommendations: what `recsys demo` does and shows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from .artifacts import Artifacts
from .durable_files import private_dir, sha256_of
from .errors import InputError, UsageError
from .evaluation import Report
from .identity import load_secret
from .ingest import ingest
from .progress import Progress
from .publishing.train import choose, train
from .serving.engine import Engine
from .serving.request import Request
from .settings import Settings, StoreSettings
from .store import Store
from .store.reading import customer_with

_BUDGET = 3.0  # CPU seconds by the size of the sample: room for four models, so that a first look takes seconds


@dataclass(frozen=True)
class DemoShop:
    """Where the demo keeps its state, and where the sample files are."""

    db: Path
    artifacts: Path
    kept: bool

    @staticmethod
    @contextmanager
    def at(folder: Path | None) -> Iterator[DemoShop]:
        """A shop in the named folder, or in a temporary one that is removed at the end.

        Raises
        ------
        UsageError
            The folder holds a shop that is not the demo's; nothing in it was changed.
        """
        if folder is not None:
            _refuse_another_shop(folder)
            private_dir(folder)
            yield DemoShop(folder / "recsys.duckdb", folder / "model_artifacts", True)
            return
        with tempfile.TemporaryDirectory(prefix="recsys-demo-") as name:
            yield DemoShop(Path(name) / "recsys.duckdb", Path(name) / "model_artifacts", False)

    def next_steps(self, shown: Shown) -> list[str]:
        """What to type next."""
        state = f"--db {self.db} --artifacts {self.artifacts}"
        steps = [
            f"  recsys recommend {shown.user_id} {state}",
            f"  recsys serve {state}",
        ]
        own = ["  recsys ingest your_orders.csv your_products.csv", "  recsys train", "  recsys serve"]
        keep = ["Keep this shop: recsys demo --folder demo-shop"]
        look = ["Look around in this shop:", *steps] if self.kept else keep
        return [*look, "With your own files:", *own]


@dataclass(frozen=True)
class Shown:
    """The result of a demo."""

    ingested: str
    version: str
    report: Report | None
    user_id: str
    history: list[dict[str, Any]]
    recommended: list[dict[str, Any]]
    item_title: str
    similar: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "metrics": self.report.as_dict() if self.report else None,
            "user_id": self.user_id,
            "history": self.history,
            "recommended": self.recommended,
            "similar": self.similar,
        }


def sample_files() -> list[Path]:
    """The sample shop's catalogue, customers and events: in the installed package, or in a source tree.

    Raises
    ------
    InputError
        When neither has them.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "sample_data", here.parent / "sample_data"):
        files = [folder / name for name in ("items.csv", "users.csv", "events.csv")]
        if all(f.is_file() for f in files):
            return files
    raise InputError(f"The sample shop is not in {here.parent}.", "Install recsys again, or clone it.")


def _refuse_another_shop(folder: Path) -> None:
    """An invented shop's customers among a real shop's can never be told apart again."""
    store = Store(folder / "recsys.duckdb", StoreSettings())
    foreign = bool(Artifacts(folder / "model_artifacts").names())
    if store.exists():
        with store.reading() as con:
            foreign = _holds_more_than_the_sample(con)
    if foreign:
        raise UsageError(
            f"{folder} holds a shop of its own, which the sample shop would be mixed into.",
            "Name another folder with --folder; nothing was changed.",
        )


def _holds_more_than_the_sample(con: duckdb.DuckDBPyConnection) -> bool:
    # By content: a shop's own export may well be called items.csv.
    sample = {sha256_of(f) for f in sample_files()}
    taken = con.execute("SELECT content_sha256 FROM batches").fetchall()
    if taken:
        return any((mark or "").split(":")[0] not in sample for (mark,) in taken)
    received = "SELECT 1 FROM events UNION ALL SELECT 1 FROM items UNION ALL SELECT 1 FROM users LIMIT 1"
    return bool(con.execute(received).fetchall())


def run_demo(shop: DemoShop, settings: Settings, progress: Progress) -> Shown:
    """Ingest the sample shop, train on it and look at one customer and one product; may be repeated."""
    store = Store(shop.db, settings.store)
    here = replace(settings, db=shop.db, artifacts=shop.artifacts)
    ingested = ingest(here, sample_files(), progress=progress)
    artifacts = Artifacts(shop.artifacts)
    # Without a ranker, which takes as long as all the rest: recsys train --ranker adds it to a shop that is kept.
    budget = min(settings.train.budget, _BUDGET)
    quick = replace(settings, train=replace(settings.train, ranker=False, budget=budget))
    trained = train(store, artifacts, quick, choose(settings, None, {}), progress)
    engine = Engine.open(trained.version, load_secret(shop.db))
    with store.reading() as con:
        user = customer_with(con, purchases=15)
    recommended = engine.describe(engine.recommend(Request(user_id=user, k=8)))
    best = recommended[0]
    return Shown(
        ingested="\n".join(file.sentence() for file in ingested.files),
        version=trained.version.name,
        report=trained.report,
        user_id=user,
        history=engine.history(user, 8),
        recommended=recommended,
        item_title=str(best.get("title") or best["item_id"]),
        similar=engine.describe(engine.similar(best["item_id"], 5)),
    )
