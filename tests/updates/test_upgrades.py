"""An older store is brought up to date with a copy until the end; newer state is refused and left as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from recsys_cli.artifacts import Artifacts, Version
from recsys_cli.artifacts.manifest import FORMAT, canonical, digest
from recsys_cli.durable_files import sha256_of
from recsys_cli.errors import ArtifactError
from recsys_cli.settings import Settings
from recsys_cli.store import Store, migrations
from recsys_cli.updates import run_pass

Train = Callable[[], Version]


def copy_of(store: Store) -> Path:
    return store.path.with_name(store.path.name + ".before-upgrade")


def test_a_copy_is_there_while_an_upgrade_runs_and_gone_after_it(shop: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = sha256_of(shop.path), []

    def next_step(con: duckdb.DuckDBPyConnection) -> None:
        seen.append(sha256_of(copy_of(shop)))
        assert copy_of(shop).stat().st_mode & 0o777 == 0o600

    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, next_step))
    with Store(shop.path, shop.settings).reading() as con:  # a newer program's, which has not seen the file yet
        assert con.execute("SELECT count(*) FROM events").fetchall() == [(240,)]
    assert seen == [before]
    assert not copy_of(shop).exists()


def test_a_copy_that_a_killed_upgrade_left_stays_until_one_ends_well(
    shop: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = migrations.STEPS

    def dies(con: duckdb.DuckDBPyConnection) -> None:
        con.execute("DELETE FROM events")
        raise KeyboardInterrupt

    monkeypatch.setattr(migrations, "STEPS", (*steps, dies))
    with pytest.raises(KeyboardInterrupt), Store(shop.path, shop.settings).writing():
        pass
    assert copy_of(shop).exists()
    monkeypatch.setattr(migrations, "STEPS", steps)
    with shop.writing() as con:
        assert con.execute("SELECT count(*) FROM events").fetchall() == [(240,)]
    assert not copy_of(shop).exists()


def test_versions_of_a_newer_tool_are_refused_and_left_alone(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train
) -> None:
    path = train().path / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest.pop("checksum")
    manifest["format"] = FORMAT + 1
    path.write_text(json.dumps(manifest | {"checksum": digest(canonical(manifest))}))
    before = {p: sha256_of(p) for p in sorted(artifacts.root.rglob("*")) if p.is_file()}
    with pytest.raises(ArtifactError, match="written by a newer recsys"):
        run_pass(shop, artifacts, values)
    assert {p: sha256_of(p) for p in before} == before
    assert artifacts.names() == ["v000001"]
