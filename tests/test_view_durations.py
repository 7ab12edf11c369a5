"""The weight of a view by how long it took: the curve, from the store to the server, and an answer that is known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from recsys_cli.artifacts import Artifacts, Spool, SpoolWriter, suppressed
from recsys_cli.evaluation.bench import Recipe
from recsys_cli.gdpr import export
from recsys_cli.identity import load_secret
from recsys_cli.models.support.demand import popularity
from recsys_cli.progress import SILENT
from recsys_cli.publishing.train import read_snapshot
from recsys_cli.publishing.version import Release, publish_version
from recsys_cli.serving import Engine
from recsys_cli.serving.live_events import Overlay
from recsys_cli.serving.request import Request
from recsys_cli.settings import EventSettings, Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.updates.drain import drain
from recsys_cli.view_durations import LONGEST_MS, level, level_sql

NOW = 1_750_000_000


@pytest.mark.parametrize(
    ("ms", "eighths"),
    [(None, 8), (30_000, 8), (0, 1), (10_000, 4), (90_000, 12), (600_000, 15), (LONGEST_MS, 16), (LONGEST_MS + 1, 8)],
)
def test_the_curve(ms: int | None, eighths: int) -> None:
    assert level(ms, 30.0) == eighths
    assert level(ms, 0.0) == 8


def test_the_database_and_the_server_draw_the_same_curve() -> None:
    rng = np.random.default_rng(1)
    given = [None, -5, 0, 1, LONGEST_MS, LONGEST_MS + 1, *np.exp(rng.uniform(0, 18, 3000)).astype(int).tolist()]
    for seconds in (0.5, 7.0, 30.0, 1e4):
        found = duckdb.execute(
            f"SELECT {level_sql(seconds)} FROM (SELECT 'view' AS event_type, unnest(?::INTEGER[]) AS duration_ms)",
            [given],
        ).fetchall()
        assert [n for (n,) in found] == [level(ms, seconds) for ms in given]


def line(who: int, item: str, ms: int | None, **more: object) -> bytes:
    event = {"t": "event", "event_type": "view", "session_id": f"s{who}", "item_id": item, "ts": NOW + who, "qty": 1}
    return json.dumps(event | ({} if ms is None else {"duration_ms": ms}) | more).encode()


class Shop:
    """A shop of views: `flash` is opened by most and left at once, `novel` is opened by fewer, who read on."""

    def __init__(self, folder: Path) -> None:
        given = {"db": str(folder / "shop.duckdb"), "artifacts": str(folder / "artifacts"), "train.threads": 1}
        self.settings = load(given, environ={})
        self.store = Store(self.settings.db, self.settings.store)
        self.artifacts = Artifacts(self.settings.artifacts, lock_timeout=5)
        self.writer = SpoolWriter(self.artifacts.spool_dir)
        lines = [line(n, "flash", 800) for n in range(12)] + [line(n, "novel", 180_000) for n in range(12, 20)]
        self.writer.append([*lines, *(line(n, "plain", None) for n in range(20, 30))])
        load_secret(self.settings.db, create=True)
        drain(self.store, Spool(self.artifacts.spool_dir))

    def with_seconds(self, seconds: float) -> Settings:
        return dataclasses.replace(self.settings, events=EventSettings(view_seconds=seconds))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "order", "shares"),
    # 12, 10 and 8 views of one weight; with h = 30 seconds 12 * 1/8, 10 * 1 and 8 * 14/8.
    [(0.0, ["flash", "plain", "novel"], [12, 10, 8]), (30.0, ["novel", "plain", "flash"], [14, 10, 1.5])],
)
def test_what_is_read_goes_before_what_is_opened(
    shop: Shop, seconds: float, order: list[str], shares: list[float]
) -> None:
    seen = read_snapshot(shop.store, shop.with_seconds(seconds)).data.interactions
    share = popularity(seen, 0)
    assert seen.items.take(np.argsort(-share)).to_pylist() == order
    assert np.sort(share)[::-1] == pytest.approx(np.array(shares) / sum(shares))
    assert seen.histories.n_events == 30
    assert seen.histories.is_kind("view").all()


def test_a_live_view_weighs_as_it_does_after_the_update(shop: Shop) -> None:
    settings = shop.with_seconds(30.0)
    snapshot = read_snapshot(shop.store, settings)
    model = Recipe.of("popular", {}).fit(snapshot.data, settings, SILENT)
    release = Release(snapshot, model, kind="train", erasures=suppressed.mark(settings.db))
    version = publish_version(shop.artifacts, settings, release)
    spool = Spool(shop.artifacts.spool_dir)
    at = spool.segments()
    shop.writer.append([line(99, "plain", 180_000), line(99, "flash", 0), line(99, "novel", None, duration_ms="long")])
    secret = load_secret(settings.db)
    engine = Engine.open(version, secret, Overlay(spool, at, secret))
    for _ in engine.catch_up():
        pass
    past = engine.people.find(Request(session_id="s99")).past
    weights = engine.bundle.histories.kind_weight[past.kind]
    assert weights.tolist() == [14 / 8, 1 / 8, 1.0]
    drain(shop.store, spool)
    seen = read_snapshot(shop.store, settings).data.interactions
    (row,) = seen.users.codes(["\x1fs99"])
    mine = seen.histories.rows(np.array([row]))
    assert seen.histories.kind_weight[mine.kind].tolist() == weights.tolist()


def test_a_person_is_told_how_long_they_looked(shop: Shop) -> None:
    shop.writer.append([line(50, "novel", 4321, user_id="ann")])
    drain(shop.store, Spool(shop.artifacts.spool_dir))
    document = export(shop.store, shop.artifacts, shop.settings, ["ann"])
    assert [e["duration_ms"] for e in document["events"]] == [4321]
