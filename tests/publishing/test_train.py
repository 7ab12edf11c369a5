"""Store to model to published version, for every registered model and on a shop that is known."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_cli.artifacts import Artifacts, Version
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.errors import CorruptArtifact, MissingDependency, NotEnoughData, StoreMissing, UsageError
from recsys_cli.identity import find_key, load_secret, user_key
from recsys_cli.models import registry
from recsys_cli.publishing.train import Recipe, Trained, choose, train
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store

DAY = 86_400
START = 1_700_000_000


def fill(store: Store, users: int = 60, items: int = 24, each: int = 12) -> None:
    """Two crowds that buy from two halves of the shelf, over two hundred days."""
    with store.writing() as con:
        con.execute(
            """INSERT INTO events (user_id, item_id, ts, qty, event_type, order_id)
               SELECT format('cüstomer-{:03d}', u), format('i{:02d}', ((u % 2) * $items // 2
                        + hash(u * 1000 + n) % ($items // 2))::INTEGER),
                      $start + (n * 200 / $each + u % 7)::BIGINT * $day + n, 1, 'purchase', format('o{}-{}', u, n // 2)
               FROM range($users) AS a(u), range($each) AS b(n)""",
            {"users": users, "items": items, "each": each, "start": START, "day": DAY},
        )
        con.execute(
            "INSERT INTO items (item_id, category, brand, price, title) "
            "SELECT format('i{:02d}', n), format('c{}', n // 6), 'b', n + 1.5, format('Thing {}', n) "
            "FROM range(?) AS r(n)",
            [items + 2],
        )


@pytest.fixture
def shop(store: Store, tmp_path: Path) -> Settings:
    fill(store)
    settings = load({"db": store.path, "artifacts": tmp_path / "model_artifacts"}, environ={})
    return replace(settings, train=replace(settings.train, threads=1))


def fit(shop: Settings, name: str = "popular", *, force: bool = False, **values: Any) -> Trained:
    try:
        return train(Store(shop.db, shop.store), Artifacts(shop.artifacts), shop, Recipe.of(name, values), force=force)
    except MissingDependency as e:
        pytest.skip(str(e))


def hashes(version: Version) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in version.manifest["files"].items()}


class TestAVersion:
    @pytest.fixture
    def trained(self, shop: Settings) -> Trained:
        return fit(shop, "als", factors=8, iterations=3)

    def test_is_served_and_says_what_it_is(self, shop: Settings, trained: Trained) -> None:
        version = Artifacts(shop.artifacts).current()
        assert version == trained.version
        manifest = version.manifest
        assert manifest["kind"] == "train"
        assert manifest["parent"] is None
        assert manifest["model"]["name"] == "als"
        assert manifest["model"]["config"]["factors"] == 8
        data = manifest["data"]
        assert (data["events"], data["users"], data["items"], data["store_events"]) == (720, 60, 26, 720)
        assert data["first_ts"] == START
        assert data["last_ts"] > START + 150 * DAY
        assert data["newest_ts"] == read_bundle(version.path).histories.ts.max() >= data["last_ts"]
        assert manifest["spool"] == {}

    def test_was_judged_beside_the_floor(self, trained: Trained) -> None:
        assert trained.report is not None
        metrics = trained.report.as_dict()["metrics"]
        assert {"als", "popular"} <= set(metrics)
        assert metrics["als"]["ndcg@10"]["value"] > metrics["popular"]["ndcg@10"]["value"]
        assert trained.version.manifest["metrics"] == trained.report.as_dict()

    def test_holds_everybody_by_key_and_nobody_by_name(self, shop: Settings, trained: Trained) -> None:
        bundle = read_bundle(trained.version.path)
        secret = load_secret(shop.db)
        for n in (0, 7, 59):
            row = find_key(bundle.keys, user_key(secret, f"cüstomer-{n:03d}"))
            assert row >= 0
            assert bundle.histories.rows(np.array([row])).n_events == 12
        for file in Path(shop.artifacts).rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                for encoding in ("utf-8", "utf-16-le", "utf-32-le", "latin-1"):
                    assert "stomer-0".encode(encoding) not in content, file
                assert secret.encode() not in content, file

    def test_its_catalogue_is_the_shops(self, trained: Trained) -> None:
        catalogue = read_bundle(trained.version.path).catalogue.to_pylist()
        assert [row["item_id"] for row in catalogue] == [f"i{n:02d}" for n in range(26)]
        assert catalogue[3]["price"] == 4.5
        assert catalogue[25]["first_seen"] is None

    def test_the_next_one_knows_its_parent(self, shop: Settings, trained: Trained) -> None:
        again = fit(shop, "als", force=True, factors=8, iterations=3)
        assert again.version.name == "v000002"
        assert again.version.manifest["parent"] == "v000001"

    def test_the_same_seed_gives_the_same_bytes(self, shop: Settings, trained: Trained) -> None:
        again = fit(shop, "als", force=True, factors=8, iterations=3)
        assert hashes(again.version) == hashes(trained.version)


@pytest.mark.parametrize("name", sorted(registry.MODELS))
def test_every_model_is_trained_published_and_read_back(shop: Settings, name: str) -> None:
    version = fit(shop, name).version
    version.verify()
    bundle = read_bundle(version.path)
    model = registry.load(bundle)
    scores = model.score(bundle.histories, bundle.now)
    assert scores.shape == (60, 26)
    assert np.isfinite(scores).all()


class TestWhatStopsIt:
    def test_no_database(self, tmp_path: Path) -> None:
        settings = load({"db": tmp_path / "none.duckdb", "artifacts": tmp_path / "a"}, environ={})
        with pytest.raises(StoreMissing):
            fit(settings)
        assert list(tmp_path.iterdir()) == []

    def test_no_events(self, store: Store, tmp_path: Path) -> None:
        with store.writing():
            pass
        settings = load({"db": store.path, "artifacts": tmp_path / "a"}, environ={})
        with pytest.raises(NotEnoughData):
            fit(settings)
        assert not settings.artifacts.exists()

    @pytest.mark.parametrize("name", sorted(registry.MODELS))
    def test_one_event_is_a_sentence_or_a_model(self, store: Store, tmp_path: Path, name: str) -> None:
        with store.writing() as con:
            con.execute(
                "INSERT INTO events (user_id, item_id, ts, qty, event_type) VALUES ('u', 'i', 1, 1, 'purchase')"
            )
        settings = load({"db": store.path, "artifacts": tmp_path / "a"}, environ={})
        try:
            done = fit(settings, name)
        except NotEnoughData:
            return
        assert done.report is None, "there is no future to judge by"
        assert Artifacts(settings.artifacts).current() == done.version

    def test_no_such_model_or_value(self, shop: Settings) -> None:
        with pytest.raises(UsageError, match="magic"):
            choose(shop, "magic", {})
        with pytest.raises(UsageError, match="no setting 'fctors'"):
            choose(shop, "als", {"fctors": "8"})
        with pytest.raises(UsageError, match="factors must be a whole number, got 'many'"):
            choose(shop, "als", {"factors": "many"})


class TestTheOneBefore:
    def test_is_what_is_served_when_the_new_one_is_damaged(self, shop: Settings) -> None:
        first = fit(shop).version
        second = fit(shop, force=True).version
        victim = second.file("catalogue.arrow")
        victim.write_bytes(victim.read_bytes()[:-1])
        told: list[CorruptArtifact] = []
        assert Artifacts(shop.artifacts).current(damaged=told.append).name == first.name
        assert len(told) == 1
        assert fit(shop, force=True).version == Artifacts(shop.artifacts).current()

    def test_stays_when_training_is_killed(self, shop: Settings) -> None:
        served = fit(shop).version
        command = [
            *(sys.executable, "-m", "recsys_cli", "train", "--model", "popular", "--force"),
            *("--db", str(shop.db), "--artifacts", str(shop.artifacts)),
        ]
        for attempt in range(2):
            running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            assert running.stderr is not None
            while line := running.stderr.readline():
                if "Fitting" in line:
                    break
            time.sleep(0.03 * attempt)
            running.send_signal(signal.SIGKILL)
            running.wait()
            running.stderr.close()
            current = Artifacts(shop.artifacts).current(damaged=raise_)
            assert hashes(current) == hashes(served)
        done = fit(shop, force=True).version
        assert done == Artifacts(shop.artifacts).current(damaged=raise_)
        assert [p.name for p in (shop.artifacts / "versions").iterdir() if p.name.startswith(".d")] == []


def raise_(e: Exception) -> None:
    raise e


def test_reading_is_the_only_thing_that_holds_the_database(shop: Settings) -> None:
    """Fitting takes minutes in a large shop: others must be able to write meanwhile."""
    seen: list[str] = []

    class Watching:
        """Tries to write whenever a stage begins."""

        def __init__(self, tell: Callable[[str], None]) -> None:
            self.tell = tell

        def note(self, text: str) -> None:
            pass

        def stage(self, text: str, total: int | None = None) -> Any:
            from recsys_cli.progress import SILENT

            if not text.startswith("Reading"):
                with Store(shop.db, replace(shop.store, lock_timeout=0)).writing():
                    self.tell(text)
            return SILENT.stage(text, total)

    train(Store(shop.db, shop.store), Artifacts(shop.artifacts), shop, Recipe.of("popular", {}), Watching(seen.append))
    assert any(text.startswith("Fitting") for text in seen)
    assert "Publishing" in seen
