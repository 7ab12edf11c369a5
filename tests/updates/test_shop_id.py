"""A database and its versions know each other: what does not belong together is refused, with the way out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_cli.artifacts import Artifacts, SpoolWriter, Version
from recsys_cli.artifacts.shop_id import OtherShop, has_owner
from recsys_cli.backup import backup
from recsys_cli.errors import NoModel, StoreError, StoreMissing
from recsys_cli.identity import secret_path
from recsys_cli.restore import restore
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.updates import expect_work, run_once, run_pass

Train = Callable[[], Version]
Line = Callable[..., bytes]
Recsys = Callable[..., "subprocess.CompletedProcess[str]"]
T0 = 1_700_000_000


@pytest.fixture
def running(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> SpoolWriter:
    train()
    run_pass(shop, artifacts, values)
    writer.append([line(user_id="u", item_id="a1", ts=T0)])
    return writer


def with_db(values: Settings, db: Path) -> tuple[Settings, Store]:
    return replace(values, db=db), Store(db, values.store)


def test_a_mistyped_database_makes_no_new_shop(artifacts: Artifacts, values: Settings, running: SpoolWriter) -> None:
    wrong, store = with_db(values, values.db.with_name("shop.dukdb"))
    for attempt in (lambda: run_once(store, artifacts, wrong), lambda: run_pass(store, artifacts, wrong)):
        with pytest.raises(StoreMissing, match="holds the versions of a shop"):
            attempt()
    assert not list(values.db.parent.glob("shop.dukdb*"))
    assert artifacts.names() == ["v000001"]
    assert run_pass(Store(values.db, values.store), artifacts, values).taken.events == 1


def test_another_shops_database_is_refused_and_gets_nothing(
    artifacts: Artifacts, values: Settings, running: SpoolWriter
) -> None:
    other, store = with_db(values, values.db.with_name("other.duckdb"))
    with store.writing():
        pass
    with pytest.raises(OtherShop, match="different shops"):
        run_pass(store, artifacts, other)
    with store.reading() as con:
        assert con.execute("SELECT count(*) FROM spool_position").fetchall() == [(0,)]


def test_a_worker_that_looks_in_the_wrong_place_for_versions_makes_none_there(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    wrong = Artifacts(tmp_path / "model_artefacts")
    settings = replace(values, artifacts=wrong.root)
    with pytest.raises(NoModel, match="does not hold the versions"):
        expect_work(shop, wrong, settings)
    assert not wrong.root.exists()


def test_versions_of_the_time_before_ids_get_one(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter
) -> None:
    (artifacts.root / "shop.json").unlink()
    run_pass(shop, artifacts, values)
    assert has_owner(artifacts.root)


def test_a_restore_binds_what_it_brings_and_refuses_another_shops_place(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    made = backup(shop, artifacts, tmp_path / "saved")
    moved = replace(values, db=tmp_path / "n" / "s.duckdb", artifacts=tmp_path / "n" / "a")
    restore(Store(moved.db, moved.store), Artifacts(moved.artifacts), moved, made.path)
    assert has_owner(moved.artifacts)
    stranger, store = with_db(values, tmp_path / "x" / "x.duckdb")
    stranger = replace(stranger, artifacts=tmp_path / "x" / "a")
    with store.writing():
        pass
    stranger.artifacts.mkdir()
    expect_work(store, Artifacts(stranger.artifacts), stranger)
    for path in stranger.db.parent.glob("x.duckdb*"):
        path.unlink()
    with pytest.raises(OtherShop, match="another shop than the backup"):
        restore(store, Artifacts(stranger.artifacts), stranger, made.path)


def test_commands_refuse_a_mixed_pair_and_ingest_a_missing_half(
    artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path, recsys: Recsys
) -> None:
    (tmp_path / "orders.csv").write_text("user_id,item_id,ts\nu,i,1700000000\n")
    root = ("--artifacts", str(artifacts.root))
    done = recsys("ingest", "orders.csv", "--db", "typo.duckdb", *root)
    assert (done.returncode, "holds the versions of a shop" in done.stderr) == (4, True), done
    assert not list(tmp_path.glob("typo*"))
    shutil.copytree(values.db.parent, tmp_path / "other")
    (tmp_path / "other" / "shop.duckdb.key").write_text("0" * 64)
    done = recsys("train", "--db", "other/shop.duckdb", *root)
    assert (done.returncode, "belong to different shops" in done.stderr) == (6, True), done


def test_what_belongs_to_a_named_database_is_looked_for_beside_it(tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").write_text("[serve]\nport = 1234\n")
    settings = load({"db": tmp_path / "shop.duckdb"}, environ={})
    assert (settings.artifacts, settings.serve.port) == (tmp_path / "model_artifacts", 1234)
    assert load({"db": tmp_path / "shop.duckdb"}, environ={"RECSYS_ARTIFACTS": "/x"}).artifacts == Path("/x")
    assert load({}, environ={}).artifacts == Path("model_artifacts")


def test_a_link_to_a_database_stands_for_the_database(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "shop.duckdb").write_text("")
    (tmp_path / "link.duckdb").symlink_to("real/shop.duckdb")
    settings = load({"db": tmp_path / "link.duckdb"}, environ={})
    assert settings.db == tmp_path / "real" / "shop.duckdb"


def test_the_first_version_already_knows_its_shop(artifacts: Artifacts, values: Settings, train: Train) -> None:
    train()
    other, store = with_db(values, values.db.with_name("other.duckdb"))
    with store.writing():
        pass
    with pytest.raises(OtherShop, match="different shops"):
        run_pass(store, artifacts, other)


def test_the_advice_for_a_lost_key_works(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    backup(shop, artifacts, tmp_path / "saved")
    secret_path(values.db).unlink()
    with pytest.raises(StoreError, match="key file") as refused:
        run_pass(shop, artifacts, values)
    assert "Copy store/shop.duckdb.key from a backup" in str(refused.value.hint)
    shutil.copy(tmp_path / "saved" / "store" / "shop.duckdb.key", secret_path(values.db))
    assert run_pass(shop, artifacts, values).taken.events == 1
