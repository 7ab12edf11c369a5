"""The lake says what the store says, names nobody, goes on where it was interrupted, and forgets with the store."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from recsys_cli.artifacts import Artifacts
from recsys_cli.artifacts.choices import OBJECTED
from recsys_cli.errors import InputError, NotEnoughData
from recsys_cli.gdpr import erase, resume
from recsys_cli.gdpr.rights.consent import decide
from recsys_cli.gdpr.rights.rectify import rectify
from recsys_cli.identity import load_secret, user_key
from recsys_cli.progress import Progress
from recsys_cli.publishing.lake import export_lake
from recsys_cli.schema import DAY
from recsys_cli.settings import Settings, StoreSettings
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events, transaction

JANUARY = 1_704_067_200  # 2024-01-01
ANNA, BERT = "anna@shop.example", "customer-0000815"
Recsys = Callable[..., "subprocess.CompletedProcess[str]"]


def sold(store: Store, *rows: tuple[str, str, int]) -> None:
    """Purchases: who, what, how many days after New Year."""
    who, what, day = zip(*rows, strict=True)
    table = {"user_id": who, "item_id": what, "ts": [JANUARY + d * DAY for d in day]}
    with store.writing() as con, transaction(con):
        merge_events(con, pa.table(table | {"order_id": [f"{u}/{d}" for u, _, d in rows], "qty": [2] * len(rows)}))


@pytest.fixture
def shop(store: Store, values: Settings, tmp_path: Path) -> tuple[Store, Settings, Path]:
    sold(store, (ANNA, "lamp", 3), (ANNA, "chair", 3), (BERT, "lamp", 5), (BERT, "chair", 40), ("c1", "desk", 70))
    settings = replace(values, db=store.path, artifacts=tmp_path / "shop" / "model_artifacts", store=StoreSettings())
    return store, settings, tmp_path / "lake"


def held(lake: Path) -> pa.Table:
    return ds.dataset(lake / "events", format="parquet", partitioning="hive").to_table()


def test_it_says_what_the_store_says_and_names_nobody(shop: tuple[Store, Settings, Path]) -> None:
    store, settings, lake = shop
    done = export_lake(store, settings, lake)
    assert (done.events, done.written, done.kept) == (5, ("2024-01", "2024-02", "2024-03"), 0)
    rows = held(lake).sort_by([("ts", "ascending"), ("item_id", "ascending")]).to_pylist()
    assert [(r["item_id"], (r["ts"] - JANUARY) // DAY, r["qty"], r["month"]) for r in rows] == [
        ("chair", 3, 2, "2024-01"), ("lamp", 3, 2, "2024-01"), ("lamp", 5, 2, "2024-01"), ("chair", 40, 2, "2024-02"),
        ("desk", 70, 2, "2024-03"),
    ]  # fmt: skip
    assert rows[0]["customer"] == rows[1]["customer"] != rows[2]["customer"] == rows[3]["customer"]
    assert rows[0]["basket"] == rows[1]["basket"] != rows[2]["basket"]
    secret = load_secret(settings.db)
    known = {f"{high:016x}{low:016x}" for high, low in (user_key(secret, one) for one in (ANNA, BERT))}
    for path in (p for p in lake.rglob("*") if p.is_file()):
        assert path.stat().st_mode & 0o077 == 0
        for name in (ANNA, BERT, *known):  # nor can it be joined with the versions
            assert name.encode() not in path.read_bytes()


def test_only_months_that_differ_are_written_again(shop: tuple[Store, Settings, Path]) -> None:
    store, settings, lake = shop
    export_lake(store, settings, lake)
    assert export_lake(store, settings, lake).written == ()
    sold(store, ("c2", "lamp", 41), ("c2", "lamp", 100))
    assert export_lake(store, settings, lake).written == ("2024-02", "2024-04")
    (lake / "events" / "month=2024-01" / "part.parquet").unlink()
    assert export_lake(store, settings, lake).written == ("2024-01",)
    assert held(lake).num_rows == 7


class Interrupted(Progress):
    """Stops after the first month."""

    @contextmanager
    def stage(self, text: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        def advance(_: int) -> None:
            raise KeyboardInterrupt

        yield advance if "months" in text else lambda _: None


def test_an_interrupted_export_goes_on(shop: tuple[Store, Settings, Path]) -> None:
    store, settings, lake = shop
    with pytest.raises(KeyboardInterrupt):
        export_lake(store, settings, lake, Interrupted())
    (lake / "events" / "month=2024-02").mkdir()
    (lake / "events" / "month=2024-02" / ".part.parquet.tmp").write_bytes(b"half")
    done = export_lake(store, settings, lake)
    assert (done.written, done.kept) == (("2024-02", "2024-03"), 1)
    assert held(lake).num_rows == 5
    assert not list(lake.rglob("*.tmp"))


def test_an_erasure_takes_them_out_of_every_lake_and_names_one_that_is_gone(shop: tuple[Store, Settings, Path]) -> None:
    store, settings, lake = shop
    export_lake(store, settings, lake)
    export_lake(store, settings, lake.with_name("second"))
    lake.with_name("second").rename(lake.with_name("moved"))
    before = (lake / "events" / "month=2024-02" / "part.parquet").read_bytes()
    bert = held(lake).filter(ds.field("ts") == JANUARY + 5 * DAY)["customer"][0].as_py()
    erased = erase(store, Artifacts(settings.artifacts), settings, [ANNA])
    assert erased.lakes == (lake.with_name("second"),)
    assert sorted(held(lake)["item_id"].to_pylist()) == ["chair", "desk", "lamp"]
    assert bert in held(lake)["customer"].to_pylist()
    assert (lake / "events" / "month=2024-02" / "part.parquet").read_bytes() == before
    erase(store, Artifacts(settings.artifacts), settings, ["c1"])
    assert not (lake / "events" / "month=2024-03").exists()


def test_an_erasure_reaches_a_damaged_lake_and_waits_for_one_that_cannot_be_written(
    shop: tuple[Store, Settings, Path],
) -> None:
    store, settings, lake = shop
    export_lake(store, settings, lake)
    (lake / "lake.json").write_text('{"half')
    artifacts = Artifacts(settings.artifacts)
    assert erase(store, artifacts, settings, [ANNA]).failed == ()
    assert held(lake).num_rows == 3
    others = json.loads((lake / "lake.json").read_text())["data"] | {"shop": "0" * 32}
    (lake / "lake.json").write_text(json.dumps(others))
    (stuck,) = erase(store, artifacts, settings, ["c1"]).failed
    assert f"the lake {lake}, which could not be rewritten: {lake} is the lake of another shop" in stuck.message
    (lake / "lake.json").unlink()
    assert len(resume(store, artifacts, settings).done) == 1
    assert held(lake).num_rows == 2


def test_an_erasure_fills_no_folder_that_is_a_lake_no_more(shop: tuple[Store, Settings, Path]) -> None:
    store, settings, lake = shop
    other = lake.with_name("other")
    for folder in (lake, other):
        export_lake(store, settings, folder)
    shutil.rmtree(lake)
    lake.mkdir()
    (other / "lake.json").unlink()
    (other / "photo.jpg").touch()
    done = erase(store, Artifacts(settings.artifacts), settings, [ANNA])
    assert f"{other} holds something other than a lake" in done.failed[0].message
    assert (list(lake.iterdir()), (other / "photo.jpg").exists()) == ([], True)
    (other / "photo.jpg").unlink()
    done = resume(store, Artifacts(settings.artifacts), settings)
    assert (done.lakes, done.failed, held(other).num_rows) == ((lake,), (), 3)


def test_what_was_decided_and_corrected_holds_in_lakes_at_once(shop: tuple[Store, Settings, Path]) -> None:
    store, settings, lake = shop
    export_lake(store, settings, lake)
    decide(store, Artifacts(settings.artifacts), settings, [BERT], OBJECTED)
    assert held(lake).num_rows == 3
    rectify(store, Artifacts(settings.artifacts), settings, ANNA, {}, ["lamp"])
    assert sorted(held(lake)["item_id"].to_pylist()) == ["chair", "desk"]


def test_other_folders_are_left_alone(shop: tuple[Store, Settings, Path], tmp_path: Path, values: Settings) -> None:
    store, settings, lake = shop
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(InputError, match="something other than a lake"):
        export_lake(store, settings, tmp_path / "photos")
    export_lake(store, settings, lake)
    other = Store(tmp_path / "other.duckdb", StoreSettings())
    sold(other, ("x", "lamp", 1))
    with pytest.raises(InputError, match="lake of another shop"):
        export_lake(other, replace(values, db=other.path), lake)
    with other.writing() as con:
        con.execute("DELETE FROM events")
    with pytest.raises(NotEnoughData, match="no event to export"):
        export_lake(other, replace(values, db=other.path), tmp_path / "new")


def test_the_command(shop: tuple[Store, Settings, Path], recsys: Recsys) -> None:
    store, _, lake = shop
    done = recsys("export", "--lake", str(lake), "--db", str(store.path))
    assert done.stdout == f"5 events in 3 months in {lake}: 3 months written, 0 as before.\n", done.stderr
