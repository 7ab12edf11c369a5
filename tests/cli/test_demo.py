"""`recsys demo`: where it may put its invented shop, and where not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys_cli.demo import DemoShop, sample_files
from recsys_cli.errors import UsageError
from recsys_cli.ingest import ingest
from recsys_cli.settings import Settings, StoreSettings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store

Recsys = Callable[..., "subprocess.CompletedProcess[str]"]


def taken(folder: Path, *files: Path) -> Settings:
    settings = load({"db": folder / "recsys.duckdb"}, environ={})
    ingest(settings, files)
    return settings


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A shop's own catalogue, which is called like the sample's."""
    path = tmp_path / "items.csv"
    path.write_text("item_id,title\na,Lamp\nb,Chair\n")
    return path


@pytest.mark.parametrize("folder", [".", "shop"])
def test_a_shop_of_its_own_is_not_mixed_with_the_sample(recsys: Recsys, tmp_path: Path, own: Path, folder: str) -> None:
    db = taken(tmp_path / folder, own).db
    before = db.read_bytes()
    done = recsys("demo", "--folder", folder)
    assert done.returncode == 2
    assert "holds a shop of its own" in done.stderr
    assert db.read_bytes() == before
    assert not (tmp_path / folder / "model_artifacts").exists()


def test_an_empty_folder_name_is_refused(recsys: Recsys, tmp_path: Path) -> None:
    done = recsys("demo", "--folder", "")
    assert done.returncode == 2
    assert "--folder is empty" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_sample_beside_other_files_is_a_shop_of_its_own(tmp_path: Path, own: Path) -> None:
    taken(tmp_path, *sample_files(), own)
    with pytest.raises(UsageError, match="shop of its own"), DemoShop.at(tmp_path):
        pass


def test_what_only_came_over_http_is_a_shop_of_its_own(tmp_path: Path) -> None:
    with Store(tmp_path / "recsys.duckdb", StoreSettings()).writing() as con:
        con.execute("INSERT INTO items (item_id) VALUES ('a')")
    with pytest.raises(UsageError, match="shop of its own"), DemoShop.at(tmp_path):
        pass


def test_the_demo_may_be_repeated_and_gone_on_with(recsys: Recsys, tmp_path: Path) -> None:
    taken(tmp_path / "demo", sample_files()[0])  # as far as a first demo came that was killed
    done = recsys("demo", "--folder", "demo", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recommended"]
    with DemoShop.at(tmp_path / "demo") as shop:
        assert shop.kept
